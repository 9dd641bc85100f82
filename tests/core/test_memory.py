"""Memory: what a run asks of the system around it, and what it says where there is too little."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sslrec_core.errors import DeviceError
from sslrec_core.hooks import hookimpl
from sslrec_core.memory import enough_memory, steady_memory
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig

KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


@pytest.mark.parametrize(("before", "after"), [(None, "16"), ("512", "512")])
def test_few_kernels_are_kept_unless_the_user_says_otherwise(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KERNELS, before or "")  # so that the old state comes back afterwards
    if before is None:
        monkeypatch.delenv(KERNELS)
    steady_memory()
    assert os.environ[KERNELS] == after


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: torch.empty(2**55), ".*can't allocate memory.*\n  "),
        (lambda: torch.empty(2**62), "Storage size calculation overflowed.*\n  "),
        (lambda: bytearray(2**60), ""),
    ],
    ids=["of a tensor", "beyond all numbers", "of Python"],
)
def test_too_little_memory_is_explained(ask: Callable[[], object], said: str) -> None:
    explained = pytest.raises(DeviceError, match=f"thinking needs more memory than cpu has\n  {said}fix: think less")
    with explained, enough_memory(torch.device("cpu"), "thinking", fix="think less"):
        ask()


def test_of_a_full_cuda_device_the_figures_are_told() -> None:
    explained = pytest.raises(DeviceError, match=r"than cuda:0 has\n  CUDA out of memory\. Tried 2 GiB\.\n  fix")
    with explained, enough_memory(torch.device("cuda:0"), "thinking", fix="think less"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB.\nand the stack of the allocator")


def test_other_errors_stay_as_they_are() -> None:
    stays = pytest.raises(RuntimeError, match="must match")
    with stays, enough_memory(torch.device("cpu"), "thinking", fix="think less"):
        _ = torch.ones(2) + torch.ones(3)


class Greedy:
    """Wants more in the middle of an epoch than there is."""

    @hookimpl
    def sslrec_step(self) -> None:
        torch.empty(2**55)


def test_a_training_without_memory_says_what_takes_less(factors: Callable[..., RunConfig], tmp_path: Path) -> None:
    run = Run.create(factors("train.batch_size=7"), tmp_path / "run", listeners=[Greedy()])
    with pytest.raises(DeviceError, match=r"training factors needs more memory(.|\n)*batch_size=… \(it is 7\)"):
        run.execute()


def test_an_evaluation_without_memory_says_what_takes_less(
    factors: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(factors(), tmp_path / "run")
    monkeypatch.setattr(run.evaluator, "evaluate", lambda *_: torch.empty(2**55))
    with pytest.raises(DeviceError, match=r"evaluating needs more memory(.|\n)*eval.batch"):
        run.execute()
