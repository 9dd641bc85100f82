"""Where the edges of a graph run: row pointers, sources, and the way to the transpose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import ReferenceType, ref

import torch
from torch import Tensor

_INT32_LIMIT = 2**31 - 1


@dataclass(frozen=True, eq=False)
class _Cut:
    """How a compacted structure was cut out of its parent."""

    parent: Structure
    mask: Tensor
    """Which edges of the parent are left, ``[parent edges]``."""
    index: Tensor
    """Their positions in the parent, ``[edges]``."""
    before: Tensor
    """How many are left before each position of the parent, ``[parent edges + 1]``."""
    both_ways: bool
    """Whether the mask treats both directions of an undirected edge alike."""

    @property
    def pointers(self) -> Tensor:
        """Row pointers of what is left."""
        return self.before.index_select(0, self.parent.pointers)

    @property
    def columns(self) -> Tensor:
        """Sources of what is left."""
        return self.parent.columns.index_select(0, self.index)


@dataclass(frozen=True, eq=False)
class Structure:
    """Edges in compressed rows: sorted by target, then by source.

    Built once and shared by all graphs that differ in their weights only.  Everything that can be derived is derived
    on first use and kept.  Indices are 32-bit wherever they fit.
    """

    pointers: Tensor
    """Row ``t`` owns the edges ``pointers[t]`` to ``pointers[t + 1]``; ``[targets + 1]``."""
    columns: Tensor
    """Source of each edge in the index type of the kernels, ``[edges]``."""
    shape: tuple[int, int]
    """Number of targets and of sources."""
    given: int
    """Length of the lists the graph was made of."""
    cut: _Cut | None = None
    own_edge_of: Tensor | None = None
    own_mirror: Tensor | None = None
    own_position: Tensor | None = None
    turned_from: tuple[ReferenceType[Structure], Tensor] | None = None

    @staticmethod
    def of(target: Tensor, source: Tensor, shape: tuple[int, int], *, undirected: bool = False) -> Structure:
        """Sort edges given in any order; repeated edges stay separate edges.

        Args:
            target: ``[given]``
            source: ``[given]``
            shape: number of targets and of sources.
            undirected: add every edge in the other direction too (the shape must be square).
        """
        given = target.numel()
        if undirected:
            target, source = torch.cat((target, source)), torch.cat((source, target))
        small = max(target.numel(), *shape) <= _INT32_LIMIT
        kind = torch.int32 if small else torch.int64
        key, order = torch.sort(target.long() * shape[1] + source.long(), stable=True)
        rows = torch.arange(shape[0] + 1, device=key.device) * shape[1]
        pointers = torch.searchsorted(key, rows).to(kind)
        columns = source.index_select(0, order).to(kind)
        if not undirected:
            return Structure(pointers, columns, shape, given, own_edge_of=order)
        mirror = _inverse(order).index_select(0, (order + given) % max(2 * given, 1))
        return Structure(pointers, columns, shape, given, own_edge_of=order % max(given, 1), own_mirror=mirror)

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return self.columns.numel()

    @property
    def device(self) -> torch.device:
        """Where the indices live."""
        return self.columns.device

    @cached_property
    def counts(self) -> Tensor:
        """Edges of each row, ``[targets]``."""
        return self.pointers.diff()

    def count(self, alive: Tensor | None) -> Tensor:
        """Edges of each row that are ``alive`` (``[edges]``; None: all), ``[targets]``."""
        if alive is None:
            return self.counts
        return self._before(alive).index_select(0, self.pointers).diff()

    def _before(self, mask: Tensor) -> Tensor:
        """How many edges in ``mask`` precede each position, ``[edges + 1]``."""
        start = torch.zeros(1, dtype=self.pointers.dtype, device=self.device)
        return torch.cat((start, mask.cumsum(0, dtype=start.dtype)))

    @cached_property
    def rows(self) -> Tensor:
        """Target of each edge in the index type of the kernels, ``[edges]``."""
        rows = torch.arange(self.shape[0], device=self.device, dtype=self.columns.dtype)
        return torch.repeat_interleave(rows, self.counts, output_size=self.n_edges)

    @cached_property
    def target(self) -> Tensor:
        """Target of each edge, 64-bit, ``[edges]``."""
        return self.rows.long()

    @cached_property
    def source(self) -> Tensor:
        """Source of each edge, 64-bit, ``[edges]``."""
        return self.columns.long()

    @cached_property
    def edge_of(self) -> Tensor:
        """Position of each edge in the lists the graph was made of, ``[edges]``."""
        if self.cut is not None:
            return self.cut.parent.edge_of.index_select(0, self.cut.index)
        return self.own_edge_of if self.own_edge_of is not None else torch.arange(self.n_edges, device=self.device)

    @cached_property
    def position(self) -> Tensor | None:
        """Position of each edge in the whole structure this one was cut from; None where nothing was cut."""
        if self.cut is None:
            return self.own_position
        whole = self.cut.parent.position
        return self.cut.index if whole is None else whole.index_select(0, self.cut.index)

    @cached_property
    def mirror(self) -> Tensor | None:
        """Position of each edge's other direction where every edge has one, ``[edges]``."""
        if self.cut is None:
            return self.own_mirror
        whole = self.cut.parent.mirror
        if whole is None or not self.cut.both_ways:
            return None
        return self.cut.before.index_select(0, whole.index_select(0, self.cut.index)).long()

    @property
    def transposed(self) -> tuple[Structure, Tensor]:
        """The structure of the transpose, and the edge of this one behind each of its edges."""
        if self.mirror is not None:
            return self, self.mirror
        if self.turned_from is not None:
            original, order = self.turned_from
            known = original()
            if known is not None:
                return known, order
        return self._turned

    @cached_property
    def _turned(self) -> tuple[Structure, Tensor]:
        position = None
        if self.cut is not None:
            whole, order = self.cut.parent.transposed
            other = whole._cut(self.cut.mask.index_select(0, order))
            order = self.cut.before.index_select(0, order.index_select(0, other.index)).long()
            pointers, columns = other.pointers, other.columns
            position = other.index if whole.position is None else whole.position.index_select(0, other.index)
        else:
            key, order = torch.sort(self.columns, stable=True)
            bounds = torch.arange(self.shape[1] + 1, device=self.device, dtype=key.dtype)
            pointers = torch.searchsorted(key, bounds).to(self.pointers.dtype)
            columns = self.rows.index_select(0, order)
            position = None if self.position is None else self.position.index_select(0, order)
        turned = Structure(
            pointers,
            columns,
            (self.shape[1], self.shape[0]),
            self.given,
            own_edge_of=self.edge_of.index_select(0, order),
            own_position=position,
            # Weak: two structures that hold each other would wait for the garbage collector with all their memory.
            turned_from=(ref(self), _inverse(order)),
        )
        return turned, order

    def compacted(self, mask: Tensor, *, both_ways: bool = False) -> tuple[Structure, Tensor]:
        """The structure of the edges in ``mask`` and their positions here, without sorting.

        ``both_ways`` says that the mask treats both directions of an undirected edge alike.  Waits for the device to
        count the edges.
        """
        cut = self._cut(mask, both_ways=both_ways)
        return Structure(cut.pointers, cut.columns, self.shape, self.given, cut=cut), cut.index

    def select(self, targets: Tensor) -> tuple[Structure, Tensor]:
        """The structure of the rows ``targets`` (``[n]``, repeats allowed) and the positions of its edges here.

        Waits for the device to count the edges.
        """
        counts = self.counts.index_select(0, targets)
        pointers = torch.cat((counts.new_zeros(1), counts.cumsum(0, dtype=counts.dtype)))
        total = int(pointers[-1])
        shift = (self.pointers.index_select(0, targets) - pointers[:-1]).long()
        index = shift.repeat_interleave(counts, output_size=total) + torch.arange(total, device=self.device)
        selected = Structure(
            pointers,
            self.columns.index_select(0, index),
            (targets.numel(), self.shape[1]),
            self.given,
            own_edge_of=self.edge_of.index_select(0, index),
            own_position=index if self.position is None else self.position.index_select(0, index),
        )
        return selected, index

    def _cut(self, mask: Tensor, *, both_ways: bool = False) -> _Cut:
        return _Cut(self, mask, mask.nonzero().squeeze(1), self._before(mask), both_ways)

    def to(self, device: torch.device | str) -> Structure:
        """The same structure on ``device``."""
        if self.device == torch.device(device):
            return self
        return Structure(
            self.pointers.to(device),
            self.columns.to(device),
            self.shape,
            self.given,
            own_edge_of=self.edge_of.to(device),
            own_mirror=None if self.mirror is None else self.mirror.to(device),
            own_position=None if self.position is None else self.position.to(device),
        )


def _inverse(order: Tensor) -> Tensor:
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(order.numel(), device=order.device)
    return inverse
