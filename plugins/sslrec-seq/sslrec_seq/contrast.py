"""Contrast between two views of each row, with the other rows of the batch as negatives."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sslrec_core.builtin.softmax import full_precision, log_partition, widened
from sslrec_core.choice import Choice
from sslrec_core.errors import ConfigError
from sslrec_core.model import Objective

BLOCK = 256
"""Columns that are multiplied together where rows begin with zeros: a few places of a history."""

FAINT = 60.0
"""How far below the greatest logit of its row a negative is left out: it counts e^-60 of that, nothing in float32.

Its gradient would count as little, but be too small to be a normal number, and with such a CPU multiplies much slower.
"""


def contrast(choice: Choice, also: str | None = None, fix: str = "") -> Objective:
    """The objective that a config names, to compare two vectors of each row.

    Args:
        also: the name of what it will be given beside those two, such as ``groups`` or ``candidates``.
        fix: what to do where it does not take ``also``.

    Raises:
        ConfigError: it cannot be called like that.
    """
    objective: Objective = choice.build()
    parameters = inspect.signature(objective.forward).parameters
    first = [p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:2]
    if len(first) < 2 or any(p.default is p.empty for p in parameters.values() if p not in first):
        raise ConfigError(
            f"the objective '{choice.name}' compares no views: it is not called with two sets of vectors alone",
            fix="take nt-xent or infonce, or another that is",
        )
    if also is not None and also not in parameters:
        raise ConfigError(f"the objective '{choice.name}' does not take {also} to contrast with", fix=fix)
    return objective


class NTXent(Objective):
    """Each view finds the other view of its row among both views of all rows (Chen et al., SimCLR, ICML'20, eq. 1).

    That is the contrast of CL4SRec (Xie et al., ICDE'22), CoSeRec, DuoRec and ICLRec: for each of the ``2b`` vectors
    the ``2(b - 1)`` of other rows are negatives.  A matrix of ``2b`` times ``2b`` similarities is kept.
    """

    class Config(Objective.Config):
        weight: NonNegativeFloat = 1.0
        """Factor of this term."""
        temperature: PositiveFloat = 1.0
        """Divides the similarities; the smaller, the more the nearest negatives count."""
        normalise: bool = False
        """Compare directions (cosine) instead of vectors (dot product)."""

    config: Config

    def forward(
        self, one: Tensor, other: Tensor, groups: Tensor | None = None, candidates: Tensor | None = None
    ) -> Tensor:
        """``-x.y/t + log sum_k exp(x.e_k/t)``, the mean over all views ``x`` and their counterparts ``y``: a scalar.

        Args:
            one: ``[b, dim]``
            other: the other view of each row, ``[b, dim]``
            groups: rows with equal numbers are no negatives of one another (false negatives, such as rows with the same
                target or intent), ``Long[b]``; None where every other row is a negative.
            candidates: what ``one`` alone is compared with instead, ``[k, dim]``, ``other`` among them, such as a queue
                of views (He et al., MoCo, CVPR'20, eq. 1); ``other`` is then no anchor.
        """
        config = self.config
        if groups is not None and candidates is not None:
            raise ValueError("candidates belong to no group: give groups or candidates, not both")
        with full_precision(one):
            one, other = self._unit(one), self._unit(other)
            if candidates is not None:
                return self._among(one, other, self._unit(candidates))
            views = torch.cat([one, other])
            logits = (gram(views) / config.temperature).masked_fill(self._no_negatives(one, groups), -torch.inf)
            counterparts = torch.arange(len(views), device=views.device).roll(len(one))
            faint = (logits < logits.amax(1, keepdim=True) - FAINT).scatter(1, counterparts[:, None], False)
            return config.weight * F.cross_entropy(logits.masked_fill(faint, -torch.inf), counterparts)

    def _no_negatives(self, one: Tensor, groups: Tensor | None) -> Tensor:
        """Which pairs of views are left out: each with itself, and rows of one group.  ``Bool[2b, 2b]``"""
        itself = torch.eye(len(one), dtype=torch.bool, device=one.device)
        among = itself if groups is None else groups[:, None] == groups
        across = torch.zeros_like(itself) if groups is None else among & ~itself
        return torch.cat([torch.cat([among, across], 1), torch.cat([across, among], 1)])

    def _among(self, anchors: Tensor, positives: Tensor, candidates: Tensor) -> Tensor:
        config = self.config
        share = anchors.new_full((len(anchors),), config.weight / len(anchors))
        together = share @ (anchors * positives).sum(1) / config.temperature
        return log_partition(anchors, candidates, share, config.temperature, unit=config.normalise) - together

    def _unit(self, x: Tensor) -> Tensor:
        return F.normalize(widened(x), dim=-1) if self.config.normalise else widened(x)


def gram(x: Tensor) -> Tensor:
    """``x @ x.T``, ``[n, dim] -> [n, n]``, sooner where many rows begin with zeros.

    Such are the places of histories end to end, most of them short.  Only the CPU looks: elsewhere the product takes
    less than finding out.
    """
    if not x.is_cpu or x.shape[1] <= BLOCK:
        return x @ x.T
    apply: Any = _Gram.apply
    products: Tensor = apply(x)
    return products


class _Gram(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        n, blocks = len(x), torch.split(x, BLOCK, dim=1)
        begun = torch.stack([block.any(1) for block in blocks])
        # Rows in the order in which they begin: what is not zero in a block are then its first rows.
        first = begun.int().argmax(0)
        order = first.argsort()
        rows = first.bincount(minlength=len(blocks)).cumsum(0).tolist()
        parts = [block[order[:count]] for block, count in zip(blocks, rows, strict=True)]
        products = x.new_zeros(n, n)
        for part in parts:
            products[: len(part), : len(part)].addmm_(part, part.T)
        ctx.save_for_backward(order, *parts)
        back = order.argsort()
        return products[back][:, back]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        order, *parts = ctx.saved_tensors
        of_pairs = (gradient + gradient.T)[:, order]
        of_x = gradient.new_empty(len(order), sum(part.shape[1] for part in parts))
        for block, part in zip(torch.split(of_x, BLOCK, dim=1), parts, strict=True):
            torch.mm(of_pairs[:, : len(part)], part, out=block)
        return of_x
