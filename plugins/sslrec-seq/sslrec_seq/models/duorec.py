"""DuoRec: two passes with different dropout, or two histories with the same next item, should look alike.

Qiu, Huang, Yin and Wang, "Contrastive Learning for Representation Degeneration Problem in Sequential Recommendation",
WSDM'22.  Where the paper and the authors' code differ, defaults follow the code, which printed the published results:
rows with the same target stay negatives of one another.  There padding is one more item to predict; here it is none.
The items that a user has met are ranked as well there, in RecBole, and published figures are of that ranking, which is
``scenario.hide_met=false`` here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from sslrec_core.choice import Choice, Of
from sslrec_core.model import Losses, Objective
from sslrec_seq.contrast import contrast
from sslrec_seq.data import SeqBatch, SeqData, Targets
from sslrec_seq.histories import Histories
from sslrec_seq.next_item import NextItem


class DuoRec(NextItem):
    """Contrast of dropout and of histories with the same target, beside the loss of the next item (DuoRec, WSDM'22)."""

    class Config(NextItem.Config):
        encoder: Annotated[Choice, Of("encoder")] = Choice.of("transformer", positions="start")
        """What turns a history into vectors; positions are counted from the start in the authors' code."""
        unsupervised: Annotated[Choice, Of("objective")] | None = Choice.of("nt-xent", weight=0.1)
        """Contrast of a history with itself under other dropout (unsupervised augmentation); none leaves it out."""
        supervised: Annotated[Choice, Of("objective")] | None = Choice.of("nt-xent", weight=0.1)
        """Contrast with another history that has the same target (supervised augmentation); none leaves it out."""
        crossed: bool = True
        """Where both are there: one contrast, by ``supervised``, of the pass under other dropout with the history of
        the same target, as the paper's loss is (``us_x`` in the authors' code).  Otherwise two contrasts, each with
        the pass that predicts (``us``)."""
        false_negatives: Literal["keep", "mask"] = "keep"
        """Whether histories of a batch with the same target are negatives of one another; ``keep`` as the authors'
        code."""

    config: Config

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        groups = "groups" if config.false_negatives == "mask" else None
        self.unsupervised, self.supervised = (
            None if choice is None else contrast(choice, groups, fix="--set model.false_negatives=keep")
            for choice in (config.unsupervised, config.supervised)
        )
        self.same_target = SameTarget(data, config.targets)

    def losses(self, batch: SeqBatch) -> Losses:
        """Loss of the next item, and the contrasts."""
        found = self.asking_places(batch)
        losses = {"next": self.loss(self.predictions(batch, found))}
        if self.unsupervised is not None and self.supervised is not None and self.config.crossed:
            losses["contrast"] = self.apart(self.supervised, self.again(batch), self.alike(batch), batch)
            return losses
        own = found.index_select(0, batch.histories.last)
        if self.unsupervised is not None:
            losses["unsupervised"] = self.apart(self.unsupervised, own, self.again(batch), batch)
        if self.supervised is not None:
            losses["supervised"] = self.apart(self.supervised, own, self.alike(batch), batch)
        return losses

    def again(self, batch: SeqBatch) -> Tensor:
        """Vectors of the same histories under other dropout.  ``[rows, dim]``"""
        return self.summary(batch.histories)

    def alike(self, batch: SeqBatch) -> Tensor:
        """Vectors of histories with the same targets.  ``[rows, dim]``"""
        return self.summary(self.same_target.draw(batch.stops))

    def apart(self, contrast: Objective, one: Tensor, other: Tensor, batch: SeqBatch) -> Tensor:
        """The loss of two vectors for each row, ``[rows, dim]`` each: a scalar."""
        if self.config.false_negatives == "keep":
            loss: Tensor = contrast(one, other)
        else:
            loss = contrast(one, other, groups=self.data.sequences.items[batch.stops])
        return loss


class SameTarget:
    """For each training row, the other rows with the same target."""

    def __init__(self, data: SeqData, targets: Targets) -> None:
        self.data = data
        self.users, self.stops = data.asked_in_training(targets)
        items = data.sequences.items
        found = items[self.stops]
        self.counts = torch.bincount(found, minlength=data.n_items)
        self.starts = self.counts.cumsum(0) - self.counts
        self.rows = found.sort(stable=True).indices
        rank = torch.arange(len(found), device=items.device) - self.starts[found[self.rows]]
        self.rank_at = torch.zeros_like(items).index_copy(0, self.stops[self.rows], rank)
        self.longest = min(data.length, data.training.longest - 1)

    def partners(self, stops: Tensor) -> Tensor:
        """A random other row with the target of each place ``stops``; the row itself where there is no other.

        ``Long[n] -> Long[n]``
        """
        target = self.data.sequences.items[stops]
        others, own = self.counts[target] - 1, self.rank_at[stops]
        drawn = (torch.rand(len(stops), device=stops.device, dtype=torch.float64) * others).long()
        # Those behind the row itself are counted without it.
        drawn = torch.where(others > 0, drawn + (drawn >= own).long(), own)
        return self.rows[self.starts[target] + drawn]

    def draw(self, stops: Tensor) -> Histories:
        """The history of such a row for each of ``stops``."""
        rows = self.partners(stops)
        return self.data.sequences.before_unread(self.users[rows], self.stops[rows], self.longest)
