"""Callbacks that ship with the core: progress, averaged weights, profiling, a limit of time."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from pydantic import PositiveFloat, PositiveInt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor

from sslrec_core.config import Rate
from sslrec_core.hooks import hookimpl
from sslrec_core.loop import Callback

if TYPE_CHECKING:
    from sslrec_core.model import Model
    from sslrec_core.records import Result
    from sslrec_core.running import Run


class Progress(Callback):
    """Show the training: a live bar on a terminal, a plain line for each evaluation elsewhere."""

    class Config(Callback.Config):
        lines: PositiveInt = 1
        """Evaluations from one printed line to the next."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        # Standard error: what a command answers goes to standard output and stays clean.
        self._console = Console(file=sys.stderr, highlight=False)
        self._judged = 0

    @hookimpl(wrapper=True)
    def sslrec_run(self, run: Run) -> Generator[None, Result, Result]:
        """A bar over the epochs and one over the steps, for as long as the run lasts."""
        if not self._console.is_terminal:
            return (yield)
        with self._bar() as bar:
            self._epochs = bar.add_task("epochs", total=None, rate="")
            self._steps = bar.add_task("steps", total=None, rate="")
            self._live = bar
            run.loop.on_batch.append(self._batch)
            return (yield)

    @hookimpl(wrapper=True)
    def sslrec_epoch(self, run: Run) -> Generator[None, Mapping[str, float], Mapping[str, float]]:
        """Time the epoch and move the bar."""
        self._began = self._shown = time.monotonic()
        if self._console.is_terminal:
            self._live.update(self._epochs, total=run.stage.epochs, completed=run.epoch, description=run.stage.name)
            self._live.reset(self._steps)
        losses = yield
        self._losses = losses
        if self._console.is_terminal:
            self._live.update(self._epochs, completed=run.epoch + 1)
        return losses

    @hookimpl(wrapper=True)
    def sslrec_evaluate(self, run: Run, split: str) -> Generator[None, Mapping[str, float], Mapping[str, float]]:
        """Print what was measured, the judging metric first."""
        metrics = yield
        self._judged += 1
        if run.in_training and self._judged % self.config.lines == 0:
            judge = run.config.train.judge
            others = [name for name in metrics if name != judge and "/" not in name][:2]
            values = "  ".join(f"{name} {metrics[name]:.4f}" for name in (judge, *others))
            losses = "  ".join(f"{name} {value:.4f}" for name, value in self._losses.items())
            best = run.progress.best
            mark = " *" if best is None or metrics[judge] > best else ""
            seconds = time.monotonic() - self._began
            self._console.print(
                f"epoch {run.epoch:>4}  {losses}  {split} {values}{mark}  {seconds:.1f} s", soft_wrap=True
            )
        return metrics

    def _bar(self) -> Bar:
        columns = (TextColumn("{task.description:>7}"), BarColumn(bar_width=24), MofNCompleteColumn(),
                   TextColumn("{task.fields[rate]}"), TimeRemainingColumn())  # fmt: skip
        return Bar(*columns, console=self._console, transient=True, refresh_per_second=8)

    def _batch(self, done: int, total: int) -> None:
        now = time.monotonic()
        # Ten redraws a second are enough for an eye, and cost nothing beside the steps.
        if now - self._shown > 0.1 or done == total:
            self._shown = now
            rate = f"{done / max(now - self._began, 1e-9):.1f} steps/s"
            self._live.update(self._steps, total=total or None, completed=done, rate=rate)


class Ema(Callback):
    """Evaluate and keep a running average of the weights instead of the last ones."""

    class Config(Callback.Config):
        decay: Rate = 0.999
        """Share of the average that each step leaves in place."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._average: dict[str, Tensor] = {}

    def state(self) -> dict[str, Tensor]:
        return dict(self._average)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._average = dict(state)

    def weights(self) -> Mapping[str, Tensor] | None:
        return self._average or None

    @hookimpl
    def sslrec_step(self, run: Run) -> None:
        """Move the average towards the weights of this step."""
        with torch.no_grad():
            for name, value in run.model.state_dict().items():
                old = self._average.get(name)
                if old is None or old.shape != value.shape or not value.is_floating_point():
                    self._average[name] = value.clone()
                else:
                    self._average[name] = old.to(value.device).lerp(value, 1 - self.config.decay)

    @hookimpl(wrapper=True)
    def sslrec_evaluate(self, run: Run) -> Generator[None, Mapping[str, float], Mapping[str, float]]:
        """While training, evaluate the average; afterwards the kept weights are the average already."""
        if not run.in_training or not self._average:
            return (yield)
        with _swapped(run.model, self._average):
            return (yield)


@contextmanager
def _swapped(model: Model, weights: Mapping[str, Tensor]) -> Iterator[None]:
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_weights(weights)
    try:
        yield
    finally:
        model.load_weights(own)


class Profile(Callback):
    """Trace the first steps of a run with torch's profiler; the table lands in the run directory."""

    class Config(Callback.Config):
        epochs: PositiveInt = 1
        """How many epochs to trace."""
        rows: PositiveInt = 30
        """Rows of ``profile.txt``, the costliest operators first."""

    config: Config

    @hookimpl(wrapper=True)
    def sslrec_run(self, run: Run) -> Generator[None, Result, Result]:
        """Write ``profile.txt`` when the run ends, however it ends."""
        activities = [torch.profiler.ProfilerActivity.CPU]
        if run.device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._profiler: Any = torch.profiler.profile(activities=activities, profile_memory=True)
        self._left = self.config.epochs
        try:
            return (yield)
        finally:
            if self._left < self.config.epochs:
                table = self._profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=self.config.rows)
                (run.directory / "profile.txt").write_text(table, encoding="utf-8")

    @hookimpl(wrapper=True)
    def sslrec_epoch(self, run: Run) -> Generator[None, Mapping[str, float], Mapping[str, float]]:
        """Trace this epoch if it is one of the first."""
        if self._left == 0:
            return (yield)
        if self._left == self.config.epochs:
            self._profiler.start()
        self._left -= 1
        losses = yield
        if self._left == 0:
            self._profiler.stop()
        return losses


class TimeLimit(Callback):
    """Stop training when it has taken long enough; the best epoch so far is what counts."""

    class Config(Callback.Config):
        minutes: PositiveFloat = 60.0
        """Minutes of training, evaluations included, before it stops."""

    config: Config

    @hookimpl
    def sslrec_should_stop(self, run: Run) -> str | None:
        """A reason once the time is over."""
        spent = run.progress.seconds / 60
        return f"{self.config.minutes:g} minutes are over" if spent >= self.config.minutes else None
