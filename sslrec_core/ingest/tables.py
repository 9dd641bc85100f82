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

from sslrec_core.data import PARTS, Array, Coded, Column
from sslrec_core.errors import DataError, closest
from sslrec_core.ingest.ids import coded
from sslrec_core.ingest.packed import is_packed, read_bytes, read_head, trailing_blanks

TEXT = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t", ".dat": "\t", ".data": "\t", ".inter": "\t", ".kg": "\t",
        ".link": "\t", ".net": "\t"}  # fmt: skip
PARQUET = (".parquet", ".pq")
JSON = (".jsonl", ".ndjson", ".json")
SUFFIXES = (*TEXT, *PARQUET, *JSON)
SEPARATORS = ("\t", "::", ",", ";", "|", " ")
GAPS = ["", "NA", "NaN", "nan", "null", "NULL", "None"]
SAMPLE = 10_000
WHOLE = r"^-?(0|[1-9]\d{0,17})$"

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

PART_NAMES = {"train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2} | {
    str(code): code for code in range(len(PARTS))
}


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
    table: dict[str, Column] = {}
    for role in chosen:
        # One column at a time leaves the frame, so that no more than one is there twice.
        series = frame.drop_in_place(role)
        if role == "time":
            table[role] = _moments(series, found)
        elif role in ("rating", "weight"):
            table[role] = _numbers(series, found, pl.Float32)
        elif role == "part":
            table[role] = _parts(series, found)
        else:
            table[role] = _ids(series, found)
    return table


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
        types = _types(found, chosen)
        return _lazy(found, types).select(columns).collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        ragged = _ragged(found)
        if ragged is not None:
            raise ragged from error
    # A value further down is not of the type that the first rows have: everything as text, judged column by column.
    text = dict.fromkeys(chosen.values(), pl.String())
    frame = _run(_lazy(found, text).select(columns), found)
    return frame.with_columns(_narrowed(frame[role], role) for role in chosen)


def _run(lazy: pl.LazyFrame, found: Layout) -> pl.DataFrame:
    with _refused(found.path, found):
        return lazy.collect(engine="streaming")


@contextmanager
def _refused(path: Path, found: Layout | None = None) -> Iterator[None]:
    """Turn what the reader says about ``path`` into a :class:`DataError`, with the line if that can be found."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        odd = _odd(found) if found is not None and found.kind == "text" else None
        raise odd or DataError(f"{path} cannot be read", str(error).splitlines()[0]) from error


def _odd(found: Layout) -> DataError | None:
    """The first line that is not UTF-8, or empty between others."""
    for line, text in enumerate(read_bytes(found.path).split(b"\n"), 1):
        try:
            text.decode()
        except UnicodeDecodeError:
            return DataError(f"{found.path}:{line}: this is not UTF-8", fix="save the file as UTF-8")
    empty = [line for line, fields in _records(found) if not fields and line > found.skipped]
    return DataError(f"{found.path}:{empty[0]}: an empty line", fix="remove it") if empty else None


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
    return {name: _narrowed(sample[name], role).dtype for role, name in chosen.items()}


def _narrowed(text: pl.Series, role: str) -> pl.Series:
    """A column of text as numbers, if all of it is; ids with leading zeros stay text, or two would become one."""
    if text.null_count() == len(text):
        return text
    if text.str.contains(WHOLE).all() and role not in ("rating", "weight"):
        return text.cast(pl.Int64)
    numbers = text.cast(pl.Float64, strict=False)
    return numbers if role in ("time", "rating", "weight") and numbers.null_count() == text.null_count() else text


def _ids(series: pl.Series, found: Layout) -> Column:
    _whole(series, found)
    if series.dtype.is_integer():
        return _shrunk(series)
    if series.dtype.is_float():
        if (fraction := (series != series.floor()).arg_max()) is not None and series[fraction] != int(series[fraction]):
            raise DataError(
                f"{_line(found, fraction)}: the {series.name} id {series[fraction]!r} is a fraction",
                fix="name another column",
            )
        return _shrunk(series.cast(pl.Int64))
    return coded(series.cast(pl.String))


def _shrunk(series: pl.Series) -> Array:
    small = int(series.min() or 0) >= -(2**31) and int(series.max() or 0) < 2**31  # type: ignore[arg-type]
    return series.cast(pl.Int32 if small else pl.Int64).to_numpy()


def _numbers(series: pl.Series, found: Layout, dtype: type[pl.DataType]) -> Array:
    _whole(series, found)
    numbers = series.cast(dtype, strict=False)
    if numbers.null_count():
        row = int(numbers.is_null().arg_max() or 0)
        raise DataError(f"{_line(found, row)}: the {series.name} {str(series[row])!r} is not a number")
    if dtype.is_float() and numbers.is_infinite().any():
        row = int(numbers.is_infinite().arg_max() or 0)
        raise DataError(f"{_line(found, row)}: the {series.name} {str(series[row])!r} is not finite")
    return numbers.to_numpy()


def _moments(series: pl.Series, found: Layout) -> Array:
    """Times as numbers: as they are, or microseconds since 1970 where they are dates."""
    _whole(series, found)
    if series.dtype == pl.String:
        try:
            series = series.str.to_datetime(strict=False).alias("time")
        except pl.exceptions.PolarsError as error:
            # What is said is that the first is no date, which may be a number before something else.
            row = int(series.cast(pl.Float64, strict=False).is_null().arg_max() or 0)
            raise DataError(
                f"{_line(found, row)}: the time {series[row]!r} is neither a number nor a date",
                fix="correct it, or --set data.time=none",
            ) from error
        if series.null_count():
            row = int(series.is_null().arg_max() or 0)
            raise DataError(f"{_line(found, row)}: the time is neither a number nor a date")
    if series.dtype.is_temporal():
        return series.cast(pl.Datetime("us")).cast(pl.Int64).to_numpy()
    if series.dtype.is_integer():
        return _shrunk(series)
    return _numbers(series, found, pl.Float64)


def _parts(series: pl.Series, found: Layout) -> Array:
    _whole(series, found)
    codes = series.cast(pl.String).str.to_lowercase().replace_strict(PART_NAMES, default=None, return_dtype=pl.Int8)
    if codes.null_count():
        row = int(codes.is_null().arg_max() or 0)
        raise DataError(
            f"{_line(found, row)}: the part {str(series[row])!r} is none of {', '.join(PARTS)}",
            fix="--set data.part=none",
        )
    return codes.to_numpy()


def _whole(series: pl.Series, found: Layout) -> None:
    """Refuse a column with gaps."""
    gaps = series.is_null() | series.is_nan() if series.dtype.is_float() else series.is_null()
    row = gaps.arg_max()
    if row is not None and gaps[row]:
        raise DataError(
            f"{_line(found, row)}: the {series.name} is missing",
            f"{int(gaps.sum()):,} of {len(gaps):,} rows have none",
            fix="remove such rows" + ("" if series.name in ("user", "item") else f", or --set data.{series.name}=none"),
        )


def _line(found: Layout, row: int) -> str:
    """Where row ``row`` (from 0) stands, for messages."""
    if found.kind != "text":
        return f"{found.path}: row {row + 1:,}"
    for number, (line, _) in enumerate(_records(found)):
        if number == row + found.skipped:
            return f"{found.path}:{line}"
    return f"{found.path}: row {row + 1:,}"


def _ragged(found: Layout) -> DataError | None:
    """The first line with more fields than the table has columns."""
    for line, fields in _records(found):
        if len(fields) > len(found.names):
            return DataError(
                f"{found.path}:{line}: expected {len(found.names)} fields, found {len(fields)}",
                f"columns: {', '.join(found.names)}",
                fix="mend the line, or name the separator with --set data.separator=…",
            )
    return None


def _records(found: Layout) -> Iterator[tuple[int, list[str]]]:
    """Lines and fields of a text table.  Slow, and only used to explain a failure."""
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
