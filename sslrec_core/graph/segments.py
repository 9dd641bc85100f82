"""Sums and maxima over rows of edges, from row pointers."""

from __future__ import annotations

import torch
from torch import Tensor

from sslrec_core.graph.structure import Structure


def segment_sum(structure: Structure, values: Tensor) -> Tensor:
    """``[edges, ...] -> [targets, ...]``; zero for rows without edges.  No gradient."""
    if values.device.type == "mps":  # no segment_reduce there
        out = values.new_zeros(structure.shape[0], *values.shape[1:])
        return out.index_add_(0, structure.target, values)
    return torch.segment_reduce(values, "sum", offsets=structure.pointers, axis=0, unsafe=True)


def segment_max(structure: Structure, values: Tensor) -> Tensor:
    """``[edges, ...] -> [targets, ...]``; minus infinity for rows without edges.  No gradient."""
    if values.device.type == "mps":
        out = values.new_full((structure.shape[0], *values.shape[1:]), -torch.inf)
        index = structure.target.view(-1, *[1] * (values.dim() - 1)).expand_as(values)
        return out.scatter_reduce_(0, index, values, "amax")
    return torch.segment_reduce(values, "max", offsets=structure.pointers, axis=0, unsafe=True)


def spread(structure: Structure, rows: Tensor) -> Tensor:
    """Each row's value for all its edges, ``[targets, ...] -> [edges, ...]``.  No gradient."""
    return rows.index_select(0, structure.rows)
