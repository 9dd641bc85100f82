"""Losses of the next item: how well vectors of histories find their targets in the catalogue."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.builtin.softmax import full_precision, log_partition, widened
from sslrec_core.model import Objective


@dataclass(frozen=True, eq=False)
class Predictions:
    """Vectors of histories, each with the item that came next, and the catalogue that it came from."""

    vectors: Tensor
    """``[n, dim]``"""
    targets: Tensor
    """``Long[n]``"""
    items: Tensor
    """Vectors of all items.  ``[items, dim]``"""
    counts: Tensor
    """How often each item was met in training.  ``Long[items]``"""
    absent: Callable[[int], Tensor]
    """Draws so many items for each prediction that its user did not meet in training.  ``-> Long[n, draws]``"""

    def __len__(self) -> int:
        return len(self.targets)

    def positive(self) -> Tensor:
        """Score of each target.  ``[n]``"""
        return (self.vectors * self.items.index_select(0, self.targets)).sum(1)


class NextItemLoss(Objective):
    """A loss that is given :class:`Predictions`."""

    class Config(Objective.Config):
        weight: NonNegativeFloat = 1.0
        """Factor of this term."""

    config: Config

    @abstractmethod
    def forward(self, predictions: Predictions) -> Tensor:
        """Mean over predictions, a scalar."""


class FullSoftmax(NextItemLoss):
    """Cross-entropy over the whole catalogue, exact, without a matrix of predictions by items."""

    class Config(NextItemLoss.Config):
        temperature: PositiveFloat = 1.0
        """Divides the scores."""

    config: Config

    def forward(self, predictions: Predictions) -> Tensor:
        config, vectors = self.config, predictions.vectors
        with full_precision(vectors):
            vectors, items = widened(vectors), widened(predictions.items)
            share = vectors.new_full((len(predictions),), config.weight / max(len(predictions), 1))
            together = share @ (vectors * items.index_select(0, predictions.targets)).sum(1) / config.temperature
            return log_partition(vectors, items, share, config.temperature, unit=False) - together


class SampledSoftmax(NextItemLoss):
    """Cross-entropy over the target and a few drawn items that stand for the whole catalogue.

    An item that is drawn with chance ``q`` counts ``1 / (draws q)`` times (the logQ correction), so that the sum is
    that of the full softmax on average; the target itself is not drawn, it is there (Klenitskiy and Vasilev, RecSys'23;
    Khrylchenko et al. 2025).
    """

    class Config(NextItemLoss.Config):
        temperature: PositiveFloat = 1.0
        """Divides the scores."""
        negatives: PositiveInt = 512
        """Items drawn for each step, the same for all predictions."""
        draw: Literal["uniform", "popularity"] = "uniform"
        """All items alike, or as often as they were met in training, and each once more."""
        correct: bool = True
        """Whether to correct for the chance of being drawn."""

    config: Config

    def forward(self, predictions: Predictions) -> Tensor:
        config, items = self.config, predictions.items
        weight = torch.ones_like(predictions.counts) if config.draw == "uniform" else predictions.counts + 1
        edges = weight.cumsum(0)
        ticket = (torch.rand(config.negatives, device=items.device, dtype=torch.float64) * edges[-1]).long()
        drawn = torch.searchsorted(edges, ticket, right=True).clamp(max=len(items) - 1)
        negative = predictions.vectors @ items.index_select(0, drawn).T / config.temperature
        if config.correct:
            negative = negative - (config.negatives * weight[drawn] / edges[-1]).log().to(negative.dtype)
        negative = negative.masked_fill(drawn == predictions.targets[:, None], -torch.inf)
        positive = predictions.positive() / config.temperature
        everything = torch.cat([positive[:, None], negative], dim=1).logsumexp(1)
        return config.weight * (everything - positive).mean()


class SampledLoss(NextItemLoss):
    """A loss of the target's score against those of drawn items."""

    class Config(NextItemLoss.Config):
        negatives: PositiveInt = 1
        """Items drawn for each prediction."""
        draw: Literal["absent", "uniform", "shared"] = "absent"
        """``absent``: items that the user did not meet in training, for each prediction its own.  ``uniform``: of the
        whole catalogue, for each its own.  ``shared``: of the whole catalogue, the same for all, which is much
        faster."""

    config: Config

    def scores(self, predictions: Predictions) -> tuple[Tensor, Tensor]:
        """Scores of the targets ``[n]`` and of the drawn items ``[n, negatives]``."""
        config, items, n = self.config, predictions.items, len(predictions)
        if config.draw == "shared":
            drawn = torch.randint(len(items), (config.negatives,), device=items.device)
            return predictions.positive(), predictions.vectors @ items.index_select(0, drawn).T
        if config.draw == "absent":
            drawn = predictions.absent(config.negatives)
        else:
            drawn = torch.randint(len(items), (n, config.negatives), device=items.device)
        vectors = items.index_select(0, drawn.flatten()).view(n, config.negatives, -1)
        return predictions.positive(), (vectors @ predictions.vectors.unsqueeze(2)).squeeze(2)


class BinaryCrossEntropy(SampledLoss):
    """Each target is a yes, each drawn item a no (Kang and McAuley, SASRec, ICDM'18, eq. 9)."""

    class Config(SampledLoss.Config):
        average: bool = False
        """Divide the sum over the drawn items by their number, so that they weigh as much as the target."""

    config: Config

    def forward(self, predictions: Predictions) -> Tensor:
        positive, negative = self.scores(predictions)
        no = F.softplus(negative)
        no = no.mean(1) if self.config.average else no.sum(1)
        return self.config.weight * (F.softplus(-positive) + no).mean()


class GeneralisedBinaryCrossEntropy(SampledLoss):
    """Binary cross-entropy whose yes is tempered by how few items are drawn (Petrov and Macdonald, gSASRec, RecSys'23).

    The chance of the target is raised to the power ``beta`` (eq. 12), which undoes the overconfidence that drawing few
    negatives brings: with ``calibration`` 1 the optimum is the true chance, with 0 this is the plain loss.
    """

    class Config(SampledLoss.Config):
        negatives: PositiveInt = 256
        """Items drawn for each prediction."""
        draw: Literal["absent", "uniform", "shared"] = "uniform"
        """As in :class:`SampledLoss`."""
        calibration: Annotated[float, Field(ge=0, le=1)] = 0.75
        """How far to undo overconfidence, from 0 to 1; t in the paper."""

    config: Config

    def forward(self, predictions: Predictions) -> Tensor:
        positive, negative = self.scores(predictions)
        share = self.config.negatives / (len(predictions.items) - 1)
        beta = share * (self.config.calibration * (1 - 1 / share) + 1 / share)
        total = beta * F.softplus(-positive) + F.softplus(negative).sum(1)
        return self.config.weight * total.mean() / (1 + self.config.negatives)


class PairwiseRanking(SampledLoss):
    """The target above each drawn item (Rendle et al., BPR, UAI'09, section 4)."""

    def forward(self, predictions: Predictions) -> Tensor:
        positive, negative = self.scores(predictions)
        return self.config.weight * F.softplus(negative - positive[:, None]).mean()
