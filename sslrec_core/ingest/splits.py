"""Splits of interactions into training, validation and test: arrays of part codes, the same on every machine.

All functions take interactions sorted by user and give one code per interaction: 0 train, 1 valid, 2 test.
"""

from __future__ import annotations

import numpy as np
import torch

from sslrec_core.data import Array

TRAIN, VALID, TEST = 0, 1, 2
RANDOM_BITS = 2**30


def ratio(users: Array, shares: tuple[float, float, float], seed: int) -> Array:
    """Random parts per user: of ``n`` interactions, the nearest whole number to each share of ``n``.

    At least one interaction of each user stays in training; validation gives way before test.
    """
    part = np.zeros(len(users), np.int8)
    order, place, total = shuffled_places(users, seed)
    n_test = np.minimum(_nearest(shares[2] * total), total - 1)
    n_valid = np.minimum(_nearest(shares[1] * total), total - 1 - n_test)
    part[order] = np.select([place < n_test, place < n_test + n_valid], [TEST, VALID], TRAIN)
    return part


def hold_out(users: Array, share: float, seed: int) -> Array:
    """Random validation part per user: the nearest whole number to ``share`` of a user's interactions.

    Users with too few for one (fewer than five at a share of 0.1) keep all of them in training.
    """
    return ratio(users, (1 - share, share, 0.0), seed)


def leave_one_out(users: Array, times: Array, validation: bool) -> Array:
    """Each user's last interaction is test, the one before it valid; a user's first always stays in training."""
    part = np.zeros(len(users), np.int8)
    order = np.lexsort((times, users))
    place, total = places_within(users[order])
    from_end = total - 1 - place
    part[order[(from_end == 0) & (place > 0)]] = TEST
    if validation:
        part[order[(from_end == 1) & (place > 0)]] = VALID
    return part


def by_time(times: Array, shares: tuple[float, float, float]) -> Array:
    """One moment for everybody: the latest share is test, the share before it valid.

    Interactions at the very moment of a border fall before it, so that nothing in a part is older than the part before.
    """
    part = np.zeros(len(times), np.int8)
    if not len(times):
        return part
    borders = [_border(times, shares[0]), _border(times, shares[0] + shares[1])]
    part[times > borders[0]] = VALID
    part[times > borders[1]] = TEST
    return part


def _border(times: Array, share: float) -> object:
    place = min(max(int(np.floor(share * len(times) + 0.5)) - 1, 0), len(times) - 1)
    return np.partition(times, place)[place]


def places_within(users: Array) -> tuple[Array, Array]:
    """Of each interaction: its place among its user's, and how many that user has.  ``users`` is sorted."""
    if not len(users):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    starts = np.flatnonzero(np.concatenate(([True], users[1:] != users[:-1])))
    sizes = np.diff(starts, append=len(users))
    return np.arange(len(users)) - np.repeat(starts, sizes), np.repeat(sizes, sizes)


def shuffled_places(users: Array, seed: int) -> tuple[Array, Array, Array]:
    """An order that keeps users together and is random within each, with places and sizes as :func:`places_within`."""
    generator = torch.Generator().manual_seed(seed)
    chance = torch.randint(RANDOM_BITS, (len(users),), generator=generator).numpy()
    order = np.argsort(users.astype(np.int64) * RANDOM_BITS + chance, kind="stable")
    place, total = places_within(users[order])
    return order, place, total


def _nearest(values: Array) -> Array:
    return np.floor(values + 0.5).astype(np.int64)
