"""What a run was made with: versions, devices, plugins, data, and the command that started it."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from sslrec_core import hooks
from sslrec_core.errors import DeviceError
from sslrec_core.registry import registry
from sslrec_core.settings import RunConfig


def pick_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is the first CUDA device, else the CPU.

    Raises:
        DeviceError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"'{name}' is not the name of a device", fix="--device cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        raise DeviceError(
            "CUDA was asked for, and torch finds none",
            f"torch {torch.__version__} is built {built}",
            fix="--device cpu, or install a torch build for CUDA",
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"there is no {name}: torch finds {torch.cuda.device_count()} CUDA devices", fix="--device cuda"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("MPS was asked for, and torch finds none", fix="--device cpu")
    if device.type not in {"cpu", "cuda", "mps"}:
        raise DeviceError(f"sslrec does not run on '{device.type}'", fix="--device cpu, cuda or mps")
    return torch.device("cuda:0") if name == "cuda" else device


def slow_precision(precision: str, device: torch.device) -> str | None:
    """What is to be known before ``train.precision`` slows down a training on ``device``; None if it does not.

    Without AVX-512 an x86 processor has no products of matrices in bfloat16, and torch's stand-in for them takes many
    times what float32 takes.
    """
    if precision == "bf16" and device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        return "train.precision = 'bf16' is slow on this CPU, which has no AVX-512; float32 is faster"
    return None


def describe(config: RunConfig, device: torch.device, data_root: Path | None) -> dict[str, Any]:
    """JSON-able facts that, with the configuration, make a run repeatable."""
    choices = {"model": config.model, "data": config.data, "scenario": config.scenario, "eval": config.eval}
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "api": hooks.API,
        "plugins": {name: plugin.version for name, plugin in registry().plugins.items()},
        "revisions": {choice.name: choice.entry.load().revision for choice in choices.values()},
        "data_root": None if data_root is None else str(data_root),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """The commit of the folder that the run was started in, if it is a git checkout."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
