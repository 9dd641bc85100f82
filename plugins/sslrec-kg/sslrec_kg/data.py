"""The scenario ``kg``: interactions beside a knowledge graph whose first entities are the items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor

from sslrec_core.data import Interactions, OverInteractions, Prepared, Raw, Scenario, tensor, vocabulary_from
from sslrec_core.graph import SparseGraph
from sslrec_core.ingest.prepare import prepare_interactions
from sslrec_kg.numbering import distinct, number_triples
from sslrec_kg.triples import Draw, TripleBatches, Triples, at_most


@dataclass(frozen=True, eq=False)
class KGData(OverInteractions):
    """Interactions and a knowledge graph: entities 0 to ``n_items - 1`` are the items, others follow."""

    interactions: Interactions
    triples: Triples
    """Triples as they are trained on: with inverses, where the scenario adds them."""
    n_relations: int
    """Relations, inverses included."""

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
        return KGData(self.interactions.to(device), self.triples.to(device), self.n_relations)

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

    config: Config

    def process(self, raw: Raw) -> Prepared:
        """Number users, items, entities and relations, filter, split.

        Raises:
            DataError: there is no triple, an id is out of range, or no triple has anything to do with an item.
        """
        prepared = prepare_interactions(raw, self.config)
        numbered = number_triples(raw, vocabulary_from(prepared.arrays, "items"))
        columns = numbered.heads, numbered.relations, numbered.tails
        n_relations = numbered.n_relations
        if self.config.inverse:
            heads, relations, tails = columns
            inverses = tails, relations + n_relations, heads
            n_relations *= 2
            both = [np.concatenate(pair) for pair in zip(columns, inverses, strict=True)]
            columns = distinct((both[0], both[1], both[2]), numbered.n_entities, n_relations)
        notes = [*prepared.meta["notes"], *numbered.notes]
        if (limit := self.config.triples_per_head) is not None:
            generator = torch.Generator().manual_seed(self.config.seed)
            mask = at_most(torch.from_numpy(columns[0]), limit, generator).numpy()
            notes.append(f"{int((~mask).sum()):,} of {len(mask):,} triples dropped to keep {limit} for each head")
            columns = columns[0][mask], columns[1][mask], columns[2][mask]
        arrays = dict(zip(("kg.heads", "kg.relations", "kg.tails"), columns, strict=True))
        sizes = {"entities": numbered.n_entities, "relations": n_relations, "triples": len(columns[0])}
        meta: dict[str, Any] = {**prepared.meta, "notes": notes, "kg": sizes}
        meta["counts"] = {**prepared.meta["counts"], **sizes}
        return Prepared({**prepared.arrays, **arrays}, meta)

    def data(self, prepared: Prepared) -> KGData:
        heads, relations, tails = (tensor(prepared.arrays[f"kg.{name}"]) for name in ("heads", "relations", "tails"))
        sizes = prepared.meta["kg"]
        triples = Triples(heads, relations, tails, sizes["entities"])
        return KGData(Interactions.of(prepared), triples, sizes["relations"])
