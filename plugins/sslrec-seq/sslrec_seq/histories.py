"""Histories: what users met, in order, packed end to end without padding.

Encoders compute on the packed items alone, where most of the work is, and lay them out as grids only where rows have
to be told apart by shape (attention, recurrence).  Rows begin at the left: behind the last item nothing can be seen by
a causal encoder, so padding needs no mask there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.rows import pointers_of, stretches

Change = Callable[[Tensor], Tensor]

WIDTHS = (8, 16, 32)
"""Longest rows of the grids into which a batch is divided; one more grid holds what is longer."""


@dataclass(frozen=True, eq=False)
class Histories:
    """Rows of items in the order they were met, one row after the other.

    There may be more slots than items: what an augmenter shortened keeps its slots where counting them would make the
    host wait.  Unused slots come last and belong to no row; what is computed there is never looked at.
    """

    items: Tensor
    """``Long[slots]``"""
    lengths: Tensor
    """Items of each row, at least one.  ``Long[rows]``"""
    longest: int
    """No row has more items than this."""
    inside: Change | None = None
    """What an encoder has to do with what each of its layers gives, such as masking neurons; ``[slots, dim]`` each."""
    outside: Change | None = None
    """What an encoder has to do with its final vectors.  ``[slots, dim]``"""
    blank: int | None = None
    """The number that stands for no item: its vector does not learn, and attention does not look at it from places
    that have an item to look at; encoders without attention read it as an item.  None where all slots hold items."""
    ends_only: bool = False
    """Whether the vectors of last places alone are looked at, so that an encoder need not make the others.  One that
    needs all vectors of another encoder tells that one so."""

    @classmethod
    def of_grid(cls, grid: Tensor, lengths: Tensor) -> Histories:
        """The first ``lengths[r]`` items of each row of ``grid`` ``[rows, longest]``."""
        inside = torch.arange(grid.shape[1], device=grid.device) < lengths[:, None]
        if grid.is_cpu:
            return cls(grid[inside], lengths, grid.shape[1])
        # Elsewhere every slot of the grid stays, so that the host need not know how many are used.
        order = (~inside).flatten().sort(stable=True).indices
        return cls(grid.flatten()[order], lengths, grid.shape[1])

    @classmethod
    def latest(cls, items: Tensor, lengths: Tensor, longest: int) -> Histories:
        """The latest ``longest`` items of rows that stand end to end in ``items``, ``lengths[r]`` each."""
        kept = lengths.clamp(max=longest)
        places = stretches(lengths.cumsum(0) - kept, kept, int(kept.sum()))
        return cls(items[places], kept, longest)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def n_rows(self) -> int:
        """How many rows there are; what ``len`` says too, but that has to be a number even while a program is made."""
        return self.lengths.shape[0]

    @cached_property
    def pointers(self) -> Tensor:
        """Where each row starts, and the end of the last.  ``Long[rows + 1]``"""
        return pointers_of(self.lengths)

    @cached_property
    def rows(self) -> Tensor:
        """Row of each slot; ``len(self)`` for unused ones.  ``Long[slots]``"""
        slots = torch.arange(len(self.items), device=self.items.device)
        return torch.searchsorted(self.pointers[1:], slots, right=True)

    @cached_property
    def places(self) -> Tensor:
        """Place of each slot in its row, from 0.  ``Long[slots]``"""
        return torch.arange(self.items.shape[0], device=self.items.device) - self.pointers[self.rows]

    @property
    def last(self) -> Tensor:
        """Slot of each row's last item.  ``Long[rows]``"""
        return self.pointers[1:] - 1

    @cached_property
    def filled(self) -> Tensor:
        """Which cells of the grid hold an item.  ``Bool[rows, longest]``"""
        return torch.arange(self.longest, device=self.items.device) < self.lengths[:, None]

    @property
    def used(self) -> Tensor:
        """Which slots hold an item of a row.  ``Bool[slots]``"""
        return self.rows < len(self)

    @cached_property
    def _cells(self) -> Tensor:
        """The cell of each slot in the flat grid, which has one more for the unused ones."""
        return torch.where(self.used, self.rows * self.longest + self.places, self.n_rows * self.longest)

    def grid(self, values: Tensor, fill: float = 0) -> Tensor:
        """``values`` ``[slots, ...]`` laid out as ``[rows, longest, ...]``, ``fill`` where a row has ended."""
        return self._laid_out(values, self._cells, self.longest, fill)

    def grid_at_end(self, values: Tensor, width: int, fill: float = 0) -> Tensor:
        """``values`` ``[slots, ...]`` laid out as ``[rows, width, ...]``, each row at the end, ``fill`` before it."""
        ends = F.pad(self.lengths, (0, 1))[self.rows]
        cells = torch.where(self.used, (self.rows + 1) * width - ends + self.places, self.n_rows * width)
        return self._laid_out(values, cells, width, fill)

    def _laid_out(self, values: Tensor, cells: Tensor, width: int, fill: float) -> Tensor:
        """``values`` ``[slots, ...]`` in ``cells`` of ``[rows, width, ...]``; unused slots go behind the last."""
        rest = values.shape[1:]
        flat = values.new_full((self.n_rows * width + 1, *rest), fill)
        return flat.index_copy(0, cells, values)[:-1].view(self.n_rows, width, *rest)

    @cached_property
    def _alike(self) -> list[tuple[Tensor, Tensor, Histories]]:
        """Rows of like length together: the slots and the rows of each group, and the group."""
        kind = torch.bucketize(self.lengths, self.lengths.new_tensor(WIDTHS))
        kind_of_slot = F.pad(kind, (0, 1), value=-1)[self.rows]
        groups = []
        for number, width in enumerate((*WIDTHS, self.longest)):
            slots, rows = ((kinds == number).nonzero().squeeze(1) for kinds in (kind_of_slot, kind))
            if len(rows):
                longest, lengths = min(width, self.longest), self.lengths[rows]
                groups.append((slots, rows, replace(self, items=self.items[slots], lengths=lengths, longest=longest)))
        return groups

    def over_grids(self, values: Tensor, compute: Callable[[Histories, Tensor], Tensor]) -> Tensor:
        """What ``compute`` makes of rows that are laid out as grids: ``[slots, ...] -> [slots, ...]``.

        It is given histories and the grid of their values, ``[rows, longest, ...]``, and gives one of that shape.  On a
        CPU it is called for rows of like length together, since few rows of a batch are as long as its longest.
        Elsewhere, where the host would have to wait for their numbers and cells cost little, all rows are one grid.
        """
        if not values.is_cpu:
            return self.packed(compute(self, self.grid(values)))
        found = [
            group.packed(compute(group, group.grid(values.index_select(0, slots)))) for slots, _, group in self._alike
        ]
        whole = values.new_zeros(len(values), *found[0].shape[1:])
        return whole.index_copy(0, torch.cat([slots for slots, _, _ in self._alike]), torch.cat(found))

    def over_rows(
        self, asked: Tensor, values: Tensor, compute: Callable[[Histories, Tensor, Tensor], Tensor]
    ) -> Tensor:
        """What ``compute`` makes of each row's own vector and the grid of its ``values``: ``[rows, ...]``.

        As :meth:`over_grids`; ``asked`` is ``[rows, ...]``, ``values`` are ``[slots, ...]``.
        """
        if not values.is_cpu:
            return compute(self, asked, self.grid(values))
        found = [
            compute(group, asked.index_select(0, rows), group.grid(values.index_select(0, slots)))
            for slots, rows, group in self._alike
        ]
        order = torch.cat([rows for _, rows, _ in self._alike]).argsort()
        return torch.cat(found).index_select(0, order)

    @cached_property
    def at_ends(self) -> Histories:
        """The same rows, for who looks at the vectors of their last places alone."""
        return replace(self, ends_only=True)

    def padded(self, length: int, blank: int) -> Histories:
        """The same rows with blanks before them, ``length`` slots each; items of the number ``blank`` become blanks."""
        items = self.grid_at_end(self.items, length, blank).flatten()
        lengths = torch.full_like(self.lengths, length)
        return FullHistories(items, lengths, length, self.inside, self.outside, blank, self.ends_only)

    def visible(self, causal: bool) -> Tensor:
        """Which places of its row each place looks at: those with an item, up to itself if ``causal``.

        A place with none to look at looks at all, as where a softmax is over scores that are all lowered alike.
        ``Bool[rows, longest, longest]``
        """
        there = self.filled if self.blank is None else self.filled & (self.grid(self.items) != self.blank)
        seen = there[:, None].expand(-1, self.longest, -1)
        seen = seen.tril() if causal else seen
        return seen | ~seen.any(2, keepdim=True)

    def packed(self, grid: Tensor) -> Tensor:
        """The inverse of :meth:`grid`: ``[rows, longest, ...] -> [slots, ...]``."""
        return grid.flatten(0, 1).index_select(0, self._cells.clamp(max=self.n_rows * self.longest - 1))

    def appended(self, items: Tensor) -> Histories:
        """Each row with one item more at its end: ``items`` ``Long[rows]``."""
        old, rows = self.items, len(self)
        # Every row before its own moves a slot by one.
        moved = torch.arange(len(old), device=old.device) + self.rows
        ends = self.pointers[1:] + torch.arange(rows, device=old.device)
        longer = old.new_empty(len(old) + rows).index_copy(0, moved, old).index_copy(0, ends, items)
        return replace(self, items=longer, lengths=self.lengths + 1, longest=self.longest + 1)

    def select(self, rows: Tensor) -> Histories:
        """The rows ``rows`` in that order, repeats allowed."""
        lengths = self.lengths[rows]
        total, longest = torch.stack([lengths.sum(), lengths.max()]).tolist()
        places = stretches(self.pointers[rows], lengths, total)
        return replace(self, items=self.items[places], lengths=lengths, longest=longest)

    def to(self, device: torch.device | str) -> Self:
        """The same rows on ``device``."""
        return replace(self, items=self.items.to(device), lengths=self.lengths.to(device))

    def changed_by(self, inside: Change | None = None, outside: Change | None = None) -> Histories:
        """The same rows, with changes to what an encoder makes of them, after those that are there already."""
        return replace(self, inside=after(self.inside, inside), outside=after(self.outside, outside))


class _OneGrid(Histories):
    """Histories whose slots are the cells of one grid, row by row."""

    def packed(self, grid: Tensor) -> Tensor:
        return grid.flatten(0, 1)

    def over_grids(self, values: Tensor, compute: Callable[[Histories, Tensor], Tensor]) -> Tensor:
        """As :meth:`Histories.over_grids`, all rows in one grid."""
        return self.packed(compute(self, self.grid(values)))

    def over_rows(
        self, asked: Tensor, values: Tensor, compute: Callable[[Histories, Tensor, Tensor], Tensor]
    ) -> Tensor:
        """As :meth:`Histories.over_rows`, all rows in one grid."""
        return compute(self, asked, self.grid(values))


class GridHistories(_OneGrid):
    """Histories whose slots are the cells of a grid ``[rows, longest]``: no size depends on what they hold.

    That is what a program needs which is made once and run without sslrec.  Cells behind the end of a row are unused
    slots, though they do not come last; they are computed with the others.  Rows cannot be selected.
    """

    @classmethod
    def of_grid(cls, grid: Tensor, lengths: Tensor) -> GridHistories:
        """The first ``lengths[r]`` items of each row of ``grid`` ``[rows, longest]``."""
        return cls(grid.flatten(), lengths, grid.shape[1])

    @cached_property
    def pointers(self) -> Tensor:
        return torch.arange(self.n_rows + 1, device=self.items.device) * self.longest

    @cached_property
    def rows(self) -> Tensor:
        return torch.arange(self.n_rows, device=self.items.device)[:, None].expand(-1, self.longest).flatten()

    @property
    def last(self) -> Tensor:
        return self.pointers[:-1] + self.lengths - 1

    @property
    def used(self) -> Tensor:
        return self.filled.flatten()

    def appended(self, items: Tensor) -> Histories:
        grid = F.pad(self.items.view(self.n_rows, self.longest), (0, 1))
        longer = grid.scatter(1, self.lengths[:, None], items[:, None])
        return replace(self, items=longer.flatten(), lengths=self.lengths + 1, longest=self.longest + 1)

    def select(self, rows: Tensor) -> Histories:
        raise NotImplementedError("rows of a grid are not selected")


class FullHistories(_OneGrid):
    """Histories that are all as long as the longest, without unused slots: they are a grid as they stand."""

    def grid(self, values: Tensor, fill: float = 0) -> Tensor:
        return values.reshape(self.n_rows, self.longest, *values.shape[1:])

    def grid_at_end(self, values: Tensor, width: int, fill: float = 0) -> Tensor:
        grid = self.grid(values)
        return F.pad(grid, (0, 0) * (grid.dim() - 2) + (width - self.longest, 0), value=fill)


def after(first: Change | None, then: Change | None) -> Change | None:
    """One change after the other; None changes nothing."""
    if first is None or then is None:
        return then if first is None else first
    return lambda x: then(first(x))


def shown(histories: Histories, x: Tensor) -> Tensor:
    """The vectors of items, ``[slots, dim]``; those of blanks stay as they were drawn, as in the code of S3-Rec."""
    if histories.blank is None:
        return x
    return torch.where((histories.items != histories.blank)[:, None], x, x.detach())


def inside(histories: Histories, x: Tensor) -> Tensor:
    """What a layer of an encoder gives, ``[slots, dim]``, changed as ``histories`` ask."""
    return x if histories.inside is None else histories.inside(x)


def outside(histories: Histories, x: Tensor) -> Tensor:
    """An encoder's final vectors, ``[slots, dim]``, changed as ``histories`` ask."""
    return x if histories.outside is None else histories.outside(x)
