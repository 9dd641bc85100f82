"""Text files of whole numbers: ``user item item ...`` per line, ``head relation tail`` triples, and pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sslrec_core.data import Array, Raw
from sslrec_core.errors import DataError
from sslrec_core.ingest.packed import read_bytes

SPACE, TAB, RETURN, NEWLINE = b" \t\r\n"
LONGEST = 18
"""Digits that surely fit into 64 bits."""

_digit = np.zeros(256, bool)
_digit[ord("0") : ord("9") + 1] = True
_known = _digit.copy()
_known[[SPACE, TAB, RETURN, NEWLINE]] = True


def read_lists(path: Path) -> tuple[Array, Array, int]:
    """Read ``user item item ...`` lines.

    Returns:
        Users and items of the pairs (``int64``, in file order), and one more than the largest user id, users without
        items included.

    Raises:
        DataError: a line that is not whole numbers from 0 on (file and line are named), or an empty file.
    """
    numbers, lengths = read_numbers(path)
    starts = np.cumsum(lengths) - lengths
    users = numbers[starts]
    is_item = np.ones(len(numbers), bool)
    is_item[starts] = False
    return np.repeat(users, lengths - 1), numbers[is_item], int(users.max()) + 1


def read_columns(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """Read lines of exactly ``len(names)`` whole numbers, such as ``head relation tail``.

    Raises:
        DataError: a line of another form (file and line are named), or an empty file.
    """
    numbers, lengths = read_numbers(path)
    if (lengths != len(names)).any():
        line, text = _line_where(path, lambda words: 0 < len(words) != len(names))
        raise DataError(
            f"{path}:{line}: expected {len(names)} numbers ({' '.join(names)}), found {len(text.split())}",
            repr(text[:80]),
        )
    table = numbers.reshape(-1, len(names))
    return {name: np.ascontiguousarray(table[:, place]) for place, name in enumerate(names)}


def read_numbers(path: Path) -> tuple[Array, Array]:
    """All numbers of a text file, and how many stand on each line that has any.  ``int64``

    Raises:
        DataError: as :func:`read_lists`.
    """
    content = read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    letters = np.frombuffer(content, np.uint8)
    if not _known[letters].all():
        raise _malformed(path)
    digit = _digit[letters]
    edges = np.diff(digit.view(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not len(starts):
        raise DataError(f"{path} is empty", fix="put lines of numbers into it, or remove it")
    if (ends - starts).max() > LONGEST:
        raise _malformed(path)
    numbers = np.fromstring(content.decode("ascii"), np.int64, sep=" ")
    line_ends = np.append(np.flatnonzero(letters == NEWLINE), len(letters))
    lengths = np.diff(np.searchsorted(starts, line_ends), prepend=0)
    return numbers, lengths[lengths > 0]


def read_parts(folder: Path, parts: dict[str, str]) -> Raw:
    """Interactions of list files, one per part, such as ``{"train": "train.txt"}``; absent files are left out."""
    columns: dict[str, list[Array]] = {"user": [], "item": [], "part": []}
    n_users = 0
    for code, name in enumerate(("train", "valid", "test")):
        if name not in parts or not (folder / parts[name]).is_file():
            continue
        users, items, size = read_lists(folder / parts[name])
        n_users = max(n_users, size)
        columns["user"].append(users)
        columns["item"].append(items)
        columns["part"].append(np.full(len(users), code, np.int8))
    table = {name: np.concatenate(arrays) if arrays else np.empty(0, np.int64) for name, arrays in columns.items()}
    return Raw({"interactions": {**table}}, identity_ids=True, sizes={"user": n_users})


def _malformed(path: Path) -> DataError:
    def wrong(word: str) -> bool:
        return not (word.isascii() and word.isdigit() and len(word) <= LONGEST)

    line, text = _line_where(path, lambda words: any(map(wrong, words)))
    word = next(filter(wrong, text.split()))
    return DataError(f"{path}:{line}: expected whole numbers from 0 on, found {word[:40]!r}", repr(text[:80]))


def _line_where(path: Path, wrong: Callable[[list[str]], bool]) -> tuple[int, str]:
    """The first line whose words are ``wrong``: its number and its text.  Slow, and only used to explain a failure."""
    lines = read_bytes(path).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").split("\n")
    return next((number, text.rstrip("\r")) for number, text in enumerate(lines, 1) if wrong(text.split()))
