"""What a run directory tells, whole or not: a report is made of what can be read and says what cannot."""

from __future__ import annotations

import json
import math
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from textwrap import shorten
from typing import Any

from sslrec_core.comparing.runs import Group, Record, grouped
from sslrec_core.errors import CheckpointError, SslrecError
from sslrec_core.protocols import SELECTED_ON_TEST
from sslrec_core.records import CONFIG, ENVIRONMENT, METRICS, RESULT, Result, read_result
from sslrec_core.toml import remarks

LONGEST_REASON = 200
Event = Mapping[str, Any]
NEEDED = (("model", "name"), ("data", "name"), ("run", "seed"))
"""Keys without which a configuration says nothing; whatever else an older version did not write may be missing."""


@dataclass(frozen=True, eq=False)
class Story:
    """One run, as far as its files tell."""

    record: Record
    """Its result is that of the best epoch so far where the run is not complete."""
    complete: bool
    origins: Mapping[str, str]
    """Dotted key to where its value came from; keys that are not here have their class default."""
    events: tuple[Event, ...]
    gaps: tuple[str, ...]
    """What is missing or damaged, a sentence each."""
    name: str
    """That of its directory; the whole path where two of a report's runs have the same."""
    group: str = ""
    """What it has in common with the runs that differ from it by their seed alone."""

    @classmethod
    def read(cls, directory: Path) -> Story:
        """The run in ``directory``.

        Raises:
            CheckpointError: its configuration is gone or cannot be read, so that nothing can be said about it.
        """
        gaps: list[str] = []
        try:
            text = (directory / CONFIG).read_text(encoding="utf-8")
            config = tomllib.loads(text)
            for section, key in NEEDED:
                config[section][key]
            if loose := [key for key, value in config.items() if not isinstance(value, dict)]:
                raise ValueError(f"{', '.join(loose)} stands outside all sections")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"the run in {directory} cannot be read", f"{CONFIG}: {reason(error)}", fix="leave it out"
            ) from error
        environment = _environment(directory, gaps)
        events = _events(directory, gaps)
        result = _result(directory, gaps)
        record = Record(directory, config, environment, result or _so_far(directory, config, events))
        return cls(record, result is not None, remarks(text), events, tuple(gaps), _text(directory.resolve().name))

    @property
    def judge(self) -> str | None:
        """The metric that chooses the best epoch."""
        judge = self.record.config.get("train", {}).get("judge")
        return judge if isinstance(judge, str) else None

    @property
    def length(self) -> int:
        """The length of list that the run was judged at; 20 where its judge has none."""
        at = (self.judge or "").partition("@")[2]
        return int(at) if at.isdecimal() and int(at) > 0 else 20

    @property
    def split(self) -> str:
        """The part that chooses the best epoch."""
        return str(self.record.config.get("train", {}).get("select_on", "valid"))

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """The metric on the part that chooses, by epoch, counted over all stages."""
        return [
            (self._place(event), event["metrics"][metric])
            for event in judged(self.events, self.split)
            if metric in event["metrics"]
        ]

    def losses(self) -> dict[tuple[str, str], list[tuple[int, float]]]:
        """Each term of each stage by epoch, counted over all stages."""
        found: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for event in self.events:
            if event.get("event") == "epoch" and "epoch" in event:
                for term, value in event.get("losses", {}).items():
                    found.setdefault((str(event.get("stage")), term), []).append((self._place(event), value))
        return found

    @property
    def metrics(self) -> list[str]:
        """What was measured on the part that chooses, slices left out, in the order of the evaluator."""
        first = next((event["metrics"] for event in judged(self.events, self.split)), self.record.result.selection)
        return [name for name in first if "/" not in name]

    @property
    def best(self) -> int | None:
        """The best epoch, counted over all stages."""
        epoch = self.record.result.best_epoch
        last = next(iter(judged(self.events[::-1], self.split)), None)
        return None if epoch is None or last is None else self._place({**last, "epoch": epoch})

    def _place(self, event: Event) -> int:
        return self._before[str(event.get("stage"))] + int(event["epoch"])

    @cached_property
    def _before(self) -> dict[str, int]:
        """Epochs before each stage."""
        lengths: dict[str, int] = {}
        for event in self.events:
            if "epoch" in event:
                stage = str(event.get("stage"))
                lengths[stage] = max(lengths.get(stage, 0), event["epoch"] + 1)
        places, before = {}, 0
        for stage, length in lengths.items():
            places[stage] = before
            before += length
        return places


def judged(events: Sequence[Event], split: str) -> Iterator[Event]:
    """The evaluations that chose among epochs: not the one on the test part at the end, which belongs to none."""
    for event in events:
        if event.get("event") == split and "epoch" in event and "metrics" in event:
            yield event


def read_all(directories: Sequence[Path]) -> tuple[list[Story], list[Group]]:
    """The runs in ``directories``, and the groups that they form over seeds, the best on the judge's metric first.

    Raises:
        CheckpointError: one of them cannot be read at all.
    """
    stories = [Story.read(directory) for directory in directories]
    names = Counter(story.name for story in stories)
    stories = [
        replace(story, name=_text(str(story.record.directory)) if names[story.name] > 1 else story.name)
        for story in stories
    ]
    groups = grouped([story.record for story in stories])
    judge = stories[0].judge or ""

    def value(group: Group) -> float:
        return max(fmean(group.metric(judge, split) or [-math.inf]) for split in ("test", "valid"))

    groups.sort(key=value, reverse=True)
    of = {record.directory: group.name for group in groups for record in group.records}
    stories = [replace(story, group=of[story.record.directory]) for story in stories]
    places = {group.name: place for place, group in enumerate(groups)}
    return sorted(stories, key=lambda story: (places[story.group], story.record.seed)), groups


def _text(name: str) -> str:
    """A file's name as text; bytes that are none become question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


def reason(error: Exception) -> str:
    """Why something could not be done, in a line."""
    if isinstance(error, SslrecError):
        return shorten("; ".join([error.problem, *error.facts[:1]]), LONGEST_REASON, placeholder=" …")
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, KeyError):
        return f"{error} is missing"
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _environment(directory: Path, gaps: list[str]) -> Mapping[str, Any]:
    try:
        found = json.loads((directory / ENVIRONMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        gaps.append(f"{ENVIRONMENT} cannot be read: {reason(error)}.")
        return {}
    sound = isinstance(found, dict) and isinstance(found.get("data", {}), dict)
    return found if sound else {}


def _events(directory: Path, gaps: list[str]) -> tuple[Event, ...]:
    """The events; a line that is cut off or damaged is left out and counted."""
    try:
        lines = (directory / METRICS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        gaps.append(f"{METRICS} cannot be read: {reason(error)}.")
        return ()
    found = [_event(line) for line in lines]
    if found and found[-1] is None:
        gaps.append(f"The last line of {METRICS} is cut off and left out.")
        found.pop()
    if damaged := found.count(None):
        gaps.append(f"{damaged} lines of {METRICS} are damaged and left out.")
    return tuple(event for event in found if event is not None)


def _event(line: str) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    tables = [event.get(key, {}) for key in ("metrics", "losses")] if isinstance(event, dict) else [None]
    sound = all(map(_is_table_of_numbers, tables)) and isinstance(event.get("epoch", 0), int)
    return event if sound else None


def _is_table_of_numbers(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, (int, float)) and math.isfinite(one) for one in value.values()
    )


def _result(directory: Path, gaps: list[str]) -> Result | None:
    try:
        result = read_result(directory)
        if not (_is_table_of_numbers(result.metrics) and _is_table_of_numbers(result.selection)):
            raise TypeError("its metrics are not numbers by name")
        return result
    except CheckpointError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        gaps.append(f"{RESULT} cannot be read: {reason(error)}.")
        return None


def _so_far(directory: Path, config: Mapping[str, Any], events: Sequence[Event]) -> Result:
    """The best epoch of a run that is not complete."""
    train = config.get("train", {})
    split, judge = train.get("select_on", "valid"), train.get("judge")
    known = [event for event in judged(events, split) if judge in event["metrics"]]
    best = max(known, key=lambda event: float(event["metrics"][judge]), default=None)
    seconds = sum(float(event.get("seconds", 0)) for event in events)
    label = SELECTED_ON_TEST if split == "test" else None
    if best is None:
        return Result(directory, {}, {}, None, label, seconds)
    return Result(directory, {}, dict(best["metrics"]), best.get("epoch"), label, seconds)
