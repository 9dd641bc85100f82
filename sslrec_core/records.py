"""What a run leaves in its directory: file names, the place in a training, the result."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslrec_core.config import flattened
from sslrec_core.errors import CheckpointError
from sslrec_core.files import storage, write_text

if TYPE_CHECKING:
    from sslrec_core.settings import RunConfig

CONFIG, ENVIRONMENT, METRICS, RESULT = "config.toml", "environment.json", "metrics.jsonl", "result.json"
BEST, LAST = "best.safetensors", "last.safetensors"
REPORT = "report.html"
"""The page about a run, if one was made."""

FINGERPRINT, INTERACTIONS = "data fingerprint", "interactions"
"""Terms that tell the data of runs apart: all that a scenario made of them, and who met what in which part."""
MAY_DIFFER = ("run", "model", "train", "optim")
"""Sections of a configuration that may differ among runs that are compared; all else is data and protocol."""
PROTOCOL = ("train.select_on",)
"""Keys of those sections that belong to the protocol all the same."""


@dataclass
class Progress:
    """The place in a training; saved with each checkpoint."""

    stage: int = 0
    epoch: int = 0
    """Epochs of the stage that are complete."""
    step: int = 0
    best: float | None = None
    best_epoch: int | None = None
    best_metrics: dict[str, float] | None = None
    without_gain: int = 0
    stopped: str | None = None
    events: int = 0
    """Bytes of ``metrics.jsonl`` that belong to the complete epochs."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Result:
    """What a complete run found."""

    path: Path
    metrics: dict[str, float]
    """On the test part, with the best epoch's weights; empty if that was not asked for."""
    selection: dict[str, float]
    """On the part that chose the epoch, at that epoch."""
    best_epoch: int | None
    label: str | None
    """``selected on test`` or None."""
    seconds: float
    memory: int | None = None
    """Peak bytes, of the CUDA device or else of the process; None where that is not known."""


def append_event(directory: Path, event: Mapping[str, Any]) -> int:
    """Add one line to the events of the run in ``directory``; how many bytes they are afterwards."""
    path = directory / METRICS
    with storage(path, "recording"), path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(event) + "\n")
        return handle.tell()


def keep_events(directory: Path, size: int) -> None:
    """Cut the events of the run in ``directory`` after ``size`` bytes; what followed will be recorded again."""
    path = directory / METRICS
    if path.exists():
        with storage(path, "resuming"), path.open("rb+") as handle:
            handle.truncate(size)


def read_events(directory: Path, size: int) -> list[dict[str, Any]]:
    """The events of the run in ``directory``, as far as its first ``size`` bytes."""
    with (directory / METRICS).open("rb") as handle:
        return [json.loads(line) for line in handle.read(size).splitlines()]


def new_name(config: RunConfig) -> str:
    """``<model>-<dataset>-<time>-<chance>``; chance keeps runs that start together apart."""
    model, data = (choice.name.rpartition("/")[2] for choice in (config.model, config.data))
    return f"{model}-{data}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def read_result(directory: Path) -> Result:
    """The result of the complete run in ``directory``.

    Raises:
        CheckpointError: the run is not complete.
    """
    path = directory / RESULT
    if not path.is_file():
        raise CheckpointError(f"the run in {directory} is not complete", fix=f"sslrec train --resume {directory}")
    content = json.loads(path.read_text(encoding="utf-8"))
    names = ("metrics", "selection", "best_epoch", "label", "seconds")
    # Runs of earlier versions did not note their memory.
    return Result(path=directory, memory=content.get("memory"), **{name: content[name] for name in names})


def write_result(result: Result, config: RunConfig) -> None:
    """Write ``result.json``: its presence means that the run is complete."""
    content = {"model": config.model.name, "data": config.data.name, **asdict(result)}
    del content["path"]  # a directory may be moved
    write_text(result.path / RESULT, json.dumps(content, indent=1) + "\n")


# ---- configurations side by side -------------------------------------------------------------------------------------


class Described:
    """A run by what its directory says: the two files that it began with."""

    config: Mapping[str, Any]
    environment: Mapping[str, Any]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Options by dotted key, without where and with which seed the run was carried out."""
        return dict(flattened({key: value for key, value in self.config.items() if key != "run"}))

    @cached_property
    def terms(self) -> dict[str, Any]:
        """What must be the same to compare: data and protocol."""
        of_model = {key for key in self.settings if key.split(".")[0] in MAY_DIFFER and key not in PROTOCOL}
        data = self.environment.get("data", {})
        shared = {key: value for key, value in self.settings.items() if key not in of_model}
        return {**shared, FINGERPRINT: data.get("fingerprint"), INTERACTIONS: data.get("interactions")}


def unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The terms in which two runs differ, sorted.

    A model may look at more of a dataset than another, its scenario be another one: where both have the same
    interactions in the same parts, what one scenario alone has an option for does not matter.
    """
    keys = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    if FINGERPRINT in keys and INTERACTIONS not in keys and one.get(INTERACTIONS) is not None:
        alone = {key for key in keys if key.startswith("scenario.") and (key in one) != (key in other)}
        keys -= alone | {FINGERPRINT, "scenario.name"}
    keys.discard(INTERACTIONS)  # the fingerprint says it; older runs did not note them
    return sorted(keys)


def telling(settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each of several runs' ``settings``, those that tell it from another run of its model."""
    values: dict[tuple[str, str], Any] = {}
    differing: set[tuple[str, str]] = set()
    keys: dict[str, dict[str, None]] = {}
    for one in settings:
        keys.setdefault(one["model.name"], {}).update(dict.fromkeys(one))
    for one in settings:
        model = one["model.name"]
        for key in keys[model]:
            if values.setdefault((model, key), one.get(key)) != one.get(key):
                differing.add((model, key))
    return [{key: value for key, value in one.items() if (one["model.name"], key) in differing} for one in settings]
