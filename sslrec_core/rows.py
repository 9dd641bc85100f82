"""Sets of columns per row, as tensors: what users interacted with, what to hide, what to find."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse import csr_array

HIGH = 2**62


@dataclass(frozen=True, eq=False)
class Rows:
    """For each row a sorted set of columns, in compressed form.

    Stability: stable for callers from API 1.
    """

    pointers: Tensor
    """``Long[rows + 1]``: row ``r`` owns ``columns[pointers[r] : pointers[r + 1]]``."""
    columns: Tensor
    """``Long[nnz]``: ascending and distinct within a row."""
    n_columns: int
    """How many columns there could be."""

    @classmethod
    def of(cls, rows: Tensor, columns: Tensor, n_rows: int, n_columns: int) -> Rows:
        """Rows of the distinct pairs ``(rows[k], columns[k])``, given in any order; repeated pairs count once."""
        keys = torch.unique(rows.long() * n_columns + columns.long())
        return cls.of_keys(keys, n_rows, n_columns)

    @classmethod
    def of_keys(cls, keys: Tensor, n_rows: int, n_columns: int) -> Rows:
        """Rows of sorted, distinct keys ``row * n_columns + column``."""
        counts = torch.bincount(torch.div(keys, max(n_columns, 1), rounding_mode="floor"), minlength=n_rows)
        return cls(pointers_of(counts), keys % max(n_columns, 1), n_columns)

    @classmethod
    def empty(cls, n_rows: int, n_columns: int, device: torch.device | str = "cpu") -> Rows:
        """``n_rows`` rows without any column."""
        zeros = torch.zeros(n_rows + 1, dtype=torch.long, device=device)
        return cls(zeros, zeros[:0], n_columns)

    def __len__(self) -> int:
        return len(self.pointers) - 1

    @property
    def nnz(self) -> int:
        """How many pairs there are in all rows together."""
        return len(self.columns)

    @cached_property
    def counts(self) -> Tensor:
        """Columns per row.  ``Long[rows]``"""
        return self.pointers.diff()

    @cached_property
    def row_index(self) -> Tensor:
        """The row of each entry of ``columns``.  ``Long[nnz]``"""
        rows = torch.arange(len(self), device=self.pointers.device)
        return rows.repeat_interleave(self.counts, output_size=self.nnz)

    @cached_property
    def keys(self) -> Tensor:
        """``row * n_columns + column`` of each pair, ascending.  ``Long[nnz]``"""
        return self.row_index * self.n_columns + self.columns

    @cached_property
    def _gap_keys(self) -> Tensor:
        """``row * n_columns + number of columns absent below this one``, ascending.  ``Long[nnz]``"""
        place = torch.arange(self.nnz, device=self.columns.device) - self.pointers[self.row_index]
        return self.keys - place

    def to(self, device: torch.device | str) -> Rows:
        """The same rows on ``device``."""
        return Rows(self.pointers.to(device), self.columns.to(device), self.n_columns)

    def select(self, rows: Tensor) -> Rows:
        """The rows ``rows`` in that order, repeats allowed.  ``Long[q] -> Rows`` with ``q`` rows."""
        counts = self.counts[rows]
        pointers = pointers_of(counts)
        place = stretches(self.pointers[rows], counts, int(pointers[-1]))
        return Rows(pointers, self.columns[place], self.n_columns)

    def contains(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Whether each pair ``(rows, columns)`` is here; the two broadcast.  Sync-free.  ``-> Bool``"""
        wanted = rows * self.n_columns + columns
        if self.nnz == 0:
            return torch.zeros_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(self.keys, wanted).clamp_(max=self.nnz - 1)
        return self.keys[place] == wanted

    def union(self, other: Rows) -> Rows:
        """The pairs of either, row by row."""
        if other.nnz == 0:
            return self
        if self.nnz == 0:
            return other
        return Rows.of_keys(torch.unique(torch.cat([self.keys, other.keys])), len(self), self.n_columns)

    def draw_absent(self, rows: Tensor, draws: int, generator: torch.Generator | None = None) -> Tensor:
        """``draws`` columns for each of ``rows``, uniform over the columns that the row does not own.

        Exact and without rejection: the r-th absent column of a row is r plus the number of owned columns that have
        at most r absent columns below them, which one binary search counts.  Fixed shapes and no synchronisation.
        Draws are independent, with replacement.  A row that lacks no column is given any.  ``Long[n] -> Long[n,
        draws]``
        """
        free = (self.n_columns - self.counts[rows]).unsqueeze(1)
        rank = below(torch.where(free > 0, free, self.n_columns).expand(-1, draws), generator)
        passed = torch.searchsorted(self._gap_keys, rows.unsqueeze(1) * self.n_columns + rank, right=True)
        return rank + torch.where(free > 0, passed - self.pointers[rows].unsqueeze(1), 0)

    def draw_present(self, rows: Tensor, draws: int, generator: torch.Generator | None = None) -> Tensor:
        """``draws`` columns for each of ``rows``, uniform over the columns that the row owns, with replacement.

        Fixed shapes and no synchronisation.  Every row in ``rows`` must own a column.  ``Long[n] -> Long[n, draws]``
        """
        counts = self.counts[rows].unsqueeze(1)
        return self.columns[self.pointers[rows].unsqueeze(1) + below(counts.expand(-1, draws), generator)]

    def to_scipy(self) -> csr_array:
        """The same pairs as a sparse matrix of ones, float32."""
        import numpy as np
        from scipy.sparse import csr_array

        columns, pointers = self.columns.cpu().numpy(), self.pointers.cpu().numpy()
        return csr_array((np.ones(self.nnz, np.float32), columns, pointers), shape=(len(self), self.n_columns))


def below(bounds: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A random number from 0 to just below each of ``bounds``, evenly.  ``Long[...] -> Long[...]``"""
    # Not by torch.randint, which torch.compile cannot trace where it is given a generator and sizes that vary.  HIGH
    # is so far above any bound that the modulus favours no number measurably (below 1e-9).
    chance = torch.empty(bounds.shape, dtype=torch.long, device=bounds.device)
    return chance.random_(0, HIGH, generator=generator) % bounds


def pointers_of(counts: Tensor) -> Tensor:
    """Where each row starts, and the end.  ``Long[rows] -> Long[rows + 1]``"""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def stretches(starts: Tensor, counts: Tensor, total: int) -> Tensor:
    """``starts[r], starts[r] + 1, ...``, ``counts[r]`` of them for each row, end to end.

    Args:
        starts: ``Long[rows]``
        counts: ``Long[rows]``
        total: the sum of ``counts``, which the host knows.

    Returns:
        ``Long[total]``
    """
    shift = (starts - (counts.cumsum(0) - counts)).repeat_interleave(counts, output_size=total)
    return torch.arange(total, device=starts.device) + shift
