"""Sparse graphs: one type, four verbs with gradients written once, and the seam for other kernels."""

from __future__ import annotations

from sslrec_core.graph.backend import GraphBackend
from sslrec_core.graph.functions import edge_dot, edge_softmax, random_walk, row_sum, sample, spmm
from sslrec_core.graph.propagation import LayeredGraph, graph_at, propagate
from sslrec_core.graph.seam import current_backend, use_backend
from sslrec_core.graph.sparse import SparseGraph
from sslrec_core.graph.structure import Structure
from sslrec_core.graph.torch_backend import TorchBackend

__all__ = [
    "GraphBackend",
    "LayeredGraph",
    "SparseGraph",
    "Structure",
    "TorchBackend",
    "current_backend",
    "edge_dot",
    "edge_softmax",
    "graph_at",
    "propagate",
    "random_walk",
    "row_sum",
    "sample",
    "spmm",
    "use_backend",
]
