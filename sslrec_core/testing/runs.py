"""Whole runs for the contracts: finished ones, ones that died and went on, and what they recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from sslrec_core.records import METRICS
from sslrec_core.running import Run
from sslrec_core.testing.bench import Bench


class Death(BaseException):
    """Ends a training like a killed process: nothing is saved on the way out."""


def finished_run(bench: Bench, directory: Path) -> Run:
    """A run from beginning to end."""
    run = Run.create(bench.config, directory)
    run.execute()
    return run


def crash(bench: Bench, directory: Path) -> Run | None:
    """A run that dies after the first step of its third epoch, and another that goes on from there to the end.

    Returns:
        None if no epoch has a step to die after.
    """
    run = Run.create(bench.config, directory)
    epochs = 0

    def die(done: int, total: int) -> None:
        nonlocal epochs
        epochs += done == 1
        if epochs == 3:
            raise Death

    run.loop.on_batch.append(die)
    try:
        run.execute()
    except Death:
        # Whatever went on in between must not matter: chance goes on where the checkpoint left it.
        torch.manual_seed(987654321)
        resumed = Run.resume(directory)
        resumed.execute()
        return resumed
    return None


def events(directory: Path) -> list[dict[str, Any]]:
    """What a run recorded before the test part, without the seconds that it took."""
    lines = (directory / METRICS).read_text(encoding="utf-8").splitlines()
    recorded = [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]
    return [event for event in recorded if event["event"] != "test"]
