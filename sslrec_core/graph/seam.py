"""Which backend is in use."""

from __future__ import annotations

import torch

from sslrec_core.errors import DeviceError
from sslrec_core.graph.backend import GraphBackend
from sslrec_core.graph.torch_backend import TorchBackend

_current: GraphBackend = TorchBackend()


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
    _current = TorchBackend() if backend is None else backend


def current_backend() -> GraphBackend:
    """The backend in use."""
    return _current


def backend_on(device: torch.device) -> GraphBackend:
    """The backend in use, for tensors on ``device``.

    Raises:
        DeviceError: the backend cannot run there.
    """
    _check(_current, device)
    return _current


def _check(backend: GraphBackend, device: torch.device) -> None:
    if device.type not in backend.devices:
        runs_on = " and ".join(sorted(backend.devices))
        raise DeviceError(
            f"backend {backend.name!r} runs on {runs_on}, this run is on {device}",
            fix=f"choose run.graph=torch, or run.device={min(backend.devices)}",
        )
