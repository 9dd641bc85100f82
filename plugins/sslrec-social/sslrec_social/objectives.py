"""Objectives of social recommenders."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.builtin.objectives import Reduction
from sslrec_core.config import NonNegative, Rate
from sslrec_core.model import Objective


class Averages(Protocol):
    """Something whose product with vectors is, for each node, a mean over nodes near it."""

    def __matmul__(self, x: Tensor) -> Tensor: ...


class HierarchicalInfomax(Objective):
    """Users know their neighbourhood, and neighbourhoods the whole graph (Yu et al., MHCN, WWW 2021, section 3.3).

    With ``e = H x`` the neighbourhoods and ``g`` the mean of ``e``, each user ranks the own neighbourhood above that of
    another user, and this above one whose dimensions are shuffled too; each neighbourhood ranks itself above a shuffled
    one by the product with ``g``.
    """

    class Config(Objective.Config):
        weight: NonNegativeFloat = 0.01
        """Factor of this term; beta in the paper."""
        normalise: bool = False
        """Scale users to unit length first, which a comment in the authors' code asks for on Douban."""

    config: Config

    def forward(self, graph: Averages, x: Tensor) -> Tensor:
        """The weighted sum over all nodes, a scalar.

        Args:
            graph: ``H``, which makes ``[n, dim]`` out of ``[n, dim]``.
            x: ``[n, dim]``
        """
        if self.config.normalise:
            x = F.normalize(x, dim=1)
        around = graph @ x
        own = (x * around).sum(1)
        foreign = (_rows_shuffled(x) * around).sum(1)
        corrupted = (_shuffled(around) * x).sum(1)
        local = F.softplus(foreign - own).sum() + F.softplus(corrupted - foreign).sum()
        whole = around.mean(0)
        overall = F.softplus((_shuffled(around) - around) @ whole).sum()
        return self.config.weight * (local + overall)


def _rows_shuffled(x: Tensor) -> Tensor:
    return x.index_select(0, torch.randperm(x.shape[0], device=x.device))


def _shuffled(x: Tensor) -> Tensor:
    """Dimensions in another order, the same for all, and rows in another order."""
    return _rows_shuffled(x.index_select(1, torch.randperm(x.shape[1], device=x.device)))


class SelfAugmented(Objective):
    """Ties say that two users are alike only where what they chose says so too (Wang et al., DSL, IJCAI 2023).

    From the vectors ``a``, ``b`` that two users have by their interactions a network estimates how alike they are,
    ``z = sigmoid(w' (LeakyReLU(W [a; b]) + a + b))``, and with their vectors ``a'``, ``b'`` by ties the loss is
    ``max(0, 1 - z <a', b'>)``: users who seem unlike each other are hardly drawn together.
    """

    class Config(Objective.Config):
        weight: NonNegative = 1e-5
        """Factor of this term."""
        dropout: Rate = 0.5
        """Dropout inside the network, after each of its two layers."""
        negative_slope: NonNegativeFloat = 0.5
        """Slope of the LeakyReLU below zero."""
        reduction: Reduction = "sum"
        """Sum over pairs, as the authors' code, or mean."""

    config: Config

    def __init__(self, config: Config, dim: int) -> None:
        super().__init__(config)
        self.mix, self.rate = nn.Linear(2 * dim, dim), nn.Linear(dim, 1)
        self.dropout = nn.Dropout(config.dropout)

    def likeness(self, one: Tensor, other: Tensor) -> Tensor:
        """How alike two users are by their interactions, between 0 and 1: ``[pairs, dim]`` twice -> ``[pairs]``."""
        mixed = self.dropout(self.mix(torch.cat([one, other], dim=1)))
        mixed = F.leaky_relu(mixed, self.config.negative_slope) + one + other
        return torch.sigmoid(self.dropout(self.rate(mixed))).squeeze(1)

    def forward(self, one: Tensor, other: Tensor, one_by_ties: Tensor, other_by_ties: Tensor) -> Tensor:
        """The weighted loss, a scalar.

        Args:
            one, other: users of each pair by their interactions, ``[pairs, dim]``.
            one_by_ties, other_by_ties: the same users by their ties, ``[pairs, dim]``.
        """
        loss = F.relu(1 - self.likeness(one, other) * (one_by_ties * other_by_ties).sum(1))
        return self.config.weight * (loss.mean() if self.config.reduction == "mean" else loss.sum())


class SquaredError(Objective):
    """Chances that a user likes an item, as near to 1 and 0 as can be (the code of DiffNet, Wu et al., SIGIR 2019)."""

    class Config(Objective.Config):
        weight: NonNegativeFloat = 1.0
        """Factor of this term."""
        reduction: Reduction = "mean"
        """Mean over pairs, or sum, as the authors' code."""

    config: Config

    def forward(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Half the squared errors of ``sigmoid(u.i)``, 1 for positives and 0 for negatives, added up for each pair.

        Args:
            users: ``[b, dim]``
            positives: ``[b, dim]``
            negatives: ``[b, n, dim]``
        """
        liked = torch.sigmoid((users * positives).sum(1))
        others = torch.sigmoid((users[:, None] * negatives).sum(2))
        errors = ((1 - liked).square() + others.square().sum(1)) / 2
        return self.config.weight * (errors.mean() if self.config.reduction == "mean" else errors.sum())


def squared_length(tensors: Iterable[Tensor]) -> Tensor:
    """Half the sum of all squares, of whole tables and matrices: a scalar."""
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum() / 2
