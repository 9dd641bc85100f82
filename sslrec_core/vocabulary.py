"""Raw identifiers and the numbers 0 .. n-1 that stand for them inside sslrec."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslrec_core.errors import DataError

Array = NDArray[Any]


class Vocabulary:
    """A sorted list of distinct raw ids, and the way from an id to its place in it and back.

    Ids are all integers or all text; whole ranges 0 .. n-1 cost no memory.  Nothing is pickled: :meth:`arrays` gives
    plain arrays and :meth:`from_arrays` takes them, memory-mapped ones too.

    Stability: stable for callers from API 1.
    """

    def __init__(
        self, size: int, integers: Array | None = None, text: Array | None = None, ends: Array | None = None
    ) -> None:
        self._size = size
        self._integers = integers
        self._text = text
        self._ends = ends

    @classmethod
    def identity(cls, size: int) -> Vocabulary:
        """The integers 0 .. ``size`` - 1, each standing for itself."""
        return cls(size)

    @classmethod
    def from_array(cls, values: Array) -> Vocabulary:
        """A vocabulary of ``values``: sorted, distinct, all integers or all text.

        Raises:
            DataError: the values are neither integers nor text.
        """
        values = np.asarray(values)
        if values.dtype.kind in "iu":
            if len(values) and values[0] == 0 and values[-1] == len(values) - 1:
                return cls.identity(len(values))
            return cls(len(values), integers=values.astype(np.int64))
        if values.dtype.kind in "OUT":
            encoded = [str(value).encode() for value in values.tolist()]
            lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
            return cls(len(encoded), text=np.frombuffer(b"".join(encoded), np.uint8), ends=lengths.cumsum())
        raise DataError(f"ids must be integers or text, these are {values.dtype}")

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Vocabulary:
        """The vocabulary whose :meth:`arrays` these are."""
        if "integers" in arrays:
            return cls(len(arrays["integers"]), integers=arrays["integers"])
        if "text" in arrays:
            return cls(len(arrays["ends"]), text=arrays["text"], ends=arrays["ends"])
        return cls(int(arrays["size"][0]))

    def arrays(self) -> dict[str, Array]:
        """Plain arrays that hold everything: ``integers``, or ``text`` (UTF-8) with ``ends``, or ``size``."""
        if self._integers is not None:
            return {"integers": self._integers}
        if self._text is not None and self._ends is not None:
            return {"text": self._text, "ends": self._ends}
        return {"size": np.array([self._size], np.int64)}

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary) or len(self) != len(other):
            return False
        mine, theirs = self.arrays(), other.arrays()
        return mine.keys() == theirs.keys() and all(np.array_equal(mine[key], theirs[key]) for key in mine)

    __hash__ = None  # type: ignore[assignment]

    @property
    def is_text(self) -> bool:
        """Whether raw ids are text; otherwise they are integers."""
        return self._text is not None

    def raw(self, indices: Any) -> Array:
        """Raw ids of ``indices`` (any shape of integers, tensor or array), in the same shape."""
        places = np.asarray(indices, dtype=np.int64)
        if places.size and not (places.min() >= 0 and places.max() < self._size):
            raise IndexError(f"index outside 0..{self._size - 1}")
        if self._integers is not None:
            return np.asarray(self._integers)[places]
        if self._text is not None:
            return self._decode(places.ravel()).reshape(places.shape)
        return places.copy()

    def index(self, raw: int | str) -> int:
        """Number of the raw id ``raw``; digits typed as text find integer ids.

        Raises:
            DataError: there is no such id; the message names its neighbours in sorted order.
        """
        if self.is_text:
            wanted: Any = str(raw).encode()
            place = bisect.bisect_left(range(self._size), wanted, key=self._bytes)
            if place < self._size and self._bytes(place) == wanted:
                return place
            raise self._unknown(raw, place)
        try:
            number = int(raw)
        except ValueError:
            raise self._unknown(raw, 0) from None
        place = number if self._integers is None else int(np.searchsorted(self._integers, number))
        if 0 <= place < self._size and (self._integers is None or self._integers[place] == number):
            return place
        raise self._unknown(raw, min(max(place, 0), self._size))

    def find(self, raw: Array) -> Array:
        """Numbers of many raw ids at once, -1 for those that are not here.  ``[n] -> Long[n]``"""
        raw = np.asarray(raw)
        if self._text is not None:
            wanted: Array = np.char.encode(raw.astype(str), "utf-8")
            known = self._padded(np.arange(self._size))
        else:
            wanted = raw.astype(np.int64)
            if self._integers is None:
                return np.where((wanted >= 0) & (wanted < self._size), wanted, -1)
            known = np.asarray(self._integers)
        if not self._size:
            return np.full(raw.shape, -1, np.int64)
        place = np.searchsorted(known, wanted).clip(max=self._size - 1)
        return np.where(known[place] == wanted, place, -1)

    def _bytes(self, place: int) -> bytes:
        assert self._text is not None and self._ends is not None
        start = int(self._ends[place - 1]) if place else 0
        return self._text[start : int(self._ends[place])].tobytes()

    def _padded(self, places: Array) -> Array:
        """UTF-8 bytes of the ids at ``places``, as one fixed-width array."""
        assert self._text is not None and self._ends is not None
        ends = np.asarray(self._ends)
        lengths = np.diff(ends, prepend=0)[places]
        width = max(1, int(lengths.max(initial=1)))
        column = np.arange(width)
        inside = column < lengths[:, None]
        source = np.where(inside, (ends[places] - lengths)[:, None] + column, 0)
        letters = np.where(inside, np.asarray(self._text)[source], 0).astype(np.uint8)
        return letters.reshape(-1).view(f"S{width}") if len(places) else np.empty(0, f"S{width}")

    def _decode(self, places: Array) -> Array:
        return np.char.decode(self._padded(places), "utf-8")

    def _unknown(self, raw: object, place: int) -> DataError:
        first = ", ".join(self._examples(range(min(3, self._size))))
        near = ", ".join(self._examples(range(max(0, place - 1), min(self._size, place + 2))))
        return DataError(
            f"no id is called {str(raw)!r}",
            f"neighbours in sorted order: {near}",
            f"there are {self._size:,} ids, the first are {first}",
        )

    def _examples(self, places: Sequence[int]) -> list[str]:
        return [repr(value) for value in self.raw(list(places)).tolist()]
