"""Vectors of users and items in one table, users first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslrec_mbehavior.data import MultiBehaviorData


def node_table(data: MultiBehaviorData, dim: int) -> nn.Parameter:
    """Users and items, each drawn by Glorot's rule for a table of its own, ``[users + items, dim]``."""
    tables = (torch.empty(data.n_users, dim), torch.empty(data.n_items, dim))
    return nn.Parameter(torch.cat([nn.init.xavier_uniform_(table) for table in tables]))


def parted(nodes: Tensor, data: MultiBehaviorData) -> tuple[Tensor, Tensor]:
    """Users and items: ``[..., users + items, dim] -> [..., users, dim], [..., items, dim]``."""
    users, items = nodes.split_with_sizes([data.n_users, data.n_items], dim=-2)
    return users, items
