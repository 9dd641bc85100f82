"""What stands on a page: sections of tables, charts and text.  ``parts.html`` has a macro for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from markupsafe import Markup

LONGEST = 160
"""Letters of a name that are shown."""


class Number(str):
    """Text that stands in a column of numbers, such as ``0.1234 ± 0.0012``."""


Cell: TypeAlias = "str | int | float | bool | None"
"""Columns of numbers are set to the right, None is a dash, text is escaped unless it is Markup."""


def is_number(cell: Cell) -> bool:
    """Whether a cell is set as a number is."""
    return isinstance(cell, (int, float, Number)) and not isinstance(cell, bool)


def name(text: str | None) -> Cell:
    """Somebody's name for something: shown as text, however it is written, and cut where it is very long."""
    if text is None:
        return None
    # Isolated, so that a name that is written from right to left leaves the rest of the line as it is.
    return Markup("<bdi>{}</bdi>").format(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


@dataclass(frozen=True)
class Table:
    """Rows under headings, which may all be empty; the first cell of a row is its name."""

    kind: ClassVar = "table"

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: str | None = None
    """What opens it, for a table that is closed at first."""

    @property
    def numbers(self) -> list[bool]:
        """Whether a column holds numbers, and gaps, alone."""
        columns = [[row[place] for row in self.rows] for place in range(len(self.columns))]
        return [all(cell is None or is_number(cell) for cell in column) for column in columns]


@dataclass(frozen=True)
class Chart:
    """A drawing, a sentence about it, and the same figures as a table, for whoever does not see it."""

    kind: ClassVar = "chart"

    title: str
    caption: str
    drawing: Markup
    table: Table


@dataclass(frozen=True)
class Beside:
    """Parts beside one another, as many as the window is wide for."""

    kind: ClassVar = "beside"

    parts: Sequence[Part]


@dataclass(frozen=True)
class Remark:
    """A sentence set apart: why something is missing, or what to be careful with."""

    kind: ClassVar = "remark"

    text: str
    loud: bool = False


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar = "text"

    text: str


Part: TypeAlias = "Table | Chart | Beside | Remark | Text | Section"


@dataclass(frozen=True)
class Section:
    """Parts under a heading, which the page's list of contents leads to where it is one of the page's own."""

    kind: ClassVar = "section"

    title: str
    parts: Sequence[Part]

    @property
    def anchor(self) -> str:
        """The heading's address in the page."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())
