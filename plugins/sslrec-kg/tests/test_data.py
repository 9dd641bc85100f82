"""Numbering triples, the scenario, and batches of triples with corrupted tails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sslrec_core.data import Raw
from sslrec_core.errors import DataError
from sslrec_core.testing import ScenarioContract
from sslrec_kg.data import KG, KGData
from sslrec_kg.numbering import distinct
from sslrec_kg.triples import TripleBatches, Triples, at_most

USERS, ITEMS = [0, 0, 0, 1, 1, 1, 2, 2], [0, 1, 2, 1, 2, 3, 3, 0]
TRIPLES = [(0, 0, 4), (1, 0, 4), (1, 1, 5), (5, 0, 2), (3, 1, 3)]


def raw(triples: Any = TRIPLES, **more: Any) -> Raw:
    interactions = {"user": np.array(USERS), "item": np.array(ITEMS)}
    columns = np.array(triples, int).reshape(-1, 3).T
    tables = {"interactions": interactions, "triples": dict(zip(("head", "relation", "tail"), columns, strict=True))}
    return Raw({**tables, **more.pop("tables", {})}, **{"identity_ids": True, **more})


def data_of(given: Raw, **options: Any) -> KGData:
    scenario = KG(KG.Config(ratios=(0.7, 0.3), **options))
    return scenario.data(scenario.process(given))


def edges(data: KGData) -> set[tuple[int, int, int]]:
    return {tuple(row) for row in torch.stack([data.kg.target, data.relation, data.kg.source], 1).tolist()}


# ---- the scenario


class TestKG(ScenarioContract):
    scenario = "kg"
    variants = (*ScenarioContract.variants, {"triples_per_head": 1}, {"kg_holdout": 0.3})


def test_edges_go_from_tails_into_heads_and_know_their_relation() -> None:
    data = data_of(raw(), inverse=False)
    assert edges(data) == set(TRIPLES)
    assert (data.n_entities, data.n_relations, data.n_items) == (6, 2, 4)


def test_inverse_relations_have_ids_of_their_own() -> None:
    data = data_of(raw())
    assert edges(data) == set(TRIPLES) | {(t, r + 2, h) for h, r, t in TRIPLES}
    assert data.n_relations == 4


def test_declared_sizes_widen_the_ranges() -> None:
    data = data_of(raw(sizes={"entity": 9, "relation": 3}))
    assert (data.n_entities, data.n_relations) == (9, 6)


def test_repeated_triples_are_dropped_and_counted() -> None:
    scenario = KG(KG.Config(ratios=(0.7, 0.3)))
    prepared = scenario.process(raw([*TRIPLES, *TRIPLES[:2]]))
    assert "2 repeated triples dropped" in prepared.meta["notes"]
    assert prepared.meta["counts"]["triples"] == 2 * len(TRIPLES)


def test_items_without_triples_are_counted() -> None:
    prepared = KG(KG.Config(ratios=(0.7, 0.3))).process(raw([(0, 0, 4), (1, 0, 4)]))
    assert "2 of 4 items have no triple" in prepared.meta["notes"]


def test_text_ids_share_items_and_entities() -> None:
    tables = {
        "interactions": {"user": np.array(["u", "u", "u", "v", "v"]), "item": np.array(["b", "a", "c", "a", "b"])},
        "triples": {
            "head": np.array(["a", "jazz"]),
            "relation": np.array(["genre", "part of"]),
            "tail": np.array(["jazz", "music"]),
        },
    }
    data = data_of(Raw(tables), inverse=False)
    assert edges(data) == {(0, 0, 3), (3, 1, 4)}
    assert data.items.raw([0, 1, 2]).tolist() == ["a", "b", "c"]


def test_links_say_which_entity_an_item_is() -> None:
    links = {"item": np.array([0, 1, 3, 3]), "entity": np.array([70, 71, 72, 73])}
    triples = [(70, 5, 90), (71, 5, 90), (73, 6, 72), (90, 6, 91)]
    data = data_of(raw(triples, tables={"links": links}, identity_ids=False), inverse=False)
    assert edges(data) == {(0, 0, 4), (1, 0, 4), (3, 1, 3), (4, 1, 5)}
    assert data.n_entities == 6


def test_an_entity_shared_by_items_stays_with_the_first() -> None:
    links = {"item": np.array([0, 1]), "entity": np.array([70, 70])}
    prepared = KG(KG.Config(ratios=(0.7, 0.3))).process(raw([(70, 0, 90)], tables={"links": links}, identity_ids=False))
    assert prepared.arrays["kg.heads"].tolist() == [0, 4]
    assert any("1 items share their entity" in note for note in prepared.meta["notes"])


def test_links_that_lead_nowhere_are_counted() -> None:
    links = {"item": np.array([0, 1, 77, 2]), "entity": np.array([70, 71, 72, 99])}
    given = raw([(70, 5, 90), (71, 5, 90)], tables={"links": links}, identity_ids=False)
    notes = KG(KG.Config(ratios=(0.7, 0.3))).process(given).meta["notes"]
    assert "1 links of items without interactions not used" in notes
    assert "2 links to entities that no triple mentions" in notes
    assert "2 of 4 items have no triple" in notes


def test_links_that_fit_nothing_are_refused() -> None:
    links = {"item": np.array([0, 1]), "entity": np.array([4, 5])}
    given = raw([(70, 5, 90)], tables={"links": links}, identity_ids=False)
    with pytest.raises(DataError, match="mentions no item") as caught:
        KG(KG.Config(ratios=(0.7, 0.3))).process(given)
    assert "check the links between items and entities" in str(caught.value)


def test_filtered_items_stay_as_entities() -> None:
    table = {"user": np.array([0, 0, 1, 1, 1]), "item": np.array([1, 2, 1, 2, 0])}
    given = raw(tables={"interactions": table})
    data = data_of(given, k_core=2, inverse=False)
    assert data.n_items == 2  # items 1 and 2; item 0 and 3 are entities now
    assert data.items.raw([0, 1]).tolist() == [1, 2]
    assert len(edges(data)) == len(TRIPLES)
    assert (0, 0, 4) in edges(data)  # (1, 0, 4): others 0, 3, 4, 5 became 2, 3, 4, 5


def test_a_cap_thins_each_head_the_same_way_on_each_machine() -> None:
    triples = [(h, 0, t) for h in range(4) for t in range(4, 12)]
    once, again = (data_of(raw(triples), triples_per_head=3) for _ in range(2))
    assert edges(once) == edges(again)
    assert torch.bincount(once.kg.target).max() == 3
    assert edges(once) != edges(data_of(raw(triples), triples_per_head=3, seed=1))


def test_held_out_triples_are_gone_in_both_directions() -> None:
    triples = [(h, h % 2, t) for h in range(4) for t in range(4, 12)]
    scenario = KG(KG.Config(ratios=(0.7, 0.3), kg_holdout=0.3))
    prepared = scenario.process(raw(triples))
    data = scenario.data(prepared)
    assert data.held_out is not None
    asked = set(
        zip(data.held_out.heads.tolist(), data.held_out.relations.tolist(), data.held_out.tails.tolist(), strict=True)
    )
    assert asked == {(t, (r + 2) % 4, h) for h, r, t in asked}
    assert not asked & edges(data)
    assert asked | edges(data) == {*triples, *((t, r + 2, h) for h, r, t in triples)}
    n = len(asked) // 2
    assert 0 < n < 20
    assert f"{n} of 32 triples held out for link prediction" in prepared.meta["notes"]
    assert prepared.meta["counts"]["held-out triples"] == len(asked)
    assert edges(data_of(raw(triples), kg_holdout=0.3)) == edges(data)
    assert edges(data_of(raw(triples), kg_holdout=0.3, seed=1)) != edges(data)


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(DataError, match=r"a share of 0\.01 divides 5 triples badly"):
        data_of(raw(), kg_holdout=0.01)


def test_paths_are_triples_by_pairs() -> None:
    data = data_of(raw())
    tails, relations, heads = data.paths
    pairs = list(zip(tails.source.tolist(), relations.source.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) == len(tails.target)
    found = {(h, pairs[p][1], pairs[p][0]) for h, p in zip(heads.target.tolist(), heads.source.tolist(), strict=True)}
    assert found == edges(data)
    sums = heads.dense().sum(1)
    torch.testing.assert_close(sums, (sums > 0).float())


def test_moving_keeps_everything() -> None:
    data = data_of(raw(), kg_holdout=0.3).to("cpu")
    assert data.held_out is not None
    assert edges(data) == edges(data_of(raw(), kg_holdout=0.3))
    assert data.graph.shape == (7, 7)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (raw([]), "the knowledge graph is empty"),
        (Raw({"interactions": raw().tables["interactions"]}, identity_ids=True), "there is no knowledge graph"),
        (raw([(10, 0, 11), (11, 0, 12)]), "mentions no item"),
        (raw([(0, 0, 4), (0, 0, -4)]), "triple 2 has the tail -4"),
        (raw([(0, -1, 4)]), "triple 1 has the relation -1"),
        (raw([(0, 0, 4), (1, 0, 9_999_999)]), "the entity ids of the triples run up to 9,999,999, but only 4 of them"),
        (raw([(0, 0, 4), (1, 777_777, 5)]), "the relation ids of the triples run up to 777,777, but only 2 of them"),
    ],
)
def test_bad_graphs_are_refused(given: Raw, words: str) -> None:
    with pytest.raises(DataError, match=words):
        KG(KG.Config(ratios=(0.7, 0.3))).process(given)


def test_sorting_is_the_same_for_graphs_too_large_for_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).integers(0, 6, (300, 3)).T
    fast = distinct((rows[0], rows[1], rows[2]), 6, 6)
    monkeypatch.setattr("sslrec_kg.numbering.LARGEST", 0)
    slow = distinct((rows[0], rows[1], rows[2]), 6, 6)
    assert np.array_equal(fast, slow)
    assert np.array_equal(fast, np.unique(rows, axis=1))


# ---- triple batches


def triples_of(rows: list[tuple[int, int, int]], n_entities: int) -> Triples:
    heads, relations, tails = torch.tensor(sorted(set(rows))).unbind(1)
    return Triples(heads, relations, tails, n_entities)


some_triples = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(rows=some_triples, size=st.integers(1, 7), draw=st.sampled_from(["heads", "triples"]), seed=st.integers(0, 99))
def test_corrupted_tails_are_never_known(rows: Any, size: int, draw: Any, seed: int) -> None:
    known = set(rows)
    triples = triples_of(rows, 6)
    batches = TripleBatches(triples, size, draw, torch.Generator().manual_seed(seed))
    drawn = list(batches)
    assert len(drawn) == len(batches)
    true = [tuple(row) for batch in drawn for row in torch.stack(batch[:3], 1).tolist()]
    false = [row for batch in drawn for row in torch.stack([batch.heads, batch.relations, batch.corrupted], 1).tolist()]
    full = {(h, r) for h, r, _ in known if all((h, r, t) in known for t in range(6))}
    usable = {row for row in known if row[:2] not in full}
    assert set(true) <= usable
    assert not {tuple(row) for row in false} & known
    assert all(0 <= row[2] < 6 for row in false)
    if draw == "triples":
        assert sorted(true) == sorted(usable)
    else:
        assert sorted(row[0] for row in true) == sorted({row[0] for row in usable})


def test_corrupted_tails_are_spread_evenly() -> None:
    triples = triples_of([(0, 0, 1), (0, 0, 4), (0, 1, 0)], 6)
    index = torch.zeros(60_000, dtype=torch.long)
    corrupted = triples.batch(index, torch.Generator().manual_seed(0)).corrupted
    shares = torch.bincount(corrupted, minlength=6) / len(index)
    assert torch.allclose(shares, torch.tensor([0.25, 0.0, 0.25, 0.25, 0.0, 0.25]), atol=0.01)


def test_processes_share_an_epoch() -> None:
    triples = triples_of([(h, 0, 9) for h in range(9)], 10)
    seeded = torch.Generator().manual_seed
    parts = [list(TripleBatches(triples, 3, generator=seeded(0), rank=rank, world=2)) for rank in (0, 1)]
    heads = [torch.cat([batch.heads for batch in part]) for part in parts]
    assert [len(part) for part in heads] == [4, 4]
    assert len(torch.cat(heads).unique()) == 8


# ---- thinning


@settings(max_examples=40, deadline=None)
@given(targets=st.lists(st.integers(0, 6), max_size=50), limit=st.integers(1, 5), seed=st.integers(0, 9))
def test_at_most_so_many_edges_per_target(targets: list[int], limit: int, seed: int) -> None:
    target = torch.tensor(sorted(targets), dtype=torch.long)
    mask = at_most(target, limit, torch.Generator().manual_seed(seed))
    assert torch.equal(_count(target[mask]), _count(target).clamp(max=limit))


def test_every_edge_has_the_same_chance() -> None:
    target = torch.tensor([0, 0, 0, 0, 1, 1])
    generator = torch.Generator().manual_seed(0)
    kept = sum(at_most(target, 1, generator).double() for _ in range(4000)) / 4000
    assert torch.allclose(kept, torch.tensor([0.25] * 4 + [0.5] * 2, dtype=torch.double), atol=0.03)


def _count(target: Tensor) -> Tensor:
    return torch.bincount(target, minlength=7)
