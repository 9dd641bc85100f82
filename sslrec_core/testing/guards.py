"""What a training step may not do, noticed on any machine, with or without an accelerator."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from sslrec_core.loop import Loop

_TORCH = str(Path(torch.__file__).parent)
_WAITS: Mapping[Any, str] = {
    Tensor.item: "item()",
    Tensor.tolist: "tolist()",
    Tensor.cpu: "cpu()",
    Tensor.numpy: "numpy()",
    Tensor.__bool__: "bool(tensor)",
    Tensor.__int__: "int(tensor)",
    Tensor.__float__: "float(tensor)",
    Tensor.__index__: "a tensor used as an index of a list or range",
}


class Placement(TorchFunctionMode):
    """Notes each tensor that is made without a device, or on one that is named in the code.

    Such code works on the machine of its author: beside tensors on another device it fails.  Work that belongs on the
    host wherever the data is says so with ``device=torch.device("cpu")``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = (kwargs or {}).get("device")
        place = _caller()
        if place is not None:
            if isinstance(given, str) or func is Tensor.cuda or (func is Tensor.to and _names_device(args)):
                self.found.add(f"{place}: the device is written in the code; take it from a tensor that was given")
            elif given is None and func in _device_constructors():
                self.found.add(f"{place}: {func.__name__}() without device=; take it from a tensor that was given")
        return func(*args, **(kwargs or {}))


class Waiting(TorchFunctionMode):
    """Notes each call that makes the host wait for the device: a value read out of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        place = _caller()
        if place is not None and func in _WAITS:
            self.found.add(f"{place}: {_WAITS[func]} waits for the device")
        return func(*args, **(kwargs or {}))


class GuardedLoop(Loop):
    """A loop in which ``guard`` is in force from the moment a batch is there until the next one is asked for."""

    guard: Callable[[], AbstractContextManager[Any]]

    def batches(self, source: Any = None) -> Iterator[Any]:
        """The batches of :meth:`Loop.batches`, each handed over under the guard."""
        for batch in super().batches(source):
            with self.guard():
                yield batch


class OneStepLoop(Loop):
    """A loop in which every phase of an epoch has one step."""

    def batches(self, source: Any = None) -> Iterator[Any]:
        """The first of the batches of :meth:`Loop.batches`."""
        yield next(super().batches(source))


class LargestTensor(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own is not annotated
    """Notes the largest memory behind a tensor that any operation makes, forwards or backwards."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self.by = "nothing"
        """The operation that made it, and the shape."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in tree_iter(made):
            if isinstance(value, Tensor) and value.layout == torch.strided:
                size = value.untyped_storage().nbytes()
                if size > self.bytes:
                    self.bytes, self.by = size, f"{func} {tuple(value.shape)}"
        return made


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """Make CUDA raise an error where the host would wait for it."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _names_device(args: tuple[Any, ...]) -> bool:
    return any(isinstance(value, str) for value in args[1:2])


def _caller() -> str | None:
    """File and line of the code that called torch, or None where torch called itself."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    name = frame.f_code.co_filename
    return None if name.startswith(_TORCH) else f"{name}:{frame.f_lineno}"
