"""The graph that models hold: weighted edges over a shared structure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from sslrec_core.graph.functions import row_sum, spmm
from sslrec_core.graph.structure import Structure

How = Literal["sym", "row"]


@dataclass(frozen=True, eq=False)
class SparseGraph:
    """Weighted edges, sorted by target; ``graph @ x`` sums over each target's sources.

    Make one with :meth:`of`, :meth:`undirected`, :meth:`bipartite` or :meth:`compressed`.  Graphs are values: every
    method returns another graph, which shares the structure wherever it can.  Edge weights must not be negative where
    they are normalised.

    Stability: stable for callers from API 1.
    """

    structure: Structure
    weight: Tensor
    """``[edges]``"""
    base: Tensor | None = None
    """Weights before normalisation, ``[edges]``; None when every edge counts one."""
    how: How | None = None
    """The normalisation that made ``weight`` out of ``base``."""
    symmetric: bool = False
    """Whether the graph is known to equal its transpose, in structure and in weights."""
    alive: Tensor | None = None
    """Edges that were not dropped, ``[edges]``; dropped ones keep their place with weight zero.  None: all."""

    @classmethod
    def of(cls, target: Tensor, source: Tensor, weight: Tensor | None = None, *, shape: tuple[int, int]) -> SparseGraph:
        """A directed graph of the given edges, in any order; repeated edges stay separate edges.

        Args:
            target: rows, ``[edges]``.
            source: columns, ``[edges]``.
            weight: ``[edges]``; all ones if None.
            shape: number of targets and of sources.
        """
        return cls._weighted(Structure.of(target, source, shape), weight)

    @classmethod
    def undirected(cls, one: Tensor, other: Tensor, n_nodes: int, weight: Tensor | None = None) -> SparseGraph:
        """A symmetric graph that has every given edge in both directions; ``edge_of`` maps both to the given one."""
        return cls._weighted(Structure.of(one, other, (n_nodes, n_nodes), undirected=True), weight, symmetric=True)

    @classmethod
    def bipartite(
        cls, users: Tensor, items: Tensor, n_users: int, n_items: int, weight: Tensor | None = None
    ) -> SparseGraph:
        """The symmetric graph over users (nodes 0 to ``n_users - 1``) and items (the nodes after them).

        ``edge_of`` maps each directed edge to its interaction, so that a mask over interactions drops both directions.
        """
        return cls.undirected(users, items + n_users, n_users + n_items, weight)

    @classmethod
    def compressed(
        cls, pointers: Tensor, source: Tensor, weight: Tensor, *, shape: tuple[int, int], symmetric: bool = False
    ) -> SparseGraph:
        """A graph whose edges are sorted already, as they come out of a sparse product: nothing is sorted again.

        Args:
            pointers: row ``t`` owns the edges ``pointers[t]`` to ``pointers[t + 1]``, ``[targets + 1]``.
            source: ascending within a row, ``[edges]``; of the type of ``pointers``.
            weight: ``[edges]``
            shape: number of targets and of sources.
            symmetric: promises that the matrix equals its transpose, which is then never made.
        """
        return cls(Structure(pointers, source, shape, source.numel()), weight, base=weight, symmetric=symmetric)

    @classmethod
    def _weighted(cls, structure: Structure, weight: Tensor | None, symmetric: bool = False) -> SparseGraph:
        if weight is None:
            return cls(structure, torch.ones(structure.n_edges, device=structure.device), symmetric=symmetric)
        weight = weight.index_select(0, structure.edge_of)
        return cls(structure, weight, base=weight, symmetric=symmetric)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of targets and of sources."""
        return self.structure.shape

    @property
    def n_edges(self) -> int:
        """Number of edges, those included that were dropped but not cut out."""
        return self.structure.n_edges

    @property
    def target(self) -> Tensor:
        """Target of each edge, ascending, ``[edges]``."""
        return self.structure.target

    @property
    def source(self) -> Tensor:
        """Source of each edge, ``[edges]``."""
        return self.structure.source

    @property
    def edge_of(self) -> Tensor:
        """Position of each edge in the lists the graph was made of (its interaction), ``[edges]``."""
        return self.structure.edge_of

    @property
    def n_interactions(self) -> int:
        """Length of the lists the graph was made of, which ``edge_of`` points into."""
        return self.structure.given

    @property
    def device(self) -> torch.device:
        """Where the graph lives."""
        return self.weight.device

    def __matmul__(self, x: Tensor) -> Tensor:
        """Weighted sums over each target's sources, ``[sources, dim] -> [targets, dim]``; has gradients."""
        return spmm(self, self.weight, x)

    def align(self, values: Tensor) -> Tensor:
        """Values per edge of the whole graph, for the edges of this view: ``[whole edges, ...] -> [edges, ...]``."""
        position = self.structure.position
        return values if position is None else values.index_select(0, position)

    def reweighted(self, weight: Tensor, *, symmetric: bool = False) -> SparseGraph:
        """The same edges with other weights; ``symmetric`` promises equal weights in both directions.

        Dropped edges stay dropped.
        """
        if weight.shape != (self.n_edges,):
            raise ValueError(f"{self.n_edges} edges need as many weights, not {tuple(weight.shape)}")
        weight = self._masked(weight)
        symmetric = symmetric and self.structure.mirror is not None
        return replace(self, weight=weight, base=weight, how=None, symmetric=symmetric)

    def scaled(self, factor: float) -> SparseGraph:
        """The same graph with every weight multiplied by ``factor``."""
        return replace(self, weight=self.weight * factor)

    def normalised(self, how: How = "sym") -> SparseGraph:
        """Weights divided by degrees, counted from the weights before any normalisation.

        ``sym``: by the square roots of both ends' degrees (Kipf and Welling, 2017); ``row``: by the target's, so that
        every row sums to one.  Nodes without edges stay without.  Normalising twice equals normalising once.
        """
        rows = self._degrees()
        if how == "row":
            weight = _positive(rows).reciprocal().index_select(0, self.structure.rows)
        elif how == "sym":
            columns = rows if self.symmetric else self._transposed_degrees()
            left, right = _positive(rows).rsqrt(), _positive(columns).rsqrt()
            weight = left.index_select(0, self.structure.rows) * right.index_select(0, self.structure.columns)
        else:
            raise ValueError(f"how must be 'sym' or 'row', not {how!r}")
        weight = self._masked(weight) if self.base is None else weight * self.base
        return replace(self, weight=weight, how=how, symmetric=self.symmetric and how == "sym")

    def renormalised(self) -> SparseGraph:
        """The normalisation this graph came with, done again for the edges that are left."""
        return self if self.how is None else self.normalised(self.how)

    def keep(self, mask: Tensor, *, symmetric: bool = False) -> SparseGraph:
        """The graph without the edges outside ``mask`` (``[edges]``); the others weigh what they did.

        Dropped edges keep their place with weight zero: the structure is shared, shapes stay fixed and nothing waits
        for the device.  ``symmetric`` promises that the mask treats both directions of every edge alike.
        """
        alive = mask if self.alive is None else mask & self.alive
        kept = _numbers(mask, self.weight.dtype)
        return replace(
            self,
            weight=self.weight * kept,
            base=None if self.base is None else self.base * kept,
            symmetric=symmetric and self.symmetric,
            alive=alive,
        )

    def compacted(self) -> SparseGraph:
        """The same view with dropped edges cut out of the structure; nothing is sorted.

        Waits for the device to count the edges, once.  Worth it for a view that serves many steps: every product then
        costs as much less as there are fewer edges.
        """
        if self.alive is None:
            return self
        structure, index = self.structure.compacted(self.alive, both_ways=self.symmetric)
        return replace(
            self,
            structure=structure,
            weight=self.weight.index_select(0, index),
            base=None if self.base is None else self.base.index_select(0, index),
            alive=None,
        )

    def select(self, targets: Tensor) -> SparseGraph:
        """The graph of some targets alone, in the given order (``[n]``, repeats allowed): shape ``[n, sources]``.

        For a step that needs the vectors of a few nodes only; :meth:`align` brings values of the whole graph's edges.
        Waits for the device to count the edges, once.
        """
        structure, index = self.structure.select(targets)
        return replace(
            self,
            structure=structure,
            weight=self.weight.index_select(0, index),
            base=None if self.base is None else self.base.index_select(0, index),
            how="row" if self.how == "row" else None,
            symmetric=False,
            alive=None if self.alive is None else self.alive.index_select(0, index),
        )

    def keep_interactions(self, mask: Tensor) -> SparseGraph:
        """The graph without the edges whose given edge is outside ``mask``: an undirected drop.

        Args:
            mask: over the lists the graph was made of, ``[interactions]``.
        """
        return self.keep(mask.index_select(0, self.edge_of), symmetric=True)

    def keep_nodes(self, mask: Tensor) -> SparseGraph:
        """The graph without all edges of the nodes outside ``mask`` (``[nodes]``); nodes keep their numbers."""
        if self.shape[0] != self.shape[1]:
            raise ValueError(f"nodes can be dropped from a square graph only, not from one of shape {self.shape}")
        edges = mask.index_select(0, self.target) & mask.index_select(0, self.structure.columns)
        return self.keep(edges, symmetric=True)

    def transpose(self) -> SparseGraph:
        """The graph with every edge turned round; a symmetric graph is its own."""
        if self.symmetric:
            return self
        known: SparseGraph | None = self.__dict__.get("_transpose")
        if known is None:
            structure, order = self.structure.transposed
            known = replace(
                self,
                structure=structure,
                weight=self.weight.index_select(0, order),
                base=None if self.base is None else self.base.index_select(0, order),
                how="sym" if self.how == "sym" else None,
                alive=None if self.alive is None else self.alive.index_select(0, order),
            )
            if not self.weight.requires_grad:
                self.__dict__["_transpose"] = known
        return known

    def to(self, device: torch.device | str) -> SparseGraph:
        """The same graph on ``device``."""
        if self.device == torch.device(device):
            return self
        return replace(
            self,
            structure=self.structure.to(device),
            weight=self.weight.to(device),
            base=None if self.base is None else self.base.to(device),
            alive=None if self.alive is None else self.alive.to(device),
        )

    def dense(self) -> Tensor:
        """The matrix ``[targets, sources]``, repeated edges added up: for looking at small graphs."""
        out = torch.zeros(self.shape, dtype=self.weight.dtype, device=self.device)
        return out.index_put((self.target, self.source), self.weight, accumulate=True)

    def _masked(self, weight: Tensor) -> Tensor:
        return weight if self.alive is None else weight * _numbers(self.alive, weight.dtype)

    def _degrees(self) -> Tensor:
        if self.base is not None:
            return row_sum(self.structure, self.base)
        return self.structure.count(self.alive).to(self.weight.dtype)

    def _transposed_degrees(self) -> Tensor:
        structure, order = self.structure.transposed
        if self.base is not None:
            return row_sum(structure, self.base.index_select(0, order))
        return structure.count(None if self.alive is None else self.alive.index_select(0, order)).to(self.weight.dtype)


def _numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    # Bytes turn into numbers five times as fast as truth values do.
    return mask.view(torch.uint8).to(dtype)


def _positive(degree: Tensor) -> Tensor:
    """Degrees, with one in place of zero: a node without edges has no weight that could be divided by it."""
    return degree.masked_fill(degree == 0, 1)
