"""Losses of the next item: how well vectors of histories find their targets in the catalogue."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.builtin.softmax import full_precision, log_partition, widened
from sslrec_core.errors import ConfigError
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
    weights: Tensor | None = None
    """How much each prediction counts, not all 0; None for alike.  ``[n]``"""

    def __len__(self) -> int:
        return len(self.targets)

    def positive(self) -> Tensor:
        """Score of each target.  ``[n]``"""
        return (self.vectors * self.items.index_select(0, self.targets)).sum(1)

    def shares(self) -> Tensor:
        """What part of the whole each prediction is; they add up to 1.  ``[n]``, float32 at least"""
        precise = torch.promote_types(self.vectors.dtype, torch.float32)
        if self.weights is None:
            return self.vectors.new_full((len(self),), 1 / max(len(self), 1), dtype=precise)
        return self.weights.to(precise) / self.weights.sum()

    def mean(self, values: Tensor) -> Tensor:
        """The mean of ``values`` ``[n]`` or ``[n, draws]`` over predictions (and draws), a scalar."""
        rows = values if values.dim() == 1 else values.mean(1)
        return rows.mean() if self.weights is None else (self.shares() * rows).sum()


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
            share = predictions.shares() * config.weight
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
        return config.weight * predictions.mean(everything - positive)


class SampledLoss(NextItemLoss):
    """A loss of the target's score against those of drawn items."""

    class Config(NextItemLoss.Config):
        negatives: PositiveInt = 1
        """Items drawn for each prediction."""
        draw: Literal["absent", "uniform", "shared", "batch"] = "absent"
        """``absent``: items that the user did not meet in training, for each prediction its own.  ``uniform``: of the
        whole catalogue, for each its own.  ``shared``: of the whole catalogue, the same for all, which is much
        faster.  ``batch``: of the step's own targets, the same for all, and so by popularity."""

    config: Config

    def scores(self, predictions: Predictions) -> tuple[Tensor, Tensor]:
        """Scores of the targets ``[n]`` and of the drawn items ``[n, negatives]``."""
        config, items, n = self.config, predictions.items, len(predictions)
        if config.draw in ("shared", "batch"):
            several = (config.negatives,)
            if config.draw == "shared":
                drawn = torch.randint(len(items), several, device=items.device)
            else:
                drawn = predictions.targets[torch.randint(n, several, device=items.device)]
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
        return self.config.weight * predictions.mean(F.softplus(-positive) + no)


class GeneralisedBinaryCrossEntropy(SampledLoss):
    """Binary cross-entropy whose yes is tempered by how few items are drawn (Petrov and Macdonald, gSASRec, RecSys'23).

    The chance of the target is raised to the power ``beta`` (eq. 12), which undoes the overconfidence that drawing few
    negatives brings: with ``calibration`` 1 the optimum is the true chance, with 0 this is the plain loss.
    """

    class Config(SampledLoss.Config):
        negatives: PositiveInt = 256
        """Items drawn for each prediction."""
        draw: Literal["absent", "uniform", "shared", "batch"] = "uniform"
        """As in :class:`SampledLoss`."""
        calibration: Annotated[float, Field(ge=0, le=1)] = 0.75
        """How far to undo overconfidence, from 0 to 1; t in the paper."""

    config: Config

    def forward(self, predictions: Predictions) -> Tensor:
        positive, negative = self.scores(predictions)
        share = self.config.negatives / (len(predictions.items) - 1)
        beta = share * (self.config.calibration * (1 - 1 / share) + 1 / share)
        total = beta * F.softplus(-positive) + F.softplus(negative).sum(1)
        return self.config.weight * predictions.mean(total) / (1 + self.config.negatives)


class PairwiseRanking(SampledLoss):
    """The target above each drawn item (Rendle et al., BPR, UAI'09, section 4)."""

    class Config(SampledLoss.Config):
        form: Literal["bpr", "top1"] = "bpr"
        """``bpr``: minus the log of the chance that the target is above.  ``top1``: that chance's complement, and one
        for a drawn item whose score is not 0 (Hidasi et al., GRU4Rec, ICLR'16, section 3.1.3)."""

    config: Config

    def forward(self, predictions: Predictions) -> Tensor:
        positive, negative = self.scores(predictions)
        above = negative - positive[:, None]
        terms = F.softplus(above) if self.config.form == "bpr" else above.sigmoid() + negative.square().sigmoid()
        return self.config.weight * predictions.mean(terms)


class Adapted(nn.Module):
    """An objective that knows nothing of :class:`Predictions`, given the tensors that it asks for.

    First the vectors and those of their targets; then, if it has an argument of that name, ``negatives``, an absent
    item for each, as BPR has, or ``candidates``, the whole catalogue, as InfoNCE has.
    """

    def __init__(self, objective: Objective, name: str) -> None:
        super().__init__()
        self.objective = objective
        parameters = list(inspect.signature(objective.forward).parameters.values())
        needed = {p.name for p in parameters if p.default is p.empty}
        pair = [p.name for p in parameters[:2] if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        others = ("negatives", "candidates")
        self.other = next((p.name for p in parameters[2:] if p.name in others), None)
        if len(pair) < 2 or needed - {*pair, self.other}:
            raise ConfigError(
                f"the objective '{name}' is no loss of the next item",
                "it takes neither predictions, nor two sets of vectors (and then negatives or candidates)",
                fix="--set model.loss=softmax, sampled-softmax, bce, gbce, pairwise, bpr or infonce",
            )

    def forward(self, predictions: Predictions) -> Tensor:
        """What the objective makes of the vectors, those of the targets, and others."""
        items = predictions.items
        others = {}
        if self.other == "negatives":
            others = {"negatives": items.index_select(0, predictions.absent(1).flatten()).unsqueeze(1)}
        elif self.other == "candidates":
            others = {"candidates": items}
        loss: Tensor = self.objective(predictions.vectors, items.index_select(0, predictions.targets), **others)
        return loss


def next_item_loss(objective: Objective, name: str, weighted: bool = False) -> nn.Module:
    """``objective`` as something that is called with :class:`Predictions`.

    Args:
        name: what a message calls it.
        weighted: predictions will have weights, which a plain objective cannot take.

    Raises:
        ConfigError: it does not fit.
    """
    if isinstance(objective, NextItemLoss):
        return objective
    adapted = Adapted(objective, name)
    if weighted:
        raise ConfigError(
            f"the objective '{name}' cannot weigh predictions, which this model asks for",
            fix="--set model.loss=softmax, sampled-softmax, bce, gbce or pairwise",
        )
    return adapted
