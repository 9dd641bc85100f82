"""RecBole's atomic files: tab-separated tables whose header gives each field a type, ``user_id:token``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from sslrec_core.data import Column, Raw
from sslrec_core.errors import DataError
from sslrec_core.ingest.packed import is_packed
from sslrec_core.ingest.tables import Layout, choose, joined, layout, read_columns, suffix

ENDINGS = (".inter", ".kg", ".link", ".net")
FIELDS: Mapping[str, Mapping[str, str]] = {
    ".kg": {"head": "head_id", "relation": "relation_id", "tail": "tail_id"},
    ".link": {"item": "item_id", "entity": "entity_id"},
    ".net": {"source": "source_id", "target": "target_id", "weight": "auto"},
}
TABLES = {".kg": "triples", ".link": "links", ".net": "trust"}
PARTS = {"train": 0, "valid": 1, "test": 2}


def atomic_files(folder: Path) -> list[Path]:
    """The atomic files in ``folder``, compressed ones too."""
    return sorted(path for path in folder.iterdir() if path.is_file() and suffix(path) in ENDINGS)


def read_folder(folder: Path, wanted: Mapping[str, str | int | None]) -> Raw:
    """Read a folder of atomic files: ``.inter``, and ``.kg``, ``.link``, ``.net`` where they are there.

    The parts of a split are ``NAME.train.inter``, ``NAME.valid.inter``, ``NAME.test.inter``.

    ``wanted`` names the columns of ``.inter`` by role as for :func:`sslrec_core.ingest.tables.choose`, without their
    types.

    Raises:
        DataError: there is no ``.inter`` file, two of a kind, or one of another form.
    """
    found = atomic_files(folder)
    interactions = [path for path in found if suffix(path) == ".inter"]
    if not interactions:
        raise DataError(
            f"{folder} has no .inter file", f"it has: {', '.join(path.name for path in found) or 'nothing'}"
        )
    parts = [_part(path) for path in interactions]
    if len(interactions) > 1 and (None in parts or len(set(parts)) < len(parts)):
        raise DataError(
            f"{folder} has several .inter files that are not parts of one dataset",
            ", ".join(path.name for path in interactions),
            fix="keep one, or name them NAME.train.inter, NAME.valid.inter, NAME.test.inter",
        )
    raw = Raw({"interactions": _interactions(interactions, parts, wanted)})
    for ending, table in TABLES.items():
        files = [path for path in found if suffix(path) == ending]
        if len(files) > 1:
            raise DataError(f"{folder} has several {ending} files", ", ".join(path.name for path in files))
        if files:
            fields = typed(files[0])
            raw.tables[table] = read_columns(fields, choose(fields, FIELDS[ending]))
    return raw


def typed(path: Path) -> Layout:
    """The layout of an atomic file, its column names freed of their types.

    Raises:
        DataError: the header gives a field no type.
    """
    found = layout(path, separator="\t", header=True, kind="text")
    for field in found.names:
        if field.partition(":")[2] not in ("token", "token_seq", "float", "float_seq"):
            raise DataError(
                f"{path}:1: the field {field!r} has no type",
                "an atomic file begins with fields such as user_id:token, rating:float",
                fix="mend the header, or read the file with --set data.format=csv",
            )
    return replace(found, names=tuple(field.partition(":")[0] for field in found.names))


def _part(path: Path) -> int | None:
    name = Path(path.stem) if is_packed(path) else path
    return PARTS.get(Path(name.stem).suffix.removeprefix("."))


def _interactions(
    paths: list[Path], parts: list[int | None], wanted: Mapping[str, str | int | None]
) -> dict[str, Column]:
    tables = []
    for path, part in zip(paths, parts, strict=True):
        fields = typed(path)
        table = read_columns(fields, choose(fields, wanted))
        if part is not None and len(paths) > 1:
            table["part"] = np.full(len(table["user"]), part, np.int8)
        tables.append(table)
    return joined(tables)
