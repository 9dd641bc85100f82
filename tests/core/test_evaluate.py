"""Ranked lists are exact, deterministic and never show what is hidden; full ranking equals a loop over users."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from sslrec_core import evaluate as engine
from sslrec_core.builtin.evaluators import FullRanking
from sslrec_core.data import Interactions, Queries
from sslrec_core.errors import DataError, TrainingError
from sslrec_core.evaluate import judging, rank, top
from sslrec_core.metrics import ACCURACY
from sslrec_core.model import Embeddings, Losses, Model
from sslrec_core.rows import Rows
from sslrec_core.vocabulary import Vocabulary

USERS, ITEMS = 9, 17


class World:
    """Interactions at random, none in two parts; user 0 has no training items, user 1 nothing to find."""

    def __init__(self, seed: int = 0) -> None:
        draw = torch.rand(USERS, ITEMS, generator=torch.Generator().manual_seed(seed))
        train, valid, test = (draw < 0.3), (draw >= 0.3) & (draw < 0.45), (draw >= 0.45) & (draw < 0.65)
        train[0], test[1], test[:, 3] = False, False, False
        self.masks = {"train": train, "valid": valid, "test": test}
        parts = {name: Rows.of(*mask.nonzero().T, USERS, ITEMS) for name, mask in self.masks.items()}
        self.users, self.items = Vocabulary.identity(USERS), Vocabulary.identity(ITEMS)
        self.interactions = Interactions(parts, self.users, self.items)
        self.n_users, self.n_items = USERS, ITEMS

    def queries(self, *args: Any, **options: Any) -> Any:
        return self.interactions.queries(*args, **options)


class Table(Model):
    """Scores as they are given."""

    def __init__(self, scores: Tensor, data: Any, vectors: Embeddings | None = None) -> None:
        super().__init__(Model.Config(), data)
        self.scores, self.vectors = scores, vectors
        self.dropout = nn.Dropout()

    def losses(self, batch: Any) -> Losses:
        return {}

    def embeddings(self) -> Embeddings | None:
        return self.vectors

    def scorer(self) -> Any:
        assert not self.training and not torch.is_grad_enabled()
        return lambda queries: self.scores[queries.users]


def coarse(seed: int, levels: int = 4) -> Tensor:
    """Scores of few levels, hence many ties."""
    return torch.randint(levels, (USERS, ITEMS), generator=torch.Generator().manual_seed(seed)).float()


def slow_list(scores: Tensor, seen: Tensor, k: int) -> list[int]:
    open_items = [item for item in range(ITEMS) if not seen[item]]
    return sorted(open_items, key=lambda item: (-scores[item].item(), item))[:k]


# ---- ranking --------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, ITEMS + 4))
def test_lists_are_those_of_a_sort_by_score_then_index(seed: int, levels: int, k: int) -> None:
    world, scores = World(seed), coarse(seed, levels)
    everyone = torch.arange(USERS)
    (queries,) = world.queries("test", USERS, users=everyone)
    before = scores.clone()
    items, values = rank(lambda q: scores, queries, k)
    assert items.shape == values.shape == (USERS, k)
    assert scores.equal(before), "what the scorer gave is as it was"
    seen = world.masks["train"] | world.masks["valid"]
    for user in range(USERS):
        expected = slow_list(scores[user], seen[user], k)
        rest = k - len(expected)
        assert items[user].tolist() == expected + [-1] * rest
        assert values[user].tolist() == [scores[user, item].item() for item in expected] + [-math.inf] * rest


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@given(seed=st.integers(0, 1000), k=st.integers(1, 30), minus=st.booleans())
def test_top_is_exact_for_every_type_and_with_infinities(dtype: torch.dtype, seed: int, k: int, minus: bool) -> None:
    scores = torch.randint(-2, 3, (7, 30), generator=torch.Generator().manual_seed(seed)).to(dtype)
    scores = scores.masked_fill(scores == -2, -math.inf) if minus else scores.masked_fill(scores == 2, math.inf)
    columns, values = top(scores, k)
    for row in range(7):
        expected = sorted(range(30), key=lambda column: (-scores[row, column].item(), column))[:k]
        finite = [column for column in expected if scores[row, column] > -math.inf]
        assert columns[row, : len(finite)].tolist() == finite
        assert values[row].tolist() == [scores[row, column].item() for column in expected]


def test_portions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world, scores = World(), coarse(1)
    (queries,) = world.queries("test", USERS)
    scorer = lambda q: scores[q.users]  # noqa: E731
    whole = rank(scorer, queries, 5)
    monkeypatch.setattr(engine, "MEMORY", {"cpu": 2 * ITEMS * engine.BYTES_PER_SCORE})
    sizes: list[int] = []

    def counting(q: Queries) -> Tensor:
        sizes.append(len(q))
        return scores[q.users]

    parts = rank(counting, queries, 5)
    assert max(sizes) == 2 and sum(sizes) == len(queries)
    assert all(a.equal(b) for a, b in zip(whole, parts, strict=True))


def test_one_row_shown_to_everyone_is_not_written_to() -> None:
    world = World()
    row = torch.arange(ITEMS).float()
    (queries,) = world.queries("test", USERS)
    items, _ = rank(lambda q: row.expand(len(q), -1), queries, 3)
    assert row.equal(torch.arange(ITEMS).float())
    assert not (world.masks["train"][queries.users].gather(1, items)).any()


def test_minus_infinity_is_never_recommended() -> None:
    (queries,) = World().queries("test", USERS)
    items, _ = rank(lambda q: torch.full((len(q), ITEMS), -math.inf), queries, 3)
    assert (items == -1).all()


def test_nan_stops_with_its_model_named() -> None:
    world, scores = World(), coarse(0)
    scores[4] = math.nan
    with pytest.raises(TrainingError, match="Table gives scores that are not numbers"):
        FullRanking(FullRanking.Config()).evaluate(Table(scores, world), world, "test")
    (queries,) = world.queries("test", USERS)
    with pytest.raises(TrainingError, match="NaN"):
        rank(lambda q: scores[q.users], queries, 3)


def test_judging_restores_each_modules_mode() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout())
    model[0].eval()
    with judging(model):
        assert not model.training and not torch.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), judging(model):
        raise ZeroDivisionError
    assert model.training and not model[0].training and model[1].training
    assert torch.is_grad_enabled()


# ---- full ranking ---------------------------------------------------------------------------------------------------


def slow_metrics(
    world: World, scores: Tensor, split: str, hide: str, k: int, group: Mapping[str, Any]
) -> dict[str, float]:
    """A loop over users and ranks, straight from the definitions."""
    sums = dict.fromkeys(ACCURACY, 0.0)
    users = 0
    for user in range(USERS):
        seen = world.masks["train"][user].clone()
        if split == "test" and hide == "train+valid":
            seen |= world.masks["valid"][user]
        wanted = {i for i in range(ITEMS) if world.masks[split][user, i] and group.get("item", lambda _: True)(i)}
        if not wanted or not group.get("user", lambda _: True)(user):
            continue
        users += 1
        hits = [item in wanted for item in slow_list(scores[user], seen, k)]
        ranks = [place + 1 for place, is_hit in enumerate(hits) if is_hit]
        sums["recall"] += len(ranks) / len(wanted)
        sums["precision"] += len(ranks) / k
        sums["hit"] += bool(ranks)
        sums["mrr"] += 1 / ranks[0] if ranks else 0
        sums["map"] += sum((n + 1) / rank for n, rank in enumerate(ranks)) / len(wanted)
        ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(wanted))))
        sums["ndcg"] += sum(1 / math.log2(rank + 1) for rank in ranks) / ideal
    return {name: value / users for name, value in sums.items()} if users else {}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("split", "hide"), [("valid", "train+valid"), ("test", "train+valid"), ("test", "train")])
def test_full_ranking_equals_a_loop_over_users_with_slices(seed: int, split: str, hide: str) -> None:
    world, scores = World(seed), coarse(seed)
    config = FullRanking.Config(at=(3, 7), hide=hide, batch=4, slices=True, history=(3, 5))
    got = FullRanking(config).evaluate(Table(scores, world), world, split)
    history, popularity = world.masks["train"].sum(1).tolist(), world.masks["train"].sum(0)
    order = popularity.sort(descending=True, stable=True).indices.tolist()
    before = {item: popularity[order[:place]].sum().item() for place, item in enumerate(order)}
    total = popularity.sum().item()
    upper = {i for i in range(ITEMS) if before[i] < 0.8 * total and popularity[i] > 0}
    head = {i for i in upper if before[i] < 0.5 * total}
    groups: dict[str, Mapping[str, Any]] = {
        "": {},
        "/users:0": {"user": lambda u: history[u] == 0},
        "/users:1-3": {"user": lambda u: 1 <= history[u] <= 3},
        "/users:4-5": {"user": lambda u: 4 <= history[u] <= 5},
        "/users:6+": {"user": lambda u: history[u] >= 6},
        "/items:head": {"item": lambda i: i in head},
        "/items:torso": {"item": lambda i: i in upper - head},
        "/items:tail": {"item": lambda i: i not in upper},
        "/items:cold": {"item": lambda i: popularity[i] == 0},
    }
    expected = {
        f"{name}@{k}{suffix}": value
        for k in (3, 7)
        for suffix, group in groups.items()
        for name, value in slow_metrics(world, scores, split, hide, k, group).items()
    }
    accuracy = {key: value for key, value in got.items() if key.partition("@")[0] in ACCURACY}
    assert accuracy.keys() == expected.keys() and len(expected) > 30
    for key, value in expected.items():
        assert accuracy[key] == pytest.approx(value, abs=1e-6), key


def test_describing_the_lists_as_a_whole() -> None:
    world = World(3)
    popular = world.interactions.item_counts.float()
    got = FullRanking(FullRanking.Config(at=(2,))).evaluate(Table(popular.expand(USERS, -1), world), world, "test")
    askers = world.masks["test"].any(1)
    seen = world.masks["train"] | world.masks["valid"]
    lists = [slow_list(popular, seen[user], 2) for user in range(USERS) if askers[user]]
    shown = [item for row in lists for item in row]
    assert got["coverage@2"] == pytest.approx(len(set(shown)) / ITEMS)
    assert got["popularity@2"] == pytest.approx(sum(popular[item].item() for item in shown) / len(shown))
    times = sorted(shown.count(item) for item in range(ITEMS))
    spread = sum(abs(a - b) for a in times for b in times) / (2 * ITEMS * sum(times))
    assert got["gini@2"] == pytest.approx(spread)
    assert 0 <= got["tail@2"] <= 1


def test_names_are_the_keys_of_a_plain_evaluation() -> None:
    world = World()
    evaluator = FullRanking(FullRanking.Config(metrics=("ndcg", "coverage"), at=(5, 2)))
    assert evaluator.names() == ["ndcg@5", "coverage@5", "ndcg@2", "coverage@2"]
    assert set(evaluator.evaluate(Table(coarse(0), world), world, "test")) == set(evaluator.names())


def test_values_user_by_user_have_the_means_as_their_mean() -> None:
    world = World(5)
    evaluator = FullRanking(FullRanking.Config(at=(4,), batch=2))
    model = Table(coarse(5), world)
    means, users = evaluator.evaluate(model, world, "test"), evaluator.evaluate_users(model, world, "test")
    assert users.pop("users").tolist() == world.masks["test"].any(1).nonzero().squeeze(1).tolist()
    assert set(users) == {f"{name}@4" for name in ACCURACY}
    for name, values in users.items():
        assert values.mean().item() == pytest.approx(means[name], abs=1e-6)


def test_history_groups_default_to_quartiles() -> None:
    world = World(2)
    got = FullRanking(FullRanking.Config(metrics=("recall",), at=(3,), slices=True)).evaluate(
        Table(coarse(2), world), world, "test"
    )
    history = world.masks["train"].sum(1)
    lengths = sorted(history[history > 0].tolist())
    bounds = sorted({lengths[int(share * (len(lengths) - 1))] for share in (0.25, 0.5, 0.75)})
    names = {key.partition("/")[2] for key in got if "/users:" in key}
    spans = zip([1, *(bound + 1 for bound in bounds)], bounds, strict=False)
    possible = {f"users:{a}-{b}" if a != b else f"users:{a}" for a, b in spans}
    assert len(names) >= 2 and names <= possible | {"users:0", f"users:{bounds[-1] + 1}+"}


def test_a_part_without_anything_to_find_is_an_error() -> None:
    world = World()
    world.interactions.parts["test"] = Rows.empty(USERS, ITEMS)
    evaluator = FullRanking(FullRanking.Config())
    for measure in (evaluator.evaluate, evaluator.evaluate_users):
        with pytest.raises(DataError, match="nobody has anything to find in the test part"):
            measure(Table(coarse(0), world), world, "test")


def test_diagnostics_describe_the_vectors_of_a_model_that_has_some() -> None:
    world = World()
    users, items = torch.randn(USERS, 3), torch.randn(ITEMS, 3)
    config = FullRanking.Config(metrics=("recall",), at=(3,), diagnostics=True)
    got = FullRanking(config).evaluate(Table(coarse(0), world, Embeddings(users, items)), world, "test")
    u, i = nn.functional.normalize(users, dim=1), nn.functional.normalize(items, dim=1)
    pairs = world.masks["train"].nonzero()
    assert got["alignment"] == pytest.approx((u[pairs[:, 0]] - i[pairs[:, 1]]).square().sum(1).mean().item(), abs=1e-5)
    one = nn.functional.pdist(u).square().mul(-2).exp().mean().log().item()
    assert got["uniformity/users"] == pytest.approx(one, abs=1e-4)
    assert got["uniformity"] == pytest.approx((got["uniformity/users"] + got["uniformity/items"]) / 2, abs=1e-5)
    assert "alignment" not in FullRanking(config).evaluate(Table(coarse(0), world), world, "test")


@pytest.mark.parametrize(
    "wrong",
    [{"at": ()}, {"at": (0,)}, {"metrics": ("auc",)}, {"history": (5, 5)}, {"head": 0.9, "tail": 0.8}, {"sample": 1}],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FullRanking.Config(**wrong)
