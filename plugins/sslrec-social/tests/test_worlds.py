"""The generated world: equal for equal seeds, and with the structure that it says."""

from __future__ import annotations

import numpy as np
import pytest

from sslrec_core.data import Array, Raw
from sslrec_social.worlds import FRIENDS, LEAST, MOST, friends_world


@pytest.fixture(scope="module")
def world() -> Raw:
    return friends_world(3, 400, 300)


def column(raw: Raw, table: str, name: str) -> Array:
    return np.asarray(raw.tables[table][name])


def genres_in_common(raw: Raw) -> float:
    """The mean share of genres, by pieces chosen, that both ends of a tie have in common."""
    names, user = np.unique(column(raw, "interactions", "user"), return_inverse=True)
    pieces = column(raw, "interactions", "item").tolist()
    genres, genre = np.unique([piece.rpartition("(")[2].partition(")")[0] for piece in pieces], return_inverse=True)
    shares = np.zeros((len(names), len(genres)))
    np.add.at(shares, (user, genre), 1)
    shares /= shares.sum(1, keepdims=True)
    one, other = (np.searchsorted(names, column(raw, "trust", end)) for end in ("source", "target"))
    return float(np.minimum(shares[one], shares[other]).sum(1).mean())


def test_equal_seeds_give_equal_tables(world: Raw) -> None:
    again, other = friends_world(3, 400, 300), friends_world(4, 400, 300)
    for table, columns in world.tables.items():
        for name in columns:
            assert np.array_equal(column(world, table, name), column(again, table, name))
    assert not np.array_equal(column(world, "trust", "target"), column(other, "trust", "target"))


def test_everybody_chooses_a_little_and_trusts_others(world: Raw) -> None:
    _, pieces = np.unique(column(world, "interactions", "user"), return_counts=True)
    assert len(pieces) == 400 and pieces.min() >= LEAST and pieces.max() <= MOST
    assert len(np.unique(np.stack([column(world, "interactions", end) for end in ("user", "item")]), axis=1).T) == sum(
        pieces
    )
    _, friends = np.unique(column(world, "trust", "source"), return_counts=True)
    assert (friends == FRIENDS).all() and len(friends) == 400
    assert (column(world, "trust", "source") != column(world, "trust", "target")).all()


def test_friends_share_tastes_until_they_are_shuffled(world: Raw) -> None:
    shuffled = friends_world(3, 400, 300, shuffled=True)
    for name in ("user", "item"):
        assert np.array_equal(column(world, "interactions", name), column(shuffled, "interactions", name))
    _, friends = np.unique(column(shuffled, "trust", "source"), return_counts=True)
    assert (friends == FRIENDS).all() and len(friends) == 400
    assert genres_in_common(world) > genres_in_common(shuffled) + 0.15


def test_tiny_worlds_exist_and_smaller_ones_do_not() -> None:
    tiny = friends_world(0, 2, 2)
    assert len(column(tiny, "trust", "source")) == 2
    with pytest.raises(ValueError, match="at least two users"):
        friends_world(0, 1, 5)
