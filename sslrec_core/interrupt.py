"""Stopping trainings without losing them: the first signal asks, the second insists."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Interrupted(KeyboardInterrupt):
    """The run stopped because it was asked to; its last checkpoint is saved."""


class StopRequest:
    """Whether somebody asked the training to stop, by Ctrl-C or SIGTERM."""

    def __init__(self, how_to_go_on: str) -> None:
        self.asked = False
        self._how_to_go_on = how_to_go_on

    def leave(self, when: str) -> Interrupted:
        """The exception that ends the run, with the command that goes on."""
        return Interrupted(f"stopped {when}; go on with: {self._how_to_go_on}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """The first signal sets ``asked``; the second raises :class:`Interrupted` at once.

        Signals belong to the main thread: elsewhere this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise self.leave("at once")
        self.asked = True
        # A signal may arrive in the middle of a write to sys.stderr; this one cannot clash with it.
        os.write(2, b"finishing the epoch, then saving; again to stop at once\n")


class Stoppable(Protocol):
    """A process, of whichever module."""

    def terminate(self) -> None:
        """Send it SIGTERM."""


class Processes:
    """Processes that train for this one, and are asked to stop where it is."""

    def __init__(self) -> None:
        self.asked = False
        self._running: set[Stoppable] = set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """SIGTERM is passed on to the processes, which save and end; this one goes on, to hear of them.

        Ctrl-C reaches them by itself.  Signals belong to the main thread: elsewhere this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def add(self, process: Stoppable) -> None:
        """A process that has begun."""
        self._running.add(process)
        if self.asked:
            # The signal came while the process began, and missed it.
            process.terminate()

    def discard(self, process: Stoppable) -> None:
        """A process that has ended."""
        self._running.discard(process)

    def run(self, command: list[str], environment: dict[str, str]) -> tuple[int, str]:
        """A process from its beginning to its end: its exit code, and what it wrote to stderr."""
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.add(process)
        try:
            _, said = process.communicate()
        finally:
            self.discard(process)
        return process.returncode, said

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        for process in tuple(self._running):
            process.terminate()
        os.write(2, b"the runs under way finish their epochs, then save\n")
