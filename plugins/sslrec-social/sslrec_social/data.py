"""The scenario ``social``: interactions beside ties between users."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sslrec_core.data import Interactions, OverInteractions, Prepared, Raw, Rows, Scenario, tensor, vocabulary_from
from sslrec_core.errors import DataError
from sslrec_core.graph import SparseGraph
from sslrec_core.ingest.prepare import prepare_interactions
from sslrec_core.rows import pointers_of
from sslrec_social.numbering import Direction, number_ties


class TieBatch(NamedTuple):
    """Users, for each a friend, and for each somebody who is neither; ``Long[ties]``."""

    users: Tensor
    friends: Tensor
    strangers: Tensor


@dataclass(frozen=True, eq=False)
class SocialData(OverInteractions):
    """Interactions, and whom each user trusts."""

    interactions: Interactions
    ties: Rows
    """The friends of each user, users by users; nobody is their own."""
    weight: Tensor | None = None
    """Weight of each tie, ``[ties]``; None where every tie weighs one."""

    @cached_property
    def trust(self) -> SparseGraph:
        """Users by users: an edge into each user from each friend, so that ``trust @ x`` sums over friends."""
        size = self.n_users
        return SparseGraph.of(self.ties.row_index, self.ties.columns, self.weight, shape=(size, size))

    @cached_property
    def _known(self) -> Rows:
        """The friends of each user and the user, who are no strangers."""
        everybody = torch.arange(self.n_users, device=self.ties.columns.device)
        rows, columns = torch.cat([self.ties.row_index, everybody]), torch.cat([self.ties.columns, everybody])
        return Rows.of(rows, columns, self.n_users, self.n_users)

    @cached_property
    def _drawable(self) -> Tensor:
        """Indices of the ties of users to whom somebody is a stranger."""
        found = (self._known.counts < self.n_users)[self.ties.row_index].nonzero().flatten()
        if not len(found):
            raise DataError(
                "every user with a tie has ties with all others", "there is nobody to contrast friends with"
            )
        return found

    def draw_ties(self, n: int, generator: torch.Generator | None = None) -> TieBatch:
        """``n`` ties drawn evenly, with replacement, each with a stranger drawn evenly."""
        ties = self._drawable
        # torch.compile cannot trace torch.randint where it is given a generator and sizes that vary.
        chance = torch.empty(n, dtype=torch.long, device=ties.device).random_(len(ties), generator=generator)
        chosen = ties[chance]
        users = self.ties.row_index[chosen]
        return TieBatch(users, self.ties.columns[chosen], self._known.draw_absent(users, 1, generator).squeeze(1))

    def to(self, device: torch.device | str) -> SocialData:
        weight = None if self.weight is None else self.weight.to(device)
        return SocialData(self.interactions.to(device), self.ties.to(device), weight)


class Social(Scenario):
    """Recommendation with ties between users: friendship, trust, or who follows whom.

    Tables: ``interactions`` and ``trust`` (``source``, who trusts ``target``, both users, and maybe ``weight``).
    """

    class Config(Scenario.Config):
        direction: Direction = "given"
        """Ties as they are given, from one user to another, or ``symmetric``: the other way round too."""
        weighted: bool = True
        """Ties weigh what the table says, if it has weights, and none weighs 0 or less; otherwise each weighs one."""

    config: Config

    def process(self, raw: Raw) -> Prepared:
        """Number users and items, filter, split; number the ties of the users that are left.

        Raises:
            DataError: there is no tie, a weight is missing, or no tie joins two users of the interactions.
        """
        prepared = prepare_interactions(raw, self.config)
        users = vocabulary_from(prepared.arrays, "users")
        ties, notes = number_ties(raw, users, self.config.direction, self.config.weighted)
        counts = torch.bincount(torch.from_numpy(ties.users), minlength=len(users))
        arrays = {**prepared.arrays, "trust.pointers": pointers_of(counts).numpy(), "trust.columns": ties.friends}
        if ties.weight is not None:
            arrays["trust.weight"] = np.ascontiguousarray(ties.weight)
        meta = {**prepared.meta, "notes": [*prepared.meta["notes"], *notes]}
        meta["counts"] = {**prepared.meta["counts"], "ties": len(ties)}
        return Prepared(arrays, meta)

    def data(self, prepared: Prepared) -> SocialData:
        arrays, interactions = prepared.arrays, Interactions.of(prepared)
        ties = Rows(tensor(arrays["trust.pointers"]), tensor(arrays["trust.columns"]), interactions.n_users)
        weight = tensor(arrays["trust.weight"]) if "trust.weight" in arrays else None
        return SocialData(interactions, ties, weight)
