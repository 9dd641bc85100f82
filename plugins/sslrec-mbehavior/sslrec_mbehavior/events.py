"""From raw tables to numbered events: which behaviour is the target, what stands beside it, each choice counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sslrec_core.data import Array, Coded, Column, Prepared, Raw, vocabulary_from
from sslrec_core.errors import DataError, closest
from sslrec_core.ingest.ids import all_ids, factorise, lookup
from sslrec_core.ingest.prepare import plain

TARGET = "buy"
"""The behaviour to recommend for, where neither the config nor the data says another."""
TRAIN = 0
OTHERS = ("user", "item", "behaviour")


@dataclass
class Separated:
    """A table for the target behaviour, one for all that users did beside it."""

    target: str
    """Name of the target behaviour."""
    interactions: dict[str, Column]
    others: dict[str, Column]
    """``user``, ``item``, and ``time`` where it is known."""
    kind: Array
    """Which of ``names`` each row of ``others`` is.  ``Int[events]``"""
    names: list[str]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Folded:
    """Distinct pairs of one behaviour, by user, then item."""

    name: str
    keys: Array
    """``user * items + item``, ascending.  ``Long[pairs]``"""
    counts: Array
    """How often each pair occurs.  ``Long[pairs]``"""
    times: Array | None
    """When it did last.  ``[pairs]``"""

    def where(self, mask: Array) -> Folded:
        """The pairs in ``mask`` alone."""
        times = None if self.times is None else self.times[mask]
        return Folded(self.name, self.keys[mask], self.counts[mask], times)


def separate(raw: Raw, wanted: str | None) -> Separated:
    """Tell the target behaviour from the others.

    The others stand in the table ``behaviours``, or all stand in ``interactions`` with a column ``behaviour``, and
    ``wanted`` says which one counts.  None: what the data says, or else :data:`TARGET`.

    Raises:
        DataError: there is no other behaviour, none is called ``wanted``, or the data has another target.
    """
    target = wanted or TARGET
    interactions = dict(raw.tables.get("interactions", {}))
    beside = raw.tables.get("behaviours")
    said = interactions.pop("behaviour", None)
    if said is None and beside is None:
        raise DataError(
            "there are no behaviours beside the interactions",
            f"tables that were read: {', '.join(raw.tables)}",
            fix="name the column that tells them apart with --set data.behaviour=COLUMN, or read a folder with a file "
            "for each: --dataset mbehavior/files --set data.path=FOLDER",
        )
    if said is None:
        names: list[str] = []
    else:
        names, kinds = _named(said)
        if len(names) == 1 and beside is not None:
            target = names[0]
            if wanted not in (None, target):
                raise DataError(
                    f"'{wanted}' cannot be the target of data made for '{target}'",
                    fix=f"leave scenario.target out; of files in a folder of your own, --set data.target={wanted}",
                )
    if beside is None:
        return _split(interactions, names, kinds, target)
    if len(names) > 1:
        raise DataError(
            "behaviours stand in two tables", f"{', '.join(names)} in 'interactions', others in 'behaviours'"
        )
    _check(beside)
    names, kinds = _named(beside["behaviour"])
    if target in names:
        raise DataError(
            f"the target behaviour '{target}' stands among the others too",
            f"others: {', '.join(names)}",
            fix="--set scenario.target=NAME says what the table 'interactions' holds",
        )
    others: dict[str, Column] = {name: beside[name] for name in ("user", "item", "time") if name in beside}
    return Separated(target, interactions, others, kinds, names)


def _split(table: dict[str, Column], names: list[str], kinds: Array, target: str) -> Separated:
    """One table with a column that says what users did."""
    if target not in names:
        near = closest(target, names)
        raise DataError(
            f"no behaviour is called '{target}'",
            f"there are: {_counted(names, kinds)}",
            fix=f"--set scenario.target={near[0] if near else 'NAME'} names the one to recommend for",
        )
    if len(names) == 1:
        raise DataError(f"'{target}' is the only behaviour", fix="use a model of another scenario, such as cf/lightgcn")
    place = names.index(target)
    mine = kinds == place
    notes = []
    kept = ~mine
    part = table.get("part")
    if part is not None:
        held = kept & (np.asarray(plain(part)) != TRAIN)
        if held.any():
            kept &= ~held
            notes.append(f"{int(held.sum()):,} events of other behaviours outside the training part dropped")
    others: dict[str, Column] = {name: taken(table[name], kept) for name in ("user", "item", "time") if name in table}
    interactions = {name: taken(column, mine) for name, column in table.items()}
    rest = [name for name in names if name != target]
    shifted = kinds[kept] - (kinds[kept] > place)
    return Separated(target, interactions, others, shifted, rest, notes)


def choose(separated: Separated, wanted: Sequence[str] | None) -> list[int]:
    """Places of the ``wanted`` behaviours in ``separated.names``; None: all, the most frequent first.

    Raises:
        DataError: a wanted behaviour does not exist, is the target or is named twice, or none has an event.
    """
    names = separated.names
    counts = np.bincount(separated.kind, minlength=len(names))
    if not counts.any():
        raise DataError("nobody did anything beside the target behaviour", f"target: {separated.target}")
    if wanted is None:
        return [place for place in np.lexsort((np.array(names), -counts)).tolist() if counts[place]]
    for name in wanted:
        if name not in names:
            near = closest(name, names)
            raise DataError(
                f"scenario.behaviours names '{name}', which "
                + ("is the target" if name == separated.target else "does not exist"),
                f"there are: {_counted(names, separated.kind)}",
                fix=f"closest: {near[0]}" if near else "leave scenario.behaviours out for all of them",
            )
    if len(set(wanted)) < len(wanted) or not wanted:
        raise DataError("scenario.behaviours must name one behaviour or more, none twice", ", ".join(wanted))
    if without := [name for name in wanted if not counts[names.index(name)]]:
        raise DataError(f"nobody did '{without[0]}'", f"there are: {_counted(names, separated.kind)}")
    if left := [name for name in names if name not in wanted]:
        separated.notes.append(f"behaviours left out: {', '.join(left)}")
    return [names.index(name) for name in wanted]


def number(raw: Raw, separated: Separated) -> Raw:
    """The target's table with ids numbered over all behaviours, so that nobody is lost who only looked.

    Raises:
        DataError: an id is negative where ids are numbers.
    """
    sizes = dict(raw.sizes)
    table = separated.interactions
    for role in ("user", "item"):
        mine, its = table[role], separated.others[role]
        if raw.identity_ids and not isinstance(mine, Coded) and not isinstance(its, Coded):
            if len(its) and its.min() < 0:
                raise DataError(f"{role} ids must be whole numbers from 0 on, found {its.min()}")
            sizes[role] = max(sizes.get(role, 0), int(its.max(initial=-1)) + 1)
        else:
            labels, (own, other) = factorise([mine, its])
            table[role], separated.others[role] = Coded(own, labels), Coded(other, labels)
            sizes.pop(role, None)
    # Identity in the sense that ids without an interaction of the target stay.
    return Raw({"interactions": table}, [*raw.notes, *separated.notes], identity_ids=True, sizes=sizes)


def fold(separated: Separated, places: Sequence[int], prepared: Prepared, notes: list[str]) -> list[Folded]:
    """The behaviours at ``places`` as distinct pairs of the users and items of ``prepared``."""
    users, items = (vocabulary_from(prepared.arrays, name) for name in ("users", "items"))
    user, item = lookup(users, separated.others["user"]), lookup(items, separated.others["item"])
    time = plain(separated.others.get("time"))
    known = (user >= 0) & (item >= 0)
    if not known.all():
        notes.append(f"{int((~known).sum()):,} events of users or items that were filtered out dropped")
    found = []
    for place in places:
        mine = np.flatnonzero(known & (separated.kind == place))
        keys = user[mine].astype(np.int64) * len(items) + item[mine]
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.empty(0, np.int64)
        counts = np.diff(np.append(starts, len(keys)))
        times = None
        if time is not None:
            times = np.maximum.reduceat(time[mine][order], starts) if len(keys) else time[:0]
        name = separated.names[place]
        if len(starts) < len(keys):
            notes.append(f"{len(keys) - len(starts):,} repeated {name} events folded into {len(starts):,} pairs")
        found.append(Folded(name, keys[starts], counts.astype(np.int64), times))
    return found


def taken(column: Column, places: Array) -> Column:
    """The rows of a column at ``places``, or where a mask is true."""
    return Coded(column.codes[places], column.labels) if isinstance(column, Coded) else column[places]


def _named(column: Column) -> tuple[list[str], Array]:
    """Names of behaviours that occur, sorted, and the place of each row's."""
    labels, (codes,) = factorise([column])
    present, kinds = np.unique(codes, return_inverse=True)
    return [str(name) for name in all_ids(labels)[present]], kinds


def _check(table: dict[str, Column]) -> None:
    for name in OTHERS:
        if name not in table:
            raise DataError(f"the table 'behaviours' has no column '{name}'", f"columns: {', '.join(table)}")
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise DataError("the columns of the table 'behaviours' differ in length", f"{lengths}")
    if not lengths["user"]:
        raise DataError("the table 'behaviours' is empty", fix="use a model of another scenario, such as cf/lightgcn")


def _counted(names: Sequence[str], kinds: Array) -> str:
    counts = np.bincount(kinds, minlength=len(names))
    return ", ".join(f"{name} ({count:,})" for name, count in zip(names, counts.tolist(), strict=True)) or "none"
