"""Errors that are meant for the person at the keyboard.

Each one is a problem in the user's words, facts (one per line) and a fix that can be typed.  The command line
prints them without a traceback and exits with ``exit_code``; in Python they are ordinary exceptions.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SslrecError(Exception):
    """A failure that sslrec explains: the problem, the facts, the fix.

    Stability: callers may rely on ``problem``, ``facts``, ``fix`` and ``exit_code``.
    """

    exit_code = 1

    def __init__(self, problem: str, *facts: str, fix: str | None = None) -> None:
        super().__init__(problem, *facts)
        self.problem = problem
        self.facts = facts
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.problem, *(f"  {fact}" for fact in self.facts)]
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class ConfigError(SslrecError):
    """A key, value or option that cannot be used."""

    exit_code = 2


class UnknownName(SslrecError):
    """A name that no installed plugin offers."""

    exit_code = 2


class AmbiguousName(SslrecError):
    """A short name that several plugins offer, none of which owns it."""

    exit_code = 2


class DataError(SslrecError):
    """A file, table, identifier or checksum that cannot be used."""

    exit_code = 2


class StorageError(SslrecError):
    """A folder or file that cannot be written: it exists, is read-only, or the disk is full."""

    exit_code = 2


class CheckpointError(SslrecError):
    """A run directory or checkpoint that does not fit what is installed."""

    exit_code = 2


class DeviceError(SslrecError):
    """A device that is not there, or has too little memory."""

    exit_code = 2


class PluginError(SslrecError):
    """A plugin that is installed but cannot be used."""

    exit_code = 3


class TrainingError(SslrecError):
    """A training that cannot go on, such as one whose loss is no longer finite."""

    exit_code = 1


def closest(word: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The ``limit`` members of ``known`` that look most like ``word``, best first."""
    return difflib.get_close_matches(word, list(known), n=limit, cutoff=0.5)
