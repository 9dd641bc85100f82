"""The meta prediction network of MB-GMN: a network for each pair, made from what two behaviours say about it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sslrec_core.compiling import untraced
from sslrec_mbehavior.meta import SLOPE, linear

again = untraced(checkpoint)
AT_ONCE = 4096
"""Pairs whose networks are there at a time."""


class MetaPredictor(nn.Module):
    """Scores pairs by a network of two layers whose weights depend on the pair (MB-GMN, SIGIR'21, section 3.3).

    With ``f = [u * i; u; i]`` for a source and for a target behaviour, ``g = act(F1 f)`` each and ``m = act(F2 [g_s *
    g_t; g_s; g_t])``, the score is ``act(f_s W(m) + b(m)) . w(m)``, where ``W``, ``b`` and ``w`` are linear in ``m``.
    A portion of pairs is scored at a time and scored again for its gradient: their networks are large.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        wide = 3 * dim
        self.dim = dim
        self.pair, self.meta = linear(wide, dim), linear(wide, wide)
        self.matrix = linear(wide, wide * dim, drawn_bias=True)
        self.bias = linear(wide, dim)
        self.vector = linear(wide, dim, drawn_bias=True)

    def forward(self, users: Tensor, items: Tensor, target_users: Tensor, target_items: Tensor) -> Tensor:
        """Scores of pairs by the source behaviour, ``[n]``, from vectors by it and by the target, ``[n, dim]`` each."""
        vectors = users, items, target_users, target_items
        parts = zip(*(torch.split(each, AT_ONCE) for each in vectors), strict=True)
        if torch.is_grad_enabled():
            scores = [again(self.score, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]
        else:
            scores = [self.score(*part) for part in parts]
        return torch.cat(scores)

    def score(self, users: Tensor, items: Tensor, target_users: Tensor, target_items: Tensor) -> Tensor:
        """Scores of one portion."""
        features = combined(users, items)
        mine = F.leaky_relu(self.pair(features), SLOPE)
        its = F.leaky_relu(self.pair(combined(target_users, target_items)), SLOPE)
        meta = F.leaky_relu(self.meta(combined(mine, its)), SLOPE)
        matrices = self.matrix(meta).view(len(meta), 3 * self.dim, self.dim)
        hidden = torch.bmm(features[:, None], matrices).squeeze(1) + self.bias(meta)
        scores: Tensor = (F.leaky_relu(hidden, SLOPE) * self.vector(meta)).sum(1)
        return scores


def combined(one: Tensor, other: Tensor) -> Tensor:
    """``[one * other; one; other]``, ``[n, dim] -> [n, 3 dim]``."""
    return torch.cat([one * other, one, other], dim=1)
