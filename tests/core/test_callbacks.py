"""Callbacks that ship with the core: each does what it says, and a resumed run does not notice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sslrec_core import checkpoint
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig
from sslrec_core.testing.runs import Death

Configure = Callable[..., RunConfig]


def test_progress_prints_a_line_for_each_evaluation(
    factors: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run.create(factors('run.callbacks=["progress"]', "train.every=2"), tmp_path / "run").execute()
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert "epoch    1" in lines[0] and "valid ndcg@20" in lines[0] and "ranking" in lines[0]


def test_ema_keeps_and_evaluates_the_average(factors: Configure, tmp_path: Path) -> None:
    config = factors('run.callbacks=[{name="ema", decay=0.5}]', "train.epochs=1", "train.batch_size=4096")
    run = Run.create(config, tmp_path / "run")
    start = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.execute()
    trained = Run.create(factors("train.epochs=1", "train.batch_size=4096"), tmp_path / "plain")
    trained.execute()
    kept, _ = checkpoint.load(tmp_path / "run" / "best.safetensors")
    # One step only: the average begins at the weights after it.
    assert start.keys() == checkpoint.under(kept, "model").keys()
    torch.testing.assert_close(checkpoint.under(kept, "model"), dict(trained.model.state_dict()))


def test_ema_lags_behind_the_weights(factors: Configure, tmp_path: Path) -> None:
    run = Run.create(factors('run.callbacks=[{name="ema", decay=0.9}]', "train.epochs=3"), tmp_path / "run")
    path: list[torch.Tensor] = []
    run.loop.on_step.insert(0, lambda losses: path.append(run.model.state_dict()["users.weight"].clone()))
    run.execute()
    expected = path[0]
    for weights in path[1:]:
        expected = expected.lerp(weights, 0.1)
    average = run.callbacks[0].state()["users.weight"]
    torch.testing.assert_close(average, expected)
    assert not torch.allclose(average, path[-1], atol=1e-3)


def test_a_resumed_average_is_the_same(factors: Configure, tmp_path: Path) -> None:
    config = factors('run.callbacks=[{name="ema", decay=0.9}]', "train.epochs=6", "run.checkpoint_seconds=0")
    whole = Run.create(config, tmp_path / "whole").execute()
    run = Run.create(config, tmp_path / "cut")

    def die(done: int, total: int) -> None:
        if run.epoch == 3:
            raise Death

    run.loop.on_batch.append(die)
    with pytest.raises(Death):
        run.execute()
    assert Run.resume(tmp_path / "cut").execute().metrics == whole.metrics


def test_profile_writes_its_table(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors('run.callbacks=[{name="profile", rows=5}]', "train.epochs=2"), tmp_path / "run").execute()
    table = (tmp_path / "run" / "profile.txt").read_text()
    assert "Self CPU" in table and "aten::" in table


def test_time_limit_stops_and_says_why(factors: Configure, tmp_path: Path) -> None:
    config = factors('run.callbacks=[{name="time-limit", minutes=1e-6}]', "train.epochs=50")
    Run.create(config, tmp_path / "run").execute()
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events][-2:] == ["stopped", "test"]
    assert "minutes are over" in events[-2]["why"] and events[-2]["epoch"] <= 1


def test_no_callback_acts_unless_it_is_named(
    factors: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run.create(factors(), tmp_path / "run").execute()
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "run" / "profile.txt").exists()
