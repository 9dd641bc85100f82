"""Rows of sessions, ``session_id  item_id_list  item_id``: the form in which SSLRec and RecBole keep sequences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslrec_core.data import Array, Column, Raw
from sslrec_core.errors import DataError
from sslrec_core.ingest.packed import read_bytes

HEADER = b"session_id:token\titem_id_list:token_seq\titem_id:token"
TRAIN, TEST = 0, 2
_ROW = re.compile(rb"\d{1,18}\t\d{1,18}(?: \d{1,18})*\t\d{1,18}\r?\n")
_ROWS = re.compile(rb"(?:%s)*" % _ROW.pattern)


@dataclass(frozen=True)
class Sessions:
    """Rows of a file: each a session and its items, of which the last is to be predicted."""

    ids: Array
    """``[rows]``, each once."""
    lengths: Array
    """Items of each row, at least two.  ``[rows]``"""
    items: Array
    """``[steps]``"""

    @property
    def starts(self) -> Array:
        """Where each row's items begin.  ``[rows]``"""
        starts: Array = self.lengths.cumsum() - self.lengths
        return starts

    def rows(self, kept: Array) -> Sessions:
        """The rows where ``kept`` is true."""
        return Sessions(self.ids[kept], self.lengths[kept], self.items[np.repeat(kept, self.lengths)])


def read_sessions(train: Path, test: Path) -> Raw:
    """The rows of a training and a test file as sequences with parts.

    A test row whose list is the whole training row of the same session, list and item, is one sequence with it.  Other
    rows are sequences of their own.  The item of a test row is its test part, all else is for training.

    Raises:
        DataError: a malformed line, an item 0, or a session that a file has twice.
    """
    known, asked = read_rows(train), read_rows(test)
    continued = _continued(known, asked)
    left = known.rows(~np.isin(known.ids, asked.ids[continued]))
    clash = np.isin(asked.ids, left.ids)
    ids = asked.ids if not clash.any() else np.where(clash, np.char.add(asked.ids.astype(str), " (test)"), asked.ids)
    both = Sessions(
        np.concatenate([ids, left.ids.astype(ids.dtype)]),
        np.concatenate([asked.lengths, left.lengths]),
        np.concatenate([asked.items, left.items]),
    )
    part = np.zeros(len(both.items), np.int8)
    part[(asked.lengths.cumsum() - 1)] = TEST
    table: dict[str, Column] = {"user": np.repeat(both.ids, both.lengths), "item": both.items, "part": part}
    notes = []
    if alone := int((~continued).sum()):
        notes.append(f"{alone:,} test rows go on from no training row: their lists are trained on too")
    return Raw({"interactions": table}, notes)


def read_rows(path: Path) -> Sessions:
    """Read one file.

    Raises:
        DataError: as :func:`read_sessions`; file and line are named.
    """
    head, _, body = read_bytes(path).removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    if head.rstrip(b"\r") != HEADER:
        raise DataError(
            f"{path}:1: expected the header {HEADER.decode()!r}", f"found: {head[:80].decode('utf-8', 'replace')!r}"
        )
    body = body.rstrip() + b"\n"
    whole = _ROWS.match(body)
    assert whole is not None
    if whole.end() < len(body):
        line, text = body[: whole.end()].count(b"\n") + 2, body[whole.end() :].partition(b"\n")[0]
        raise DataError(
            f"{path}:{line}: expected a session, a list of items and an item, all whole numbers, with tabs between",
            f"found: {text[:80].decode('utf-8', 'replace')!r}",
        )
    letters = np.frombuffer(body, np.uint8)
    numbers = np.fromstring(body.decode("ascii"), np.int64, sep=" ")
    ends = np.cumsum((letters == ord("\t")) | (letters == ord(" ")) | (letters == ord("\n")))[letters == ord("\n")]
    starts = np.append(0, ends[:-1])
    is_item = np.ones(len(numbers), bool)
    is_item[starts] = False
    found = Sessions(numbers[starts], np.diff(starts, append=len(numbers)) - 1, numbers[is_item])
    _check(path, found)
    return found


def _check(path: Path, found: Sessions) -> None:
    if (found.items == 0).any():
        row = int(np.searchsorted(found.lengths.cumsum(), (found.items == 0).argmax(), side="right"))
        raise DataError(f"{path}:{row + 2}: item 0 stands for padding in such files, and is no item")
    _, first = np.unique(found.ids, return_index=True)
    if len(first) < len(found.ids):
        row = int(np.setdiff1d(np.arange(len(found.ids)), first)[0])
        raise DataError(f"{path}:{row + 2}: session {found.ids[row]} has a line before this one")


def _continued(known: Sessions, asked: Sessions) -> Array:
    """Which rows of ``asked`` have a row of ``known`` as their list.  ``Bool[rows]``"""
    order = known.ids.argsort()
    place = np.searchsorted(known.ids, asked.ids, sorter=order).clip(max=len(order) - 1)
    row = order[place]
    alike: Array = (known.ids[row] == asked.ids) & (known.lengths[row] == asked.lengths - 1)
    candidates = np.flatnonzero(alike)
    lengths = known.lengths[row[candidates]]
    within = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    mine = np.repeat(asked.starts[candidates], lengths) + within
    its = np.repeat(known.starts[row[candidates]], lengths) + within
    other = asked.items[mine] != known.items[its]
    alike[np.repeat(candidates, lengths)[other]] = False
    return alike
