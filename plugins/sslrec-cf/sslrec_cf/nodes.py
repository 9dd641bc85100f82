"""Users and items as nodes of one graph: one table, and one gather for everything a batch needs of it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from sslrec_core.data import PairBatch

Init = Literal["normal", "xavier"]


class PairRows(NamedTuple):
    """The vectors of a batch, in the order in which a ranking loss takes them."""

    users: Tensor
    """``[pairs, dim]``"""
    positives: Tensor
    """``[pairs, dim]``"""
    negatives: Tensor
    """``[pairs, negatives, dim]``"""


def node_table(n_users: int, n_items: int, dim: int, init: Init) -> nn.Embedding:
    """Learnt vectors of all nodes, users first, ``[users + items, dim]``.

    ``normal`` has a standard deviation of 0.1; ``xavier`` is uniform, with a bound of its own for users and for items.
    """
    table = nn.Embedding(n_users + n_items, dim)
    for part in table.weight.split_with_sizes([n_users, n_items]):
        if init == "normal":
            nn.init.normal_(part, std=0.1)
        else:
            nn.init.xavier_uniform_(part)
    return table


def pair_nodes(batch: PairBatch, n_users: int) -> Tensor:
    """Node numbers of each pair's user, positive and negatives, ``[pairs, 2 + negatives]``."""
    items = torch.cat([batch.positives[:, None], batch.negatives], dim=1) + n_users
    return torch.cat([batch.users[:, None], items], dim=1)


def gather(x: Tensor, nodes: Tensor) -> PairRows:
    """Rows of ``x`` ``[nodes, dim]`` for :func:`pair_nodes`.

    One gather has one gradient as large as the table; a gather each for users, positives and negatives has three.
    """
    rows = x.index_select(0, nodes.flatten()).view(*nodes.shape, -1)
    users, positives, negatives = rows.split_with_sizes([1, 1, nodes.shape[1] - 2], dim=1)
    return PairRows(users.squeeze(1), positives.squeeze(1), negatives)


def distinct(nodes: Tensor, n: int, *, counted: bool) -> tuple[Tensor, Tensor | None]:
    """Each of ``nodes`` (numbers below ``n``) once: which, and how often each is to count, None for once.

    On an accelerator their number should not decide a shape, since that waits for the device: if they can be
    ``counted``, all are returned there and repetitions count 0 times.  Sums weighted by these counts are the same.
    """
    if nodes.is_cpu or not counted:
        unique: Tensor = torch.unique(nodes)
        return unique, None
    place = torch.arange(len(nodes), device=nodes.device)
    first = place.new_full((n,), len(nodes)).scatter_reduce_(0, nodes, place, "amin")
    return nodes, first[nodes] == place
