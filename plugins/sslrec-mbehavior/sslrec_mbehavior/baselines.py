"""What any model of several behaviours must beat: a rule, and neighbours by whatever users did."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sslrec_core.builtin.baselines import ItemKNN, OfInteractions
from sslrec_core.data import Array, Queries
from sslrec_core.model import Scorer
from sslrec_core.rows import Rows
from sslrec_mbehavior.data import MultiBehaviorData

Criterion = Literal["behaviour", "latest", "frequent", "popular"]


class AnyItemKNN(ItemKNN):
    """ItemKNN in which all that users did with an item counts alike: they are neighbours by all behaviours.

    Similarities are those of Sarwar et al. (2001), of users who did anything with both items.
    """

    data: MultiBehaviorData
    folds_in: ClassVar[bool] = False

    def history(self) -> Rows:
        return super().history().union(self.data.anything)


class SeenNotBought(OfInteractions):
    """Recommend what users viewed or put into the cart and have not bought; behind it, what is popular.

    ``behaviour`` puts what was done with the last of the other behaviours (the one next to the target) first,
    ``latest`` what was met last, ``frequent`` what was met most often, ``popular`` what most users have.
    """

    class Config(OfInteractions.Config):
        order: tuple[Criterion, ...] = Field(default=("behaviour", "latest", "frequent", "popular"), min_length=1)
        """What comes first, by the first criterion, then by the second, ...; ``latest`` counts where times are
        known."""

    config: Config
    data: MultiBehaviorData
    folds_in: ClassVar[bool] = False
    popularity: Tensor
    """Users of each item, below one: as a share of all users and one.  ``[items]``"""
    pointers: Tensor
    """Where each user's items begin among ``items``.  Long ``[users + 1]``"""
    items: Tensor
    """What each user has seen and not bought, the first to recommend last.  Long ``[pairs]``"""

    def fit(self, history: Rows) -> None:
        counts = torch.bincount(history.columns, minlength=history.n_columns).double()
        self.remember("popularity", (counts / (len(history) + 1)).float())
        keys, criteria = self._seen(counts.cpu().numpy())
        fresh = ~np.isin(keys, history.keys.cpu().numpy())
        users, items = np.divmod(keys[fresh], history.n_columns)
        order = np.lexsort(
            (*(criteria[name][fresh] for name in reversed(self.config.order) if name in criteria), users)
        )
        per_user = np.bincount(users, minlength=len(history))
        device = history.columns.device
        self.remember("pointers", torch.from_numpy(np.concatenate(([0], per_user.cumsum()))).to(device))
        self.remember("items", torch.from_numpy(items[order]).to(device))

    def _seen(self, counts: Array) -> tuple[Array, dict[str, Array]]:
        """All pairs of other behaviours, once each, and what speaks for each of them."""
        others = self.data.others
        every = np.concatenate([each.rows.keys.cpu().numpy() for each in others])
        keys, place = np.unique(every, return_inverse=True)
        sizes = [each.rows.nnz for each in others]
        strongest, frequent = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
        np.maximum.at(strongest, place, np.repeat(np.arange(len(others)), sizes))
        np.add.at(frequent, place, np.concatenate([each.counts.cpu().numpy() for each in others]))
        criteria = {"behaviour": strongest, "frequent": frequent, "popular": counts[keys % self.data.n_items]}
        times = [each.times.cpu().numpy() for each in others if each.times is not None]
        if len(times) == len(others):
            criteria["latest"] = np.full(len(keys), -np.inf)
            np.maximum.at(criteria["latest"], place, np.concatenate(times))
        return keys, criteria

    def scores_from(self, history: Rows) -> Scorer:
        device = history.columns.device
        popularity = self.popularity.to(device)
        seen = Rows(self.pointers.to(device), self.items.to(device), history.n_columns)

        def scores(queries: Queries) -> Tensor:
            found = popularity.repeat(len(queries.users), 1)
            own = seen.select(queries.users)
            # The place among a user's own items, from 1 on: above every share.
            place = torch.arange(own.nnz, device=device) - own.pointers[own.row_index] + 1
            found[own.row_index, own.columns] = place.float()
            return found

        return scores
