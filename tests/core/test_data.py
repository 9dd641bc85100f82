"""Vocabularies, rows, interactions, and the way from a name to data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sslrec_core.data import Data, Dataset, Interactions, Prepared, Raw, Rows, Scenario, Vocabulary, load_data
from sslrec_core.errors import DataError
from sslrec_core.ingest.ids import k_core
from sslrec_core.ingest.prepare import prepare_interactions


def rows(pairs, n_rows=4, n_columns=5):
    users, items = zip(*pairs, strict=True) if pairs else ((), ())
    return Rows.of(torch.tensor(users, dtype=torch.long), torch.tensor(items, dtype=torch.long), n_rows, n_columns)


def pairs_of(some: Rows):
    return list(zip(some.row_index.tolist(), some.columns.tolist(), strict=True))


pair_lists = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=15)


# ---- vocabularies -------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), unique=True))
def test_text_ids_survive_the_way_there_and_back(ids):
    ids = sorted(ids, key=lambda text: text.encode())
    vocabulary = Vocabulary.from_arrays(Vocabulary.from_array(np.array(ids, object)).arrays())
    assert vocabulary.raw(np.arange(len(ids))).tolist() == ids
    assert [vocabulary.index(text) for text in ids] == list(range(len(ids)))
    assert vocabulary.find(np.array(ids, dtype=str)).tolist() == list(range(len(ids)))


@given(st.sets(st.integers(-(2**62), 2**62)))
def test_integer_ids_survive_the_way_there_and_back(ids):
    ids = sorted(ids)
    vocabulary = Vocabulary.from_arrays(Vocabulary.from_array(np.array(ids, np.int64)).arrays())
    assert vocabulary.raw(range(len(ids))).tolist() == ids
    assert [vocabulary.index(str(number)) for number in ids] == list(range(len(ids)))


def test_a_whole_range_needs_no_array():
    vocabulary = Vocabulary.from_array(np.arange(1000))
    assert vocabulary == Vocabulary.identity(1000)
    assert sum(array.nbytes for array in vocabulary.arrays().values()) == 8
    assert vocabulary.index("999") == 999
    assert vocabulary.find(np.array([-1, 0, 1000])).tolist() == [-1, 0, -1]


@pytest.mark.parametrize("ids", [["apple", "pear", "plum"], [10, 20, 30], [0, 1, 2]])
def test_an_unknown_id_is_told_its_neighbours(ids):
    vocabulary = Vocabulary.from_array(np.array(ids))
    with pytest.raises(DataError) as caught:
        vocabulary.index("peach" if isinstance(ids[0], str) else 25)
    assert repr(ids[1]) in str(caught.value)
    assert "3 ids" in str(caught.value)
    assert vocabulary.find(np.array(["nowhere"] if isinstance(ids[0], str) else [77])).tolist() == [-1]


def test_raw_keeps_the_shape_and_refuses_what_is_outside():
    vocabulary = Vocabulary.from_array(np.array(["a", "b", "cc"]))
    assert vocabulary.raw(torch.tensor([[2, 0], [1, 1]])).tolist() == [["cc", "a"], ["b", "b"]]
    with pytest.raises(IndexError):
        vocabulary.raw([3])


# ---- rows ---------------------------------------------------------------------------------------


@given(pair_lists)
def test_rows_hold_distinct_sorted_pairs(pairs):
    assert pairs_of(rows(pairs)) == sorted(set(pairs))
    assert rows(pairs).counts.sum() == len(set(pairs))
    assert (rows(pairs).to_scipy().toarray() > 0).sum() == len(set(pairs))


@given(pair_lists, st.lists(st.integers(0, 3), max_size=6))
def test_selecting_rows_repeats_and_reorders_them(pairs, chosen):
    some = rows(pairs)
    picked = some.select(torch.tensor(chosen, dtype=torch.long))
    owned = {row: sorted({column for r, column in pairs if r == row}) for row in range(4)}
    assert [part.tolist() for part in picked.columns.split(picked.counts.tolist())] == [owned[row] for row in chosen]


@given(pair_lists, pair_lists)
def test_union_and_contains_agree_with_sets(left, right):
    both = rows(left).union(rows(right))
    assert pairs_of(both) == sorted({*left, *right})
    grid_rows, grid_columns = torch.meshgrid(torch.arange(4), torch.arange(5), indexing="ij")
    inside = both.contains(grid_rows, grid_columns)
    assert {(r, c) for r in range(4) for c in range(5) if inside[r, c]} == {*left, *right}


# ---- interactions -------------------------------------------------------------------------------


def interactions():
    parts = {
        "train": rows([(0, 0), (0, 1), (1, 2), (2, 2)]),
        "valid": rows([(0, 2), (1, 0)]),
        "test": rows([(0, 3), (2, 1), (3, 4)]),
    }
    return Interactions(parts, Vocabulary.identity(4), Vocabulary.identity(5))


def test_queries_ask_only_users_with_truth_and_hide_what_is_known():
    (batch,) = interactions().queries("test", 10)
    assert batch.users.tolist() == [0, 2, 3]
    assert pairs_of(batch.truth) == [(0, 3), (1, 1), (2, 4)]
    assert pairs_of(batch.seen) == [(0, 0), (0, 1), (0, 2), (1, 2)]
    (batch,) = interactions().queries("test", 10, hide="train")
    assert pairs_of(batch.seen) == [(0, 0), (0, 1), (1, 2)]


def test_validation_items_are_never_hidden_at_validation():
    (batch,) = interactions().queries("valid", 10, hide="train+valid")
    assert batch.users.tolist() == [0, 1]
    assert pairs_of(batch.seen) == [(0, 0), (0, 1), (1, 2)]
    assert pairs_of(batch.truth) == [(0, 2), (1, 0)]


def test_queries_come_in_portions():
    assert [len(batch) for batch in interactions().queries("test", 2)] == [2, 1]
    assert [batch.users.tolist() for batch in interactions().queries("test", 2, users=torch.tensor([1]))] == [[1]]


def test_a_part_can_be_replaced_by_a_test():
    data = interactions()
    data.parts["test"] = rows([(1, 4)])
    (batch,) = data.queries("test", 10)
    assert batch.users.tolist() == [1]


def test_parts_that_are_absent_are_empty():
    data = Interactions({"train": rows([(0, 0)])}, Vocabulary.identity(4), Vocabulary.identity(5))
    assert data.parts["valid"].nnz == 0
    assert list(data.queries("valid", 5)) == []


def test_popularity_counts_training_only():
    assert interactions().item_counts.tolist() == [1, 1, 2, 0, 0]


def test_the_graph_is_that_of_the_training_pairs():
    graph = interactions().graph
    x = torch.eye(9)
    dense = graph @ x
    assert torch.allclose(dense, dense.T)
    assert (dense[:4, 4:] > 0).nonzero().tolist() == [[0, 0], [0, 1], [1, 2], [2, 2]]
    assert dense[1, 6] == pytest.approx(1 / 2**0.5)


# ---- from a name to data ------------------------------------------------------------------------


class Toy(Dataset):
    def paths(self, root: Path) -> list[Path]:
        return [root / "toy.txt"]

    def read(self, root: Path) -> Raw:
        users, items = np.loadtxt(root / "toy.txt", dtype=np.int64, unpack=True)
        return Raw({"interactions": {"user": users, "item": items}})


class ToyData(SimpleNamespace):
    pass


class Pairs(Scenario):
    processed = 0

    def process(self, raw: Raw) -> Prepared:
        type(self).processed += 1
        return prepare_interactions(raw, self.config)

    def data(self, prepared: Prepared) -> Data:
        return ToyData(interactions=Interactions.of(prepared), meta=prepared.meta)


def write_toy(root: Path, rows: int = 60) -> None:
    (root / "toys" / "one").mkdir(parents=True, exist_ok=True)
    lines = [f"{100 + row % 7} {row * row % 23}" for row in range(rows)]
    (root / "toys" / "one" / "toy.txt").write_text("\n".join(lines))


def load(root, cache, **options):
    return load_data(Toy(Toy.Config()), Pairs(Pairs.Config(**options)), name="toys/one", root=root, cache=cache)


def test_loading_prepares_once_and_then_reads_the_cache(tmp_path):
    write_toy(tmp_path / "data")
    Pairs.processed = 0
    first = load(tmp_path / "data", tmp_path / "cache")
    second = load(tmp_path / "data", tmp_path / "cache")
    assert Pairs.processed == 1
    assert torch.equal(first.interactions.parts["train"].columns, second.interactions.parts["train"].columns)
    assert second.meta["dataset"] == "toys/one"
    assert first.interactions.users.raw([0]).tolist() == [100]
    load(tmp_path / "data", tmp_path / "cache", k_core=2)
    write_toy(tmp_path / "data", rows=61)
    load(tmp_path / "data", tmp_path / "cache")
    assert Pairs.processed == 3


def test_loaded_tensors_may_be_changed_without_harm_to_the_cache(tmp_path):
    write_toy(tmp_path / "data")
    first = load(tmp_path / "data", tmp_path / "cache").interactions.parts["train"].columns
    before = first.clone()
    first.zero_()
    assert torch.equal(load(tmp_path / "data", tmp_path / "cache").interactions.parts["train"].columns, before)


@pytest.mark.parametrize("ratios", [(0.5, 0.4), (1.0,), (0.0, 1.0), (0.5, 0.6, -0.1)])
def test_shares_must_make_sense(ratios):
    with pytest.raises(ValidationError, match=r"shares|add up"):
        Scenario.Config(ratios=ratios)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=80), st.integers(0, 3))
def test_preparing_loses_no_pair_and_counts_right(pairs, k):
    users, items = (np.array(column) for column in zip(*pairs, strict=True))
    raw = Raw({"interactions": {"user": users * 3 - 5, "item": items}})
    distinct = np.array(sorted(set(pairs)))
    if k > 1 and not len(k_core(distinct[:, 0], distinct[:, 1], k, 9, 9)):
        with pytest.raises(DataError, match="left to train on"):
            prepare_interactions(raw, Scenario.Config(k_core=k))
        return
    prepared = prepare_interactions(raw, Scenario.Config(k_core=k))
    data = Interactions.of(prepared)
    found = {
        (int(data.users.raw([u])[0]), int(data.items.raw([i])[0]))
        for part in data.parts.values()
        for u, i in pairs_of(part)
    }
    assert found <= {(u * 3 - 5, i) for u, i in pairs}
    if k <= 1:
        assert found == {(u * 3 - 5, i) for u, i in pairs}
    else:
        degrees = [[pair[side] for pair in found] for side in (0, 1)]
        assert all(side.count(one) >= k for side in degrees for one in side)
    assert prepared.meta["counts"]["interactions"] == len(found)
    assert sum(part.nnz for part in data.parts.values()) == len(found)
