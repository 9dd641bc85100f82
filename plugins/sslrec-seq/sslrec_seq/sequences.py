"""Raw interactions to sequences: order, filters, and where each user's training ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt, field_validator

from sslrec_core.data import PARTS, Array, Prepared, Raw, Scenario
from sslrec_core.errors import DataError
from sslrec_core.ingest import splits
from sslrec_core.ingest.ids import counts_of, factorise, gather, k_core, lookup
from sslrec_core.ingest.prepare import checked, count, percent, plain, rated, shares_in_time, surviving
from sslrec_core.vocabulary import Vocabulary


class SequenceConfig(Scenario.Config):
    """How interactions become sequences."""

    split: Literal["auto", "own", "ratio", "leave-one-out", "time"] = "auto"
    """``leave-one-out``: each user's last item is to be found in the test, the one before it in the validation.
    ``time``: at one moment for all; the first item after it is to be found.  ``own``: the files' own parts.  ``auto``:
    own parts where there are any, else leave-one-out.  ``ratio``, a random choice, makes no sequences."""
    max_length: PositiveInt = 50
    """Items of a history that a model sees, the latest ones; also how many positions it can tell apart."""
    repeats: Literal["keep", "adjacent", "first"] = "keep"
    """Items that a user met more than once: keep all, drop those equal to the one before, or keep the first alone."""
    min_length: PositiveInt = 1
    """Leave out users with fewer interactions than this."""
    hide_met: bool = True
    """Whether items that a user has met are hidden when the others are ranked, also where the item to find is one of
    them: it is then not found, as in the code of S3-Rec and what follows it.  Off, all items are ranked, as in
    RecBole."""

    @field_validator("split")
    @classmethod
    def _in_order(cls, value: str) -> str:
        if value == "ratio":
            raise ValueError("a random split takes sequences apart: use leave-one-out, time or own")
        return value

    @field_validator("seed")
    @classmethod
    def _nothing_random(cls, value: int) -> int:
        if value:
            raise ValueError("sequences are split by order, which draws nothing: leave scenario.seed out")
        return value


@dataclass
class Steps:
    """Interactions sorted by user, and in time order within each."""

    users: Array
    items: Array
    time: Array | None
    part: Array | None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, places: Array) -> Steps:
        """The interactions at ``places`` (ascending), or where a mask is true."""
        columns = self.users, self.items, self.time, self.part
        users, items, time, part = (None if column is None else column[places] for column in columns)
        assert users is not None and items is not None
        return Steps(users, items, time, part)


def prepare_sequences(raw: Raw, config: SequenceConfig) -> Prepared:
    """Number, order, filter and split the table ``interactions`` of ``raw``.

    Where there are times they give the order; equal times, and all where there are none, stay in the order of the file.
    Ids are numbered as they occur, also where the files use numbers from 0 or 1 on.

    Returns:
        Arrays ``users.*`` and ``items.*`` (vocabularies); ``sequence.pointers`` and ``sequence.items``, the whole of
        each user's sequence; ``sequence.parts``, part codes, ascending within a user; ``<part>.pointers`` and
        ``<part>.columns``, the distinct items of each part as every scenario has them; ``attributes.*`` where the
        table ``attributes`` is there.

    Raises:
        DataError: a column is missing or holds gaps, nothing is left, or the files' parts are not in time order.
    """
    notes = list(raw.notes)
    table = checked(raw)
    if config.min_rating is not None:
        table = rated(table, config.min_rating, notes)
    user_ids, (users,) = factorise([table["user"]])
    item_ids, (items,) = factorise([table["item"]])
    steps = _in_order(users, items, plain(table.get("time")), plain(table.get("part")), notes)
    steps = _filtered(steps, config, len(user_ids), len(item_ids), notes)
    parts = _split(steps, user_ids, config, notes)
    if not (parts == splits.TRAIN).any():
        raise DataError(
            "no interaction is left to train on", *notes, fix="loosen scenario.k_core or scenario.min_length"
        )
    user_ids, users = surviving(user_ids, steps.users)
    item_ids, items = surviving(item_ids, steps.items)
    if len(item_ids) < 2:
        raise DataError(
            "the catalogue has one item: there is nothing to choose from", *notes,
            fix="check the item column (--set data.item=COLUMN), or loosen scenario.k_core",
        )  # fmt: skip

    arrays = {f"users.{key}": value for key, value in user_ids.arrays().items()}
    arrays |= {f"items.{key}": value for key, value in item_ids.arrays().items()}
    counts = counts_of(users, len(user_ids))
    arrays["sequence.pointers"] = np.concatenate(([0], counts.cumsum()))
    arrays["sequence.items"] = items.astype(np.int64)
    arrays["sequence.parts"] = parts
    per_user, per_item = np.zeros((3, len(user_ids)), np.int64), np.zeros((3, len(item_ids)), np.int64)
    for code, name in enumerate(PARTS):
        keys = np.unique(users[parts == code].astype(np.int64) * len(item_ids) + items[parts == code])
        per_user[code] = counts_of(keys // len(item_ids), len(user_ids))
        per_item[code] = counts_of(keys % len(item_ids), len(item_ids))
        arrays[f"{name}.pointers"] = np.concatenate(([0], per_user[code].cumsum()))
        arrays[f"{name}.columns"] = keys % len(item_ids)
    meta: dict[str, Any] = {"counts": count(per_user, per_item, notes), "notes": notes}
    meta["counts"] |= _lengths(users, items, parts, config, notes)
    if "attributes" in raw.tables:
        arrays |= _attributes(raw, item_ids, meta, notes)
    return Prepared(arrays, meta)


def _in_order(users: Array, items: Array, time: Array | None, part: Array | None, notes: list[str]) -> Steps:
    order = np.argsort(users, kind="stable") if time is None else np.lexsort((time, users))
    steps = Steps(users, items, time, part).take(order)
    if steps.time is None:
        # A file for each part comes back to its users by nature.
        pieces = users if part is None else users.astype(np.int64) * len(PARTS) + part
        back = int((pieces[1:] != pieces[:-1]).sum()) + 1 - len(np.unique(pieces))
        apart = f", which comes back to a user {back:,} times after others" if back else ""
        notes.append(f"there are no times: interactions follow one another as in the file{apart}")
    else:
        same = int(((steps.users[1:] == steps.users[:-1]) & (steps.time[1:] == steps.time[:-1])).sum())
        if same:
            notes.append(f"{same:,} interactions at the same time as the user's one before (in the order of the file)")
    return steps


def _filtered(steps: Steps, config: SequenceConfig, n_users: int, n_items: int, notes: list[str]) -> Steps:
    before = len(steps)
    if config.repeats == "adjacent":
        again = (steps.users[1:] == steps.users[:-1]) & (steps.items[1:] == steps.items[:-1])
        steps = steps.take(np.concatenate(([True], ~again)))
    elif config.repeats == "first":
        _, first = np.unique(steps.users.astype(np.int64) * n_items + steps.items, return_index=True)
        steps = steps.take(np.sort(first))
    if len(steps) < before:
        notes.append(f"{before - len(steps):,} repeated interactions dropped (repeats: {config.repeats})")
    if config.k_core > 1:
        kept = k_core(steps.users, steps.items, config.k_core, n_users, n_items)
        notes.append(f"{config.k_core}-core: {len(kept):,} of {len(steps):,} interactions kept")
        steps = steps.take(kept)
    if config.min_length > 1:
        long = gather(counts_of(steps.users, n_users) >= config.min_length, steps.users)
        notes.append(f"{int((~long).sum()):,} interactions of users with fewer than {config.min_length} dropped")
        steps = steps.take(long)
    return steps


def _split(steps: Steps, ids: Vocabulary, config: SequenceConfig, notes: list[str]) -> Array:
    """Part codes of ``steps``, ascending within each user."""
    how = config.split
    if how == "auto":
        how = "own" if steps.part is not None else "leave-one-out"
    elif how != "own" and steps.part is not None:
        notes.append(f"the files' own parts are ignored: split is {how}")
    if how == "own":
        return _own(steps, ids, config, notes)
    if how == "time":
        if steps.time is None:
            raise DataError(
                "the split 'time' needs to know when, and the interactions have no time",
                fix="name the column with --set data.time=COLUMN, or --set scenario.split=leave-one-out",
            )
        shares = shares_in_time(config)
        notes.append(f"split at one moment for all: {percent(shares)}")
        return splits.by_time(steps.time, shares)
    notes.append("split: each user's last item is test" + (", the one before valid" if config.holdout else ""))
    return splits.leave_one_out(steps.users, np.arange(len(steps)), config.holdout > 0)


def _own(steps: Steps, ids: Vocabulary, config: SequenceConfig, notes: list[str]) -> Array:
    if steps.part is None or not (steps.part == splits.TEST).any():
        have = "parts" if steps.part is None else "test part"
        raise DataError(f"the files bring no {have}", fix="--set scenario.split=leave-one-out")
    parts = steps.part.astype(np.int8)
    same_user = steps.users[1:] == steps.users[:-1]
    back = np.flatnonzero(same_user & (parts[1:] < parts[:-1]))
    if len(back):
        raise DataError(
            "the files' own parts are not in time order",
            f"{len(back):,} interactions of an earlier part follow one of a later part",
            f"the first is of user '{ids.raw(steps.users[back[:1]])[0]}'",
            fix="--set scenario.split=leave-one-out",
        )
    if config.holdout and not (parts == splits.VALID).any():
        ends = np.flatnonzero(~np.concatenate((same_user & (parts[1:] == parts[:-1]), [False])) & (parts == 0))
        place, _ = splits.places_within(steps.users)
        ends = ends[place[ends] > 0]
        parts[ends] = splits.VALID
        notes.append(f"validation: the last training item of {len(ends):,} users, held out of training")
    return parts


def _lengths(users: Array, items: Array, parts: Array, config: SequenceConfig, notes: list[str]) -> dict[str, int]:
    """Sizes of sequences, repeats included; what is odd about them is added to ``notes``."""
    counts, train = counts_of(users, users[-1] + 1), counts_of(users[parts == splits.TRAIN], users[-1] + 1)
    if short := int((train < 2).sum()):
        notes.append(f"{short:,} users with fewer than two training items: nothing follows, so nothing is learned")
    if long := int((train > config.max_length).sum()):
        notes.append(f"{long:,} users with more than {config.max_length} training items: models see the latest ones")
    begins = np.append(True, users[1:] != users[:-1])
    asked = (parts != splits.TRAIN) & (begins | np.append(True, parts[1:] != parts[:-1]))
    if without := int((asked & begins).sum()):
        notes.append(f"{without:,} users have something to find and nothing before it: they are not asked")
    again = np.ones(len(users), bool)
    again[np.unique(users.astype(np.int64) * (items.max() + 1) + items, return_index=True)[1]] = False
    if met := int((asked & again).sum()):
        end = "hidden, so not found" if config.hide_met else "ranked with the others"
        notes.append(f"{met:,} items to find that the user had met before: {end} (scenario.hide_met)")
    return {
        "interactions": len(parts),
        **{name: int((parts == code).sum()) for code, name in enumerate(PARTS)},
        "longest sequence": int(counts.max()),
        "median sequence": int(np.median(counts)),
    }


def _attributes(raw: Raw, items: Vocabulary, meta: dict[str, Any], notes: list[str]) -> dict[str, Array]:
    table = raw.tables["attributes"]
    place = lookup(items, table["item"])
    unknown = int((place < 0).sum())
    if unknown:
        notes.append(f"{unknown:,} attributes of items that nobody met (dropped)")
    labels, (codes,) = factorise([table["attribute"]])
    labels, codes = surviving(labels, codes[place >= 0])
    keys = np.unique(place[place >= 0].astype(np.int64) * max(len(labels), 1) + codes)
    counts = counts_of(keys // max(len(labels), 1), len(items))
    meta["attributes"] = len(labels)
    meta["counts"] |= {"attributes": len(labels), "items with attributes": int((counts > 0).sum())}
    return {
        "attributes.pointers": np.concatenate(([0], counts.cumsum())),
        "attributes.columns": keys % max(len(labels), 1),
    }
