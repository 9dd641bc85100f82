"""Who interacted with what: parts, batches with exact negatives, queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslrec_core.errors import ConfigError
from sslrec_core.rows import Rows
from sslrec_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    from sslrec_core.data import Prepared
    from sslrec_core.graph import SparseGraph
    from sslrec_core.settings import TrainConfig

Array: TypeAlias = NDArray[Any]
PARTS = ("train", "valid", "test")
"""Names of the parts; their places are the codes in a ``part`` column."""
DRAW_AT_ONCE = 2**22
"""Negatives that are drawn in one go, at most."""


@dataclass(frozen=True)
class PairBatch:
    """Known interactions, each beside items the user has not met."""

    users: Tensor
    """``Long[pairs]``"""
    positives: Tensor
    """``Long[pairs]``"""
    negatives: Tensor
    """``Long[pairs, negatives]``"""

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Queries:
    """Users to rank items for, what to hide from them and what they should find."""

    users: Tensor
    """``Long[queries]``"""
    seen: Rows
    """Per query: items that may not be recommended."""
    truth: Rows
    """Per query: items to find."""

    def __len__(self) -> int:
        return len(self.users)


class Interactions:
    """Who interacted with what, in the parts train, valid and test: tensors on one device.

    ``parts`` is a plain dictionary of :class:`Rows` (users by items); every scenario's data contains one of these.

    Stability: stable for callers from API 1.
    """

    def __init__(self, parts: Mapping[str, Rows], users: Vocabulary, items: Vocabulary) -> None:
        train = parts["train"]
        self.users = users
        self.items = items
        self.parts = {name: parts.get(name, Rows.empty(len(users), len(items), train.columns.device)) for name in PARTS}

    @classmethod
    def of(cls, prepared: Prepared) -> Interactions:
        """The interactions in arrays made by :func:`sslrec_core.ingest.prepare.prepare_interactions`."""
        arrays = prepared.arrays
        users, items = (vocabulary_from(arrays, name) for name in ("users", "items"))
        parts = {
            name: Rows(tensor(arrays[f"{name}.pointers"]), tensor(arrays[f"{name}.columns"]), len(items))
            for name in PARTS
        }
        return cls(parts, users, items)

    @property
    def n_users(self) -> int:
        return len(self.users)

    @property
    def n_items(self) -> int:
        return len(self.items)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.parts["train"].columns.device

    @cached_property
    def graph(self) -> SparseGraph:
        """Training interactions as a symmetrically normalised graph of ``n_users + n_items`` nodes, users first.

        ``graph.edge_of`` maps each directed edge to its interaction, in the order of ``parts["train"]``.
        """
        from sslrec_core.graph import SparseGraph

        train = self.parts["train"]
        return SparseGraph.bipartite(train.row_index, train.columns, self.n_users, self.n_items).normalised("sym")

    @cached_property
    def item_counts(self) -> Tensor:
        """How often each item occurs in training.  ``Long[items]``"""
        return torch.bincount(self.parts["train"].columns, minlength=self.n_items)

    @cached_property
    def _pairs(self) -> tuple[Tensor, Tensor]:
        """Users and items of the training pairs that a negative can be drawn for."""
        train = self.parts["train"]
        drawable = (train.counts < self.n_items)[train.row_index]
        return train.row_index[drawable], train.columns[drawable]

    @cached_property
    def n_saturated(self) -> int:
        """Users who own every item: no item is a negative for them, so no batch holds their pairs."""
        return int((self.parts["train"].counts >= self.n_items).sum()) if self.n_items else 0

    def together(self, *names: str) -> Rows:
        """The union of parts, such as ``together("train", "valid")``."""
        union = self.parts[names[0]]
        for name in names[1:]:
            union = union.union(self.parts[name])
        return union

    def to(self, device: torch.device | str) -> Interactions:
        """The same interactions on ``device``."""
        return Interactions({name: rows.to(device) for name, rows in self.parts.items()}, self.users, self.items)

    def batches(
        self, train: TrainConfig, generator: torch.Generator | None = None, rank: int = 0, world: int = 1
    ) -> Iterator[PairBatch]:
        """One epoch: every training pair once in random order, with ``train.negatives`` exact uniform negatives each.

        Batches are slices of one permutation, drawn on the device without synchronisation.  ``last_batch`` decides
        about a tail shorter than ``train.batch_size``: ``partial`` gives it, ``wrap`` fills it from the start of the
        permutation, ``drop`` leaves it out.  Of ``world`` processes with equal generators each gets every
        ``world``-th pair; a few pairs are repeated so that all take the same number of steps.

        Raises:
            ConfigError: ``drop`` leaves nothing.
        """
        users, positives = self._pairs
        size = train.batch_size
        order = epoch_order(len(users), train, generator, self.device, rank, world)
        # Several batches at once where they are small: fewer, larger draws; bounded, so that memory is.
        stretch = max(1, DRAW_AT_ONCE // (size * train.negatives)) * size
        for start in range(0, len(order), stretch):
            chosen = order[start : start + stretch]
            u, p = users[chosen], positives[chosen]
            n = self.parts["train"].draw_absent(u, train.negatives, generator)
            for at in range(0, len(chosen), size):
                yield PairBatch(u[at : at + size], p[at : at + size], n[at : at + size])

    def queries(
        self, split: str, size: int, hide: str = "train+valid", users: Tensor | None = None
    ) -> Iterator[Queries]:
        """Users with something to find in ``split``, in order, or the given ``users``; at most ``size`` at a time.

        ``hide`` says which parts' items are not to be recommended: ``train`` or ``train+valid``.  What is asked for
        is never hidden, so that on the validation part only training items are.
        """
        truth = self.parts[split]
        seen = self.together(*(name for name in hide.split("+") if name != split))
        asking = truth.counts.nonzero().squeeze(1) if users is None else users
        for start in range(0, len(asking), size):
            some = asking[start : start + size]
            yield Queries(some, seen.select(some), truth.select(some))


def epoch_order(
    n: int,
    train: TrainConfig,
    generator: torch.Generator | None,
    device: torch.device,
    rank: int = 0,
    world: int = 1,
) -> Tensor:
    """The order in which one process meets ``n`` examples in an epoch, cut or filled up as ``train.last_batch`` says.

    Raises:
        ConfigError: ``drop`` leaves nothing, because there are fewer examples than one batch has.
    """
    order = torch.randperm(n, generator=generator, device=device)
    order = wrapped(order, -(-n // world) * world)[rank::world]
    size = train.batch_size
    if train.last_batch == "wrap":
        order = wrapped(order, -(-len(order) // size) * size)
    elif train.last_batch == "drop":
        if n and len(order) < size:
            raise ConfigError(
                f"there is nothing to train on: {len(order):,} examples do not fill a batch of {size:,}",
                "train.last_batch=drop leaves out what does not fill one",
                fix="--set train.last_batch=partial, or a smaller --set train.batch_size",
            )
        order = order[: len(order) // size * size]
    return order


def wrapped(order: Tensor, length: int) -> Tensor:
    """``order`` continued from its own start up to ``length``."""
    if length == len(order):
        return order
    return order.repeat(-(-length // len(order)))[:length]


def tensor(array: Array) -> Tensor:
    """A tensor over ``array``, sharing its memory where that may be written (copy-on-write maps may)."""
    array = np.asarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def vocabulary_from(arrays: Mapping[str, Array], name: str) -> Vocabulary:
    """The vocabulary kept in ``arrays`` under ``<name>.*``."""
    prefix = f"{name}."
    return Vocabulary.from_arrays(
        {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    )
