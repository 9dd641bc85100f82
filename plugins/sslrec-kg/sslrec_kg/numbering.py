"""From the raw ids of triples to numbers, items first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from sslrec_core.data import Array, Coded, Column, Raw
from sslrec_core.errors import DataError
from sslrec_core.ingest.ids import extend, factorise, lookup
from sslrec_core.vocabulary import Vocabulary

Triple: TypeAlias = tuple[Array, Array, Array]
"""Heads, relations and tails, ``[triples]`` each."""
LARGEST = 2**63 - 1
ROOM = 16
"""Ids may be this many times as far apart as a numbering without gaps would be."""


@dataclass(frozen=True)
class Numbered:
    """Triples in numbers: entities 0 to ``n_items - 1`` are the items, none of them twice, sorted."""

    heads: Array
    relations: Array
    tails: Array
    n_entities: int
    n_relations: int
    notes: list[str]
    """Choices that were made, with their counts."""


def number_triples(raw: Raw, items: Vocabulary) -> Numbered:
    """Number the entities and relations of ``raw.tables["triples"]`` so that the entities of items come first.

    Raises:
        DataError: there is no triple, an id is negative where ids are numbers, or no triple mentions an item.
    """
    table = raw.tables.get("triples")
    if table is None or not len(table["head"]):
        raise DataError(
            "there is no knowledge graph" if table is None else "the knowledge graph is empty",
            f"tables that were read: {', '.join(raw.tables)}",
            fix="put triples beside the interactions (kg_final.txt or a .kg file), or use a model of another scenario",
        )
    links = raw.tables.get("links")
    if links is not None:
        heads, tails, n_entities, notes = _linked(table, links, items)
    elif raw.identity_ids and len(items) > 0 and items == Vocabulary.identity(len(items)):
        heads, tails = (_numbers(table[name], name) for name in ("head", "tail"))
        n_entities = max(len(items), _range([heads, tails], raw, "entity"))
        notes = []
    else:
        others, (heads, tails) = extend(items, [table["head"], table["tail"]])
        n_entities, notes = len(items) + len(others), []
    if raw.identity_ids:
        relations = _numbers(table["relation"], "relation")
        n_relations = _range([relations], raw, "relation")
    else:
        names, (relations,) = factorise([table["relation"]])
        n_relations = len(names)
    given = len(heads)
    whole = heads.astype(np.int64), relations.astype(np.int64), tails.astype(np.int64)
    heads, relations, tails = distinct(whole, n_entities, n_relations)
    if repeated := given - len(heads):
        notes.append(f"{repeated:,} repeated triples dropped")
    notes += _coverage(heads, tails, len(items), linked=links is not None)
    return Numbered(heads, relations, tails, n_entities, n_relations, notes)


def _numbers(column: Column, name: str) -> Array:
    """A column of ids that are numbers 0, 1, ... already."""
    values = column.labels.raw(column.codes) if isinstance(column, Coded) else np.asarray(column, np.int64)
    if values.min() < 0:
        row = int(np.flatnonzero(values < 0)[0])
        raise DataError(f"triple {row + 1} has the {name} {values[row]}", "ids of triples are 0 or more")
    return values


def _range(columns: list[Array], raw: Raw, kind: str) -> int:
    """One more than the largest id, or the declared size; refuses a stray id that would ask for memory for millions."""
    size = max(raw.sizes.get(kind, 0), *(1 + int(column.max()) for column in columns))
    occur = int(_changes(np.sort(np.concatenate(columns))).sum())
    if size > max(raw.sizes.get(kind, 0), ROOM * occur + 2**16):
        raise DataError(
            f"the {kind} ids of the triples run up to {size - 1:,}, but only {occur:,} of them occur",
            fix="look for a stray number in the triples, or number what they mention 0, 1, 2, ...",
        )
    return size


def _linked(
    table: dict[str, Column], links: dict[str, Column], items: Vocabulary
) -> tuple[Array, Array, int, list[str]]:
    """Heads and tails where ``links`` says which entity an item is."""
    labels, (heads, tails, entities) = factorise([table["head"], table["tail"], links["entity"]])
    item = lookup(items, links["item"])
    occurs = np.zeros(len(labels), bool)
    occurs[heads] = occurs[tails] = True
    strangers, silent = int((item < 0).sum()), int((~occurs[entities]).sum())
    entities, item = entities[item >= 0], item[item >= 0]
    number = np.full(len(labels), -1, np.int64)
    number[entities[::-1]] = item[::-1]  # written backwards, so that the first link of an entity stays
    shared = int((number[entities] != item).sum())
    others = np.flatnonzero(occurs & (number < 0))
    number[others] = len(items) + np.arange(len(others))
    counted = {
        f"{strangers:,} links of items without interactions not used": strangers,
        f"{silent:,} links to entities that no triple mentions": silent,
        f"{shared:,} items share their entity with an earlier item, which keeps its triples": shared,
    }
    notes = [sentence for sentence, count in counted.items() if count]
    return number[heads], number[tails], len(items) + len(others), notes


def distinct(columns: Triple, n_entities: int, n_relations: int) -> Triple:
    """Triples sorted by head, relation and tail, none twice.  ``int64``"""
    heads, relations, tails = columns
    if n_entities * n_relations * n_entities <= LARGEST:
        # One number per triple: sorting numbers is an order of magnitude faster than sorting rows.
        keys = np.sort((heads * n_relations + relations) * n_entities + tails)
        pair, tails = np.divmod(keys[_changes(keys)], n_entities)
        heads, relations = np.divmod(pair, n_relations)
        return heads, relations, tails
    order = np.lexsort((tails, relations, heads))
    heads, relations, tails = heads[order], relations[order], tails[order]
    new = _changes(heads) | _changes(relations) | _changes(tails)
    return heads[new], relations[new], tails[new]


def _changes(ordered: Array) -> Array:
    """Where a value differs from the one before it; true at the start."""
    return np.concatenate(([True], ordered[1:] != ordered[:-1]))


def _coverage(heads: Array, tails: Array, n_items: int, linked: bool) -> list[str]:
    known = np.zeros(n_items, bool)
    for column in (heads, tails):
        known[column[column < n_items]] = True
    if not known.any():
        raise DataError(
            "the knowledge graph mentions no item",
            f"{len(heads):,} triples, {n_items:,} items, none in common",
            fix="check the links between items and entities" if linked else "items and entities need the same ids, or "
            "a table that links them (a .link file, or item_index2entity_id.txt)",
        )  # fmt: skip
    without = int((~known).sum())
    return [f"{without:,} of {n_items:,} items have no triple"] if without else []
