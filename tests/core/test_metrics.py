"""Measures against worked examples, a slow second opinion, and trec_eval."""

from __future__ import annotations

import math

import ir_measures
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG
from torch import Tensor
from torch.nn import functional as F

from sslrec_core import metrics
from sslrec_core.evaluate import best_unseen, found
from sslrec_core.rows import Rows

LOG = [1 / math.log2(rank + 2) for rank in range(10)]


def one(name: str, hits: list[int], relevant: int) -> float:
    return metrics.ACCURACY[name](torch.tensor([hits], dtype=torch.bool), torch.tensor([relevant])).item()


@pytest.mark.parametrize(
    ("name", "hits", "relevant", "value"),
    [
        ("recall", [0, 1, 0, 1], 3, 2 / 3),
        ("recall", [0, 0, 0, 0], 3, 0.0),
        ("precision", [0, 1, 0, 1], 3, 0.5),
        ("precision", [1, 0, 0, 0], 1, 0.25),
        ("hit", [0, 1, 0, 1], 3, 1.0),
        ("hit", [0, 0, 0, 0], 1, 0.0),
        ("mrr", [0, 1, 0, 1], 3, 0.5),
        ("mrr", [0, 0, 0, 0], 3, 0.0),
        ("ndcg", [0, 1, 0, 1], 3, (LOG[1] + LOG[3]) / (LOG[0] + LOG[1] + LOG[2])),
        ("ndcg", [1, 1, 1, 1], 9, 1.0),
        ("map", [0, 1, 0, 1], 3, (1 / 2 + 2 / 4) / 3),
        ("map", [1, 1, 1, 1], 8, 4 / 8),
    ],
)
def test_worked_examples(name: str, hits: list[int], relevant: int, value: float) -> None:
    assert one(name, hits, relevant) == pytest.approx(value, abs=1e-6)


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 5))
def test_measures_stay_in_the_unit_interval_and_grow_with_a_hit_moved_up(hits: list[bool], missed: int) -> None:
    relevant = max(1, sum(hits) + missed)
    best = sorted(hits, reverse=True)
    for name in metrics.ACCURACY:
        value = one(name, hits, relevant)
        assert 0 <= value <= 1 + 1e-6
        assert value <= one(name, best, relevant) + 1e-6


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_measures_equal_trec_eval_ties_included(seed: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    n_users, n_items = 6, 23
    scores = torch.randint(levels, (n_users, n_items), generator=generator).float()
    seen = Rows.of(*(torch.rand(n_users, n_items, generator=generator) < 0.1).nonzero().T, n_users, n_items)
    wanted = torch.rand(n_users, n_items, generator=generator) < 0.2
    wanted[:, seed % n_items] = True
    truth = Rows.of(*wanted.nonzero().T, n_users, n_items)

    # trec_eval orders equal scores by falling document name: names that fall as the item's index rises give our order.
    names = [f"{n_items - item:04d}" for item in range(n_items)]
    qrels = [
        ir_measures.Qrel(str(user), names[item], 1)
        for user, item in zip(truth.row_index.tolist(), truth.columns.tolist(), strict=True)
    ]
    hidden = set(zip(seen.row_index.tolist(), seen.columns.tolist(), strict=True))
    run = [
        ir_measures.ScoredDoc(str(user), names[item], scores[user, item].item())
        for user in range(n_users)
        for item in range(n_items)
        if (user, item) not in hidden
    ]
    for k in (1, 5, 10, n_items):
        theirs = {"recall": R @ k, "ndcg": nDCG @ k, "precision": P @ k, "hit": Success @ k, "map": AP @ k}
        pairs = {measure: name for name, measure in theirs.items()}
        # RR has no cut-off in this provider: a list cut by hand has none to miss.
        items, _ = best_unseen(scores, seen, k)
        cut = [doc for doc in run if int(names.index(doc.doc_id)) in items[int(doc.query_id)].tolist()]
        trec = ir_measures.pytrec_eval
        expected = {(v.query_id, pairs[v.measure]): v.value for v in trec.iter_calc(pairs, qrels, run)}
        expected |= {(v.query_id, "mrr"): v.value for v in trec.iter_calc([RR], qrels, cut)}
        hits = found(items, truth)
        assert len(expected) == 6 * n_users
        for name, measure in metrics.ACCURACY.items():
            ours = measure(hits, truth.counts)
            for user in range(n_users):
                assert ours[user].item() == pytest.approx(expected[str(user), name], abs=1e-6), (name, k, user)


def counts(*values: int) -> Tensor:
    return torch.tensor(values)


def test_catalogue_measures() -> None:
    assert metrics.coverage(counts(0, 3, 1, 0)) == 0.5
    assert metrics.gini(counts(2, 2, 2, 2)) == pytest.approx(0)
    assert metrics.gini(counts(0, 0, 0, 8)) == pytest.approx(3 / 4)
    # Mean absolute difference over all 9 ordered pairs is 8/9, the mean is 1: half their ratio.
    assert metrics.gini(counts(0, 1, 2)) == pytest.approx(4 / 9)
    assert metrics.average_popularity(counts(1, 3, 0), counts(10, 2, 99)) == pytest.approx(16 / 4)
    assert metrics.tail_share(counts(1, 3, 0), torch.tensor([False, True, True])) == pytest.approx(3 / 4)


def test_catalogue_measures_of_no_recommendation_at_all() -> None:
    nothing = counts(0, 0)
    assert metrics.coverage(nothing) == metrics.gini(nothing) == metrics.average_popularity(nothing, counts(1, 2)) == 0


def test_leading_items_are_the_fewest_that_hold_the_share() -> None:
    popularity = counts(1, 5, 0, 3, 1)
    assert metrics.leading(popularity, 0.5).tolist() == [False, True, False, False, False]
    assert metrics.leading(popularity, 0.8).tolist() == [False, True, False, True, False]
    assert metrics.leading(popularity, 0.9).tolist() == [True, True, False, True, False], "of equal ones the first"
    assert metrics.leading(popularity, 1.0).tolist() == [True, True, False, True, True], "no item that nobody has"


def test_alignment_is_the_squared_distance_on_the_sphere() -> None:
    a, b = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[5.0, 0.0], [1.0, 0.0]])
    assert metrics.alignment(a, b).item() == pytest.approx((0 + 2) / 2)


@given(st.integers(2, 30), st.integers(1, 12), st.integers(0, 1000))
def test_uniformity_is_the_log_mean_kernel_of_distinct_pairs(n: int, chunk: int, seed: int) -> None:
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    expected = F.pdist(F.normalize(x, dim=1).double()).square().mul(-2).exp().mean().log()
    assert metrics.uniformity(x, chunk).item() == pytest.approx(expected.item(), abs=1e-5)
