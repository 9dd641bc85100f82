"""The meta-knowledge learner of MB-GMN, and its attention between behaviours."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.1
"""Slope of the LeakyReLU below zero, everywhere in MB-GMN."""


class MetaKnowledge(nn.Module):
    """Transforms vectors by matrices of low rank that each node's context makes (MB-GMN, SIGIR'21, section 3.1).

    From ``m = act(W [behaviour; x; neighbours])`` come ``V1`` (``dim x rank``) and ``V2`` (``rank x dim``); the answer
    is ``[x V1 V2; x]``.  Users and items share ``W``.  So the authors' code has it; in the paper ``V1`` and ``V2`` are
    linear in the context itself.
    """

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.context = linear(3 * dim, dim)
        self.of_users, self.of_items = (LowRank(dim, rank) for _ in range(2))

    def forward(self, nodes: Tensor, neighbours: Tensor, behaviour: Tensor, n_users: int) -> Tensor:
        """``[nodes, dim] -> [nodes, 2 dim]``, users first.

        Args:
            nodes: ``[nodes, dim]``
            neighbours: What the graph gathers of them, ``[nodes, dim]``.
            behaviour: ``[dim]``
            n_users: How many nodes are users.
        """
        context = torch.cat([behaviour.expand_as(nodes), nodes, neighbours], dim=1)
        meta = F.leaky_relu(self.context(context), SLOPE)
        users = self.of_users(nodes[:n_users], meta[:n_users])
        items = self.of_items(nodes[n_users:], meta[n_users:])
        return torch.cat([torch.cat([users, items]), nodes], dim=1)


class LowRank(nn.Module):
    """Multiplies each vector by a matrix of low rank that is linear in what is known about it."""

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.dim, self.rank = dim, rank
        self.first, self.second = (linear(dim, rank * dim, drawn_bias=True) for _ in range(2))

    def forward(self, x: Tensor, meta: Tensor) -> Tensor:
        """``x V1 V2``, row by row: ``[n, dim], [n, dim] -> [n, dim]``"""
        low = torch.bmm(x[:, None], self.first(meta).view(-1, self.dim, self.rank))
        return torch.bmm(low, self.second(meta).view(-1, self.rank, self.dim)).squeeze(1)


class BehaviourAttention(nn.Module):
    """What behaviours say about a node, each listening to the others, added up (MB-GMN, SIGIR'21, section 3.2.2).

    Queries and keys are one projection, values are what is said; each behaviour's own message is added.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Parameter(nn.init.xavier_uniform_(torch.empty(dim, dim)))

    def forward(self, messages: Tensor) -> Tensor:
        """``[behaviours, nodes, dim] -> [nodes, dim]``"""
        projected, values = (x.view(*x.shape[:2], self.heads, -1) for x in (messages @ self.project, messages))
        logits = torch.einsum("inhc,jnhc->nhij", projected, projected) / projected.shape[-1] ** 0.5
        heard = logits.softmax(3).sum(2)  # how much all behaviours together listen to each
        return torch.einsum("nhj,jnhc->nhc", heard, values).flatten(1) + messages.sum(0)


def linear(size: int, out: int, *, drawn_bias: bool = False) -> nn.Linear:
    """A layer with weights by Glorot's rule; its bias zero, or drawn by the same rule for a vector."""
    layer = nn.Linear(size, out)
    nn.init.xavier_uniform_(layer.weight)
    bound = (3 / out) ** 0.5 if drawn_bias else 0.0
    nn.init.uniform_(layer.bias, -bound, bound)
    return layer
