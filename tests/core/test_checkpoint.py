"""Checkpoints: what goes in comes out, and what cannot be read or written says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import Adam

from sslrec_core import checkpoint
from sslrec_core.errors import CheckpointError, StorageError


def test_tensors_and_facts_come_back(tmp_path: Path) -> None:
    tensors = {"model/a": torch.arange(6.0).view(2, 3), "model/b": torch.tensor([1, 2])}
    tensors["model/view"] = tensors["model/a"].T
    checkpoint.save(tmp_path / "x.safetensors", tensors, {"model": "cf/line", "epoch": 3})
    back, about = checkpoint.load(tmp_path / "x.safetensors")
    assert about["model"] == "cf/line" and about["epoch"] == 3
    assert all(torch.equal(back[name], value) for name, value in tensors.items())
    assert list(checkpoint.under(back, "model")) == ["a", "b", "view"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_an_optimizer_goes_on_where_it_stood(tmp_path: Path) -> None:
    def steps(weight: nn.Parameter, optimizer: Adam, n: int) -> None:
        for k in range(n):
            optimizer.zero_grad()
            (weight * (k + 1)).square().sum().backward()
            optimizer.step()

    whole = nn.Parameter(torch.ones(3))
    steps(whole, Adam([whole], 0.1, fused=True), 2)
    reference = Adam([whole], 0.1, fused=True)
    part = nn.Parameter(whole.detach().clone())
    steps(whole, reference, 3)

    first = Adam([part], 0.1, fused=True)
    steps(part, first, 1)
    checkpoint.save(
        tmp_path / "s.safetensors", checkpoint.prefixed(checkpoint.optimizer_state(first), "optim/main"), {}
    )
    tensors, _ = checkpoint.load(tmp_path / "s.safetensors")
    second = Adam([part], 0.1, fused=True)
    checkpoint.load_optimizer_state(second, checkpoint.under(tensors, "optim/main"))
    for k in (1, 2):
        second.zero_grad()
        (part * (k + 1)).square().sum().backward()
        second.step()
    assert torch.equal(part, whole)


def test_chance_goes_on_where_it_stood() -> None:
    device = torch.device("cpu")
    torch.manual_seed(7)
    torch.rand(5)
    state = checkpoint.generator_state(device)
    expected = torch.rand(5)
    torch.rand(100)
    checkpoint.load_generator_state(device, state)
    assert torch.equal(torch.rand(5), expected)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        checkpoint.load(path)


def test_half_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, {"a": torch.zeros(1000)}, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(path)


def test_a_missing_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        checkpoint.load(tmp_path / "none.safetensors")


def test_a_folder_that_is_gone_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        checkpoint.save(tmp_path / "gone" / "x.safetensors", {"a": torch.zeros(1)}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_explained_and_the_old_checkpoint_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, {"a": torch.zeros(2)}, {"epoch": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        checkpoint.save(path, {"a": torch.ones(2)}, {"epoch": 2})
    monkeypatch.undo()
    assert checkpoint.load(path)[1]["epoch"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]
