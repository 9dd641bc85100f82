"""Neighbours and walks drawn from a graph, with fixed shapes and without waiting for the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sslrec_core.graph.sparse import SparseGraph


def draw_edges(graph: SparseGraph, seeds: Tensor, fanout: int, generator: torch.Generator | None) -> Tensor:
    """Floyd's subset sampling (Bentley and Floyd, 1987), all seeds at once, one round per slot.

    Round ``j`` draws from the first ``degree - fanout + j + 1`` edges of a row and, if that edge is taken, takes the
    last of them: every subset is equally likely, and no row is read as a whole.
    """
    first, degree = _rows(graph, seeds)
    chosen = torch.full((seeds.numel(), fanout), -1, dtype=torch.long, device=seeds.device)
    chance = torch.rand(fanout, seeds.numel(), dtype=torch.float64, generator=generator, device=seeds.device)
    few = degree <= fanout
    for slot in range(fanout):
        last = degree - fanout + slot
        drawn = (chance[slot] * (last + 1)).long().minimum(last)
        taken = (chosen[:, :slot] == drawn.unsqueeze(1)).any(dim=1)
        chosen[:, slot] = torch.where(few, slot, torch.where(taken, last, drawn))
    beyond = torch.arange(fanout, device=seeds.device) >= degree.unsqueeze(1)
    return _locate(graph, first.unsqueeze(1) + chosen.masked_fill(beyond, 0)).masked_fill(beyond, -1)


def draw_walks(graph: SparseGraph, seeds: Tensor, length: int, generator: torch.Generator | None) -> Tensor:
    """One uniform draw per walk and step; ended walks stay at -1."""
    walks = torch.full((seeds.numel(), length + 1), -1, dtype=torch.long, device=seeds.device)
    walks[:, 0] = seeds
    if graph.n_edges == 0:
        return walks
    chance = torch.rand(length, seeds.numel(), dtype=torch.float64, generator=generator, device=seeds.device)
    for step in range(length):
        here = walks[:, step]
        first, degree = _rows(graph, here.clamp(min=0))
        over = (here < 0) | (degree == 0)
        drawn = (chance[step] * degree).long().minimum(degree - 1)
        edge = _locate(graph, (first + drawn).masked_fill(over, 0))
        walks[:, step + 1] = graph.source.index_select(0, edge).masked_fill(over, -1)
    return walks


def _rows(graph: SparseGraph, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """First edge and number of edges of some rows, counted among the edges that were not dropped."""
    pointers = graph.structure.pointers.long()
    if graph.alive is not None:
        pointers = torch.cat((pointers.new_zeros(1), graph.alive.cumsum(0))).index_select(0, pointers)
    first = pointers.index_select(0, nodes)
    return first, pointers.index_select(0, nodes + 1) - first


def _locate(graph: SparseGraph, rank: Tensor) -> Tensor:
    """Positions of edges from their ranks among the edges that were not dropped."""
    if graph.alive is None:
        return rank
    return torch.searchsorted(graph.alive.cumsum(0), rank + 1)
