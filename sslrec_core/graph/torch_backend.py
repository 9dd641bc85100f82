"""The default backend: the fastest exact kernel of torch on each device."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from sslrec_core.graph import sampling
from sslrec_core.graph.backend import GraphBackend
from sslrec_core.graph.segments import segment_max, segment_sum, spread

if TYPE_CHECKING:
    from sslrec_core.graph.sparse import SparseGraph

_CHUNK_NUMBERS = {"cpu": 2**20, "cuda": 2**26, "mps": 2**24}
"""Numbers held at once by ``edge_dot``: on a CPU what its caches hold, elsewhere a bounded share of the memory."""


class TorchBackend(GraphBackend):
    """Kernels made of torch operators alone, for CPU, CUDA and MPS."""

    name: ClassVar[str] = "torch"
    devices: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda", "mps"})

    def spmm(self, graph: SparseGraph, weight: Tensor, x: Tensor) -> Tensor:
        """Weighted sums over each target's sources.

        ``embedding_bag`` without its own gradient: on CPUs the fastest product in torch by far; on CUDA one thread
        adds up each number in the order of the edges, so that equal inputs give equal bits.
        """
        structure = graph.structure
        if x.device.type == "mps":  # embedding_bag takes no sample weights there
            out = x.new_zeros(structure.shape[0], x.shape[1])
            return out.index_add_(
                0,
                structure.target,
                x.index_select(0, structure.columns) * weight.unsqueeze(1),
            )
        if structure.n_edges == 0:
            return x.new_zeros(structure.shape[0], x.shape[1])
        return _bag(
            x.contiguous(), structure.columns, structure.pointers, weight.contiguous()
        )

    def edge_dot(self, graph: SparseGraph, a: Tensor, b: Tensor) -> Tensor:
        """Dot product of both ends, some edges at a time so that memory stays bounded."""
        target, source = graph.target, graph.structure.columns
        chunk = max(_CHUNK_NUMBERS[a.device.type] // max(a.shape[1], 1), 1)
        out = a.new_empty(graph.n_edges)
        for start in range(0, graph.n_edges, chunk):
            part = slice(start, start + chunk)
            left, right = (
                a.index_select(0, target[part]),
                b.index_select(0, source[part]),
            )
            torch.sum(left.mul_(right), dim=1, out=out[part])
        return out

    def edge_softmax(self, graph: SparseGraph, logits: Tensor) -> Tensor:
        """Softmax over the edges of one target, shifted by the largest logit."""
        structure = graph.structure
        raised = (logits - spread(structure, segment_max(structure, logits))).exp_()
        return raised.div_(spread(structure, segment_sum(structure, raised)))

    def sample(
        self,
        graph: SparseGraph,
        seeds: Tensor,
        fanout: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Up to ``fanout`` different edges of each seed."""
        return sampling.draw_edges(graph, seeds, fanout, generator)

    def random_walk(
        self,
        graph: SparseGraph,
        seeds: Tensor,
        length: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Walks from targets to sources."""
        return sampling.draw_walks(graph, seeds, length, generator)


def _bag(x: Tensor, columns: Tensor, pointers: Tensor, weight: Tensor) -> Tensor:
    out: Tensor = torch.ops.aten._embedding_bag_forward_only(
        x, columns, pointers, False, 0, False, weight, True
    )[0]
    return out
