"""The generated demo world: what its documentation says is planted is there, and only that."""

from __future__ import annotations

import time

import numpy as np
import pytest

from sslrec_core.builtin.worlds import LEAST, MOST, demo_world
from sslrec_core.data import Raw

OF_PIECES = ("by", "genre", "mood", "decade")


@pytest.fixture(scope="module")
def world() -> Raw:
    return demo_world(users=600, items=800)


@pytest.fixture(scope="module")
def control() -> Raw:
    return demo_world(users=600, items=800, shuffled=True)


def column(raw: Raw, table: str, name: str) -> np.ndarray:
    return np.asarray(raw.tables[table][name])


def attribute(raw: Raw, relation: str) -> dict[str, str]:
    """The tail of each head under ``relation``."""
    chosen = column(raw, "triples", "relation") == relation
    heads, tails = (column(raw, "triples", name)[chosen].tolist() for name in ("head", "tail"))
    return dict(zip(heads, tails, strict=True))


def agreement(raw: Raw, relation: str) -> float:
    """How often two pieces of one listener share the attribute, over how often two of different listeners do."""
    known = attribute(raw, relation)
    values = np.array([known[piece] for piece in column(raw, "interactions", "item").tolist()])
    users = column(raw, "interactions", "user")
    together = users[1:] == users[:-1]
    apart = np.random.default_rng(0).permutation(values)
    return float((values[1:] == values[:-1])[together].mean() / (values == apart).mean())


def same(one: Raw, other: Raw, table: str) -> bool:
    return all(np.array_equal(column(one, table, name), column(other, table, name)) for name in one.tables[table])


def test_equal_seeds_give_equal_worlds(world: Raw) -> None:
    again, other = demo_world(users=600, items=800), demo_world(1, 600, 800)
    assert same(world, again, "interactions") and same(world, again, "triples")
    assert not np.array_equal(column(world, "interactions", "item")[:100], column(other, "interactions", "item")[:100])


def test_without_triples_the_interactions_are_the_same(world: Raw) -> None:
    bare = demo_world(users=600, items=800, triples=False)
    assert set(bare.tables) == {"interactions"}
    assert same(world, bare, "interactions")


def test_the_default_world_is_made_within_two_seconds() -> None:
    def seconds() -> float:
        began = time.process_time()
        demo_world()
        return time.process_time() - began

    assert min(seconds() for _ in range(2)) < 2


def test_everyone_listens_to_a_few_different_pieces(world: Raw) -> None:
    users, items = column(world, "interactions", "user"), column(world, "interactions", "item")
    names, counts = np.unique(users, return_counts=True)
    assert len(names) == 600 and names[0] == "u0000"
    assert counts.min() >= LEAST and counts.max() <= MOST
    assert 7 < counts.mean() < 10
    assert len(np.unique(np.stack([users, items]), axis=1).T) == len(users)


def test_popularity_has_a_long_tail_and_is_no_matter_of_genre(world: Raw) -> None:
    items, counts = np.unique(column(world, "interactions", "item"), return_counts=True)
    ranked = np.sort(counts)[::-1]
    assert ranked[: len(ranked) // 10].sum() > 0.25 * ranked.sum()
    assert ranked[0] > 5 * np.median(ranked)
    # Each genre has well-known pieces and obscure ones.
    told = attribute(world, "genre")
    genre = np.array([told[item] for item in items.tolist()])
    known = counts > np.quantile(counts, 0.9)
    assert len(np.unique(genre[known])) > 0.7 * len(np.unique(genre))


@pytest.mark.parametrize(("relation", "at_least"), [("by", 5), ("genre", 3), ("mood", 1.5)])
def test_listeners_choose_by_what_the_triples_say(world: Raw, relation: str, at_least: float) -> None:
    assert agreement(world, relation) > at_least


def test_decades_mean_nothing(world: Raw) -> None:
    assert agreement(world, "decade") == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("relation", ["by", "genre", "mood"])
def test_shuffled_triples_mean_nothing(control: Raw, relation: str) -> None:
    assert agreement(control, relation) == pytest.approx(1, abs=0.35)


def test_a_shuffled_graph_has_the_same_form(world: Raw, control: Raw) -> None:
    assert same(world, control, "interactions")
    assert np.array_equal(column(world, "triples", "relation"), column(control, "triples", "relation"))
    assert np.array_equal(column(world, "triples", "tail"), column(control, "triples", "tail"))
    about = np.isin(column(world, "triples", "relation"), OF_PIECES)
    mine, theirs = column(world, "triples", "head"), column(control, "triples", "head")
    assert np.array_equal(mine[~about], theirs[~about])
    assert sorted(mine[about]) == sorted(theirs[about])
    assert (mine[about] != theirs[about]).mean() > 0.9


def placing(raw: Raw) -> float:
    """Mean place, 0 to 1, of a listener's last piece when all are ranked by artist, genre and mood of the others."""
    told = [attribute(raw, relation) for relation in ("by", "genre", "mood")]
    pieces = np.array(sorted(told[0]))
    values = [np.array([known[piece] for piece in pieces.tolist()]) for known in told]
    features = np.concatenate([(value[:, None] == np.unique(value)).astype(float) for value in values], 1)
    _, users = np.unique(column(raw, "interactions", "user"), return_inverse=True)
    items = np.searchsorted(pieces, column(raw, "interactions", "item"))
    last = np.append(users[1:] != users[:-1], True)
    profile = np.zeros((users.max() + 1, features.shape[1]))
    np.add.at(profile, users[~last], features[items[~last]])
    scores = profile @ features.T
    mine = scores[users[last], items[last]]
    return float(((scores < mine[:, None]).mean(1) + 0.5 * (scores == mine[:, None]).mean(1)).mean())


def test_profiles_of_attributes_find_what_was_left_out(world: Raw, control: Raw) -> None:
    assert placing(world) > 0.7
    assert placing(control) == pytest.approx(0.5, abs=0.05)


def test_triples_link_artists_and_genres(world: Raw) -> None:
    relations, counts = np.unique(column(world, "triples", "relation"), return_counts=True)
    assert dict(zip(relations, counts, strict=True)) == {
        "by": 800, "genre": 800, "mood": 800, "decade": 800,
        "plays": 100, "signed to": 100, "similar to": 300, "related to": 16,
    }  # fmt: skip
    by, genre, plays = (attribute(world, relation) for relation in ("by", "genre", "plays"))
    assert all(genre[piece] == plays[artist] for piece, artist in by.items())
    assert all(piece.endswith(f"({genre[piece]})") for piece in by)


def test_names_of_different_things_differ(world: Raw) -> None:
    kinds = [set(attribute(world, "by"))] + [set(attribute(world, relation).values()) for relation in OF_PIECES]
    kinds.append(set(attribute(world, "signed to").values()))
    assert len(set.union(*kinds)) == sum(map(len, kinds))


def test_worlds_of_any_size() -> None:
    large = demo_world(users=3, items=6000)
    assert len(np.unique(column(large, "triples", "head"))) == 6000 + 750 + 16, "titles and names stay distinct"
    tiny = demo_world(users=1, items=2)
    assert column(tiny, "interactions", "user").tolist() == ["u0000"]
    with pytest.raises(ValueError, match="at least one user and two items"):
        demo_world(users=1, items=1)
