"""Raw interactions to prepared arrays: thresholds, duplicates, k-core, ids, split; each choice is counted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from sslrec_core.data import PARTS, Array, Coded, Prepared, Raw, Scenario
from sslrec_core.errors import DataError
from sslrec_core.ingest import splits
from sslrec_core.ingest.ids import compact, counts_of, factorise, gather, integers_or_text, k_core, sorted_pairs, subset
from sslrec_core.vocabulary import Vocabulary

ROOM = 16
"""Ids that are used as they are may reach this many times the number of interactions."""
IN_TRAIN, IN_VALID, IN_TEST = 1, 2, 4
BITS = np.array([number.bit_count() for number in range(8)])


@dataclass
class Pairs:
    """Distinct pairs sorted by user, then item."""

    users: Array
    items: Array
    time: Array | None
    """Of the earliest of repeated interactions."""
    membership: Array | None
    """Bits: in the files' training, validation, test part."""

    def __len__(self) -> int:
        return len(self.users)

    def take(self, places: Array) -> Pairs:
        """The pairs at ``places``, or where a mask is true."""

        def of(column: Array) -> Array:
            return column[places] if places.dtype == bool else gather(column, places)

        time = None if self.time is None else of(self.time)
        membership = None if self.membership is None else of(self.membership)
        return Pairs(of(self.users), of(self.items), time, membership)


def prepare_interactions(raw: Raw, config: Scenario.Config) -> Prepared:
    """Number, filter and split the table ``interactions`` of ``raw``.

    In this order: rating threshold, duplicates (the earliest counts), k-core, split, validation part, ids.  With
    ``raw.identity_ids`` and no filter, ids stay as they are and the vocabularies span the ranges; otherwise they are
    the sorted ids of what was kept.

    Returns:
        Arrays ``users.*`` and ``items.*`` (vocabularies) and ``<part>.pointers``, ``<part>.columns`` (``int64``) for
        each part, as :meth:`sslrec_core.data.Interactions.of` takes them; in ``meta``, ``notes``, ``counts`` and
        ``interactions``, which is the same wherever all of these arrays are.

    Raises:
        DataError: a column is missing or holds gaps, nothing is left, or the split asked for needs what the files lack.
    """
    notes = list(raw.notes)
    table = checked(raw)
    if config.min_rating is not None:
        table = rated(table, config.min_rating, notes)
    user_ids, users = _numbered(table["user"], raw, "user")
    item_ids, items = _numbered(table["item"], raw, "item")
    time = table.get("time") if config.split in ("leave-one-out", "time") else None
    part = table.get("part")
    del table
    pairs = _distinct(users, items, plain(time), plain(part), len(user_ids), len(item_ids), notes)
    del users, items, time, part
    if config.k_core > 1:
        pairs = _cored(pairs, config.k_core, len(user_ids), len(item_ids), notes)
    pairs, parts = split(pairs, config, notes)
    if not (parts == splits.TRAIN).any():
        raise DataError(
            "no interaction is left to train on", *notes, fix="loosen scenario.k_core or scenario.min_rating"
        )

    if not raw.identity_ids or config.k_core > 1 or config.min_rating is not None:
        user_ids, pairs.users = surviving(user_ids, pairs.users)
        item_ids, pairs.items = surviving(item_ids, pairs.items)
    arrays = {f"users.{key}": value for key, value in user_ids.arrays().items()}
    arrays |= {f"items.{key}": value for key, value in item_ids.arrays().items()}
    per_user = np.zeros((len(PARTS), len(user_ids)), np.int64)
    per_item = np.zeros((len(PARTS), len(item_ids)), np.int64)
    for code, name in enumerate(PARTS):
        mine = parts == code
        items = pairs.items[mine]
        per_user[code] = counts_of(pairs.users[mine], len(user_ids))
        per_item[code] = counts_of(items, len(item_ids))
        arrays[f"{name}.pointers"] = np.concatenate(([0], per_user[code].cumsum()))
        arrays[f"{name}.columns"] = items.astype(np.int64)
    same = hashlib.blake2b(digest_size=20)
    for name in sorted(arrays):
        same.update(name.encode())
        same.update(np.ascontiguousarray(arrays[name]).data)
    meta = {"counts": count(per_user, per_item, notes), "notes": notes, "interactions": same.hexdigest()}
    return Prepared(arrays, meta)


def checked(raw: Raw) -> dict[str, Array | Coded]:
    """The interaction table, with every column known to be there, whole and of one length."""
    table = raw.tables.get("interactions")
    if table is None:
        raise DataError("the dataset has no interactions", f"its tables: {', '.join(raw.tables) or 'none'}")
    for name in ("user", "item"):
        if name not in table:
            raise DataError(f"the interactions have no column '{name}'", f"columns: {', '.join(table)}")
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise DataError("the columns of the interactions differ in length", f"{lengths}")
    if not lengths["user"]:
        raise DataError("the dataset has no interactions: its tables are empty")
    for name in ("time", "rating"):
        values = table.get(name)
        if isinstance(values, np.ndarray) and values.dtype.kind == "f" and np.isnan(values).any():
            row = int(np.isnan(values).argmax())
            raise DataError(
                f"the {name} of interaction {row + 1:,} is missing (NaN)", fix="remove such rows or fill them in"
            )
    return dict(table)


def split(pairs: Pairs, config: Scenario.Config, notes: list[str]) -> tuple[Pairs, Array]:
    """Part codes of ``pairs`` as ``config`` asks; pairs that belong to no part any more are gone."""
    how = config.split
    if how == "auto":
        how = "own" if pairs.membership is not None else "ratio"
    elif how != "own" and pairs.membership is not None:
        notes.append(f"the files' own parts are ignored: split is {how}")
    shares = _shares(config)
    if how == "own":
        parts = _own(pairs, config, notes)
    elif how == "ratio":
        parts = splits.ratio(pairs.users, shares, config.seed)
        notes.append(f"split at random per user, seed {config.seed}: {percent(shares)}")
    elif pairs.time is None:
        raise DataError(
            f"the split '{how}' needs to know when, and the interactions have no time",
            fix="name the column with --set data.time=COLUMN, or --set scenario.split=ratio",
        )
    elif how == "leave-one-out":
        parts = splits.leave_one_out(pairs.users, pairs.time, config.holdout > 0)
        notes.append(
            "split: the last interaction of each user is test" + (", the one before valid" if config.holdout else "")
        )
        return pairs, parts
    else:
        shares = shares_in_time(config)
        notes.append(f"split at one moment for all: {percent(shares)}")
        return pairs, splits.by_time(pairs.time, shares)
    if not (parts == splits.VALID).any() and config.holdout:
        training = np.flatnonzero(parts == splits.TRAIN)
        parts[training] = splits.hold_out(pairs.users[training], config.holdout, config.seed + 1)
        held = int((parts == splits.VALID).sum())
        notes.append(f"validation: {held:,} interactions, {config.holdout:.0%} of each user's, held out of training")
    return pairs, parts


def count(per_user: Array, per_item: Array, notes: list[str]) -> dict[str, int]:
    """Sizes of everything, from interactions per part and user, and per part and item.

    What is odd about the test part is added to ``notes``.
    """
    users, items = per_user > 0, per_item > 0
    counts = {
        "users": users.shape[1],
        "items": items.shape[1],
        "interactions": int(per_user.sum()),
        **{name: int(per_user[code].sum()) for code, name in enumerate(PARTS)},
        "users with interactions": int(users.any(0).sum()),
        "items with interactions": int(items.any(0).sum()),
        "test users": int(users[splits.TEST].sum()),
        "test users without training items": int((users[splits.TEST] & ~users[splits.TRAIN]).sum()),
        "test items unseen in training": int((items[splits.TEST] & ~items[splits.TRAIN]).sum()),
    }
    if not counts["test"]:
        notes.append("the test part is empty: no user has enough interactions to give one up")
    cold = ("test users without training items", "test items unseen in training")
    notes += [f"{counts[what]:,} {what} (kept)" for what in cold if counts[what]]
    without = counts["users"] - counts["users with interactions"]
    if without:
        notes.append(f"{without:,} users without any interaction (kept: ids are used as they are)")
    return counts


def _numbered(column: Array | Coded, raw: Raw, name: str) -> tuple[Vocabulary, Array]:
    if not raw.identity_ids or isinstance(column, Coded):
        vocabulary, (codes,) = factorise([column])
        return vocabulary, codes
    ids = integers_or_text(column)
    if ids.dtype.kind not in "iu" or (len(ids) and ids.min() < 0):
        raise DataError(f"{name} ids must be whole numbers from 0 on")
    size = max(int(ids.max(initial=-1)) + 1, raw.sizes.get(name, 0))
    if size > ROOM * len(ids) + 2**20:
        raise DataError(
            f"the largest {name} id is {size - 1:,}, and there are {len(ids):,} interactions",
            "where ids are used as they are, they must be numbers from 0 on with few gaps",
            fix="mend the id, or give the files as a table with columns (.csv), whose ids may be anything",
        )
    return Vocabulary.identity(size), ids.astype(np.int32 if size < 2**31 else np.int64, copy=False)


def plain(column: Array | Coded | None) -> Array | None:
    """The raw values of a column, which its reader may have numbered."""
    return column.labels.raw(column.codes) if isinstance(column, Coded) else column


def rated(table: dict[str, Array | Coded], least: float, notes: list[str]) -> dict[str, Array | Coded]:
    """The interactions rated ``least`` or more.

    Raises:
        DataError: there are no ratings.
    """
    rating = table.get("rating")
    if not isinstance(rating, np.ndarray):
        raise DataError(
            "scenario.min_rating is set, but the interactions have no ratings",
            f"columns: {', '.join(table)}",
            fix="name the column with --set data.rating=COLUMN, or leave scenario.min_rating out",
        )
    keep = rating >= least
    notes.append(f"{int((~keep).sum()):,} interactions rated below {least:g} dropped")
    return {
        name: Coded(column.codes[keep], column.labels) if isinstance(column, Coded) else column[keep]
        for name, column in table.items()
    }


def _distinct(
    users: Array, items: Array, time: Array | None, part: Array | None, n_users: int, n_items: int, notes: list[str]
) -> Pairs:
    users, items, order = sorted_pairs(users, items, n_users, n_items)
    time = None if time is None else gather(time, order)
    membership = None if part is None else np.left_shift(1, gather(part, order)).astype(np.uint8)
    first = np.ones(len(users), bool)
    first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    pairs = Pairs(users, items, time, membership)
    again = np.flatnonzero(~first)
    if not len(again):
        return pairs
    # Repeats are few and stand behind the first of their kind: fold them into it.
    place, _ = splits.places_within(again - np.arange(len(again)))
    origin = again - 1 - place
    if time is not None:
        np.minimum.at(time, origin, time[again])
    if membership is not None:
        np.bitwise_or.at(membership, origin, membership[again])
    pairs = pairs.take(first)
    distinct = len(pairs) if pairs.membership is None else int(BITS[pairs.membership].sum())
    if distinct < len(order):
        notes.append(f"{len(order) - distinct:,} repeated interactions dropped (the earliest of each counts)")
    return pairs


def _cored(pairs: Pairs, k: int, n_users: int, n_items: int, notes: list[str]) -> Pairs:
    kept = k_core(pairs.users, pairs.items, k, n_users, n_items)
    notes.append(f"{k}-core: {len(kept):,} of {len(pairs):,} interactions kept")
    return pairs if len(kept) == len(pairs) else pairs.take(kept)


def _own(pairs: Pairs, config: Scenario.Config, notes: list[str]) -> Array:
    """Parts from membership bits; a pair in several parts goes to training before test before validation."""
    bits = pairs.membership
    if bits is None or not (bits & IN_TEST).any():
        have = "no parts" if bits is None else "no test part"
        raise DataError(f"the files bring {have}", fix="--set scenario.split=ratio (or leave-one-out, or time)")
    valid = (bits & IN_VALID) > 0
    if valid.any() and not (valid & ((bits & IN_TRAIN) == 0)).any():
        n = int(valid.sum())
        if config.holdout:
            bits = np.where(valid, IN_VALID, bits)
            notes.append(
                f"validation: the {n:,} training interactions that the files name for it, taken out of training"
            )
        else:
            notes.append(f"the validation part repeats {n:,} training interactions; all stay in training (holdout 0)")
    for other, name in ((IN_TEST, "test"), (IN_VALID, "validation")):
        both = int((((bits & other) > 0) & ((bits & IN_TRAIN) > 0)).sum())
        if both and not (name == "validation" and not config.holdout and both == int(valid.sum())):
            notes.append(f"{both:,} {name} interactions are training interactions too (kept in training only)")
    both = int(((bits & (IN_TRAIN | IN_VALID | IN_TEST)) == (IN_VALID | IN_TEST)).sum())
    if both:
        notes.append(f"{both:,} validation interactions are test interactions too (kept in test only)")
    return np.select([(bits & IN_TRAIN) > 0, (bits & IN_TEST) > 0], [splits.TRAIN, splits.TEST], splits.VALID).astype(
        np.int8
    )


def surviving(vocabulary: Vocabulary, codes: Array) -> tuple[Vocabulary, Array]:
    """The ids of ``vocabulary`` that occur in ``codes``, and the codes numbered by them."""
    kept, table = compact(np.flatnonzero(counts_of(codes, len(vocabulary))), len(vocabulary))
    return (vocabulary, codes) if len(kept) == len(vocabulary) else (subset(vocabulary, kept), gather(table, codes))


def shares_in_time(config: Scenario.Config) -> tuple[float, float, float]:
    """Shares of the parts when one moment splits for all; what is held out is the latest of training."""
    train, valid, test = _shares(config)
    if len(config.ratios) == 2:
        return train * (1 - config.holdout), train * config.holdout, test
    return train, valid, test


def _shares(config: Scenario.Config) -> tuple[float, float, float]:
    ratios = config.ratios
    return (ratios[0], ratios[1], ratios[2]) if len(ratios) == 3 else (ratios[0], 0.0, ratios[1])


def percent(shares: tuple[float, float, float]) -> str:
    """Shares of the parts in words."""
    return ", ".join(f"{share:.0%} {name}" for share, name in zip(shares, PARTS, strict=True) if share)
