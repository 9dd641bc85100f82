"""Where in a table something is wrong.  Slow, and only used to explain a failure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sslrec_core.errors import DataError
from sslrec_core.ingest.packed import read_bytes

if TYPE_CHECKING:
    from sslrec_core.ingest.tables import Layout


def place(found: Layout, row: int) -> str:
    """Where row ``row`` (from 0) stands, for messages."""
    if found.kind != "text":
        return f"{found.path}: row {row + 1:,}"
    for number, (line, _) in enumerate(_records(found)):
        if number == row + found.skipped:
            return f"{found.path}:{line}"
    return f"{found.path}: row {row + 1:,}"


def odd(found: Layout) -> DataError | None:
    """The first line of a text table that cannot be read: not UTF-8, with too many fields, or empty between others."""
    for line, text in enumerate(read_bytes(found.path).split(b"\n"), 1):
        try:
            text.decode()
        except UnicodeDecodeError:
            return DataError(f"{found.path}:{line}: this is not UTF-8", fix="save the file as UTF-8")
    empty = None
    for line, fields in _records(found):
        if not fields:
            empty = line if empty is None and line > found.skipped else empty
        elif empty is not None:
            return DataError(f"{found.path}:{empty}: an empty line", fix="remove it")
        elif len(fields) > len(found.names):
            return DataError(
                f"{found.path}:{line}: expected {len(found.names)} fields, found {len(fields)}",
                f"columns: {', '.join(found.names)}",
                fix="mend the line, or name the separator with --set data.separator=…",
            )
    return None


def _records(found: Layout) -> Iterator[tuple[int, list[str]]]:
    """Lines and fields of a text table."""
    content = read_bytes(found.path).decode("utf-8", "replace").removeprefix("\ufeff")
    if len(found.separator) > 1:
        content = content.replace(found.separator, "\x1f")
    reader = csv.reader(
        io.StringIO(content),
        delimiter=found.separator if len(found.separator) == 1 else "\x1f",
        quoting=csv.QUOTE_MINIMAL if found.separator in ",;" else csv.QUOTE_NONE,
    )
    for fields in reader:
        yield reader.line_num, fields
