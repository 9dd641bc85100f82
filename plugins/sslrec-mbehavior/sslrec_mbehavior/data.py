"""The scenario ``mbehavior``: one behaviour to recommend for, and what else users did with the same items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sslrec_core.data import Array, Interactions, OverInteractions, PairBatch, Prepared, Raw, Scenario, tensor
from sslrec_core.graph import SparseGraph
from sslrec_core.ingest.prepare import prepare_interactions
from sslrec_core.interactions import wrapped
from sslrec_core.rows import Rows
from sslrec_core.settings import TrainConfig
from sslrec_mbehavior.events import Folded, choose, fold, number, separate

Outside = Literal["behaviour", "all"]
"""What a negative must not be in: what the user did with this behaviour, or with any."""


@dataclass(frozen=True, eq=False)
class Behaviour:
    """Something users do beside the target behaviour."""

    name: str
    rows: Rows
    """Items of each user."""
    counts: Tensor
    """How often each pair of ``rows`` occurs.  ``Long[pairs]``"""
    times: Tensor | None
    """When each pair of ``rows`` occurred last; None where that is not known.  ``[pairs]``"""

    def to(self, device: torch.device | str) -> Behaviour:
        """The same behaviour on ``device``."""
        times = None if self.times is None else self.times.to(device)
        return Behaviour(self.name, self.rows.to(device), self.counts.to(device), times)


@dataclass(frozen=True)
class MultiBehaviorBatch:
    """Known pairs of every behaviour for the same users, each pair beside items the user has not met."""

    users: Tensor
    """``Long[n]``; may repeat."""
    pairs: tuple[PairBatch, ...]
    """One for each behaviour, the target last; users without the behaviour have no pair in it."""

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, eq=False)
class MultiBehaviorData(OverInteractions):
    """Interactions of the target behaviour, and the other behaviours in order.

    Everything that comes once for each behaviour is in one order: the others as the scenario has them (the most
    frequent first, unless told otherwise), then the target's training part.
    """

    interactions: Interactions
    """The target behaviour, in parts."""
    target: str
    """Its name."""
    others: tuple[Behaviour, ...]
    """The other behaviours."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all behaviours, the target last."""
        return (*(each.name for each in self.others), self.target)

    @property
    def rows(self) -> tuple[Rows, ...]:
        """Items of each user, for each behaviour."""
        return (*(each.rows for each in self.others), self.interactions.parts["train"])

    @cached_property
    def graphs(self) -> tuple[SparseGraph, ...]:
        """Users and items (users first), for each behaviour: symmetric, and normalised by the degrees in it."""
        own = [
            SparseGraph.bipartite(rows.row_index, rows.columns, self.n_users, self.n_items).normalised("sym")
            for rows in self.rows[:-1]
        ]
        return (*own, self.interactions.graph)

    @cached_property
    def counting_graphs(self) -> tuple[SparseGraph, ...]:
        """As :attr:`graphs`, every edge of weight one."""
        return tuple(graph.reweighted(torch.ones_like(graph.weight), symmetric=True) for graph in self.graphs)

    @cached_property
    def anything(self) -> Rows:
        """Items that each user did anything with."""
        return reduce(Rows.union, self.rows)

    def to(self, device: torch.device | str) -> MultiBehaviorData:
        return MultiBehaviorData(
            self.interactions.to(device), self.target, tuple(each.to(device) for each in self.others)
        )

    def batches(
        self, train: TrainConfig, generator: torch.Generator | None = None, rank: int = 0, world: int = 1
    ) -> Iterator[MultiBehaviorBatch]:
        """One epoch of the target's pairs, beside each a random pair of the same user for each other behaviour."""
        for own in self.interactions.batches(train, generator, rank, world):
            others = [self._drawn(rows, own.users, 1, train.negatives, rows, generator) for rows in self.rows[:-1]]
            yield MultiBehaviorBatch(own.users, (*others, own))

    def user_batches(
        self,
        batch_size: int,
        draws: int = 1,
        negatives: int = 1,
        *,
        outside: Outside = "behaviour",
        of_target: bool = False,
        generator: torch.Generator | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[MultiBehaviorBatch]:
        """One epoch of users, each once in random order, ``batch_size`` at a time.

        Those who did nothing, or something with every item, are left out.

        Args:
            batch_size: Users of a batch.
            draws: Random pairs, with replacement, for each user and behaviour; of fewer where the user has fewer.
            negatives: Of each pair.
            outside: What negatives are outside of.
            of_target: Leave out users without a pair of the target.
            generator, rank, world: As in :meth:`batches`.
        """
        counts = self.rows[-1].counts if of_target else self.anything.counts
        everybody = ((counts > 0) & (counts < self.n_items)).nonzero().squeeze(1)
        order = everybody[torch.randperm(len(everybody), generator=generator, device=everybody.device)]
        order = wrapped(order, -(-len(order) // world) * world)[rank::world]
        for users in torch.split(order, batch_size):
            mets = self.rows if outside == "behaviour" else (self.anything,) * len(self.rows)
            drawn = (
                self._drawn(rows, users, draws, negatives, met, generator)
                for rows, met in zip(self.rows, mets, strict=True)
            )
            yield MultiBehaviorBatch(users, tuple(drawn))

    def _drawn(
        self, rows: Rows, users: Tensor, draws: int, negatives: int, met: Rows, generator: torch.Generator | None
    ) -> PairBatch:
        """Up to ``draws`` pairs for each of ``users``; none for those without a pair or without a negative."""
        counts = rows.counts[users].clamp(max=draws) * (met.counts[users] < self.n_items)
        users = users.repeat_interleave(counts)
        positives = rows.draw_present(users, 1, generator).squeeze(1)
        return PairBatch(users, positives, met.draw_absent(users, negatives, generator))


class MultiBehavior(Scenario):
    """Recommendation for one behaviour, such as to buy, with what users did beside it.

    Tables: ``interactions`` holds the target behaviour and ``behaviours`` (``user``, ``item``, ``behaviour``, and
    ``time`` if known) the others; or ``interactions`` holds all of them, with a column ``behaviour``.  Only the target
    is split and evaluated.  Users and items that occur in other behaviours alone are kept, unless a filter
    (``k_core``, ``min_rating``), which looks at the target alone, drops them.
    """

    class Config(Scenario.Config):
        target: str | None = None
        """The behaviour to recommend for, where one table holds all behaviours; none: what the data says, or buy."""
        behaviours: tuple[str, ...] | None = None
        """The other behaviours to use, in order, from the weakest to the one next to the target; none: all, the most
        frequent first."""
        hide_held_out: bool = False
        """Take the pairs of the validation and test parts out of the other behaviours.  Published sets leave them in,
        which tells a good part of what is to be found; with this, only what others did tells it."""

    config: Config

    def process(self, raw: Raw) -> Prepared:
        """Number users and items over all behaviours, filter and split the target.

        Raises:
            DataError: there is no other behaviour, none that the config names, or the data has another target.
        """
        separated = separate(raw, self.config.target)
        places = choose(separated, self.config.behaviours)
        prepared = prepare_interactions(number(raw, separated), self.config)
        notes, counts = list(prepared.meta["notes"]), dict(prepared.meta["counts"])
        folded = fold(separated, places, prepared, notes)
        folded = self._held_out(prepared, folded, separated.target, notes)
        n_users, n_items = counts["users"], counts["items"]
        notes += _alone(prepared, folded, n_users, n_items)
        arrays = dict(prepared.arrays)
        for place, each in enumerate(folded):
            user, item = np.divmod(each.keys, n_items)
            arrays[f"behaviour.{place}.pointers"] = np.concatenate(([0], np.bincount(user, minlength=n_users).cumsum()))
            arrays[f"behaviour.{place}.columns"] = item
            arrays[f"behaviour.{place}.counts"] = each.counts
            if each.times is not None:
                arrays[f"behaviour.{place}.times"] = each.times
            counts[f"pairs of {each.name}"] = len(each.keys)
        names = [each.name for each in folded]
        meta: dict[str, Any] = {**prepared.meta, "notes": notes, "counts": counts}
        return Prepared(arrays, {**meta, "target": separated.target, "behaviours": names})

    def _held_out(self, prepared: Prepared, folded: list[Folded], target: str, notes: list[str]) -> list[Folded]:
        """What the other behaviours tell about held-out pairs: counted, and taken out if asked for."""
        n_items = prepared.meta["counts"]["items"]
        for part in ("valid", "test"):
            keys = _keys(prepared, part, n_items)
            met = [np.isin(each.keys, keys) for each in folded]
            told = np.unique(np.concatenate([each.keys[mask] for each, mask in zip(folded, met, strict=True)]))
            if not len(told):
                continue
            said = f"{len(told):,} of {len(keys):,} {part} pairs of {target} are pairs of other behaviours too"
            if self.config.hide_held_out:
                folded = [each.where(~mask) for each, mask in zip(folded, met, strict=True)]
                notes.append(f"{said} (taken out of these)")
            else:
                notes.append(f"{said} (kept; scenario.hide_held_out=true takes them out)")
        return folded

    def data(self, prepared: Prepared) -> MultiBehaviorData:
        interactions = Interactions.of(prepared)

        def behaviour(place: int, name: str) -> Behaviour:
            found = {
                key.rpartition(".")[2]: tensor(value)
                for key, value in prepared.arrays.items()
                if key.startswith(f"behaviour.{place}.")
            }
            rows = Rows(found["pointers"], found["columns"], interactions.n_items)
            return Behaviour(name, rows, found["counts"], found.get("times"))

        others = tuple(behaviour(place, name) for place, name in enumerate(prepared.meta["behaviours"]))
        return MultiBehaviorData(interactions, prepared.meta["target"], others)


def _keys(prepared: Prepared, part: str, n_items: int) -> Array:
    """``user * items + item`` of a part's pairs, ascending."""
    pointers, columns = (np.asarray(prepared.arrays[f"{part}.{name}"]) for name in ("pointers", "columns"))
    keys: Array = np.repeat(np.arange(len(pointers) - 1), np.diff(pointers)) * n_items + columns
    return keys


def _alone(prepared: Prepared, folded: list[Folded], n_users: int, n_items: int) -> list[str]:
    """Who and what occurs in other behaviours alone."""
    keys = np.concatenate([_keys(prepared, part, n_items) for part in ("train", "valid", "test")])
    notes = []
    for what, size, ids in (("users", n_users, np.floor_divide), ("items", n_items, np.remainder)):
        met, counted = np.zeros(size, bool), np.zeros(size, bool)
        counted[ids(keys, n_items)] = True
        for each in folded:
            met[ids(each.keys, n_items)] = True
        if alone := int((met & ~counted).sum()):
            notes.append(f"{alone:,} {what} occur in other behaviours alone (kept)")
    return notes
