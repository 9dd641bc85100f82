"""The generated world: equal for equal seeds, and with the structure that it says."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from sslrec_core.data import Raw
from sslrec_seq.worlds import LEAST, MOST, TRACKS, listening_world


def heard(raw: Raw) -> dict[str, list[str]]:
    """What each listener heard, in order."""
    table = {name: np.asarray(column) for name, column in raw.tables["interactions"].items()}
    order = np.lexsort((table["time"], table["user"]))
    found: dict[str, list[str]] = {}
    for user, item in zip(table["user"][order].tolist(), table["item"][order].tolist(), strict=True):
        found.setdefault(user, []).append(item)
    return found


def album_and_place(piece: str) -> tuple[str, int]:
    album, _, place = piece.rpartition(", ")
    return album, int(place)


@pytest.fixture(scope="module")
def world() -> Raw:
    return listening_world(3, 400, 200)


def test_equal_seeds_give_equal_tables(world: Raw) -> None:
    again, other = listening_world(3, 400, 200), listening_world(4, 400, 200)
    for table in ("interactions", "attributes"):
        for name, column in world.tables[table].items():
            assert np.array_equal(column, again.tables[table][name])
    assert heard(world) != heard(other)


def test_it_is_a_log_by_time(world: Raw) -> None:
    times = np.asarray(world.tables["interactions"]["time"])
    assert (np.diff(times) >= 0).all()
    assert times.min() > 1_704_067_200


def test_nobody_hears_a_piece_twice_or_two_at_once(world: Raw) -> None:
    table = {name: np.asarray(column) for name, column in world.tables["interactions"].items()}
    assert all(len(set(pieces)) == len(pieces) for pieces in heard(world).values())
    assert len(set(zip(table["user"].tolist(), table["time"].tolist(), strict=True))) == len(table["user"])
    lengths = [len(pieces) for pieces in heard(world).values()]
    assert len(lengths) == 400 and min(lengths) >= LEAST and max(lengths) <= MOST


def test_albums_are_heard_in_order(world: Raw) -> None:
    steps = [pair for pieces in heard(world).values() for pair in pairwise(map(album_and_place, pieces))]
    onward = sum(album == next_album and place + 1 == next_place for (album, place), (next_album, next_place) in steps)
    back = sum(album == next_album and place - 1 == next_place for (album, place), (next_album, next_place) in steps)
    assert onward > 0.3 * len(steps)
    assert back < 0.1 * onward


def test_popularity_has_a_tail(world: Raw) -> None:
    counts = sorted(Counter(np.asarray(world.tables["interactions"]["item"]).tolist()).values(), reverse=True)
    assert counts[0] > 4 * counts[len(counts) // 2]
    assert sum(counts[:40]) > 0.4 * sum(counts), "a fifth of the pieces"


def test_each_piece_has_a_genre_and_an_artist(world: Raw) -> None:
    table = {name: np.asarray(column).tolist() for name, column in world.tables["attributes"].items()}
    known: dict[str, set[str]] = {}
    for item, attribute in zip(table["item"], table["attribute"], strict=True):
        known.setdefault(item, set()).add(attribute)
    assert len(known) == 200 and all(len(attributes) == 2 for attributes in known.values())
    assert all(album_and_place(item)[0].rpartition("(")[2].rstrip(")") in known[item] for item in known)
    albums = Counter(album_and_place(item)[0] for item in known)
    assert set(albums.values()) == {TRACKS}


@pytest.mark.parametrize(("users", "items"), [(1, 2), (3, 5), (2, 9)])
def test_small_worlds_work(users: int, items: int) -> None:
    assert len(heard(listening_world(0, users, items))) == users


def test_no_world_is_smaller_than_that() -> None:
    with pytest.raises(ValueError, match="at least one user and two items, not 1 and 1"):
        listening_world(0, 1, 1)


def test_it_takes_a_moment() -> None:
    began = time.process_time()
    listening_world()
    assert time.process_time() - began < 4
