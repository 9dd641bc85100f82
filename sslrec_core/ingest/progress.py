"""A progress bar for transfers: drawn where someone can see it, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn


class Meter(Protocol):
    """Told how far a transfer is."""

    def begin(self, done: int, total: int | None) -> None:
        """A connection goes on from byte ``done`` of ``total``."""
        ...

    def advance(self, size: int) -> None:
        """``size`` more bytes have come."""
        ...


class Silent:
    """A meter that nobody sees."""

    def begin(self, done: int, total: int | None) -> None:
        return None

    def advance(self, size: int) -> None:
        return None


class Bar:
    """A meter on the terminal."""

    def __init__(self, progress: Progress, name: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=total)

    def begin(self, done: int, total: int | None) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def advance(self, size: int) -> None:
        self._progress.advance(self._task, size)


@contextmanager
def meter(name: str, total: int | None) -> Iterator[Meter]:
    """A meter for the transfer of ``name`` on standard error, silent where that is not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Silent()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress, name, total)
