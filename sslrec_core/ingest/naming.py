"""Names of items: a table of two columns beside the interactions, read when people look, not when models train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from sslrec_core.data import Column
from sslrec_core.errors import DataError
from sslrec_core.ingest import atomic, tables
from sslrec_core.ingest.ids import lookup
from sslrec_core.vocabulary import Vocabulary

ITEMS = ".item"
"""Ending of RecBole's tables of what is known about items."""


def read_names(path: Path) -> tuple[Column, pl.Series]:
    """Raw item ids and their names from a table with a column of each, known by their headings.

    Raises:
        DataError: there is no such file, or no such column.
    """
    found = atomic.typed(path) if tables.suffix(path) == ITEMS else tables.layout(path)
    chosen = tables.choose(found, {"item": "auto", "name": "auto"})
    if "name" not in chosen:
        raise DataError(
            f"no column of {path} looks like the names of items", f"columns: {', '.join(found.names)}",
            fix="call the columns item and name in the first line",
        )  # fmt: skip
    return tables.read_columns(found, {"item": chosen["item"]})["item"], tables.read_text(found, chosen["name"])


def names_beside(folder: Path) -> tuple[Column, pl.Series] | None:
    """The names in the ``.item`` file of a folder of atomic files; None where there is none, or it names nothing."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and tables.suffix(path) == ITEMS)
    if len(files) != 1:
        return None
    return read_names(files[0]) if "name" in tables.choose(atomic.typed(files[0]), {"name": "auto"}) else None


def in_order(items: Vocabulary, ids: Column, names: pl.Series) -> pl.Series:
    """The name of each of ``items``, in their order; null where it has none, the first where it has several."""
    place = lookup(items, ids)
    known = place >= 0
    named = pl.DataFrame({"place": place[known].astype(np.int64), "name": names.filter(pl.Series(known))})
    named = named.unique("place", keep="first", maintain_order=True)
    every = pl.DataFrame({"place": np.arange(len(items), dtype=np.int64)})
    return every.join(named, on="place", how="left", maintain_order="left")["name"]
