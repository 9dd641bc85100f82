"""Plain columns for listings: no colour, no torch, whole lines where the output is not a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence


def columns(rows: Iterable[Sequence[str]], indent: str = "  ") -> Iterator[str]:
    """Rows as aligned lines; on a terminal the last column ends where the line does."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in table:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        line = (indent + "  ".join([*cells, row[-1]])).rstrip()
        yield line if room is None or len(line) <= room else f"{line[: room - 1]}…"
