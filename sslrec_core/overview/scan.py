"""Every run below a folder, whatever state it is in: half-written, from an earlier version, or just being deleted."""

from __future__ import annotations

import json
import os
import re
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sslrec_core.errors import CheckpointError, ConfigError
from sslrec_core.files import is_held
from sslrec_core.overview.events import Events
from sslrec_core.protocols import PROTOCOLS, SELECTED_ON_TEST
from sslrec_core.records import CONFIG, ENVIRONMENT, METRICS, REPORT, RESULT, Described, Result, read_result

State = Literal["running", "complete", "interrupted", "unreadable"]
Signature = tuple[tuple[int, int] | None, ...]

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, CheckpointError)
"""What a file raises that is not what it should be."""
_PRESET = re.compile(r"# preset (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Seen(Described):
    """A run as it was found."""

    directory: Path
    state: State
    why: str = ""
    """Why it is unreadable."""
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    result: Result | None = None
    """Of a complete run."""
    events: Events | None = None
    """Of a run that is not complete."""
    preset: str | None = None
    changed: float = 0.0
    """When it last wrote an event or its result, in seconds since 1970."""
    report: bool = False
    """Whether its page stands beside it."""

    def place(self, root: Path) -> str:
        """Where it is below ``root``, as text: bytes of a file's name that are none are question marks."""
        return self.directory.relative_to(root).as_posix().encode("utf-8", "replace").decode("utf-8")

    @property
    def model(self) -> str:
        return str(self.config["model"]["name"])

    @property
    def dataset(self) -> str:
        return str(self.config["data"]["name"])

    @property
    def seed(self) -> int | None:
        seed = self._option("run", "seed")
        return None if seed is None else int(seed)

    @property
    def judge(self) -> str | None:
        """The metric that chooses the epoch."""
        judge = self._option("train", "judge")
        return None if judge is None else str(judge)

    @property
    def select_on(self) -> str:
        """The part that chooses the epoch."""
        return str(self._option("train", "select_on") or "valid")

    @property
    def limit(self) -> int | None:
        """Epochs at most of the stage that the run is in, where that is known: others have limits of their own."""
        asked = int(self._option("train", "epochs") or 0)
        return asked if asked and self.events and self.events.stage == "train" else None

    @property
    def label(self) -> str | None:
        """``selected on test``, or None."""
        return SELECTED_ON_TEST if self.select_on == "test" else None

    @property
    def protocol(self) -> str:
        """The named protocol that asks for most of what the configuration says."""
        matching = [name for name, values in PROTOCOLS.items() if _holds(values, self.config)]
        return max(matching, key=lambda name: len(PROTOCOLS[name]))

    @property
    def best(self) -> float | None:
        """The judging metric at its best, on the part that chooses."""
        if self.result is not None:
            return self.result.selection.get(self.judge or "")
        return self.events.best if self.events else None

    @property
    def best_epoch(self) -> int | None:
        if self.result is not None:
            return self.result.best_epoch
        return self.events.best_epoch if self.events else None

    @property
    def selection(self) -> Mapping[str, float]:
        """Metrics of the best epoch on the part that chooses."""
        if self.result is not None:
            return self.result.selection
        return self.events.best_metrics if self.events else {}

    @property
    def seconds(self) -> float | None:
        """Of training, so far."""
        if self.result is not None:
            return self.result.seconds
        return self.events.seconds if self.events else None

    @property
    def left(self) -> float | None:
        """Seconds to the last epoch if nothing stops the training before; None where that is not known."""
        if self.events is None or self.events.pace is None or self.events.epoch is None or self.limit is None:
            return None
        return (self.limit - self.events.epoch - 1) * self.events.pace

    def _option(self, section: str, key: str) -> Any:
        # Earlier versions had fewer options.
        return self.config.get(section, {}).get(key)


def _holds(wanted: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    return all(
        config.get(section, {}).get(key) == value for section, values in wanted.items() for key, value in values.items()
    )


class Scanner:
    """Looks at the runs below a folder again and again, and reads only what has changed since."""

    def __init__(self, root: Path) -> None:
        """Raises ConfigError where ``root`` is no folder."""
        if not root.is_dir():
            raise ConfigError(f"{root} is not a folder", fix="name the folder that holds the runs, such as runs")
        self.root = root
        self._known: dict[Path, tuple[Signature, Seen]] = {}

    def scan(self) -> list[Seen]:
        """The runs as they are now, by path."""
        known, self._known = self._known, {}
        for directory, files in sorted(_runs(self.root)):
            if (seen := self._look(directory, files, known.get(directory))) is not None:
                self._known[directory] = (_signature(files), seen)
        return [seen for _, seen in self._known.values()]

    def _look(
        self, directory: Path, files: Mapping[str, os.stat_result], before: tuple[Signature, Seen] | None
    ) -> Seen | None:
        held = RESULT not in files and is_held(directory)
        if before is not None and before[0] == _signature(files) and (before[1].state == "running") == held:
            return before[1]
        old = before[1].events if before is not None else None
        try:
            return _read(directory, files, held, old)
        except _UNREADABLE as error:
            if not directory.exists():
                return None
            return Seen(directory, "unreadable", _reason(error), changed=_changed(files))


def _runs(folder: Path) -> Iterator[tuple[Path, dict[str, os.stat_result]]]:
    """Run directories below ``folder``, with their files; one that cannot be looked into has none."""
    waiting, visited = [folder], set[tuple[int, int]]()
    while waiting:
        place = waiting.pop()
        try:
            about = place.stat()
            if (about.st_dev, about.st_ino) in visited:
                continue  # a link in a circle
            visited.add((about.st_dev, about.st_ino))
            files, inside = _listing(place)
        except FileNotFoundError:
            continue
        except OSError:
            yield place, {}
            continue
        # A study has a configuration too, the one that its trials begin with, and its trials below it.
        if CONFIG in files and (files.keys() & {ENVIRONMENT, METRICS, RESULT} or not inside):
            yield place, files
        else:
            waiting += inside


def _listing(folder: Path) -> tuple[dict[str, os.stat_result], list[Path]]:
    files: dict[str, os.stat_result] = {}
    inside: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue  # such as a run that is just being made
            if entry.is_dir():
                inside.append(folder / entry.name)
            elif entry.name in (CONFIG, ENVIRONMENT, METRICS, RESULT, REPORT):
                try:
                    files[entry.name] = entry.stat()
                except FileNotFoundError:
                    continue
    return files, inside


def _signature(files: Mapping[str, os.stat_result]) -> Signature:
    names = (CONFIG, ENVIRONMENT, METRICS, RESULT, REPORT)
    return tuple((files[name].st_mtime_ns, files[name].st_size) if name in files else None for name in names)


def _changed(files: Mapping[str, os.stat_result]) -> float:
    times = [files[name].st_mtime for name in (RESULT, METRICS, CONFIG) if name in files]
    return times[0] if times else time.time()


def _read(directory: Path, files: Mapping[str, os.stat_result], held: bool, old: Events | None) -> Seen:
    if not files:
        raise PermissionError(f"{directory.name} cannot be opened")
    with _reading(CONFIG):
        text = (directory / CONFIG).read_text(encoding="utf-8")
        config, preset = tomllib.loads(text), _PRESET.search(text)
    with _reading(ENVIRONMENT):
        environment = json.loads((directory / ENVIRONMENT).read_text(encoding="utf-8")) if ENVIRONMENT in files else {}
        if not isinstance(environment, dict):
            raise ValueError("not a table")
    with _reading(RESULT):
        result = read_result(directory) if RESULT in files else None
        if result is not None:
            _ = [float(value) for value in (*result.metrics.values(), *result.selection.values(), result.seconds)]
    seen = Seen(
        directory,
        state="complete" if result is not None else "running" if held else "interrupted",
        config=config,
        environment=environment,
        result=result,
        preset=preset.group(1) if preset else None,
        changed=_changed(files),
        report=REPORT in files,
    )
    # What is shown is touched here, so that options of a wrong kind are found here and nowhere else.
    with _reading(CONFIG):
        _ = seen.model, seen.dataset, seen.seed, seen.limit, seen.protocol, seen.terms
    if result is None:
        same = old is not None and (old.split, old.judge) == (seen.select_on, seen.judge)
        events = old if same and old is not None else Events(directory / METRICS, seen.select_on, seen.judge)
        seen = replace(seen, events=events.refresh())
    return seen


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Say which file is not what a run leaves."""
    try:
        yield
    except FileNotFoundError:
        raise
    except _UNREADABLE as error:
        raise ValueError(f"{name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error).partition("\n")[0]
