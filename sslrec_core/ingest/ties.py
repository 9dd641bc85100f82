"""Ties between users: two columns of ids, and a third of weights where there is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sslrec_core.data import Column
from sslrec_core.errors import DataError
from sslrec_core.ingest import lists, tables
from sslrec_core.ingest.packed import read_head

ROLES = ("source", "target", "weight")


def read_ties(path: Path) -> dict[str, Column]:
    """Read a file of ties: ``source``, ``target`` and, where there is one, ``weight`` (float32).

    Lines of two whole numbers, or a table.  The columns of a table are known by their names (``source``, ``target``,
    ``weight`` and the like); without a header they are source, target and, if there is a third, weight.

    Raises:
        DataError: a line of another form (file and line are named), no such columns, or an empty file.
    """
    first = next((line for line in read_head(path).splitlines() if line.strip()), "").split()
    if tables.suffix(path) == ".txt" and len(first) == 2 and all(word.isdecimal() for word in first):
        return {**lists.read_columns(path, ROLES[:2])}
    found = tables.layout(path)
    if not found.header:
        return tables.read_columns(found, dict(zip(ROLES, found.names, strict=False)))
    # RecBole's header gives each field a type, which is no part of its name.
    found = replace(found, names=tuple(name.partition(":")[0] for name in found.names))
    chosen = tables.choose(found, dict.fromkeys(ROLES, "auto"))
    if not {"source", "target"} <= chosen.keys():
        raise DataError(
            f"{path} has no columns that look like the two users of a tie",
            f"columns: {', '.join(found.names)}",
            fix="call them source and target in the first line; a third may be called weight",
        )
    return tables.read_columns(found, chosen)
