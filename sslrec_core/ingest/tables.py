"""Tables with named columns: CSV and its relatives, Parquet, JSON lines; plain, gzip or xz."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sslrec_core.data import Coded, Column
from sslrec_core.errors import DataError, closest
from sslrec_core.ingest.mistakes import odd
from sslrec_core.ingest.packed import is_packed, read_bytes, read_head, trailing_blanks
from sslrec_core.ingest.values import narrowed, of_role

TEXT = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t", ".dat": "\t", ".data": "\t", ".inter": "\t", ".kg": "\t",
        ".link": "\t", ".net": "\t"}  # fmt: skip
PARQUET = (".parquet", ".pq")
JSON = (".jsonl", ".ndjson", ".json")
SUFFIXES = (*TEXT, *PARQUET, *JSON)
SEPARATORS = ("\t", "::", ",", ";", "|", " ")
GAPS = ["", "NA", "NaN", "nan", "null", "NULL", "None"]
SAMPLE = 10_000

WELL_KNOWN: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "uid", "u", "reviewerid", "customer", "customer_id", "visitorid",
             "session_id", "member_id"),
    "item": ("item", "item_id", "itemid", "iid", "i", "sku", "asin", "parent_asin", "product", "product_id",
             "productid", "movie_id", "movieid", "book_id", "isbn", "business_id", "track_id", "song_id", "artist_id",
             "artistid"),
    "time": ("time", "timestamp", "ts", "unixreviewtime", "unix_time", "datetime", "date", "created_at"),
    "rating": ("rating", "ratings", "score", "stars", "overall"),
    "part": ("part", "split"),
    "source": ("source", "source_id", "user", "user_id", "userid", "truster", "follower", "from"),
    "target": ("target", "target_id", "friend", "friend_id", "trustee", "followee", "to"),
    "weight": ("weight", "trust", "strength"),
    "name": ("name", "title", "item_name", "item_title", "movie_title", "movie_name", "book_title", "product_title",
             "product_name", "artist_name", "track_name", "song_name", "business_name"),
}  # fmt: skip
"""Column names that are understood without being told, lower case."""


@dataclass(frozen=True)
class Layout:
    """How a table file is to be read."""

    path: Path
    kind: str
    """``text``, ``parquet`` or ``jsonl``"""
    names: tuple[str, ...]
    """Its columns; ``1``, ``2``, … where it has no header."""
    separator: str = ","
    header: bool = True
    skipped: int = 1
    """Lines before the first row."""


def suffix(path: Path) -> str:
    """The ending that tells the form of a file, below that of its compression."""
    return Path(path.stem).suffix.lower() if is_packed(path) else path.suffix.lower()


def layout(path: Path, separator: str | None = None, header: bool | None = None, kind: str | None = None) -> Layout:
    """Find out how ``path`` is to be read; what is given is not guessed.

    Raises:
        DataError: the file is missing, empty, cut off, or of an unknown form.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    ending = suffix(path)
    kind = kind or (
        "parquet" if ending in PARQUET else "jsonl" if ending in JSON else "text" if ending in TEXT else None
    )
    if kind is None:
        raise DataError(
            f"{path}: its ending says nothing about its form", fix="--set data.format=csv, parquet, jsonl or lists"
        )
    if kind != "text":
        with _refused(path):
            return Layout(path, kind, tuple(_lazy(Layout(path, kind, ())).collect_schema().names()))
    lines = read_head(path).removeprefix("\ufeff").splitlines()
    blank = next((number for number, line in enumerate(lines) if line.strip()), None)
    if blank is None:
        raise DataError(f"{path} is empty")
    first = lines[blank]
    if separator is None:
        usual = TEXT.get(ending, ",")
        separator = usual if usual in first else max(SEPARATORS, key=first.count)
        if separator not in first:
            separator = usual
    fields = _fields(first, separator)
    if header is None:
        header = not all(re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", field) for field in fields)
    names = _distinct(fields) if header else tuple(str(number + 1) for number in range(len(fields)))
    return Layout(path, "text", names, separator, header, blank + header)


def choose(found: Layout, wanted: Mapping[str, str | int | None]) -> dict[str, str]:
    """The column for each role: as ``wanted`` says; ``auto`` is one with a well-known name, None leaves a role out.

    Raises:
        DataError: a named column is not there, or no column looks like users or items; the columns present are listed.
    """
    chosen: dict[str, str] = {}
    lower = {name.strip().lower(): name for name in reversed(found.names)}
    for role, want in wanted.items():
        if want is None:
            continue
        if want == "auto":
            known = next((lower[name] for name in WELL_KNOWN.get(role, (role,)) if name in lower), None)
            if known is not None:
                chosen[role] = known
            elif role in ("user", "item"):
                raise _no_column(found, f"no column of {found.path} looks like the {role}s", role)
        elif isinstance(want, int) and 1 <= want <= len(found.names):
            chosen[role] = found.names[want - 1]
        elif str(want) in found.names:
            chosen[role] = str(want)
        else:
            raise _no_column(found, f"{found.path} has no column {str(want)!r}", role, str(want))
    twice = [name for name in chosen.values() if list(chosen.values()).count(name) > 1]
    if twice:
        raise DataError(f"{found.path}: column {twice[0]!r} is taken for two things", f"{chosen}")
    return chosen


def read_columns(found: Layout, chosen: Mapping[str, str]) -> dict[str, Column]:
    """Read the chosen columns: ids as integers or numbered text, ``part`` as codes, all else as numbers.

    Raises:
        DataError: a value is missing or cannot be read; the file and the line of the first such value are named.
    """
    frame = _collect(found, chosen)
    if found.kind == "text":
        # To the reader each empty line at the end is a row without values.
        frame = frame.head(frame.height - trailing_blanks(found.path))
    if not frame.height:
        raise DataError(f"{found.path} has no rows")
    # One column at a time leaves the frame, so that no more than one is there twice.
    return {role: of_role(frame.drop_in_place(role), found) for role in chosen}


def read_text(found: Layout, column: str) -> pl.Series:
    """One column as text, null where it is empty.

    Raises:
        DataError: the file cannot be read.
    """
    text = _run(_lazy(found).select(pl.col(column).cast(pl.String)), found).to_series()
    return text.head(len(text) - trailing_blanks(found.path)) if found.kind == "text" else text


def _collect(found: Layout, chosen: Mapping[str, str]) -> pl.DataFrame:
    """The chosen columns under the names of their roles."""
    columns = [pl.col(name).alias(role) for role, name in chosen.items()]
    if found.kind != "text":
        return _run(_lazy(found).select(columns), found)
    try:
        return _lazy(found, _types(found, chosen)).select(columns).collect(engine="streaming")
    except pl.exceptions.PolarsError:
        # A value further down is not of the type that the first rows have: everything as text, judged by column.  A
        # table that cannot be read at all cannot be read like this either, and is explained.
        text = dict.fromkeys(chosen.values(), pl.String())
        frame = _run(_lazy(found, text).select(columns), found)
    return frame.with_columns(narrowed(frame[role], role) for role in chosen)


def _run(lazy: pl.LazyFrame, found: Layout) -> pl.DataFrame:
    with _refused(found.path, found):
        return lazy.collect(engine="streaming")


@contextmanager
def _refused(path: Path, found: Layout | None = None) -> Iterator[None]:
    """Turn what the reader says about ``path`` into a :class:`DataError`, with the line if that can be found."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        wrong = odd(found) if found is not None and found.kind == "text" else None
        raise wrong or DataError(f"{path} cannot be read", str(error).splitlines()[0]) from error


def _lazy(found: Layout, types: Mapping[str, pl.DataType] | None = None, rows: int | None = None) -> pl.LazyFrame:
    source: Path | io.BytesIO = io.BytesIO(read_bytes(found.path)) if is_packed(found.path) else found.path
    if found.kind == "parquet":
        return pl.scan_parquet(source, n_rows=rows)
    if found.kind == "jsonl":
        return pl.scan_ndjson(source, infer_schema_length=SAMPLE, n_rows=rows)
    separator = found.separator
    if len(separator) > 1:
        separator = "\x1f"
        source = io.BytesIO(read_bytes(found.path).replace(found.separator.encode(), separator.encode()))
    return pl.scan_csv(
        source,
        separator=separator,
        has_header=False,
        skip_lines=found.skipped,
        quote_char='"' if separator in ",;" else None,
        schema={name: (types or {}).get(name, pl.String()) for name in found.names},
        null_values=GAPS,
        n_rows=rows,
    )


def _types(found: Layout, chosen: Mapping[str, str]) -> dict[str, pl.DataType]:
    """The type of each chosen column, going by the first rows."""
    sample = _lazy(found, rows=SAMPLE).collect()
    return {name: narrowed(sample[name], role).dtype for role, name in chosen.items()}


def _fields(line: str, separator: str) -> list[str]:
    if separator in ",;":
        return [field.strip() for field in next(csv.reader([line], delimiter=separator))]
    return [field.strip() for field in line.split(separator)]


def _distinct(fields: Sequence[str]) -> tuple[str, ...]:
    """Column names, a repeated one with its number behind it."""
    seen: dict[str, int] = {}
    names = []
    for field in fields:
        seen[field] = seen.get(field, 0) + 1
        names.append(field if seen[field] == 1 else f"{field} ({seen[field]})")
    return tuple(names)


def _no_column(found: Layout, problem: str, role: str, want: str | None = None) -> DataError:
    facts = [f"columns: {', '.join(found.names)}"]
    near = closest(want, found.names) if want else []
    if near:
        facts.append(f"closest: {', '.join(near)}")
    fix = f"--set data.{role}={near[0] if near else 'COLUMN'}"
    if not found.header and suffix(found.path) == ".txt":
        fix += ", or --set data.format=lists where lines are a user and its items"
    return DataError(problem, *facts, fix=fix)


def joined(tables: Sequence[Mapping[str, Column]]) -> dict[str, Column]:
    """The rows of several tables, in the columns that all of them have; text is numbered together."""
    from sslrec_core.ingest.ids import factorise

    result: dict[str, Column] = {}
    for role in tables[0]:
        if not all(role in table for table in tables):
            continue
        columns = [table[role] for table in tables]
        if any(isinstance(column, Coded) for column in columns):
            labels, codes = factorise(columns)
            result[role] = Coded(np.concatenate(codes), labels)
        else:
            result[role] = np.concatenate([np.asarray(column) for column in columns])
    return result
