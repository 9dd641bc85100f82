"""Saying that memory will not do before it is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from sslrec_core.errors import DeviceError

GIB = 1 << 30


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
