"""The seam for graph kernels: what a backend gives, and which one is in use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from sslrec_core.errors import DeviceError

if TYPE_CHECKING:
    from sslrec_core.graph.sparse import SparseGraph


class GraphBackend(ABC):
    """Kernels for graphs.  No gradients, no policy: both are the core's.

    Built without arguments.  Every method is called without gradient recording, with all tensors on one of ``devices``.  ``graph.structure``
    gives the edges as compressed rows and is shared by graphs that differ in their weights only, so that it is the
    right key for a cache.

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
    def sample(
        self,
        graph: SparseGraph,
        seeds: Tensor,
        fanout: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Up to ``fanout`` different edges of each seed, drawn uniformly -> positions ``[seeds, fanout]``.

        Slots beyond a seed's degree hold -1.
        """

    @abstractmethod
    def random_walk(
        self,
        graph: SparseGraph,
        seeds: Tensor,
        length: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Walks from targets to sources, drawn uniformly over edges -> nodes ``[seeds, length + 1]``.

        A walk that reaches a node without edges ends: the rest is -1.
        """


_current: GraphBackend | None = None


def use_backend(backend: GraphBackend | None, device: torch.device | None = None) -> None:
    """Make ``backend`` the one that all graphs use from now on; None means the torch backend.

    Args:
        backend: an instance; the caller looks it up.
        device: where the run will be, to refuse an impossible pair at once.

    Raises:
        DeviceError: the backend cannot run on ``device``; nothing has changed then.
    """
    global _current
    if backend is not None and device is not None:
        _check(backend, device)
    _current = backend


def current_backend() -> GraphBackend:
    """The backend in use."""
    global _current
    if _current is None:
        # Imported late: the torch backend is itself a backend, and so imports this module.
        from sslrec_core.graph.torch_backend import TorchBackend

        _current = TorchBackend()
    return _current


def backend_on(device: torch.device) -> GraphBackend:
    """The backend in use, for tensors on ``device``.

    Raises:
        DeviceError: the backend cannot run there.
    """
    backend = current_backend()
    _check(backend, device)
    return backend


def _check(backend: GraphBackend, device: torch.device) -> None:
    if device.type not in backend.devices:
        runs_on = " and ".join(sorted(backend.devices))
        raise DeviceError(
            f"backend {backend.name!r} runs on {runs_on}, this run is on {device}",
            fix=f"choose run.graph=torch, or run.device={min(backend.devices)}",
        )
