"""What a graph backend gives: kernels, without gradients and without policy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sslrec_core.graph.sparse import SparseGraph


class GraphBackend(ABC):
    """Kernels for graphs.  No gradients, no policy: both are the core's.

    Built without arguments.  Every method is called without gradient recording, with all tensors on one of
    ``devices``.  ``graph.structure`` gives the edges as compressed rows; graphs that differ in their weights only
    share it, so it is the right key for a cache.

    Stability: stable for implementers from API 1.
    """

    name: ClassVar[str]
    """The name in the registry."""
    devices: ClassVar[frozenset[str]]
    """Device types it runs on, such as ``cpu`` and ``cuda``."""

    @abstractmethod
    def spmm(self, graph: SparseGraph, weight: Tensor, x: Tensor) -> Tensor:
        """Weighted sums over each target's sources: weight ``[edges]``, x ``[sources, dim]`` -> ``[targets, dim]``.

        ``weight`` replaces the graph's own.
        """

    @abstractmethod
    def edge_dot(self, graph: SparseGraph, a: Tensor, b: Tensor) -> Tensor:
        """Dot product of both ends: a ``[targets, dim]``, b ``[sources, dim]`` -> ``[edges]``."""

    @abstractmethod
    def edge_softmax(self, graph: SparseGraph, logits: Tensor) -> Tensor:
        """Softmax over the edges of one target: ``[edges]`` or ``[edges, heads]`` -> the same shape."""

    @abstractmethod
    def sample(self, graph: SparseGraph, seeds: Tensor, fanout: int, generator: torch.Generator | None) -> Tensor:
        """Up to ``fanout`` different edges of each seed, drawn uniformly -> positions ``[seeds, fanout]``.

        Slots beyond a seed's degree hold -1.
        """

    @abstractmethod
    def random_walk(self, graph: SparseGraph, seeds: Tensor, length: int, generator: torch.Generator | None) -> Tensor:
        """Walks from targets to sources, drawn uniformly over edges -> nodes ``[seeds, length + 1]``.

        A walk that reaches a node without edges ends: the rest is -1.
        """
