"""A user's own files as a dataset: one table, a folder of tables, lists or atomic files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import field_validator

from sslrec_core.data import Column, Dataset, Raw
from sslrec_core.errors import DataError, closest
from sslrec_core.ingest import atomic, lists, naming, tables
from sslrec_core.ingest.packed import HEAD, read_head
from sslrec_core.ingest.ties import read_ties

LISTS = {"train": "train.txt", "valid": "valid.txt", "test": "test.txt"}
WITHIN_TRAIN = "valid_within_train.txt"
TRIPLES, LINKS, TRUST = "kg_final.txt", "item_index2entity_id.txt", "trust.txt"
PARTS = ("train", "valid", "test")
FORMS = (
    "one table (.csv .tsv .parquet .jsonl, also .gz and .xz)",
    "train.csv and test.csv, valid.csv and trust.csv if you like (or another of these endings)",
    "train.txt and test.txt with lines `user item item ...`, kg_final.txt and trust.txt if you like",
    "RecBole's atomic files: .inter, and .kg .link .net if you like",
)


class Table(Dataset):
    """Your own file or folder of interactions: CSV, TSV, Parquet, JSON lines, item lists, or RecBole's atomic files."""

    class Config(Dataset.Config):
        path: str
        """The file or folder; ``--dataset ./my.csv`` sets it."""
        format: Literal["auto", "csv", "parquet", "jsonl", "lists", "atomic"] = "auto"
        """Form of the files; ``auto`` goes by names and, for ``.txt``, by what is inside.  ``csv``: any separator."""
        user: str | int = "auto"
        """Column of users: a name, or a number from 1 on; ``auto`` knows the usual names."""
        item: str | int = "auto"
        """Column of items."""
        time: str | int | None = "auto"
        """Column of times, as numbers or dates; ``none`` to ignore it."""
        rating: str | int | None = "auto"
        """Column of ratings; ``none`` to ignore it."""
        part: str | int | None = "auto"
        """Column that says train, valid or test; ``none`` to ignore it."""
        behaviour: str | int | None = None
        """Column that says what the user did, such as view or buy, for scenarios that tell them apart; none: not
        read."""
        separator: str | None = None
        """What stands between fields, such as ``,`` or ``::``; none: found out."""
        header: bool | None = None
        """Whether the first line names the columns; none: found out."""
        trust: str | None = None
        """A file of ties between users beside the interactions: columns source, target and, if you like, weight; none:
        ``trust.txt``, ``trust.csv`` or ``.net`` in the folder."""
        names: str | None = None
        """A table with what items are called: columns item and name; none: ``.item`` in a folder of atomic files."""

        @field_validator("time", "rating", "part", "behaviour", "trust", "names", mode="before")
        @classmethod
        def _none(cls, value: Any) -> Any:
            return None if value == "none" else value

    config: Config
    unread = frozenset({"names"})

    def paths(self, root: Path) -> list[Path]:
        """The user's files, whatever ``root`` is."""
        path = _existing(self.config.path)
        apart = [] if self.config.trust is None else [_existing(self.config.trust)]
        if path.is_file():
            return [path, *apart]
        kind = self._folder_kind(path)
        if kind == "atomic":
            return [*atomic.atomic_files(path), *apart]
        if kind == "lists":
            names = (*LISTS.values(), WITHIN_TRAIN, TRIPLES, LINKS, TRUST)
            return [*(path / name for name in names if (path / name).is_file()), *apart]
        return [*_tables(path), *(apart or _ties_among(path))]

    def read(self, root: Path) -> Raw:
        """Read the user's files, whatever ``root`` is."""
        path = _existing(self.config.path)
        raw = self._read_folder(path) if path.is_dir() else self._read_file(path)
        if self.config.trust is not None:
            raw.tables["trust"] = read_ties(_existing(self.config.trust))
        return raw

    def names(self, root: Path) -> tuple[Column, pl.Series] | None:
        """What the user's files call the items, whatever ``root`` is."""
        if self.config.names is not None:
            return naming.read_names(_existing(self.config.names))
        path = _existing(self.config.path)
        return naming.names_beside(path) if path.is_dir() and self._folder_kind(path) == "atomic" else None

    def _read_file(self, path: Path) -> Raw:
        if tables.suffix(path) in atomic.ENDINGS and self.config.format in ("auto", "atomic"):
            found = atomic.typed(path)
            return Raw({"interactions": tables.read_columns(found, tables.choose(found, self._wanted()))})
        if self.config.format == "lists" or (self.config.format == "auto" and _looks_like_lists(path)):
            users, items, size = lists.read_lists(path)
            return Raw({"interactions": {"user": users, "item": items}}, identity_ids=True, sizes={"user": size})
        return Raw({"interactions": self._read_table(path)})

    def _wanted(self) -> dict[str, str | int | None]:
        config = self.config
        return {
            "user": config.user, "item": config.item, "time": config.time, "rating": config.rating, "part": config.part,
            "behaviour": config.behaviour,
        }  # fmt: skip

    def _folder_kind(self, folder: Path) -> str:
        if self.config.format in ("lists", "atomic"):
            return self.config.format
        if any(tables.suffix(path) == ".inter" for path in folder.iterdir()):
            return "atomic"
        if (folder / LISTS["train"]).is_file():
            return "lists"
        return "tables"

    def _read_folder(self, folder: Path) -> Raw:
        kind = self._folder_kind(folder)
        if kind == "atomic":
            return atomic.read_folder(folder, self._wanted())
        if kind == "lists":
            return read_list_folder(folder)
        files = _tables(folder)
        parts = [self._read_table(path) for path in files]
        if len(files) > 1:
            for path, table in zip(files, parts, strict=True):
                table["part"] = np.full(len(table["user"]), PARTS.index(path.name.partition(".")[0]), np.int8)
        raw = Raw({"interactions": tables.joined(parts) if len(parts) > 1 else parts[0]})
        if self.config.trust is None and (ties := _ties_among(folder)):
            raw.tables["trust"] = read_ties(ties[0])
        return raw

    def _read_table(self, path: Path) -> dict[str, Column]:
        kind = {"csv": "text", "parquet": "parquet", "jsonl": "jsonl"}.get(self.config.format)
        found = tables.layout(path, self.config.separator, self.config.header, kind)
        return tables.read_columns(found, tables.choose(found, self._wanted()))


def read_list_folder(folder: Path) -> Raw:
    """Read a folder of item lists as the field publishes them.

    ``train.txt``, ``test.txt`` and, where they are there, ``valid.txt`` or ``valid_within_train.txt``,
    ``kg_final.txt``, ``item_index2entity_id.txt`` (lines ``item entity``), ``trust.txt``.

    Raises:
        DataError: ``train.txt`` is missing, or a line is malformed.
    """
    if not (folder / LISTS["train"]).is_file():
        raise DataError(f"{folder} has no {LISTS['train']}")
    names = dict(LISTS)
    if not (folder / names["valid"]).is_file():
        names["valid"] = WITHIN_TRAIN
    raw = lists.read_parts(folder, names)
    if len(np.unique(np.asarray(raw.tables["interactions"]["part"]))) == 1:
        del raw.tables["interactions"]["part"]
    if (folder / TRIPLES).is_file():
        raw.tables["triples"] = {**lists.read_columns(folder / TRIPLES, ("head", "relation", "tail"))}
        if (folder / LINKS).is_file():
            _link(raw, folder / LINKS)
    if (folder / TRUST).is_file():
        raw.tables["trust"] = read_ties(folder / TRUST)
    return raw


def _link(raw: Raw, path: Path) -> None:
    """Add the table ``links``, unless the items of the lists bear the numbers of their entities already.

    The file is often shipped beside lists and triples that were made with its help and need it no more.
    """
    links = lists.read_columns(path, ("item", "entity"))
    items = np.unique(np.asarray(raw.tables["interactions"]["item"]))
    if np.isin(items, links["entity"]).all() and not np.isin(items, links["item"]).all():
        raw.notes.append(f"{path.name} is not used: the items have the numbers of its entities already")
    else:
        raw.tables["links"] = {**links}


def _existing(name: str) -> Path:
    """The file or folder that an option names."""
    path = Path(name).expanduser()
    if not path.exists():
        there = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = closest(path.name, there)
        facts = [f"closest: {', '.join(near)}"] if near else []
        raise DataError(
            f"there is no file or folder {path}", *facts, fix="check the path; sslrec data list names the others"
        )
    return path


def _ties_among(folder: Path) -> list[Path]:
    """The table of ties in a folder of tables: ``trust.csv``, or with another ending."""
    found = sorted(path for path in folder.iterdir() if path.is_file() and tables.suffix(path) in tables.SUFFIXES)
    ties = [path for path in found if path.name.partition(".")[0] == "trust"]
    if len(ties) > 1:
        raise DataError(f"{folder} has several tables of ties", ", ".join(path.name for path in ties), fix="keep one")
    return ties


def _tables(folder: Path) -> list[Path]:
    """The tables of interactions in ``folder``: its parts if it has some, else its only one."""
    known = sorted(path for path in folder.iterdir() if path.is_file() and tables.suffix(path) in tables.SUFFIXES)
    found = [path for path in known if path.name.partition(".")[0] != "trust"]
    parts = [path for name in PARTS for path in found if path.name.partition(".")[0] == name]
    if len(parts) > 1 and len({path.name.partition(".")[0] for path in parts}) == len(parts):
        return parts
    if len(found) == 1:
        return found
    raise DataError(
        f"{folder} is not a dataset that can be recognised",
        f"it has: {', '.join(path.name for path in found) or 'no table at all'}",
        *(f"understood: {form}" for form in FORMS),
        fix="name one file: --dataset FOLDER/FILE",
    )


def _looks_like_lists(path: Path) -> bool:
    """Whether a ``.txt`` file has lines that differ in length, and begins with one of whole numbers."""
    if tables.suffix(path) != ".txt":
        return False
    head = read_head(path).removeprefix("\ufeff")
    whole = head if len(head) < HEAD else head.rpartition("\n")[0]
    lines = [line.split() for line in whole.splitlines() if line.strip()]
    # A later word that is no number is for the reader of lists to name.
    numbers = bool(lines) and all(word.isascii() and word.isdigit() for word in lines[0])
    return numbers and len({len(line) for line in lines}) > 1
