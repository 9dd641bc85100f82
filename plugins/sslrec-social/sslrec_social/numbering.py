"""From the raw ids of ties to numbers, every dropped tie counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from sslrec_core.data import Array, Raw
from sslrec_core.errors import DataError
from sslrec_core.ingest.ids import lookup
from sslrec_core.vocabulary import Vocabulary

Direction: TypeAlias = Literal["given", "symmetric"]


@dataclass(frozen=True)
class Ties:
    """Who trusts whom, in numbers: sorted by user, then friend, none twice, nobody with themself."""

    users: Array
    """``[ties]``"""
    friends: Array
    """``[ties]``"""
    weight: Array | None
    """``[ties]``, above 0; None where every tie weighs one."""

    def __len__(self) -> int:
        return len(self.users)

    def take(self, places: Array) -> Ties:
        """The ties at ``places``, or where a mask is true."""
        weight = None if self.weight is None else self.weight[places]
        return Ties(self.users[places], self.friends[places], weight)

    def both_ways(self) -> Ties:
        """These ties, and then each of them the other way round."""
        weight = None if self.weight is None else np.tile(self.weight, 2)
        users, friends = np.concatenate([self.users, self.friends]), np.concatenate([self.friends, self.users])
        return Ties(users, friends, weight)

    def distinct(self, n_users: int) -> Ties:
        """Each pair once, sorted; the heaviest of repeated ones stays."""
        keys = self.users * n_users + self.friends
        if self.weight is None:
            _, first = np.unique(keys, return_index=True)
            return self.take(first)
        order = np.lexsort((-self.weight, keys))
        keys = keys[order]
        return self.take(order[np.concatenate(([True], keys[1:] != keys[:-1]))])


def number_ties(raw: Raw, users: Vocabulary, direction: Direction, weighted: bool) -> tuple[Ties, list[str]]:
    """Number the users of ``raw.tables["trust"]`` and drop what is no tie between two of ``users``.

    In this order: users that are not known, ties of a user with themself, weights of 0 or less, repetitions; then, if
    ``direction`` is ``symmetric``, the other direction of each tie is added.

    Returns:
        The ties, and what was dropped or added, with counts.

    Raises:
        DataError: there is no table of ties, a weight is missing, or no tie is left.
    """
    table = raw.tables.get("trust")
    if table is None or not len(table["source"]):
        raise DataError(
            "there are no ties between users" if table is None else "the table of ties is empty",
            f"tables that were read: {', '.join(raw.tables)}",
            fix="put ties beside the interactions (trust.txt, trust.csv or a .net file, or --set data.trust=FILE), or "
            "use a model of another scenario",
        )
    weight = np.asarray(table["weight"], np.float32) if weighted and "weight" in table else None
    if weight is not None and np.isnan(weight).any():
        raise DataError(f"the weight of tie {int(np.isnan(weight).argmax()) + 1:,} is missing (NaN)")
    source, target = (lookup(users, table[name]).astype(np.int64) for name in ("source", "target"))
    ties, notes = Ties(source, target, weight), list[str]()

    def keep(mask: Array, what: str) -> None:
        nonlocal ties
        if dropped := int((~mask).sum()):
            notes.append(f"{dropped:,} {what} dropped")
            ties = ties.take(mask)

    keep((ties.users >= 0) & (ties.friends >= 0), "ties with users who have no interaction")
    keep(ties.users != ties.friends, "ties of a user with themself")
    if ties.weight is not None:
        keep(ties.weight > 0, "ties of weight 0 or less")
    given = len(ties)
    ties = ties.distinct(len(users))
    if repeated := given - len(ties):
        notes.append(f"{repeated:,} repeated ties dropped")
    if not len(ties):
        raise DataError(
            "no tie joins two users of the interactions",
            *notes,
            fix="users need the same ids in the interactions and in the ties",
        )
    if direction == "symmetric":
        given = len(ties)
        ties = ties.both_ways().distinct(len(users))
        if added := len(ties) - given:
            notes.append(f"{added:,} ties added, so that all go both ways")
    tied = np.zeros(len(users), bool)
    tied[ties.users] = tied[ties.friends] = True
    if alone := int((~tied).sum()):
        notes.append(f"{alone:,} of {len(users):,} users have no tie")
    return ties, notes
