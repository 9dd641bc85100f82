"""Caser: convolutions over the latest items, beside a vector of the user, look for the next few items.

Tang and Wang, "Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding", WSDM'18.  Windows
slide over each training sequence, those that begin before it included; what is missing there is zero, where the
authors' code has a vector for it that learns.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from sslrec_core.choice import Choice, Of
from sslrec_core.model import Losses
from sslrec_seq.data import SeqBatch, SeqData, Targets
from sslrec_seq.histories import Histories
from sslrec_seq.masking import Places
from sslrec_seq.next_item import NextItem


class Caser(NextItem):
    """Convolutional sequence embedding, personalised (Caser, WSDM'18)."""

    class Config(NextItem.Config):
        encoder: Annotated[Choice, Of("encoder")] = Choice.of("caser")
        """What turns the latest items into a vector (section 3.2)."""
        loss: Annotated[Choice, Of("objective")] = Choice.of("bce", negatives=3, average=True)
        """Loss of the next items; with three negatives as the paper (eq. 12), averaged as in the authors' code."""
        targets: Targets = "all"
        """What a training row predicts; ``all`` slides a window over it, as the paper."""
        ahead: PositiveInt = 3
        """How many items after a window are to be found; T in the paper.  More than one needs ``targets = "all"``."""

        @model_validator(mode="after")
        def _known(self) -> Caser.Config:
            if self.ahead > 1 and self.targets != "all":
                raise ValueError(f"ahead={self.ahead} needs targets=all: rows of '{self.targets}' ask for one item")
            return self

    config: Config
    weighs: ClassVar[bool] = True
    asks_users: ClassVar[bool] = True
    folds_in: ClassVar[bool] = False

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        dim = config.embedding_dim
        self.users = nn.Embedding(data.n_users, dim)
        self.output = nn.Embedding(data.n_items, 2 * dim)
        self.bias = nn.Parameter(torch.zeros(data.n_items))
        for table in (self.users, self.output):
            nn.init.normal_(table.weight, std=1 / table.embedding_dim)

    @property
    def catalogue(self) -> Tensor:
        """The output layer, each item with its bias (eq. 10).  ``[items, 2 dim + 1]``"""
        return torch.cat([self.output.weight, self.bias[:, None]], dim=1)

    def personal(self, vectors: Tensor, users: Tensor) -> Tensor:
        """What is compared with the output layer (eq. 10).  ``[n, dim], Long[n] -> [n, 2 dim + 1]``"""
        return torch.cat([vectors, self.users(users), torch.ones_like(vectors[:, :1])], dim=1)

    def losses(self, batch: SeqBatch) -> Losses:
        """The loss of the items after each window (eq. 12)."""
        vectors = self.personal(self.vectors(batch.histories).index_select(0, batch.at), batch.owners)
        asking, found, weights = next_few(batch, self.config.ahead)
        owners = batch.owners.index_select(0, asking)
        predictions = self.asked(vectors.index_select(0, asking), batch.targets[found], owners, weights)
        return {"next": self.loss(predictions)}

    def asking(self, histories: Histories, users: Tensor | None) -> Tensor:
        """What histories and users are, beside the output layer.  ``[rows, 2 dim + 1]``"""
        assert users is not None, "Caser has a vector for each user that it was trained on, and for nobody else"
        return self.personal(super().asking(histories, users), users)


def next_few(batch: SeqBatch, ahead: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Which prediction asks, and for which one's target: its own and those of the next ones in its row.

    Returns:
        Both as places in ``batch.targets``, ``Long[n]`` each, and weights, 0 where a row has no more ``[n]``.
    """
    rows = batch.histories.rows.index_select(0, batch.at)
    after = torch.arange(len(rows), device=rows.device)[:, None] + torch.arange(ahead, device=rows.device)
    found = after.clamp(max=len(rows) - 1)
    there = (after == found) & (rows[found] == rows[:, None])
    places = Places.of(there.flatten(), there.numel())
    return places.slots // ahead, found.flatten()[places.slots], places.weights
