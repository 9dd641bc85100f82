"""Memory: whether there will be enough, that there was too little, and what a process does with it."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from sslrec_core.errors import DeviceError

GIB = 1 << 30
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Names of two switches in glibc's malloc.h."""
_KERNELS_KEPT = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_NO_MEMORY = ("out of memory", "can't allocate memory", "Invalid buffer size", "Storage size calculation overflowed")
"""What torch says of it on CUDA and MPS, on a CPU, on MPS alone, and of more bytes than 64 bits count."""


def require(needed: int, device: torch.device, what: str, arithmetic: str) -> None:
    """Stop unless ``device`` has ``needed`` bytes to spare, as far as it tells.

    Args:
        needed: Bytes.
        what: What needs them, to begin the message.
        arithmetic: How ``needed`` comes about.

    Raises:
        DeviceError: it has not.
    """
    free = available(device)
    if free is not None and needed > free:
        raise DeviceError(
            f"{what} needs {needed / GIB:.1f} GiB, and {device} has {free / GIB:.1f} GiB",
            f"{arithmetic} = {needed / GIB:.1f} GiB",
            fix="another device, a larger machine, or a model that keeps less",
        )


def available(device: torch.device) -> int | None:
    """Bytes that could still be had on ``device``, or None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        fields = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


@contextmanager
def enough_memory(device: torch.device, doing: str, fix: str) -> Iterator[None]:
    """Explain it where ``device``, or the machine, turns out to have too little memory for what happens inside.

    Args:
        device: Where the tensors are.
        doing: What needs the memory, to begin the message.
        fix: What takes less.

    Raises:
        DeviceError: there is too little.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in _NO_MEMORY):
            raise
        said = str(error).splitlines()[:1]
        raise DeviceError(f"{doing} needs more memory than {device} has", *said, fix=fix) from error


def steady_memory() -> None:
    """Ask the C library to keep the memory that tensors give back, and oneDNN to keep few kernels.

    Giving memory to the system and faulting it in again page by page took half of a LightGCN step on a CPU.  Only glibc
    has this switch; elsewhere nothing is asked.  oneDNN keeps a kernel for each of the last 1,024 shapes: where every
    batch of sequences has another number of items, a process grew by gigabytes.
    """
    os.environ.setdefault(_KERNELS_KEPT, "16")
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, 2**30)
        library.mallopt(_M_MMAP_THRESHOLD, 2**25)  # the largest that glibc accepts


def peak_memory(device: torch.device) -> int | None:
    """The most bytes held at once: tensors on a CUDA device, elsewhere the process; None where nobody counts them."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
