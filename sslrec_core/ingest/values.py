"""The values of one column of a table: ids, numbers, moments, parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sslrec_core.data import PARTS, Array, Column
from sslrec_core.errors import DataError
from sslrec_core.ingest.ids import coded
from sslrec_core.ingest.mistakes import place

if TYPE_CHECKING:
    from sslrec_core.ingest.tables import Layout

WHOLE = r"^-?(0|[1-9]\d{0,17})$"

PART_NAMES = {"train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2} | {
    str(code): code for code in range(len(PARTS))
}


def of_role(series: pl.Series, found: Layout) -> Column:
    """What the column of ``found`` that is called like its role holds: ids, times, numbers or parts.

    Raises:
        DataError: a value is missing or cannot be read; the file and the line of the first such value are named.
    """
    if series.name == "time":
        return _moments(series, found)
    if series.name in ("rating", "weight"):
        return _numbers(series, found, pl.Float32)
    return _parts(series, found) if series.name == "part" else _ids(series, found)


def narrowed(text: pl.Series, role: str) -> pl.Series:
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
                f"{place(found, fraction)}: the {series.name} id {series[fraction]!r} is a fraction",
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
        raise DataError(f"{place(found, row)}: the {series.name} {str(series[row])!r} is not a number")
    if dtype.is_float() and numbers.is_infinite().any():
        row = int(numbers.is_infinite().arg_max() or 0)
        raise DataError(f"{place(found, row)}: the {series.name} {str(series[row])!r} is not finite")
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
                f"{place(found, row)}: the time {series[row]!r} is neither a number nor a date",
                fix="correct it, or --set data.time=none",
            ) from error
        if series.null_count():
            row = int(series.is_null().arg_max() or 0)
            raise DataError(f"{place(found, row)}: the time is neither a number nor a date")
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
            f"{place(found, row)}: the part {str(series[row])!r} is none of {', '.join(PARTS)}",
            fix="--set data.part=none",
        )
    return codes.to_numpy()


def _whole(series: pl.Series, found: Layout) -> None:
    """Refuse a column with gaps."""
    gaps = series.is_null() | series.is_nan() if series.dtype.is_float() else series.is_null()
    row = gaps.arg_max()
    if row is not None and gaps[row]:
        raise DataError(
            f"{place(found, row)}: the {series.name} is missing",
            f"{int(gaps.sum()):,} of {len(gaps):,} rows have none",
            fix="remove such rows" + ("" if series.name in ("user", "item") else f", or --set data.{series.name}=none"),
        )
