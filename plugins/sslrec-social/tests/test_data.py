"""Numbering ties, the scenario, and ties drawn with strangers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslrec_core.data import Raw
from sslrec_core.errors import DataError
from sslrec_core.testing import ScenarioContract
from sslrec_social.data import Social, SocialData

USERS, ITEMS = [0, 0, 0, 1, 1, 1, 2, 2, 3], [0, 1, 2, 1, 2, 3, 3, 0, 1]
TIES = [(0, 1), (1, 0), (1, 2), (3, 0)]


def raw(ties: Any = TIES, weight: Any = None, **more: Any) -> Raw:
    source, target = np.array(ties).reshape(-1, 2).T
    trust = {"source": source, "target": target} | ({} if weight is None else {"weight": np.array(weight)})
    tables = {"interactions": {"user": np.array(USERS), "item": np.array(ITEMS)}, "trust": trust}
    return Raw({**tables, **more.pop("tables", {})}, **{"identity_ids": True, **more})


def data_of(given: Raw, **options: Any) -> SocialData:
    scenario = Social(Social.Config(ratios=(0.7, 0.3), **options))
    return scenario.data(scenario.process(given))


def notes_of(given: Raw, **options: Any) -> list[str]:
    notes: list[str] = Social(Social.Config(ratios=(0.7, 0.3), **options)).process(given).meta["notes"]
    return notes


def ties_of(data: SocialData) -> dict[tuple[int, int], float]:
    graph = data.trust
    return dict(zip(zip(graph.target.tolist(), graph.source.tolist(), strict=True), graph.weight.tolist(), strict=True))


# ---- the scenario


class TestSocial(ScenarioContract):
    scenario = "social"
    variants = (*ScenarioContract.variants, {"direction": "symmetric"}, {"weighted": False})


def test_ties_lead_from_friends_into_users() -> None:
    data = data_of(raw())
    assert ties_of(data) == dict.fromkeys(TIES, 1.0)
    x = torch.eye(4)
    assert torch.equal((data.trust @ x)[1], x[0] + x[2])


def test_ties_can_be_made_to_go_both_ways() -> None:
    both = dict.fromkeys([*TIES, (2, 1), (0, 3)], 1.0)
    assert ties_of(data_of(raw(), direction="symmetric")) == both
    assert "2 ties added, so that all go both ways" in notes_of(raw(), direction="symmetric")


def test_weights_are_kept_and_the_heaviest_counts() -> None:
    given = raw([(0, 1), (1, 0), (0, 1), (2, 1)], [0.5, 2.0, 1.5, 1.0])
    assert ties_of(data_of(given)) == {(0, 1): 1.5, (1, 0): 2.0, (2, 1): 1.0}
    assert ties_of(data_of(given, direction="symmetric")) == {(0, 1): 2.0, (1, 0): 2.0, (2, 1): 1.0, (1, 2): 1.0}
    assert ties_of(data_of(given, weighted=False)) == dict.fromkeys([(0, 1), (1, 0), (2, 1)], 1.0)


def test_what_is_no_tie_is_dropped_and_counted() -> None:
    given = raw([*TIES, (0, 1), (2, 2), (0, 9), (9, 9), (-1, 0)], [1.0, 1, 1, 0, 1, 1, 1, 1, 1])
    assert ties_of(data_of(given)) == dict.fromkeys(TIES[:3], 1.0)
    assert [note for note in notes_of(given) if "tie" in note] == [
        "3 ties with users who have no interaction dropped",
        "1 ties of a user with themself dropped",
        "1 ties of weight 0 or less dropped",
        "1 repeated ties dropped",
        "1 of 4 users have no tie",
    ]


def test_filtered_users_take_their_ties_with_them() -> None:
    data = data_of(raw(identity_ids=False), k_core=2)
    kept = data.users.raw(np.arange(data.n_users)).tolist()
    assert 3 not in kept
    raw_ties = {(kept[user], kept[friend]) for user, friend in ties_of(data)}
    assert raw_ties == {tie for tie in TIES if 3 not in tie}


def test_text_ids_are_shared_with_the_interactions() -> None:
    tables = {
        "interactions": {"user": np.array(["b", "b", "a", "a", "c"]), "item": np.array([1, 2, 1, 3, 2])},
        "trust": {"source": np.array(["a", "x"]), "target": np.array(["c", "a"])},
    }
    data = data_of(Raw({**tables}))
    assert ties_of(data) == {(0, 2): 1.0}


def test_users_without_interactions_count_where_ids_are_a_range() -> None:
    data = data_of(raw([(0, 5), (5, 0)], sizes={"user": 6}))
    assert data.n_users == 6
    assert ties_of(data) == {(0, 5): 1.0, (5, 0): 1.0}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Raw({"interactions": raw().tables["interactions"]}, identity_ids=True), "there are no ties between users"),
        (raw([]), "the table of ties is empty"),
        (raw([(7, 8), (1, 1)]), "no tie joins two users of the interactions"),
        (raw(weight=[1.0, 1.0, np.nan, 1.0]), "the weight of tie 3 is missing"),
    ],
)
def test_bad_ties_are_refused(given: Raw, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Social(Social.Config(ratios=(0.7, 0.3))).process(given)


def test_moving_keeps_everything() -> None:
    data = data_of(raw(weight=[1.0, 2.0, 3.0, 4.0]))
    assert ties_of(data.to("cpu")) == ties_of(data)
    assert data.to("cpu").graph.shape == (8, 8)


# ---- ties with strangers


@settings(max_examples=50, deadline=None)
@given(ties=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_strangers_are_neither_friends_nor_oneself(ties: list[tuple[int, int]], seed: int) -> None:
    if all(one == other for one, other in ties):
        return
    data = data_of(raw(ties))
    known = {tie for tie in ties if tie[0] != tie[1]}
    busy = {user for user in range(4) if sum(tie[0] == user for tie in known) == 3}
    if {user for user, _ in known} <= busy:
        with pytest.raises(DataError, match="ties with all others"):
            data.draw_ties(4)
        return
    drawn = data.draw_ties(64, torch.Generator().manual_seed(seed))
    for user, friend, stranger in zip(*(column.tolist() for column in drawn), strict=True):
        assert (user, friend) in known and user not in busy
        assert stranger != user and (user, stranger) not in known


def test_ties_and_strangers_are_drawn_evenly() -> None:
    drawn = data_of(raw()).draw_ties(60_000, torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn.users * 4 + drawn.friends, minlength=16) / 60_000
    assert torch.allclose(shares[shares > 0], torch.tensor(0.25), atol=0.01)
    of_zero = torch.bincount(drawn.strangers[drawn.users == 0], minlength=4)
    assert of_zero[:2].sum() == 0
    assert (of_zero[2] / of_zero.sum() - 0.5).abs() < 0.02
