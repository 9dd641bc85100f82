"""Batches of triples, each with a tail that is not known, drawn on the device without a loop."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from sslrec_core.rows import Rows, below, pointers_of

Draw: TypeAlias = Literal["heads", "triples"]


class TripleBatch(NamedTuple):
    """Ids of known triples and, for each, of an entity that is no tail of its head and relation; ``Long[triples]``."""

    heads: Tensor
    relations: Tensor
    tails: Tensor
    corrupted: Tensor


@dataclass(frozen=True, eq=False)
class Triples:
    """Known triples, sorted by head, relation and tail, none twice; ``Long[triples]`` each."""

    heads: Tensor
    relations: Tensor
    tails: Tensor
    n_entities: int

    @classmethod
    def of(cls, heads: Tensor, relations: Tensor, tails: Tensor, n_entities: int) -> Triples:
        """Distinct triples given in any order, ``Long[triples]`` each."""
        order = tails.argsort()
        for column in (relations, heads):
            order = order[column[order].argsort(stable=True)]
        return cls(heads[order], relations[order], tails[order], n_entities)

    def to(self, device: torch.device | str) -> Triples:
        """The same triples on ``device``."""
        return Triples(self.heads.to(device), self.relations.to(device), self.tails.to(device), self.n_entities)

    @cached_property
    def group(self) -> Tensor:
        """0, 1, ... for each head with each of its relations.  ``Long[triples]``"""
        new = (self.heads[1:] != self.heads[:-1]) | (self.relations[1:] != self.relations[:-1])
        return torch.cat([self.heads.new_zeros(1), new.long().cumsum(0)])

    @cached_property
    def known(self) -> Rows:
        """The tails of each group."""
        return Rows(pointers_of(torch.bincount(self.group)), self.tails, self.n_entities)

    @cached_property
    def usable(self) -> Tensor:
        """Indices of triples whose head and relation do not have every entity as tail."""
        return (self.known.counts[self.group] < self.n_entities).nonzero().flatten()

    @cached_property
    def of_heads(self) -> tuple[Tensor, Tensor]:
        """Where the usable triples of each head begin, and how many they are; ``Long[heads that have any]``."""
        _, counts = torch.unique_consecutive(self.heads[self.usable], return_counts=True)
        return pointers_of(counts)[:-1], counts

    def batch(self, index: Tensor, generator: torch.Generator | None = None) -> TripleBatch:
        """The triples at ``index``, each with an entity drawn evenly from those that are not known tails."""
        corrupted = self.known.draw_absent(self.group[index], 1, generator).squeeze(1)
        return TripleBatch(self.heads[index], self.relations[index], self.tails[index], corrupted)


class TripleSpace(NamedTuple):
    """Where a model puts entities for one relation, and where that relation carries a head: to its tails."""

    points: Tensor
    """``[entities, dim]``"""
    move: Tensor
    """``[dim]``"""


class Translating:
    """What a model can do that learns from triples: say how far a head is from a tail.

    Stability: stable for implementers from API 1.
    """

    @abstractmethod
    def triple_space(self, relation: int) -> TripleSpace:
        """The space of one relation; the nearer ``points[head] + move`` to ``points[tail]``, the likelier the triple.

        Raises:
            ConfigError: under its configuration the model learns nothing from triples.
        """


@dataclass(frozen=True)
class TripleBatches:
    """One epoch of triple batches in random order.

    ``draw = "heads"`` visits every head once, with one of its triples; ``"triples"`` visits every triple once.
    Each of ``world`` processes takes its share, all equally many.
    """

    triples: Triples
    batch_size: int
    draw: Draw = "heads"
    generator: torch.Generator | None = None
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return -(-self._share // self.batch_size)

    def __iter__(self) -> Iterator[TripleBatch]:
        order = torch.randperm(self._total, generator=self.generator, device=self.triples.heads.device)
        order = order[self.rank : self._share * self.world : self.world]
        for start in range(0, self._share, self.batch_size):
            part = order[start : start + self.batch_size]
            yield self.triples.batch(self._choose(part), self.generator)

    @property
    def _total(self) -> int:
        return len(self.triples.of_heads[0] if self.draw == "heads" else self.triples.usable)

    @property
    def _share(self) -> int:
        return self._total // self.world

    def _choose(self, part: Tensor) -> Tensor:
        """Indices of the triples that stand for ``part`` of the order."""
        if self.draw == "heads":
            start, count = self.triples.of_heads
            part = start[part] + below(count[part], self.generator)
        return self.triples.usable[part]


def at_most(target: Tensor, limit: int, generator: torch.Generator | None = None) -> Tensor:
    """Mask that keeps ``limit`` random edges of each target, or all where there are fewer.  ``Bool[edges]``

    Args:
        target: ``Long[edges]``, ascending.
        limit: Largest number of edges per target.
        generator: Source of chance on the device of ``target``.
    """
    shuffled = torch.randperm(len(target), generator=generator, device=target.device)
    order = shuffled[target[shuffled].argsort(stable=True)]
    # Edges of one target stand together in both orders, at the same places.
    _, run, counts = torch.unique_consecutive(target, return_inverse=True, return_counts=True)
    place = torch.arange(len(target), device=target.device) - pointers_of(counts)[run]
    return torch.empty_like(target, dtype=torch.bool).index_copy_(0, order, place < limit)
