"""The scenario cf: what its data offers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sslrec_cf.data import CF, CFData
from sslrec_core.builtin.worlds import demo_world
from sslrec_core.data import Data, Raw
from sslrec_core.errors import DataError
from sslrec_core.settings import TrainConfig


@pytest.fixture(scope="module")
def data() -> CFData:
    scenario = CF(CF.Config())
    return scenario.data(scenario.process(demo_world(3, 80, 60, triples=False)))


def test_it_is_data(data: CFData) -> None:
    assert isinstance(data, Data)
    assert (data.n_users, data.n_items) == (len(data.users), len(data.items)) == (80, data.interactions.n_items)


def test_the_graph_holds_training_interactions_both_ways(data: CFData) -> None:
    train = data.interactions.parts["train"]
    graph = data.graph
    assert graph.n_edges == 2 * train.nnz
    assert graph.shape == (data.n_users + data.n_items,) * 2
    here = graph.source < data.n_users
    pairs = torch.stack([graph.source[here], graph.target[here] - data.n_users], 1)
    assert set(map(tuple, pairs.tolist())) == set(zip(train.row_index.tolist(), train.columns.tolist(), strict=True))


def test_an_epoch_visits_every_training_pair_once_with_unknown_negatives(data: CFData) -> None:
    train = data.interactions.parts["train"]
    batches = list(data.batches(TrainConfig(batch_size=64, negatives=3), torch.Generator().manual_seed(0)))
    users, positives, negatives = (
        torch.cat([getattr(b, name) for b in batches]) for name in ("users", "positives", "negatives")
    )
    assert sorted((users * data.n_items + positives).tolist()) == train.keys.tolist()
    assert negatives.shape == (train.nnz, 3)
    assert not train.contains(users[:, None], negatives).any()


@pytest.mark.parametrize("split", ["valid", "test"])
def test_queries_hide_what_is_known_and_ask_for_what_is_held_out(data: CFData, split: str) -> None:
    parts = data.interactions.parts
    asked = list(data.queries(split, 32))
    users = torch.cat([q.users for q in asked])
    assert users.tolist() == parts[split].counts.nonzero().flatten().tolist()
    assert sum(q.truth.nnz for q in asked) == parts[split].nnz
    hidden = sum(q.seen.nnz for q in asked)
    known = parts["train"].counts + (parts["valid"].counts if split == "test" else 0)
    assert hidden == int(known[users].sum())
    (alone,) = data.queries("test", 5, users=torch.tensor([4]))
    assert alone.users.tolist() == [4]


def test_moving_moves_everything(data: CFData) -> None:
    moved = data.to("meta")
    assert moved.interactions.device.type == "meta"
    assert moved.n_items == data.n_items


def test_the_same_options_give_the_same_split() -> None:
    raw = demo_world(1, 50, 40, triples=False)
    one, same, other = (CF(CF.Config(seed=seed)).process(raw).arrays["test.columns"] for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_leave_one_out_takes_the_last_by_time() -> None:
    raw = demo_world(1, 50, 40, triples=False)
    scenario = CF(CF.Config(split="leave-one-out"))
    data = scenario.data(scenario.process(raw))
    table = raw.tables["interactions"]
    mine = np.asarray(table["user"]) == "u0009"
    last = np.asarray(table["item"])[mine][np.asarray(table["time"])[mine].argmax()]
    row = data.users.index("u0009")
    (query,) = data.queries("test", 1, users=torch.tensor([row]))
    assert data.items.raw(query.truth.columns).tolist() == [last]


def test_raw_tables_without_items_are_refused() -> None:
    with pytest.raises(DataError, match="no column 'item'"):
        CF(CF.Config()).process(Raw({"interactions": {"user": np.arange(3)}}))
