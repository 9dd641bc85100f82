"""The events of a run, read piece by piece while the run writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECENT = 5
"""Epochs over which the time of one is averaged."""

Curve = list[tuple[int, float]]
"""Pairs of an evaluation's epoch, counted over all stages, and a value."""


@dataclass
class Events:
    """What ``metrics.jsonl`` said so far.

    A line without its end is left for the next reading; a file that was cut, as resuming does, is read anew.
    """

    path: Path
    split: str
    """The part whose evaluations choose the epoch: their event is called after it."""
    judge: str | None
    stage: str | None = None
    epoch: int | None = None
    """The last complete epoch of the stage, from 0."""
    epochs: int = 0
    """Complete epochs of all stages."""
    losses: Mapping[str, float] = field(default_factory=dict)
    """Of the last epoch, by term."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of the last evaluation."""
    best: float | None = None
    """The judging metric at its best."""
    best_epoch: int | None = None
    best_metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    """Of training and evaluations."""
    judged: Curve = field(default_factory=list)
    """The judging metric of each evaluation."""
    lost: Curve = field(default_factory=list)
    """The sum of the losses of each epoch."""
    skipped: int = 0
    """Lines that are no events."""
    _times: list[float] = field(default_factory=list)
    _read: int = 0
    _tail: bytes = b""

    def refresh(self) -> Events:
        """Read what was added since the last time; the events themselves, or new ones where the file was cut.

        Raises:
            OSError: the file cannot be read; one that is not there yet is empty.
        """
        try:
            handle = self.path.open("rb")
        except FileNotFoundError:
            return self
        with handle:
            handle.seek(self._read - len(self._tail))
            text = handle.read()
        if not text.startswith(self._tail):
            return Events(self.path, self.split, self.judge).refresh()
        new = text[len(self._tail) :]
        whole = new[: new.rfind(b"\n") + 1]
        for line in whole.splitlines():
            self._take(line)
        if whole:
            self._read += len(whole)
            self._tail = whole.splitlines(keepends=True)[-1]
        return self

    @property
    def pace(self) -> float | None:
        """Seconds for one epoch, its evaluation included, over the last few; None before the first."""
        recent = self._times[-RECENT:]
        return sum(recent) / len(recent) if recent else None

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind, seconds = event["event"], float(event.get("seconds", 0.0))
            if kind == "epoch":
                self._epoch(event)
                self._times.append(seconds)
            elif kind == self.split and "stage" in event:
                self._evaluation(event)
                if self._times:
                    self._times[-1] += seconds
            self.seconds += seconds
        except (ValueError, KeyError, TypeError, AttributeError):
            self.skipped += 1

    def _epoch(self, event: Mapping[str, Any]) -> None:
        losses = {str(name): float(value) for name, value in event["losses"].items()}
        if event["stage"] != self.stage:
            self._times.clear()
        self.stage, self.epoch, self.losses = str(event["stage"]), int(event["epoch"]), losses
        self.epochs += 1
        self.lost.append((self.epochs - 1, sum(losses.values())))

    def _evaluation(self, event: Mapping[str, Any]) -> None:
        metrics = event["metrics"]
        value = metrics.get(self.judge)
        self.metrics = metrics
        if value is None:
            return
        self.judged.append((max(0, self.epochs - 1), float(value)))
        if self.best is None or value > self.best:
            self.best, self.best_epoch, self.best_metrics = float(value), int(event["epoch"]), metrics


def thinned(curve: Sequence[tuple[int, float]], points: int) -> list[tuple[int, float]]:
    """At most ``points`` points of ``curve``, evenly spread, with its first, last and highest."""
    if len(curve) <= points:
        return list(curve)
    last = len(curve) - 1
    kept = {round(place * last / (points - 2)) for place in range(points - 1)}
    kept.add(max(range(len(curve)), key=lambda place: curve[place][1]))
    return [curve[place] for place in sorted(kept)]
