"""What stands on a page: tables, charts, remarks.  ``parts.html`` has a macro for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from markupsafe import Markup

Cell: TypeAlias = "str | int | float | bool | Markup | None"
"""Columns of numbers are set to the right, None is a dash, text is escaped unless it is Markup."""


def is_figure(cell: Cell) -> bool:
    """Whether a cell is a number."""
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


@dataclass(frozen=True)
class Table:
    """Rows under headings; the first cell of a row is its name."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @property
    def figures(self) -> list[bool]:
        """Whether a column holds numbers, and gaps, alone."""
        columns = [[row[place] for row in self.rows] for place in range(len(self.columns))]
        return [all(cell is None or is_figure(cell) for cell in column) for column in columns]


@dataclass(frozen=True)
class Chart:
    """A drawing, a sentence about it, and the same figures as a table, for whoever does not see it."""

    title: str
    caption: str
    drawing: Markup
    table: Table


@dataclass(frozen=True)
class Remark:
    """A sentence set apart: why something is missing, or what to be careful with."""

    text: str
    loud: bool = False
