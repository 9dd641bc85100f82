"""ICLRec: histories gather around intents, and each view of a history should be near the intent of the whole.

Chen, Liu, Li, McAuley and Xiong, "Intent Contrastive Learning for Sequential Recommendation", WWW'22.  Where the paper
and the authors' code differ, defaults follow the code, which printed the published results: false negatives are kept,
the intent of a history is that of its vector as it is now, clusters go on from those of the epoch before, a masked item
is padding, and padding counts in means and views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.choice import Choice, Of
from sslrec_core.model import Losses, Stage
from sslrec_seq.augmenters import augmenter
from sslrec_seq.clusters import Clustering, clustering, k_means, nearest
from sslrec_seq.contrast import contrast
from sslrec_seq.data import SeqBatch, SeqData, Targets
from sslrec_seq.histories import Histories
from sslrec_seq.next_item import NextItem
from sslrec_seq.views import EDITS, Pool, pooled, two_views

if TYPE_CHECKING:
    from sslrec_core.loop import Loop

ROWS_AT_ONCE = 1024
"""Histories that are encoded together before they are clustered."""


class ICLRec(NextItem):
    """Contrast of views with one another and with the intent of their history (ICLRec, WWW'22)."""

    class Config(NextItem.Config):
        loss: Annotated[Choice, Of("objective")] = Choice.of("bce")
        """Loss of the next item."""
        targets: Targets = "all"
        """What a training row predicts; views and intents are of the row's history."""
        augmenter: Annotated[Choice, Of("augmenter")] = Choice.of(
            "one-of", augmenters=[choice.table() for choice in EDITS], different=False
        )
        """What makes the two views of a history."""
        contrast: Annotated[Choice, Of("objective")] | None = Choice.of("nt-xent", weight=0.1)
        """Contrast of the two views, whose weight is beta in the paper; none leaves it out."""
        pool: Pool = "places"
        """The vector of a view in that contrast: of its ``last`` place, the ``mean``, or all ``places`` end to end."""
        padding: bool = True
        """Whether views and histories have vectors for padding too, up to the greatest length, which count in their
        comparison and their means, and a masked item is padding; all as in the authors' code.  Otherwise items alone
        count, which takes a fraction of the time."""
        intent: Annotated[Choice, Of("objective")] | None = Choice.of("nt-xent", weight=0.1)
        """Contrast of each view with the intent of its history, whose weight is lambda in the paper; none leaves it
        out."""
        intents: PositiveInt = 256
        """How many intents there are, at most as many as training rows; K in the paper."""
        false_negatives: Literal["keep", "mask"] = "keep"
        """Whether histories of a batch with the same intent are negatives of one another's intents; ``mask`` as the
        paper (false negative mitigation)."""
        warm_up: NonNegativeInt = 0
        """Epochs before intents are looked for."""
        clustering: Clustering = "auto"
        """K-means by ``faiss``, as the authors' code, or by ``torch``; ``auto``: faiss where it is installed."""
        iterations: PositiveInt = 20
        """Of k-means in each epoch."""
        restarts: PositiveInt = 5
        """Random beginnings of k-means, of which the best result counts."""
        warm_start: bool = True
        """Whether k-means begins with the intents of the epoch before; else every epoch begins at random."""

    config: Config
    centroids: Tensor
    """``[intents, dim]``, none before they are looked for."""

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        self.augmenter = augmenter(config.augmenter, data, config.embedding_dim)
        self.contrast = None if config.contrast is None else contrast(config.contrast)
        groups = "groups" if config.false_negatives == "mask" else None
        keep = "--set model.false_negatives=keep"
        self.intent = None if config.intent is None else contrast(config.intent, groups, keep)
        self.clustering = clustering(config.clustering)
        self.remember("centroids", self.items.weight.new_zeros(0, config.embedding_dim))

    def stages(self, epochs: int) -> Sequence[Stage]:
        """What the augmenter has to learn first, then the training."""
        return [*self.augmenter.pretraining(), *super().stages(epochs)]

    def epoch(self, loop: Loop) -> None:
        """Find the intents of all training histories (E-step), then learn with them (M-step)."""
        if self.intent is not None and loop.epoch >= self.config.warm_up:
            self.find_intents()
        super().epoch(loop)

    @torch.no_grad()
    def find_intents(self) -> None:
        """Cluster the means of all training histories."""
        config = self.config
        self.eval()
        users, stops = self.data.asked_in_training(config.targets)
        # Rows of one length together: what is computed for the longest of them is computed for all.
        order = (stops - self.data.sequences.pointers[users]).sort(stable=True).indices
        parts = (self.data.batch(users[some], stops[some], config.targets) for some in torch.split(order, ROWS_AT_ONCE))
        means = torch.cat([self.mean(part.histories) for part in parts])
        self.train()
        start = self.centroids if config.warm_start and len(self.centroids) else None
        found = k_means(means, config.intents, config.iterations, config.restarts, start, self.clustering)
        self.remember("centroids", found)

    @torch.no_grad()
    def mean(self, histories: Histories) -> Tensor:
        """What of each history shows its intent.  ``[rows, dim]``"""
        if self.config.padding:
            histories = histories.padded(self.data.length, self.data.masked)
        return pooled(histories, self.vectors(histories), "mean", self.data.length).float()

    def losses(self, batch: SeqBatch) -> Losses:
        """Loss of the next item and both contrasts."""
        losses = {**super().losses(batch)}
        histories = two_views(self.augmenter, batch.histories, self.data, self.config.padding)
        views = [(view, self.vectors(view)) for view in histories]
        if self.contrast is not None:
            losses["contrast"] = self.contrast(*(pooled(*view, self.config.pool, self.data.length) for view in views))
        if self.intent is not None and len(self.centroids):
            number, _ = nearest(self.mean(batch.histories), self.centroids)
            intents = F.normalize(self.centroids, dim=1)[number]
            groups = {} if self.config.false_negatives == "keep" else {"groups": number}
            means = (pooled(*view, "mean", self.data.length) for view in views)
            losses["intent"] = torch.stack([self.intent(mean, intents, **groups) for mean in means]).mean()
        return losses
