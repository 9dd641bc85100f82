"""Objectives over the triples of a knowledge graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.config import NonNegative
from sslrec_core.model import Objective


class Translation(Objective):
    """A relation carries its head to its tail, closer than to a tail that is not known.

    ``-log sigmoid(|h + r - t'|^2 - |h + r - t|^2)``, the mean over triples: TransE with the ranking loss of KGAT
    (KDD'19, equation 2).  With a projection per relation, ``h W_r`` and ``t W_r`` take the places of ``h`` and
    ``t``: TransR (KGAT, equation 1).
    """

    class Config(Objective.Config):
        weight: NonNegative = 1.0
        """Factor of the whole term."""
        l2: NonNegative = 1e-3
        """Factor of half the squared length of the vectors, per triple."""

    config: Config

    def __init__(self, config: Config, dim: int, projected_relations: int = 0) -> None:
        """Args: ``projected_relations``: how many relations get a ``dim x dim`` projection; 0 is TransE."""
        super().__init__(config)
        self.projection: nn.Parameter | None = None
        if projected_relations:
            self.projection = nn.Parameter(torch.empty(projected_relations, dim, dim))
            bound = (6 / (2 * dim)) ** 0.5  # Glorot's uniform initialisation of each relation's matrix
            nn.init.uniform_(self.projection, -bound, bound)

    def forward(self, heads: Tensor, relations: Tensor, tails: Tensor, corrupted: Tensor, relation: Tensor) -> Tensor:
        """The weighted loss of one batch.

        Args:
            heads, relations, tails, corrupted: Vectors ``[triples, dim]``.
            relation: Relation ids ``[triples]``; they pick the projections.
        """
        if self.projection is not None:
            matrices = self.projection[relation]
            stacked = torch.stack([heads, tails, corrupted], dim=1) @ matrices
            heads, tails, corrupted = stacked.unbind(1)
        moved = heads + relations
        known = (moved - tails).square().sum(-1)
        unknown = (moved - corrupted).square().sum(-1)
        lengths = sum(v.square().sum(-1) for v in (heads, relations, tails, corrupted)) / 2
        return self.config.weight * (F.softplus(known - unknown) + self.config.l2 * lengths).mean()
