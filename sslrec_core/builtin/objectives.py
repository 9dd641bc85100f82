"""Objectives that several scenarios share: ranking, contrast, regularisation, alignment and uniformity."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.builtin.softmax import full_precision, log_mean_potential, log_partition, widened
from sslrec_core.model import Objective

Reduction = Literal["mean", "sum"]


class BPR(Objective):
    """Known items above sampled ones, for each user (Rendle et al., UAI 2009, section 4)."""

    class Config(Objective.Config):
        weight: NonNegativeFloat = 1.0
        """Factor of this term."""
        reduction: Reduction = "mean"
        """Mean over pairs and negatives, as current code does, or sum, as the paper does."""

    config: Config

    def forward(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """``-log sigmoid(u.p - u.n)``, reduced to a scalar.

        Args:
            users: ``[b, dim]``
            positives: ``[b, dim]``
            negatives: ``[b, n, dim]``, or ``[b, dim]`` for one each.
        """
        if negatives.dim() == 2:
            negatives = negatives[:, None]
        below = (users[:, None] * (negatives - positives[:, None])).sum(-1)
        loss = F.softplus(below)
        return self.config.weight * (loss.mean() if self.config.reduction == "mean" else loss.sum())


class InfoNCE(Objective):
    """Two views of one thing close together, those of other things apart (Wu et al., SGL, SIGIR 2021, section 3.2).

    The denominator runs over all candidates, exactly, and the positive should be one of them.  No matrix of anchors by
    candidates is kept; sums are in float32 under autocast.
    """

    class Config(Objective.Config):
        weight: NonNegativeFloat = 1.0
        """Factor of this term."""
        temperature: PositiveFloat = 0.2
        """Divides the similarities; the smaller, the more the nearest candidates count."""
        normalise: bool = True
        """Compare directions (cosine) instead of vectors (dot product)."""
        reduction: Reduction = "mean"
        """Mean over anchors, or sum."""

    config: Config

    def forward(
        self, anchors: Tensor, positives: Tensor, candidates: Tensor | None = None, counts: Tensor | None = None
    ) -> Tensor:
        """``-x.y/t + log sum_k exp(x.e_k/t)`` over anchors ``x`` and their positives ``y``, reduced to a scalar.

        Args:
            anchors: ``[b, dim]``
            positives: the other view of each anchor, ``[b, dim]``
            candidates: ``[k, dim]``; None for the positives themselves (in-batch).
            counts: how often each pair counts, ``[b]``; 0 leaves a pair out altogether, in-batch as a candidate too.
        """
        config = self.config
        with full_precision(anchors):
            anchors, positives = self._unit(anchors), self._unit(positives)
            weights = anchors.new_ones(len(anchors)) if counts is None else counts.to(anchors.dtype)
            candidate_counts = None if candidates is not None or counts is None else weights
            others = positives if candidates is None else self._unit(candidates)
            scale = config.weight / weights.sum() if config.reduction == "mean" else config.weight
            weights = weights * scale
            together = weights @ (anchors * positives).sum(1) / config.temperature
            apart = log_partition(anchors, others, weights, config.temperature, candidate_counts, unit=config.normalise)
            return apart - together

    def _unit(self, x: Tensor) -> Tensor:
        return F.normalize(widened(x), dim=-1) if self.config.normalise else widened(x)


class L2(Objective):
    """Half the squared length of the batch's vectors, per row (He et al., LightGCN, SIGIR 2020, eq. 15)."""

    class Config(Objective.Config):
        weight: NonNegativeFloat = 1e-4
        """Factor of this term."""
        form: Literal["squared", "norm"] = "squared"
        """``squared``: half the sum of squares.  ``norm``: its root, of each tensor, as the code of SimGCL and XSimGCL
        has it; with the same weight that is next to nothing."""

    config: Config

    def forward(self, *tensors: Tensor) -> Tensor:
        """Sum over ``tensors`` ``[b, ...]``, divided by ``b``: a scalar."""
        if self.config.form == "squared":
            terms = [tensor.square().sum() / 2 for tensor in tensors]
        else:
            terms = [torch.linalg.vector_norm(tensor) for tensor in tensors]
        return self.config.weight / len(tensors[0]) * torch.stack(terms).sum()


class AlignmentUniformity(Objective):
    """Users near their items, and each spread over the sphere (Wang et al., DirectAU, KDD 2022)."""

    class Config(Objective.Config):
        weight: NonNegativeFloat = 1.0
        """Factor of this term."""
        uniformity: NonNegativeFloat = 1.0
        """Factor of uniformity beside alignment; gamma in the paper."""
        sharpness: PositiveFloat = 2.0
        """How fast the potential between two vectors falls with their distance."""

    config: Config

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Alignment of ``users`` and ``items``, ``[b, dim]`` each, plus the mean uniformity of both: a scalar."""
        config = self.config
        with full_precision(users):
            users, items = (F.normalize(widened(x), dim=-1) for x in (users, items))
            alignment = (users - items).square().sum(1).mean()
            spread = log_mean_potential(users, config.sharpness) + log_mean_potential(items, config.sharpness)
            return config.weight * (alignment + config.uniformity * spread / 2)
