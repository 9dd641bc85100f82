"""The scenario ``cf``: interactions as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sslrec_core.data import Interactions, PairBatch, Prepared, Queries, Raw, Scenario
from sslrec_core.graph import SparseGraph
from sslrec_core.ingest.prepare import prepare_interactions
from sslrec_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    from sslrec_core.settings import TrainConfig


@dataclass(frozen=True, eq=False)
class CFData:
    """Who interacted with what, and nothing else."""

    interactions: Interactions

    @property
    def n_users(self) -> int:
        return self.interactions.n_users

    @property
    def n_items(self) -> int:
        return self.interactions.n_items

    @property
    def users(self) -> Vocabulary:
        return self.interactions.users

    @property
    def items(self) -> Vocabulary:
        return self.interactions.items

    @property
    def graph(self) -> SparseGraph:
        """Users and items, as :attr:`Interactions.graph`."""
        return self.interactions.graph

    def to(self, device: torch.device | str) -> CFData:
        return CFData(self.interactions.to(device))

    def batches(
        self, train: TrainConfig, generator: torch.Generator | None = None, rank: int = 0, world: int = 1
    ) -> Iterator[PairBatch]:
        """One epoch of interactions with sampled negatives."""
        return self.interactions.batches(train, generator, rank, world)

    def queries(
        self, split: str, size: int, hide: str = "train+valid", users: Tensor | None = None
    ) -> Iterator[Queries]:
        """Users with something to find in ``split``, or the given ``users``."""
        return self.interactions.queries(split, size, hide, users)


class CF(Scenario):
    """Collaborative filtering: recommendation from interactions alone."""

    def process(self, raw: Raw) -> Prepared:
        """Number users and items, filter, split; tables other than ``interactions`` are not looked at.

        Raises:
            DataError: as :func:`sslrec_core.ingest.prepare.prepare_interactions`.
        """
        return prepare_interactions(raw, self.config)

    def data(self, prepared: Prepared) -> CFData:
        return CFData(Interactions.of(prepared))
