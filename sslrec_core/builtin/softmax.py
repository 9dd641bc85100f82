"""Exact sums over all candidates in one pass: nothing as large as anchors times candidates is ever kept.

A portion of the anchors at a time meets all candidates; their similarities are raised to exponentials in place, and the
gradients of both sides are made from them at once, since a scalar at the end needs nothing more.  Twice as fast as
the plain expression, and its memory is one portion.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from sslrec_core.compiling import untraced

CACHE_BYTES = 16 * 2**20
"""Size of a portion on the CPU: it has to stay in the last cache between one product and the next."""
DEVICE_BYTES = 512 * 2**20
"""Size of a portion elsewhere, where fewer and larger kernels win."""
LANES = 16
"""Candidates are filled up to a multiple of this: rows that start off the vector width more than double a product."""
LARGEST_FALL = 80.0
"""How far a logit may lie below the constant that is subtracted before its exponential underflows in float32."""


@untraced
def log_partition(
    anchors: Tensor,
    candidates: Tensor,
    weights: Tensor,
    temperature: float,
    counts: Tensor | None = None,
    *,
    unit: bool = True,
) -> Tensor:
    """``sum_b w_b log sum_k c_k exp(x_b . e_k / temperature)``, with gradients in ``x`` and ``e``.

    Args:
        anchors: ``x``, ``[b, dim]``, float32 or float64.
        candidates: ``e``, ``[k, dim]``.
        weights: ``w``, ``[b]``; no gradient.
        temperature: divides all similarities.
        counts: ``c``, ``[k]``, how often each candidate counts, not all 0; None for once.  No gradient.
        unit: rows have length 1, so that no logit exceeds ``1 / temperature``; otherwise each row's largest is found.

    Returns:
        a scalar, differentiable once.
    """
    learning = torch.is_grad_enabled() and (anchors.requires_grad or candidates.requires_grad)
    apply: Any = _LogPartition.apply
    total: Tensor = apply(anchors, candidates, weights, counts, temperature, unit, learning)
    return total


@untraced
def log_mean_potential(x: Tensor, sharpness: float) -> Tensor:
    """``log mean_{a != b} exp(-sharpness ||x_a - x_b||^2)`` over rows of length 1, ``[n, dim]``, at least 2 of them."""
    learning = torch.is_grad_enabled() and x.requires_grad
    apply: Any = _LogMeanPotential.apply
    mean: Tensor = apply(x, sharpness, learning)
    return mean


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Autocast off on the device of ``x``: sums of many exponentials want float32."""
    if torch.amp.is_autocast_available(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


def widened(x: Tensor) -> Tensor:
    """``x`` in float32 if it was in half precision."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _portions(rows: int, columns: int, like: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Stretches of ``rows`` and a buffer ``[stretch, columns]`` for each, always the same memory."""
    budget = CACHE_BYTES if like.is_cpu else DEVICE_BYTES
    size = min(max(budget // (columns * like.element_size()), 64), rows)
    buffer = like.new_empty(size, columns)
    for start in range(0, rows, size):
        stop = min(start + size, rows)
        yield slice(start, stop), buffer[: stop - start]


class _LogPartition(Function):
    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        candidates: Tensor,
        weights: Tensor,
        counts: Tensor | None,
        temperature: float,
        unit: bool,
        learning: bool,
    ) -> Tensor:
        n, dim = candidates.shape
        columns = -(-n // LANES) * LANES
        constant = unit and 2 / temperature < LARGEST_FALL
        # One more column carries what is added to every logit: the constant shift, and each candidate's count.
        table = candidates.new_zeros(columns, dim + 1)
        table[:n, :dim] = candidates
        table[:n, dim] = (-1 / temperature if constant else 0.0) + (0.0 if counts is None else counts.log())
        table[n:, dim] = -torch.inf
        vectors, across = table[:, :dim], table.T
        scaled = torch.cat([anchors / temperature, torch.ones_like(anchors[:, :1])], dim=1)
        pull = weights[:, None] / temperature
        total = weights.sum() / temperature if constant else weights.new_zeros(())
        if learning:
            of_anchors, of_candidates = torch.empty_like(anchors), torch.zeros_like(vectors)
        for part, p in _portions(len(anchors), columns, scaled):
            torch.mm(scaled[part], across, out=p)
            if not constant:
                largest = p.amax(1, keepdim=True)
                p.sub_(largest)
                total = total + weights[part] @ largest[:, 0]
            sums = p.exp_().sum(1, keepdim=True)
            total = total + weights[part] @ sums[:, 0].log()
            if learning:
                share = pull[part] / sums
                torch.mul(p @ vectors, share, out=of_anchors[part])
                of_candidates.addmm_(p.T, anchors[part] * share)
        if learning:
            ctx.save_for_backward(of_anchors, of_candidates[:n])
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_anchors, of_candidates = ctx.saved_tensors
        x = of_anchors * gradient if ctx.needs_input_grad[0] else None
        e = of_candidates * gradient if ctx.needs_input_grad[1] else None
        return x, e, None, None, None, None, None


class _LogMeanPotential(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sharpness: float, learning: bool) -> Tensor:
        n = len(x)
        total, of_x = x.new_zeros(()), torch.empty_like(x)
        for part, p in _portions(n, n, x):
            torch.mm(x[part] * (2 * sharpness), x.T, out=p)
            p.sub_(2 * sharpness).exp_()
            p.diagonal(offset=part.start).zero_()
            total = total + p.sum()
            if learning:
                torch.mm(p, x, out=of_x[part])
        if learning:
            # Each pair is met from both sides.
            ctx.save_for_backward(of_x.mul_(4 * sharpness / total))
        return (total / (n * (n - 1))).log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (of_x,) = ctx.saved_tensors
        return of_x * gradient, None, None
