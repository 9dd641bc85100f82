"""The scenario ``seq``: what users met, in order, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor

from sslrec_core.data import Interactions, OverInteractions, Prepared, Queries, Raw, Scenario, tensor
from sslrec_core.errors import ConfigError, DataError
from sslrec_core.interactions import epoch_order
from sslrec_core.rows import Rows, stretches
from sslrec_seq.histories import Histories
from sslrec_seq.sequences import SequenceConfig, prepare_sequences

if TYPE_CHECKING:
    from sslrec_core.settings import TrainConfig

Targets: TypeAlias = Literal["all", "prefix", "last"]
"""What one training row asks for: at every place the item that follows (``all``, one row for each user); the one
item after a beginning of the sequence (``prefix``, one row for each such beginning); the user's last training item
(``last``)."""


@dataclass(frozen=True, eq=False)
class SeqBatch:
    """Histories, and the items that come next."""

    users: Tensor
    """``Long[rows]``"""
    histories: Histories
    """One for each row."""
    targets: Tensor
    """The items to predict.  ``Long[predictions]``"""
    at: Tensor
    """The slot of ``histories`` whose vector predicts each target.  ``Long[predictions]``"""
    stops: Tensor
    """Where each row's last target is, as a place in :attr:`Sequences.items`.  ``Long[rows]``"""

    def __len__(self) -> int:
        return len(self.users)

    @property
    def owners(self) -> Tensor:
        """The user of each prediction.  ``Long[predictions]``"""
        return self.users[self.histories.rows[self.at]]


@dataclass(frozen=True)
class SeqQueries(Queries):
    """Users to rank items for, with what they have met so far."""

    histories: Histories
    """One for each query, as long as a model may see."""


@dataclass(frozen=True, eq=False)
class Sequences:
    """Each user's items in order: training, then validation, then test, each of which may be missing."""

    pointers: Tensor
    """``Long[users + 1]``"""
    items: Tensor
    """``Long[steps]``"""
    ends: Tensor
    """Where each user's training ends, as a place in ``items``.  ``Long[users]``"""
    asked: Tensor
    """Place in ``items`` of the first item of each user's validation (row 0) and test part (row 1); -1 for none.
    ``Long[2, users]``"""

    @classmethod
    def of(cls, pointers: Tensor, items: Tensor, parts: Tensor) -> Sequences:
        """Sequences with part codes ``parts``, ascending within each user."""
        rows = torch.arange(len(pointers) - 1).repeat_interleave(pointers.diff())
        counts = torch.stack([torch.bincount(rows[parts == code], minlength=len(pointers) - 1) for code in range(3)])
        starts = pointers[:-1] + torch.stack([counts[0], counts[0] + counts[1]])
        return cls(pointers, items, starts[0], torch.where(counts[1:] > 0, starts, -1))

    def to(self, device: torch.device | str) -> Sequences:
        """The same sequences on ``device``."""
        moved = (value.to(device) for value in (self.pointers, self.items, self.ends, self.asked))
        return Sequences(*moved)

    def before(self, users: Tensor, stops: Tensor, longest: int, sizes: tuple[int, int] | None = None) -> Histories:
        """The ``longest`` items of each user before the place ``stops``.

        Args:
            sizes: how many items that is in all, and in the longest row, where the host knows; else it waits for them.
        """
        starts = torch.maximum(self.pointers[users], stops - longest)
        lengths = stops - starts
        if sizes is None:
            both = torch.stack([lengths.sum(), lengths.max()]) if len(lengths) else lengths.new_zeros(2)
            total, most = both.tolist()
        else:
            total, most = sizes
        return Histories(self.items[stretches(starts, lengths, total)], lengths, most)

    def before_unread(self, users: Tensor, stops: Tensor, longest: int) -> Histories:
        """The same as :meth:`before`, for stops that were drawn in a step: nobody waits to learn the sizes."""
        starts = torch.maximum(self.pointers[users], stops - longest)
        places = starts[:, None] + torch.arange(longest, device=starts.device)
        return Histories.of_grid(self.items[places.clamp(max=len(self.items) - 1)], stops - starts)


@dataclass(frozen=True, eq=False)
class SeqData(OverInteractions):
    """What users met in order.  Items are 0 to ``n_items - 1``; ``masked`` stands for an item that is hidden."""

    interactions: Interactions
    """The same without order: the distinct items of each part."""
    sequences: Sequences
    length: int
    """A model sees at most so many items of a history."""
    attributes: Rows | None = None
    """Attributes of each item, where the dataset has some."""
    hide_met: bool = True
    """Whether what a user has met is hidden when items are ranked."""

    @property
    def masked(self) -> int:
        """The number that stands for a hidden item in histories."""
        return self.n_items

    @cached_property
    def item_counts(self) -> Tensor:
        """How often each item was met in training, repeats included.  ``Long[items]``"""
        items, counts = self.sequences.items, self.sequences.pointers.diff()
        ends = self.sequences.ends.repeat_interleave(counts, output_size=len(items))
        in_training = torch.arange(len(items), device=items.device) < ends
        return counts.new_zeros(self.n_items).index_add(0, items, in_training.to(counts.dtype))

    @cached_property
    def training(self) -> Histories:
        """Every user's whole training sequence, users without one left out; however long.  The host waits for it."""
        sequences = self.sequences
        users = (sequences.ends > sequences.pointers[:-1]).nonzero().squeeze(1)
        return sequences.before(users, sequences.ends[users], len(sequences.items))

    @cached_property
    def steps(self) -> tuple[Tensor, Tensor]:
        """Users and places of all items that training can ask for: those with one before them.  ``Long[steps]`` each"""
        pointers, ends = self.sequences.pointers[:-1], self.sequences.ends
        counts = (ends - pointers - 1).clamp(min=0)
        users = torch.arange(self.n_users, device=ends.device).repeat_interleave(counts)
        return users, stretches(pointers + 1, counts, len(users))

    def to(self, device: torch.device | str) -> SeqData:
        attributes = None if self.attributes is None else self.attributes.to(device)
        return replace(
            self, interactions=self.interactions.to(device), sequences=self.sequences.to(device), attributes=attributes
        )

    def batches(
        self,
        train: TrainConfig,
        generator: torch.Generator | None = None,
        rank: int = 0,
        world: int = 1,
        *,
        targets: Targets = "prefix",
    ) -> Iterator[SeqBatch]:
        """One epoch of rows in random order, drawn on the device; see :data:`Targets`.

        Prefixes are never written out: a row is a user and a place.  The host waits once for an epoch, to learn how
        many items each batch holds.

        Raises:
            ConfigError: leaving out the last batch leaves nothing, or ``train.negatives`` is set.
            DataError: there is nothing to learn from.
        """
        if train.negatives != 1:
            raise ConfigError(
                f"train.negatives = {train.negatives}, and batches of sequences bring no negatives",
                fix="--set model.loss.negatives=… where the loss draws some, and --set train.negatives=1",
            )
        users, stops = self.asked_in_training(targets)
        if not len(users):
            raise DataError(
                "no user has two training items: nothing follows anything, so there is nothing to learn",
                fix="check the user column and the split; baselines such as popularity need no order",
            )
        size = train.batch_size
        order = epoch_order(len(users), train, generator, users.device, rank, world)
        users, stops = users[order], stops[order]
        lengths = torch.minimum(stops - self.sequences.pointers[users], torch.full_like(stops, self.length))
        chunks = torch.split(lengths, size)
        sizes = torch.stack([torch.stack([chunk.sum(), chunk.max()]) for chunk in chunks]).tolist()
        for chunk, (total, most) in enumerate(sizes):
            mine = slice(chunk * size, (chunk + 1) * size)
            yield self.batch(users[mine], stops[mine], targets, (total, most))

    def asked_in_training(self, targets: Targets) -> tuple[Tensor, Tensor]:
        """Users of the training rows, and the place that each row's last target has.  ``Long[rows]`` each"""
        if targets == "prefix":
            return self.steps
        users = (self.sequences.ends - self.sequences.pointers[:-1] >= 2).nonzero().squeeze(1)
        return users, self.sequences.ends[users] - 1

    def batch(self, users: Tensor, stops: Tensor, targets: Targets, sizes: tuple[int, int] | None = None) -> SeqBatch:
        """Rows that end before the places ``stops``, where their last targets are."""
        histories = self.sequences.before(users, stops, self.length, sizes)
        if targets != "all":
            return SeqBatch(users, histories, self.sequences.items[stops], histories.last, stops)
        slots = torch.arange(len(histories.items), device=users.device)
        follows = stops[histories.rows] - histories.lengths[histories.rows] + histories.places + 1
        return SeqBatch(users, histories, self.sequences.items[follows], slots, stops)

    def queries(
        self, split: str, size: int, hide: str = "train+valid", users: Tensor | None = None
    ) -> Iterator[SeqQueries]:
        """Users with an item to find in ``split`` and a history before it, or the given ``users``.

        The history is all that was met before the item, hidden or not.  A user with nothing to find is asked about with
        the whole sequence as history.  With ``hide_met`` the items of the parts that ``hide`` names are hidden, and an
        item to find that is among them cannot be found: were it shown alone, having been met would give it away.

        Raises:
            DataError: a user that was asked for has no history.
        """
        sequences, n = self.sequences, self.n_items
        place = sequences.asked[0 if split == "valid" else 1]
        stops = torch.where(place >= 0, place, sequences.pointers[1:])
        known = stops > sequences.pointers[:-1]
        if users is None:
            users = ((place >= 0) & known).nonzero().squeeze(1)
        elif not bool(known[users].all()):
            first = int(users[~known[users]][0])
            raise DataError(f"user '{self.users.raw(torch.tensor([first]).numpy())[0]}' has no history to go by")
        hidden = [name for name in hide.split("+") if name != split] if self.hide_met else []
        seen = self.interactions.together(*hidden) if hidden else Rows.empty(self.n_users, n, users.device)
        for start in range(0, len(users), size):
            some = users[start : start + size]
            histories = sequences.before(some, stops[some], self.length)
            asks = place[some] >= 0
            rows = torch.arange(len(some), device=some.device)
            truth = Rows.of(rows[asks], sequences.items[place[some][asks]], len(some), n)
            yield SeqQueries(some, seen.select(some), truth, histories)


class Seq(Scenario):
    """Sequential recommendation: what a user meets next, from what the user met so far, in order."""

    Config = SequenceConfig
    config: SequenceConfig
    ranking = frozenset({"hide_met"})

    def process(self, raw: Raw) -> Prepared:
        """Number, order, filter and split; tables other than ``interactions`` and ``attributes`` are not looked at.

        Raises:
            DataError: as :func:`sslrec_seq.sequences.prepare_sequences`.
        """
        return prepare_sequences(raw, self.config)

    def data(self, prepared: Prepared) -> SeqData:
        arrays = prepared.arrays
        pointers, items, parts = (tensor(arrays[f"sequence.{name}"]) for name in ("pointers", "items", "parts"))
        interactions = Interactions.of(prepared)
        attributes = None
        if "attributes" in prepared.meta:
            owned, columns = (tensor(arrays[f"attributes.{name}"]) for name in ("pointers", "columns"))
            attributes = Rows(owned, columns, prepared.meta["attributes"])
        sequences = Sequences.of(pointers, items, parts)
        return SeqData(interactions, sequences, self.config.max_length, attributes, self.config.hide_met)
