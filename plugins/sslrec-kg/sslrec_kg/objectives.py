"""Objectives over the triples of a knowledge graph, and over what is mixed from its relations."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveFloat
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

    def project(self, points: Tensor, relation: int) -> Tensor:
        """``points`` ``[n, dim]`` in the space where ``relation`` carries heads to tails."""
        return points if self.projection is None else points @ self.projection[relation]

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


class Independence(Objective):
    """Intents that say different things (KGIN, WWW'21, section 3.1.2)."""

    class Config(Objective.Config):
        weight: NonNegative = 1e-4
        """Factor of this term."""
        form: Literal["distance", "cosine", "mi"] = "distance"
        """``distance``: distance correlation of each pair.  ``cosine``: squared cosine of each pair, of
        the authors' code.  ``mi``: a bound on mutual information, ``-log(exp(c_pp / t) / sum_q exp(c_pq / t))`` with
        cosines ``c``."""
        temperature: PositiveFloat = 0.2
        """Divides the cosines of ``mi``."""

    config: Config

    def forward(self, intents: Tensor) -> Tensor:
        """Sum over pairs of rows of ``[intents, numbers]``; for ``mi`` over rows, each told from all."""
        config = self.config
        if config.form == "distance":
            return config.weight * distance_correlation(intents).triu(1).sum()
        unit = F.normalize(intents, dim=1)
        cosine = unit @ unit.T
        if config.form == "cosine":
            return config.weight * cosine.square().triu(1).sum()
        own = cosine.diagonal() / config.temperature
        return config.weight * ((cosine / config.temperature).logsumexp(1) - own).sum()


def distance_correlation(x: Tensor) -> Tensor:
    """Distance correlation of each row of ``x`` with each, taken as samples of one number (Székely et al., 2007).

    Args:
        x: ``[rows, samples]``.

    Returns:
        ``[rows, rows]``, 0 for independent rows and 1 for a row and itself.
    """
    # Small numbers keep the roots differentiable; their places and sizes are those of KGIN's code.
    tiny = 1e-8
    distance = ((x[:, :, None] - x[:, None, :]).square() + tiny).sqrt()
    centred = distance - distance.mean(1, keepdim=True) - distance.mean(2, keepdim=True)
    centred = (centred + distance.mean((1, 2), keepdim=True)).flatten(1)
    covariance = ((centred @ centred.T / x.shape[1] ** 2).clamp_min(0) + tiny).sqrt()
    variance = covariance.diagonal()
    return covariance / (variance[:, None] * variance[None] + tiny).sqrt()
