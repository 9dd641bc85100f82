"""The scenario: which behaviour counts, ids over all of them, what is kept, counted and refused; its batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslrec_core.builtin.datasets import Table
from sslrec_core.data import Prepared, Raw, Rows
from sslrec_core.errors import DataError
from sslrec_core.settings import TrainConfig
from sslrec_core.testing import ScenarioContract
from sslrec_mbehavior.data import MultiBehavior, MultiBehaviorData

BUYS = [("a", "x"), ("a", "y"), ("b", "y"), ("b", "z"), ("c", "x"), ("c", "z")]
VIEWS = [("a", "x", 5), ("a", "z", 7), ("a", "z", 9), ("b", "w", 1), ("d", "y", 2)]
CARTS = [("a", "z", 8), ("c", "y", 3)]
PARTS = [0, 2, 0, 2, 0, 2]


def column(rows: list[Any], place: int) -> Any:
    return np.array([row[place] for row in rows])


def raw(views: list[Any] = VIEWS, carts: list[Any] = CARTS, time: bool = True, **options: Any) -> Raw:
    events = [*views, *carts]
    behaviours = {
        "user": column(events, 0),
        "item": column(events, 1),
        "behaviour": np.array(["view"] * len(views) + ["cart"] * len(carts)),
    }
    if time:
        behaviours["time"] = column(events, 2)
    buys = {"user": column(BUYS, 0), "item": column(BUYS, 1), "part": np.array(PARTS, np.int8)}
    return Raw({"interactions": buys, "behaviours": behaviours}, **options)


def prepared(given: Raw, **options: Any) -> tuple[MultiBehavior, Prepared]:
    scenario = MultiBehavior(MultiBehavior.Config(**{"holdout": 0, **options}))
    return scenario, scenario.process(given)


def data_of(given: Raw, **options: Any) -> MultiBehaviorData:
    scenario, found = prepared(given, **options)
    return scenario.data(found)


def notes_of(given: Raw, **options: Any) -> str:
    return "\n".join(prepared(given, **options)[1].meta["notes"])


def pairs_of(data: MultiBehaviorData, rows: Rows) -> set[tuple[Any, Any]]:
    users, items = data.users.raw(rows.row_index), data.items.raw(rows.columns)
    return set(zip(users.tolist(), items.tolist(), strict=True))


# ---- the scenario


class TestMultiBehavior(ScenarioContract):
    scenario = "mbehavior"
    variants = (*ScenarioContract.variants, {"behaviours": ("cart",), "hide_held_out": True})


def test_behaviours_come_in_order_and_the_target_last() -> None:
    data = data_of(raw())
    assert data.names == ("view", "cart", "buy")
    assert [pairs_of(data, rows) for rows in data.rows] == [
        {(u, i) for u, i, _ in VIEWS},
        {(u, i) for u, i, _ in CARTS},
        {pair for pair, part in zip(BUYS, PARTS, strict=True) if part == 0},
    ]
    assert [graph.n_edges // 2 for graph in data.graphs] == [4, 2, 3]
    assert all(graph.shape == (8, 8) and graph.symmetric for graph in data.graphs)


def test_equally_frequent_behaviours_come_by_name() -> None:
    assert data_of(raw(views=VIEWS[:2])).names == ("cart", "view", "buy")


def test_the_order_can_be_told_and_others_left_out() -> None:
    assert data_of(raw(), behaviours=("cart", "view")).names == ("cart", "view", "buy")
    assert data_of(raw(), behaviours=("cart",)).names == ("cart", "buy")
    assert "behaviours left out: view" in notes_of(raw(), behaviours=("cart",))


def test_repeated_events_are_counted_and_the_latest_time_stays() -> None:
    view = data_of(raw()).others[0]
    assert view.counts.tolist() == [1, 2, 1, 1]
    assert view.times is not None
    assert view.times.tolist() == [5, 9, 1, 2]
    assert "1 repeated view events folded into 4 pairs" in notes_of(raw())
    assert data_of(raw(time=False)).others[0].times is None


def test_users_and_items_of_other_behaviours_alone_stay() -> None:
    data = data_of(raw())
    assert data.users.raw(range(4)).tolist() == ["a", "b", "c", "d"]
    assert data.items.raw(range(4)).tolist() == ["w", "x", "y", "z"]
    notes = notes_of(raw())
    assert "1 users occur in other behaviours alone (kept)" in notes
    assert "1 items occur in other behaviours alone (kept)" in notes


def test_a_filter_of_the_target_drops_their_events() -> None:
    data = data_of(raw(), k_core=2)
    assert data.users.raw(range(data.n_users)).tolist() == ["a", "b", "c"]
    assert pairs_of(data, data.rows[0]) == {("a", "x"), ("a", "z")}
    assert "2 events of users or items that were filtered out dropped" in notes_of(raw(), k_core=2)


def test_held_out_pairs_stay_unless_asked() -> None:
    leaking = raw(views=[*VIEWS, ("b", "z", 4)])
    assert ("b", "z") in pairs_of(data_of(leaking), data_of(leaking).rows[0])
    assert "1 of 3 test pairs of buy are pairs of other behaviours too (kept" in notes_of(leaking)
    clean = data_of(leaking, hide_held_out=True)
    assert ("b", "z") not in pairs_of(clean, clean.rows[0])
    assert ("a", "z") in pairs_of(clean, clean.rows[0])
    assert "(taken out of these)" in notes_of(leaking, hide_held_out=True)


def test_validation_pairs_are_hidden_too() -> None:
    given = raw(views=[(u, i, 0) for u, i in BUYS])
    data = data_of(given, hide_held_out=True, holdout=0.5, split="ratio", ratios=(0.5, 0.5))
    held = data.interactions.together("valid", "test")
    assert held.nnz
    assert not pairs_of(data, held) & pairs_of(data, data.rows[0])


def test_numbers_stay_as_they_are() -> None:
    tables = {
        "interactions": {"user": np.array([0, 0, 1]), "item": np.array([1, 2, 1])},
        "behaviours": {"user": np.array([3, 0]), "item": np.array([5, 2]), "behaviour": np.array(["view", "view"])},
    }
    data = data_of(Raw(tables, identity_ids=True, sizes={"user": 6}), ratios=(0.5, 0.5))
    assert (data.n_users, data.n_items) == (6, 6)
    assert pairs_of(data, data.rows[0]) == {(3, 5), (0, 2)}


def one_table(**more: Any) -> Raw:
    events = [*((u, i, "buy") for u, i in BUYS), *((u, i, "view") for u, i, _ in VIEWS)]
    table = {"user": column(events, 0), "item": column(events, 1), "behaviour": column(events, 2)}
    return Raw({"interactions": {**table, **more}})


def test_one_table_is_told_apart_by_its_column() -> None:
    data = data_of(one_table(), ratios=(0.5, 0.5))
    assert data.names == ("view", "buy")
    assert data.interactions.together("train", "test").nnz == 6
    turned = data_of(one_table(), target="view", ratios=(0.5, 0.5))
    assert turned.names == ("buy", "view")
    assert turned.rows[0].nnz == 6


def told() -> Raw:
    """Data that says itself what its target is called."""
    given = raw()
    given.tables["interactions"]["behaviour"] = np.array(["purchase"] * len(BUYS))
    return given


def test_the_data_says_what_its_target_is_called() -> None:
    assert data_of(told()).names == data_of(told(), target="purchase").names == ("view", "cart", "purchase")
    assert data_of(raw()).target == "buy"
    assert data_of(raw(), target="sold").target == "sold"


def test_other_behaviours_of_later_parts_are_dropped() -> None:
    part = np.array([*PARTS, 0, 0, 0, 2, 0], np.int8)
    assert "1 events of other behaviours outside the training part dropped" in notes_of(one_table(part=part))
    assert ("b", "w") not in pairs_of(data_of(one_table(part=part)), data_of(one_table(part=part)).rows[0])


def test_an_own_csv_names_its_column(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("visitorid,itemid,event,timestamp\n1,7,view,10\n1,7,buy,20\n1,8,buy,21\n2,7,buy,5\n2,9,view,6\n")
    data = data_of(Table(Table.Config(path=str(path), behaviour="event")).read(tmp_path), ratios=(0.5, 0.5))
    assert data.names == ("view", "buy")
    assert pairs_of(data, data.rows[0]) == {(1, 7), (2, 9)}
    assert data.others[0].times is not None
    with pytest.raises(DataError, match="no behaviours beside the interactions"):
        prepared(Table(Table.Config(path=str(path))).read(tmp_path))


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (Raw({"interactions": raw().tables["interactions"]}), {}, "no behaviours beside the interactions"),
        (one_table(), {"target": "bought"}, "no behaviour is called 'bought'"),
        (one_table(behaviour=np.array(["buy"] * 11)), {}, "'buy' is the only behaviour"),
        (raw(), {"target": "view"}, "'view' stands among the others too"),
        (told(), {"target": "sold"}, "'sold' cannot be the target of data made for 'purchase'"),
        (raw(views=[], carts=[]), {}, "'behaviours' is empty"),
        (raw(), {"behaviours": ("click",)}, "names 'click', which does not exist"),
        (raw(), {"behaviours": ("view", "buy")}, "names 'buy', which is the target"),
        (raw(), {"behaviours": ()}, "one behaviour or more"),
        (raw(), {"behaviours": ("view", "view")}, "none twice"),
        (Raw({**one_table().tables, "behaviours": raw().tables["behaviours"]}), {}, "behaviours stand in two tables"),
    ],
)
def test_bad_tables_are_refused(given: Raw, options: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        prepared(given, **options)


@pytest.mark.parametrize("missing", ["user", "item", "behaviour"])
def test_a_missing_column_is_named(missing: str) -> None:
    given = raw()
    del given.tables["behaviours"][missing]
    with pytest.raises(DataError, match=f"has no column '{missing}'"):
        prepared(given)


def test_columns_of_different_length_are_refused() -> None:
    given = raw()
    given.tables["behaviours"]["time"] = np.arange(3)
    with pytest.raises(DataError, match="differ in length"):
        prepared(given)


def test_negative_numbers_are_refused() -> None:
    tables = {
        "interactions": {"user": np.array([0, 0]), "item": np.array([1, 2])},
        "behaviours": {"user": np.array([-3]), "item": np.array([1]), "behaviour": np.array(["view"])},
    }
    with pytest.raises(DataError, match="user ids must be whole numbers from 0 on, found -3"):
        prepared(Raw(tables, identity_ids=True))


# ---- batches


some_events = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5)), min_size=1, max_size=30)


def world(buys: list[Any], views: list[Any]) -> MultiBehaviorData:
    tables = {
        "interactions": {"user": column(buys, 0), "item": column(buys, 1), "part": np.zeros(len(buys), np.int8)},
        "behaviours": {
            "user": column(views, 0),
            "item": column(views, 1),
            "behaviour": np.array(["view"] * len(views)),
        },
    }
    tables["interactions"] = {
        name: np.append(values, {"user": 0, "item": 0, "part": 2}[name])
        for name, values in tables["interactions"].items()
    }
    return data_of(Raw(tables, identity_ids=True, sizes={"user": 8, "item": 6}))


@settings(max_examples=40, deadline=None)
@given(buys=some_events, views=some_events, seed=st.integers(0, 99))
def test_pairs_of_every_behaviour_are_known_and_negatives_are_not(buys: Any, views: Any, seed: int) -> None:
    data = world(buys, views)
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for batch in data.batches(TrainConfig(batch_size=4, negatives=2), generator):
        for rows, pairs in zip(data.rows, batch.pairs, strict=True):
            assert rows.contains(pairs.users, pairs.positives).all()
            assert not rows.contains(pairs.users[:, None], pairs.negatives).any()
            assert torch.isin(pairs.users, batch.users).all()
        free = data.rows[0].counts[batch.users]
        assert len(batch.pairs[0]) == int(((free > 0) & (free < data.n_items)).sum())
        drawn.append(batch.pairs[1])
    users, positives = (torch.cat([getattr(each, name) for each in drawn]) for name in ("users", "positives"))
    full = data.rows[1].counts == data.n_items
    assert len(users) == data.rows[1].nnz - int(full.sum()) * data.n_items
    assert len(Rows.of(users, positives, 8, 6).keys) == len(users)


@settings(max_examples=40, deadline=None)
@given(buys=some_events, views=some_events, draws=st.integers(1, 4), outside=st.sampled_from(["behaviour", "all"]))
def test_user_batches_have_so_many_pairs_of_each_user(buys: Any, views: Any, draws: int, outside: Any) -> None:
    data = world(buys, views)
    batches = list(data.user_batches(3, draws, 2, outside=outside, generator=torch.Generator().manual_seed(0)))
    users = torch.cat([batch.users for batch in batches])
    some = (data.anything.counts > 0) & (data.anything.counts < data.n_items)
    assert sorted(users.tolist()) == some.nonzero().squeeze(1).tolist()
    for batch in batches:
        for rows, pairs in zip(data.rows, batch.pairs, strict=True):
            met = rows if outside == "behaviour" else data.anything
            assert rows.contains(pairs.users, pairs.positives).all()
            assert not met.contains(pairs.users[:, None], pairs.negatives).any()
            for user in batch.users.tolist():
                wanted = min(draws, int(rows.counts[user])) * (int(met.counts[user]) < data.n_items)
                assert int((pairs.users == user).sum()) == wanted


def test_users_of_the_target_alone() -> None:
    data = world([(0, 1), (3, 2)], [(1, 0), (3, 5)])
    assert [sorted(batch.users.tolist()) for batch in data.user_batches(8, of_target=True)] == [[0, 3]]
    assert [sorted(batch.users.tolist()) for batch in data.user_batches(8)] == [[0, 1, 3]]


def test_positives_are_spread_evenly() -> None:
    data = world([(0, 1)], [(1, 0), (1, 2), (1, 5)])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([b.pairs[0].positives for _ in range(800) for b in data.user_batches(8, 3, generator=generator)])
    shares = torch.bincount(drawn, minlength=6) / len(drawn)
    assert torch.allclose(shares[[0, 2, 5]], torch.full((3,), 1 / 3), atol=0.04)


def test_processes_share_an_epoch() -> None:
    data = world([(u, 0) for u in range(7)], [(0, 1)])
    parts = [
        [batch.users for batch in data.user_batches(2, generator=torch.Generator().manual_seed(0), rank=rank, world=2)]
        for rank in (0, 1)
    ]
    assert [len(torch.cat(part)) for part in parts] == [4, 4]
    assert len(torch.cat([*parts[0], *parts[1]]).unique()) == 7


def test_moving_keeps_everything() -> None:
    data = data_of(raw())
    moved = data.to("cpu")
    assert moved.names == data.names
    assert [pairs_of(moved, rows) for rows in moved.rows] == [pairs_of(data, rows) for rows in data.rows]
    assert torch.equal(moved.counting_graphs[0].dense(), (data.graphs[0].dense() > 0).float())
