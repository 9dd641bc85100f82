"""Baselines that count what follows what in training sequences: no epochs, no gradients, and hard to beat.

Fitting is one stage of one epoch.  Everything is sparse arithmetic on the host, so that the result does not depend on
the device.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar, cast

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy.sparse import coo_array, csr_array, diags_array
from torch import Tensor

from sslrec_core.builtin.baselines import SMALLEST, ClosedForm, ItemKNN
from sslrec_core.config import Share
from sslrec_core.data import Array
from sslrec_core.model import Scorer
from sslrec_seq.data import SeqData, SeqQueries
from sslrec_seq.histories import Histories


class ItemToItem(ClosedForm):
    """A sparse matrix says what an item of a history speaks for; scores add up what the latest items say.

    Implement :meth:`matrix`, :meth:`weights`, and :meth:`scores_of` where the product of the two is not all.
    """

    data: SeqData
    folds_in: ClassVar[bool] = True
    pointers: Tensor
    """Row pointers of the matrix, one row for each item of a history.  Long ``[items + 1]``"""
    columns: Tensor
    """Candidates.  Int ``[entries]``"""
    values: Tensor
    """``[entries]``"""
    counts: Tensor
    """How often each item was met in what was fitted to.  ``[items]``"""

    @abstractmethod
    def matrix(self, users: Array, items: Array) -> csr_array:
        """What each item (row) says for each candidate (column), from steps in order, ascending by user.

        Args:
            users: ``[steps]``
            items: ``[steps]``
        """

    @abstractmethod
    def weights(self, items: Array, ago: Array) -> Array:
        """How much ``items`` of histories count that were met ``ago`` steps before the end; 0 for not at all."""

    def scores_of(self, profiles: csr_array, matrix: csr_array) -> Array:
        """Scores of all items, from weights of the items of histories ``[queries, items]``."""
        scores: Array = (profiles @ matrix).toarray()
        return scores

    def computed(self) -> Scorer:
        after = self._scores_after()
        return lambda queries: after(cast("SeqQueries", queries).histories)

    def fold_in(self, items: Tensor, lengths: Tensor) -> Tensor:
        return self._scores_after()(Histories.latest(items, lengths, self.data.length))

    def _scores_after(self) -> Callable[[Histories], Tensor]:
        n = self.data.n_items
        matrix = csr_array(tuple(host(part) for part in (self.values, self.columns, self.pointers)), shape=(n, n))

        def scores(histories: Histories) -> Tensor:
            found = self.scores_of(self._profiles(histories), matrix)
            return torch.from_numpy(found.astype(np.float32, copy=False)).to(histories.items.device)

        return scores

    def compute(self) -> None:
        users, items = self._steps()
        found = self.matrix(users, items)
        device = self.data.sequences.items.device
        counts = np.bincount(items, minlength=self.data.n_items).astype(np.float32)
        kept = {
            "pointers": found.indptr.astype(np.int64),
            "columns": found.indices.astype(np.int32),
            "values": found.data.astype(np.float32),
            "counts": counts,
        }
        for name, value in kept.items():
            self.remember(name, torch.from_numpy(value).to(device))

    def _steps(self) -> tuple[Array, Array]:
        """Users and items of what is fitted to, in order."""
        sequences = self.data.sequences
        pointers, items = host(sequences.pointers), host(sequences.items)
        ends = host(sequences.ends)
        if self.config.fit_on == "train+valid":
            test = host(sequences.asked[1])
            ends = np.where(test >= 0, test, pointers[1:])
        users = np.repeat(np.arange(len(ends)), np.diff(pointers))
        known = np.arange(len(items)) < ends[users]
        return users[known], items[known]

    def _profiles(self, histories: Histories) -> csr_array:
        """The weight of each item in each history; repeats count each time.  ``[queries, items]``"""
        items, lengths = host(histories.items), host(histories.lengths)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        ago = lengths.cumsum()[rows] - 1 - np.arange(len(rows))
        weights = self.weights(items, ago)
        kept = weights > 0
        place = (rows[kept], items[kept])
        return csr_array(coo_array((weights[kept].astype(np.float32), place), shape=(len(lengths), self.data.n_items)))


class Markov(ItemToItem):
    """A first-order Markov chain: the chance of each item to come next, given the last one.

    ``(transitions from i to j + smoothing * popularity of j) / (transitions from i + smoothing)``, where popularity is
    the share of all steps: an item that little is known about backs off to what is popular.
    """

    class Config(ItemToItem.Config):
        smoothing: PositiveFloat = 1.0
        """Transitions to items drawn by popularity that are added to those of each item."""

    config: Config

    def matrix(self, users: Array, items: Array) -> csr_array:
        """How often each item (column) came right after each (row)."""
        return cooccurrences(users, items, self.data.n_items, window=1)

    def weights(self, items: Array, ago: Array) -> Array:
        latest: Array = (ago == 0).astype(np.float32)
        return latest

    def scores_of(self, profiles: csr_array, matrix: csr_array) -> Array:
        smoothing, counts = self.config.smoothing, host(self.counts)
        followed = profiles @ matrix.sum(1)
        chances: Array = (profiles @ matrix).toarray() + smoothing * (counts / counts.sum())
        chances /= (followed + smoothing)[:, None]
        return chances


class Recent(ItemToItem):
    """The latest items of a history are asked, the later the more they count."""

    class Config(ItemToItem.Config):
        last: PositiveInt = 5
        """So many of the latest items of a history are asked."""
        decay: Share = 0.7
        """What an item counts relative to the one after it."""

    config: Config

    def weights(self, items: Array, ago: Array) -> Array:
        faded: Array = np.where(ago < self.config.last, self.config.decay ** ago.astype(np.float32), 0)
        return faded


class RecentItemKNN(Recent):
    """ItemKNN that is asked about the latest items of a history: the similarities know no order, the question does."""

    class Config(Recent.Config, ItemKNN.Config):
        last: PositiveInt = 10
        """So many of the latest items of a history are asked."""
        decay: Share = 0.7
        """What an item counts relative to the one after it."""

    config: Config

    def matrix(self, users: Array, items: Array) -> csr_array:
        """Similarities as :class:`~sslrec_core.builtin.baselines.ItemKNN` has them."""
        pairs = np.unique(users * self.data.n_items + items)
        place = (pairs // self.data.n_items, pairs % self.data.n_items)
        met = coo_array((np.ones(len(pairs), np.float32), place), shape=(self.data.n_users, self.data.n_items))
        return ItemKNN(self.config, self.data).similarity(csr_array(met))


class SequenceNeighbours(Recent):
    """Items that came soon after the latest ones in others' sequences (sequential rules, Ludewig and Jannach 2018).

    Each two items of a sequence that are at most ``window`` steps apart count for each other.  What they add up to is
    divided by powers of the totals of both, and each item keeps its strongest candidates.
    """

    class Config(Recent.Config):
        window: PositiveInt = 50
        """How many steps apart two items may be; 1 counts transitions alone."""
        gap_power: NonNegativeFloat = 0.5
        """Items that are g steps apart count 1 / g to this power."""
        backward: Annotated[float, Field(ge=0, le=1)] = 0.25
        """What an item counts for those before it relative to those after it: 0 keeps the order, 1 ignores it."""
        row_power: NonNegativeFloat = 0.0
        """Power of an item's total, over all its candidates, that what it says is divided by."""
        column_power: NonNegativeFloat = 0.1
        """Power of a candidate's total, over all that speaks for it, that what is said for it is divided by."""
        shrink: NonNegativeFloat = 0.0
        """Added to the product of both before dividing: what rests on little counts less."""
        neighbours: PositiveInt = 100
        """Strongest candidates of each item that are kept."""
        idf: NonNegativeFloat = 1.0
        """Power of log((steps + 1) / (steps to the item + 1)) that each item of a history counts with."""
        popularity: NonNegativeFloat = 0.1
        """Added to scores, times the candidate's share of all steps: for where little else is known."""

    config: Config

    def matrix(self, users: Array, items: Array) -> csr_array:
        config, n = self.config, self.data.n_items
        counted = cooccurrences(users, items, n, config.window, config.gap_power)
        if config.backward:
            counted = csr_array(counted + config.backward * counted.T)
        own, other = (counted.sum(axis) for axis in (1, 0))
        pairs = coo_array(counted)
        size = own[pairs.row] ** config.row_power * other[pairs.col] ** config.column_power
        values = pairs.data / np.maximum(size + config.shrink, SMALLEST)
        rarity = np.log((len(items) + 1) / (np.bincount(items, minlength=n) + 1)) ** config.idf
        kept = strongest_of_rows(csr_array((values, (pairs.row, pairs.col)), shape=(n, n)), config.neighbours)
        return csr_array(diags_array(rarity) @ kept)

    def scores_of(self, profiles: csr_array, matrix: csr_array) -> Array:
        popularity = self.config.popularity * host(self.counts / self.counts.sum())
        scores: Array = (profiles @ matrix).toarray() + popularity
        return scores


def cooccurrences(users: Array, items: Array, n: int, window: int, gap_power: float = 0.0) -> csr_array:
    """How often each item (column) came at most ``window`` steps after each (row), weighted by 1 / steps^gap_power.

    Args:
        users: ``[steps]``, ascending.
        items: ``[steps]``, in order for each user.
        n: Number of items.
    """
    total = csr_array((n, n), dtype=np.float32)
    for gap in range(1, window + 1):
        same = users[gap:] == users[:-gap]
        if not same.any():
            break
        place = (items[:-gap][same], items[gap:][same])
        total = total + csr_array((np.full(len(place[0]), gap**-gap_power, np.float32), place), shape=(n, n))
    return csr_array(total)


def strongest_of_rows(matrix: csr_array, k: int) -> csr_array:
    """The ``k`` largest values of each row; of equal ones, those of the lowest columns."""
    pairs = coo_array(matrix)
    order = np.lexsort((pairs.col, -pairs.data, pairs.row))
    rows = pairs.row[order]
    starts = np.searchsorted(rows, np.arange(matrix.shape[0]))
    kept = order[np.arange(len(rows)) - starts[rows] < k]
    return csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=matrix.shape)


def host(values: Tensor) -> Array:
    """``values`` as an array on the host."""
    array: Array = values.cpu().numpy()
    return array
