"""Complete runs as they are compared: read from their directories, grouped over seeds."""

from __future__ import annotations

import glob
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sslrec_core.comparing.statistics import Values
from sslrec_core.errors import CheckpointError, ConfigError
from sslrec_core.files import write_atomically
from sslrec_core.records import CONFIG, ENVIRONMENT, Described, Result, read_result, telling, unlike


@dataclass(frozen=True)
class Record(Described):
    """One complete run."""

    directory: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    result: Result

    @classmethod
    def read(cls, directory: Path) -> Record:
        """The run in ``directory``.

        Raises:
            CheckpointError: it is not a run, is not complete, or a file of it cannot be read.
        """
        if not (directory / CONFIG).is_file():
            raise CheckpointError(
                f"{directory} is not a run directory", f"it has no {CONFIG}", fix="sslrec train … -o DIR"
            )
        try:
            config = tomllib.loads((directory / CONFIG).read_text(encoding="utf-8"))
            environment = json.loads((directory / ENVIRONMENT).read_text(encoding="utf-8"))
            found = cls(directory, config, environment, read_result(directory))
            _ = (found.seed, found.judge, config["model"]["name"], config["data"]["name"], config["eval"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"the run in {directory} cannot be read", why, fix="leave it out") from error
        return found

    @property
    def seed(self) -> int:
        return int(self.config["run"]["seed"])

    @property
    def judge(self) -> str:
        """The metric that chose its epoch."""
        return str(self.config["train"]["judge"])

    def of_users(self, split: str) -> dict[str, Values]:
        """Each metric user by user, and ``users``; measured once and kept beside the run.

        Raises:
            CheckpointError: its weights or what was kept cannot be read.
        """
        evaluator = json.dumps(self.config["eval"], sort_keys=True)
        path = self.directory / f"users-{split}-{hashlib.sha256(evaluator.encode()).hexdigest()[:8]}.safetensors"
        if not path.exists():
            from sslrec_core.running import Run

            run = Run.open(self.directory)
            found = run.evaluator.evaluate_users(run.model, run.data, split)
            values = {name: value.cpu().numpy() for name, value in found.items()}
            write_atomically(path, lambda temporary: save_file(values, temporary), "keeping what users got")
        try:
            return {name: values.astype(np.float64) for name, values in load_file(path).items()}
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read", str(error), fix="remove it; it is made again") from error


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone."""

    name: str
    records: tuple[Record, ...]

    def metric(self, name: str, split: str) -> list[float]:
        """A metric of each run; empty if a run has not measured it."""
        chosen = [record.result.metrics if split == "test" else record.result.selection for record in self.records]
        return [metrics[name] for metrics in chosen if name in metrics]

    def of_users(self, name: str, split: str) -> tuple[Values, Values]:
        """The users, ascending, and the mean over seeds of what each got."""
        tables = [record.of_users(split) for record in self.records]
        orders = [np.argsort(table["users"]) for table in tables]
        users = tables[0]["users"][orders[0]]
        return users, np.mean([table[name][order] for table, order in zip(tables, orders, strict=True)], axis=0)


def find(patterns: Sequence[str]) -> list[Path]:
    """The run directories that ``patterns`` name: directories, or globs.

    Raises:
        ConfigError: a pattern matches nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        matches = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))
        runs = [Path(match) for match in matches if (Path(match) / CONFIG).is_file()]
        if not runs:
            raise ConfigError(
                f"no run directory is called {pattern}", fix="name directories, or quote a pattern: 'runs/*'"
            )
        found |= dict.fromkeys(runs)
    return list(found)


def check_comparable(records: Sequence[Record]) -> None:
    """Refuse runs on other data or by another protocol.

    Raises:
        ConfigError: the first two that differ, and how.
    """
    first = records[0]
    for other in records[1:]:
        if keys := unlike(first.terms, other.terms):
            facts = [f"{key}: {_said(first, key)} and {_said(other, key)}" for key in keys]
            raise ConfigError(
                f"{first.directory} and {other.directory} cannot be compared", *facts,
                fix="compare runs on the same data and by the same protocol",
            )  # fmt: skip


def _said(record: Record, key: str) -> str:
    return repr(record.terms[key]) if key in record.terms else "nothing (another scenario or version made the run)"


def grouped(records: Iterable[Record]) -> list[Group]:
    """Runs with the same settings together, named by the model and by what tells them from its other groups."""
    together: dict[str, list[Record]] = {}
    for record in records:
        together.setdefault(json.dumps(record.settings, sort_keys=True, default=str), []).append(record)
    groups = [sorted(runs, key=lambda record: record.seed) for runs in together.values()]
    special = telling([runs[0].settings for runs in groups])
    return [Group(_name(runs[0], options), tuple(runs)) for runs, options in zip(groups, special, strict=True)]


def _name(record: Record, options: Mapping[str, Any]) -> str:
    named = (f"{key.rpartition('.')[2]}={value}" for key, value in options.items())
    return " ".join([record.config["model"]["name"], *named])


def differences(groups: Sequence[Group]) -> dict[str, list[Any]]:
    """The options that two groups have and give different values: the value in each group, None where it has none."""
    settings = [group.records[0].settings for group in groups]
    keys = dict.fromkeys(key for one in settings for key in one)
    table = {key: [one.get(key) for one in settings] for key in keys}

    def differs(key: str) -> bool:
        values = [one[key] for one in settings if key in one]
        return any(value != values[0] for value in values)

    return {key: values for key, values in table.items() if differs(key)}
