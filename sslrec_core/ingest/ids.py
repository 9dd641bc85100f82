"""Numbering ids, ordering and counting pairs, k-core filtering: linear-time array code for tens of millions of rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from sslrec_core.data import Array, Coded, Column
from sslrec_core.errors import DataError
from sslrec_core.vocabulary import Vocabulary

CHUNK = 2**20
BIN = 2**16
SPREAD = 8
"""Ids are looked up in a table over all integers between the least and the greatest, up to this many per row."""


def factorise(columns: Sequence[Column]) -> tuple[Vocabulary, list[Array]]:
    """Number the ids of ``columns`` together: one sorted vocabulary and, per column, ``int32`` codes.

    Integers stay integers; where a column holds text, all ids are taken as text.

    Raises:
        DataError: ids that are neither integers nor text, or fractions.
    """
    if len(columns) == 1 and isinstance(columns[0], Coded):
        return columns[0].labels, [columns[0].codes]
    plain = [column if isinstance(column, Coded) else integers_or_text(column) for column in columns]
    if all(not isinstance(column, Coded) and column.dtype.kind in "iu" for column in plain):
        return _factorise_integers([np.asarray(column) for column in plain])
    return _factorise_text([_as_text(column) for column in plain])


def integers_or_text(column: Array) -> Array:
    """``column`` as integers or as objects of text; whole numbers kept as floats become integers."""
    column = np.asarray(column)
    if column.dtype.kind == "f":
        if not np.isfinite(column).all():
            raise DataError("an id is missing", f"row {int(np.flatnonzero(~np.isfinite(column))[0]) + 1} has none")
        if (column != np.floor(column)).any():
            raise DataError(f"ids must be whole numbers or text, found {column[column != np.floor(column)][0]:g}")
        return column.astype(np.int64)
    if column.dtype.kind not in "iuOUST":
        raise DataError(f"ids must be whole numbers or text, these are {column.dtype}")
    return column.astype(str) if column.dtype.kind == "S" else column


def lookup(vocabulary: Vocabulary, column: Column) -> Array:
    """Numbers of the ids in ``column``, -1 where ``vocabulary`` has no such id."""
    if isinstance(column, Coded):
        return lookup(vocabulary, column.labels.raw(np.arange(len(column.labels))))[column.codes]
    column = integers_or_text(column)
    if vocabulary.is_text:
        _, (known, wanted) = _factorise_text([_as_text(all_ids(vocabulary)), _as_text(column)])
    elif column.dtype.kind in "iu":
        return vocabulary.find(column)
    else:
        wanted_text = _as_text(column).cast(pl.Int64, strict=False)
        return np.where(wanted_text.is_null().to_numpy(), -1, vocabulary.find(wanted_text.fill_null(0).to_numpy()))
    table = np.full(int(max(known.max(initial=-1), wanted.max(initial=-1))) + 1, -1, np.int64)
    table[known] = np.arange(len(known))
    return table[wanted]


def all_ids(vocabulary: Vocabulary) -> Array:
    """Every raw id, in order."""
    return vocabulary.raw(np.arange(len(vocabulary)))


def extend(vocabulary: Vocabulary, columns: Sequence[Column]) -> tuple[Vocabulary, list[Array]]:
    """Number ids of which some are known: codes below ``len(vocabulary)`` are its own, the others follow.

    This is how entities of a knowledge graph share their numbers with items.

    Returns:
        The vocabulary of the others (code ``len(vocabulary) + k`` is its ``k``-th id), and codes per column.
    """
    known = [lookup(vocabulary, column) for column in columns]
    labels, codes = factorise(columns)
    is_other = np.zeros(len(labels), bool)
    for code, place in zip(codes, known, strict=True):
        is_other[code[place < 0]] = True
    kept, number = compact(np.flatnonzero(is_other), len(labels))
    numbered = [
        np.where(place >= 0, place, len(vocabulary) + number[code]) for code, place in zip(codes, known, strict=True)
    ]
    return subset(labels, kept), numbered


def subset(vocabulary: Vocabulary, places: Array) -> Vocabulary:
    """The vocabulary of the ids at ``places`` (ascending)."""
    return vocabulary if len(places) == len(vocabulary) else Vocabulary.from_array(vocabulary.raw(places))


def compact(kept: Array, size: int) -> tuple[Array, Array]:
    """``kept`` (ascending numbers below ``size``) and the table that renumbers them 0, 1, …; other cells are -1."""
    table = np.full(size, -1, np.int32)
    table[kept] = np.arange(len(kept), dtype=np.int32)
    return kept, table


def gather(values: Array, places: Array) -> Array:
    """``values[places]`` for places that exist; without the checks that make indexing half as fast."""
    return values.take(places, mode="clip")


def counts_of(codes: Array, size: int) -> Array:
    """How often each number below ``size`` occurs; in portions, because ``bincount`` widens its input."""
    total = np.zeros(size, np.int64)
    for start in range(0, len(codes), CHUNK):
        total += np.bincount(codes[start : start + CHUNK], minlength=size)
    return total


def counting_sort(codes: Array, payload: Array, size: int) -> tuple[Array, Array]:
    """The stable order that sorts ``codes``, all below ``size``, and ``payload`` in that order; linear time.

    Transposing a matrix with one entry per row is a counting sort, and scipy's runs at memory speed.
    """
    n = len(codes)
    index = np.int32 if max(n, size) < 2**31 else np.int64
    rows = np.arange(n + 1, dtype=index)
    matrix = csr_array((payload, codes.astype(index, copy=False), rows), shape=(n, size)).tocsc()
    return np.asarray(matrix.indices), np.asarray(matrix.data)


def sorted_pairs(users: Array, items: Array, n_users: int, n_items: int) -> tuple[Array, Array, Array]:
    """Pairs sorted by user, then item, and the stable order that does it.

    Users are dealt into bins of about ``BIN`` pairs in one pass; each bin is then sorted inside the processor's cache.
    """
    counts = counts_of(users, n_users)
    starts = np.cumsum(counts) - counts
    n_bins = len(users) // BIN + 1
    bin_of_user = (starts * n_bins // max(len(users), 1)).astype(np.int32).clip(max=n_bins - 1)
    order, items = counting_sort(gather(bin_of_user, users), items, n_bins)
    users = gather(users, order)
    first_user = np.searchsorted(bin_of_user, np.arange(n_bins + 1))
    edges = np.append(starts, len(users))[first_user]

    def sort_bin(place: int) -> None:
        inside = slice(edges[place], edges[place + 1])
        local = _order_in_bin(users[inside] - first_user[place], items[inside], n_items)
        order[inside], items[inside] = order[inside][local], items[inside][local]

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(sort_bin, np.flatnonzero(np.diff(edges)).tolist()))
    return np.repeat(np.arange(n_users, dtype=np.int32), counts), items, order


def _order_in_bin(users: Array, items: Array, n_items: int) -> Array:
    """The stable order by user, then item.  Sorting keys that carry their place is much faster than argsort."""
    bits = len(users).bit_length()
    if ((int(users.max()) + 1) * n_items).bit_length() + bits > 63:
        return np.lexsort((items, users))
    packed = (users.astype(np.int64) * n_items + items << bits) | np.arange(len(users))
    packed.sort()
    return packed & ((1 << bits) - 1)


def k_core(users: Array, items: Array, k: int, n_users: int, n_items: int) -> Array:
    """Places of the pairs in the largest part where every user and item that occurs does so at least ``k`` times."""
    places = np.arange(len(users), dtype=np.int32 if len(users) < 2**31 else np.int64)
    while len(places):
        enough_user = counts_of(users, n_users) >= k
        enough_item = counts_of(items, n_items) >= k
        keep = gather(enough_user, users) & gather(enough_item, items)
        if keep.all():
            break
        users, items, places = users[keep], items[keep], places[keep]
    return places


def _factorise_integers(columns: Sequence[Array]) -> tuple[Vocabulary, list[Array]]:
    filled = [column for column in columns if len(column)]
    if not filled:
        return Vocabulary.identity(0), [np.empty(0, np.int32) for _ in columns]
    low, high = min(int(column.min()) for column in filled), max(int(column.max()) for column in filled)
    total = sum(map(len, filled))
    if high - low < max(SPREAD * total, CHUNK):
        return _by_table(columns, low, high - low + 1)
    return _by_join([pl.Series("id", column) for column in columns])


def _by_table(columns: Sequence[Array], low: int, width: int) -> tuple[Vocabulary, list[Array]]:
    """Number integers that lie within ``width`` of ``low``, in portions that stay in the processor's cache."""
    present = np.zeros(width, bool)
    for column in columns:
        for start in range(0, len(column), CHUNK):
            present[column[start : start + CHUNK] - low] = True
    values, table = compact(np.flatnonzero(present), width)
    codes = [np.empty(len(column), np.int32) for column in columns]
    for column, code in zip(columns, codes, strict=True):
        for start in range(0, len(column), CHUNK):
            code[start : start + CHUNK] = gather(table, column[start : start + CHUNK] - low)
    return Vocabulary.from_array(values + low), codes


def _factorise_text(columns: Sequence[pl.Series]) -> tuple[Vocabulary, list[Array]]:
    distinct = pl.concat([column.unique() for column in columns]).unique().sort()
    ranked = pl.Enum(distinct)
    codes = [column.cast(ranked).to_physical().cast(pl.Int32).to_numpy() for column in columns]
    return text_vocabulary(distinct), codes


def _by_join(columns: Sequence[pl.Series]) -> tuple[Vocabulary, list[Array]]:
    distinct = pl.concat([column.unique() for column in columns]).unique().sort()
    numbers = pl.DataFrame({"id": distinct, "number": np.arange(len(distinct), dtype=np.int32)})
    joined = [
        column.to_frame().join(numbers, on="id", how="left", maintain_order="left")["number"] for column in columns
    ]
    return Vocabulary.from_array(distinct.to_numpy()), [codes.to_numpy() for codes in joined]


def text_vocabulary(distinct: pl.Series) -> Vocabulary:
    """A vocabulary of sorted, distinct text."""
    letters = np.frombuffer("".join(distinct.to_list()).encode(), np.uint8)
    ends = distinct.str.len_bytes().to_numpy().astype(np.int64).cumsum()
    return Vocabulary(len(distinct), text=letters, ends=ends)


def coded(text: pl.Series) -> Coded:
    """A column of text, numbered."""
    labels, (codes,) = _factorise_text([text])
    return Coded(codes, labels)


def _as_text(column: Column) -> pl.Series:
    if isinstance(column, Coded):
        return _as_text(all_ids(column.labels)).gather(column.codes)
    if column.dtype.kind in "iu":
        return pl.Series("id", column).cast(pl.String)
    return pl.Series("id", [str(value) for value in column.tolist()], dtype=pl.String)
