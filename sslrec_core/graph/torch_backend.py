"""The default backend: the fastest exact kernel of torch on each device."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from sslrec_core.graph import sampling
from sslrec_core.graph.backend import GraphBackend
from sslrec_core.graph.segments import segment_max, segment_sum, spread

if TYPE_CHECKING:
    from sslrec_core.graph.sparse import SparseGraph
    from sslrec_core.graph.structure import Structure

_CHUNK_NUMBERS = 2**26
"""Numbers held at once by ``edge_dot`` where it gathers both ends."""


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
            return out.index_add_(0, structure.target, x.index_select(0, structure.columns) * weight.unsqueeze(1))
        if structure.n_edges == 0:
            return x.new_zeros(structure.shape[0], x.shape[1])
        return _bag(x.contiguous(), structure.columns, structure.pointers, weight.contiguous())

    def edge_dot(self, graph: SparseGraph, a: Tensor, b: Tensor) -> Tensor:
        """Dot product of both ends; on a CPU a sampled product, elsewhere some edges at a time to bound memory."""
        structure = graph.structure
        if torch.compiler.is_compiling():  # which cannot trace a sparse matrix, and makes one kernel of this
            return (a.index_select(0, structure.rows) * b.index_select(0, structure.columns)).sum(1)
        # torch's sampled product has no room for more entries than a dense matrix has, and repeated edges may be more.
        roomy = structure.n_edges <= structure.shape[0] * structure.shape[1]
        if a.device.type == "cpu" and a.dtype in (torch.float32, torch.float64) and roomy:
            return _sampled_product(structure, a, b)
        chunk = max(_CHUNK_NUMBERS // max(a.shape[1], 1), 1)
        out = a.new_empty(structure.n_edges)
        for start in range(0, structure.n_edges, chunk):
            part = slice(start, start + chunk)
            left = a.index_select(0, structure.rows[part])
            torch.sum(left.mul_(b.index_select(0, structure.columns[part])), dim=1, out=out[part])
        return out

    def edge_softmax(self, graph: SparseGraph, logits: Tensor) -> Tensor:
        """Softmax over the edges of one target, shifted by the largest logit."""
        structure = graph.structure
        raised = (logits - spread(structure, segment_max(structure, logits))).exp_()
        return raised.div_(spread(structure, segment_sum(structure, raised)))

    def sample(self, graph: SparseGraph, seeds: Tensor, fanout: int, generator: torch.Generator | None) -> Tensor:
        """Up to ``fanout`` different edges of each seed."""
        return sampling.draw_edges(graph, seeds, fanout, generator)

    def random_walk(self, graph: SparseGraph, seeds: Tensor, length: int, generator: torch.Generator | None) -> Tensor:
        """Walks from targets to sources."""
        return sampling.draw_walks(graph, seeds, length, generator)


def _bag(x: Tensor, columns: Tensor, pointers: Tensor, weight: Tensor) -> Tensor:
    out: Tensor = torch.ops.aten._embedding_bag_forward_only(x, columns, pointers, False, 0, False, weight, True)[0]
    return out


def _sampled_product(structure: Structure, a: Tensor, b: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        pattern = torch.sparse_csr_tensor(
            structure.pointers,
            structure.columns,
            a.new_zeros(structure.n_edges),
            structure.shape,
            check_invariants=False,
        )
    out: Tensor = torch.sparse.sampled_addmm(pattern, a, b.T, beta=0.0).values()
    return out
