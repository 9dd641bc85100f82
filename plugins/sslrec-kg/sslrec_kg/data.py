"""The scenario ``kg``: interactions beside a knowledge graph whose first entities are the items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor

from sslrec_core.config import Rate
from sslrec_core.data import Array, Interactions, OverInteractions, Prepared, Raw, Scenario, tensor, vocabulary_from
from sslrec_core.errors import DataError
from sslrec_core.graph import SparseGraph
from sslrec_core.ingest.prepare import prepare_interactions
from sslrec_kg.numbering import Numbered, Triple, distinct, number_triples
from sslrec_kg.triples import Draw, TripleBatches, Triples, at_most

TRAINED, HELD_OUT = (
    tuple(f"{kind}.{column}" for column in ("heads", "relations", "tails")) for kind in ("kg", "kg.out")
)
"""Names of the arrays of triples."""


class Paths(NamedTuple):
    """One hop along triples in two steps: tails meet relations once per pair that occurs, then heads gather pairs.

    Most tails occur many times with the same relation, so there are far fewer pairs than triples.
    """

    tails: SparseGraph
    """Pairs by entities: the one tail of each pair."""
    relations: SparseGraph
    """Pairs by relations: the one relation of each pair."""
    heads: SparseGraph
    """Entities by pairs: every triple, weighted so that each head gathers a mean."""


class Collaborative(NamedTuple):
    """The collaborative knowledge graph: entities first, items first among them, then users."""

    triples: Triples
    graph: SparseGraph
    """Nodes by nodes: an edge into each head from each of its tails, all of weight 1."""
    relation: Tensor
    """Relation of each edge of ``graph``.  ``Long[edges]``"""


@dataclass(frozen=True, eq=False)
class KGData(OverInteractions):
    """Interactions and a knowledge graph: entities 0 to ``n_items - 1`` are the items, others follow."""

    interactions: Interactions
    triples: Triples
    """Triples as they are trained on: with inverses, where the scenario adds them."""
    n_relations: int
    """Relations, inverses included."""
    held_out: Triples | None = None
    """Triples that were taken out of :attr:`triples` to be predicted, both directions; none without ``kg_holdout``."""

    @property
    def n_entities(self) -> int:
        """Entities, items included."""
        return self.triples.n_entities

    @cached_property
    def kg(self) -> SparseGraph:
        """Entities by entities: an edge into each head from each of its tails, all of weight 1."""
        size = self.n_entities
        return SparseGraph.of(self.triples.heads, self.triples.tails, shape=(size, size))

    @cached_property
    def relation(self) -> Tensor:
        """Relation of each edge of :attr:`kg`; ``view.align(data.relation)`` are those of a view.  ``Long[edges]``"""
        return self.triples.relations[self.kg.edge_of]

    @cached_property
    def paths(self) -> Paths:
        """Triples as pairs of a relation and a tail, and what heads gather from them."""
        keys, pair = torch.unique(self.triples.tails * self.n_relations + self.triples.relations, return_inverse=True)
        n, one = len(keys), torch.arange(len(keys), device=keys.device)
        tail = torch.div(keys, self.n_relations, rounding_mode="floor")
        return Paths(
            SparseGraph.of(one, tail, shape=(n, self.n_entities)),
            SparseGraph.of(one, keys % self.n_relations, shape=(n, self.n_relations)),
            SparseGraph.of(self.triples.heads, pair, shape=(self.n_entities, n)).normalised("row"),
        )

    @cached_property
    def interest(self) -> SparseGraph:
        """Users by entities: training interactions, weighted so that each user gathers the mean of the items."""
        train = self.interactions.parts["train"]
        return SparseGraph.of(train.row_index, train.columns, shape=(self.n_users, self.n_entities)).normalised("row")

    @cached_property
    def collaborative(self) -> Collaborative:
        """Triples, and interactions as triples in both directions, whose relations are the last two: to items, back."""
        known, train = self.triples, self.interactions.parts["train"]
        users, items = self.n_entities + train.row_index, train.columns
        to_item, to_user = (torch.full_like(items, self.n_relations + way) for way in range(2))
        nodes = self.n_entities + self.n_users
        triples = Triples.of(
            torch.cat([known.heads, users, items]),
            torch.cat([known.relations, to_item, to_user]),
            torch.cat([known.tails, items, users]),
            nodes,
        )
        graph = SparseGraph.of(triples.heads, triples.tails, shape=(nodes, nodes))
        return Collaborative(triples, graph, triples.relations[graph.edge_of])

    @cached_property
    def item_kg(self) -> SparseGraph:
        """Items by entities: the edges of :attr:`kg` into items."""
        known = self._of_items
        heads, tails = self.triples.heads[known], self.triples.tails[known]
        return SparseGraph.of(heads, tails, shape=(self.n_items, self.n_entities))

    @cached_property
    def item_relation(self) -> Tensor:
        """Relation of each edge of :attr:`item_kg`.  ``Long[edges]``"""
        return self.triples.relations[self._of_items][self.item_kg.edge_of]

    @cached_property
    def _of_items(self) -> Tensor:
        return self.triples.heads < self.n_items

    def to(self, device: torch.device | str) -> KGData:
        held_out = None if self.held_out is None else self.held_out.to(device)
        return KGData(self.interactions.to(device), self.triples.to(device), self.n_relations, held_out)

    def triple_batches(
        self,
        batch_size: int,
        draw: Draw = "heads",
        generator: torch.Generator | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> TripleBatches:
        """One epoch of triples with corrupted tails, for phases that learn from the knowledge graph alone."""
        return TripleBatches(self.triples, batch_size, draw, generator, rank, world)


class KG(Scenario):
    """Recommendation with a knowledge graph about the items.

    Tables: ``interactions`` and ``triples``; ``links`` (``item``, ``entity``) where items and entities have ids of
    their own, otherwise an item is the entity of the same id.
    """

    class Config(Scenario.Config):
        inverse: bool = True
        """Add each triple in the other direction, with relations of its own: tail, relation + number of relations,
        head."""
        triples_per_head: PositiveInt | None = None
        """Keep at most this many random triples of each head, inverses included, once and for all by ``seed``; none
        for all.  A model may draw again for each epoch, which sees more."""
        kg_holdout: Rate = 0.0
        """Share of triples to take out of the graph, with their inverses, for the evaluator ``link-prediction`` to ask
        for; by ``seed``.  Models then learn from fewer triples."""

    config: Config

    def process(self, raw: Raw) -> Prepared:
        """Number users, items, entities and relations, filter, split.

        Raises:
            DataError: there is no triple, an id is out of range, no triple has anything to do with an item, or
                ``kg_holdout`` leaves no triple on one side.
        """
        prepared = prepare_interactions(raw, self.config)
        numbered = number_triples(raw, vocabulary_from(prepared.arrays, "items"))
        notes = [*prepared.meta["notes"], *numbered.notes]
        columns = numbered.heads, numbered.relations, numbered.tails
        generator = torch.Generator().manual_seed(self.config.seed)
        kept = np.ones(len(columns[0]), bool)
        if self.config.kg_holdout:
            kept = (torch.rand(len(kept), generator=generator) >= self.config.kg_holdout).numpy()
            notes.append(f"{int((~kept).sum()):,} of {len(kept):,} triples held out for link prediction")
            if kept.all() or not kept.any():
                raise DataError(
                    f"a share of {self.config.kg_holdout:g} divides {len(kept):,} triples badly: one side is empty",
                    fix="another --set scenario.kg_holdout=..., or 0",
                )
        known = self._directed(numbered, kept)
        if (limit := self.config.triples_per_head) is not None:
            mask = at_most(torch.from_numpy(known[0]), limit, generator).numpy()
            notes.append(f"{int((~mask).sum()):,} of {len(mask):,} triples dropped to keep {limit} for each head")
            known = known[0][mask], known[1][mask], known[2][mask]
        arrays = dict(zip(TRAINED, known, strict=True))
        n_relations = numbered.n_relations * (2 if self.config.inverse else 1)
        sizes = {"entities": numbered.n_entities, "relations": n_relations, "triples": len(known[0])}
        if self.config.kg_holdout:
            held_out = self._directed(numbered, ~kept)
            arrays |= dict(zip(HELD_OUT, held_out, strict=True))
            sizes["held-out triples"] = len(held_out[0])
        meta: dict[str, Any] = {**prepared.meta, "notes": notes, "kg": sizes}
        meta["counts"] = {**prepared.meta["counts"], **sizes}
        return Prepared({**prepared.arrays, **arrays}, meta)

    def _directed(self, numbered: Numbered, mask: Array) -> Triple:
        """The triples in ``mask``, sorted, and their inverses if they are wanted."""
        heads, relations, tails = (column[mask] for column in (numbered.heads, numbered.relations, numbered.tails))
        if not self.config.inverse:
            return heads, relations, tails
        n = numbered.n_relations
        both = (heads, tails), (relations, relations + n), (tails, heads)
        columns = [np.concatenate(pair) for pair in both]
        return distinct((columns[0], columns[1], columns[2]), numbered.n_entities, 2 * n)

    def data(self, prepared: Prepared) -> KGData:
        sizes = prepared.meta["kg"]

        def triples(names: tuple[str, ...]) -> Triples:
            heads, relations, tails = (tensor(prepared.arrays[name]) for name in names)
            return Triples(heads, relations, tails, sizes["entities"])

        held_out = triples(HELD_OUT) if HELD_OUT[0] in prepared.arrays else None
        return KGData(Interactions.of(prepared), triples(TRAINED), sizes["relations"], held_out)
