"""Closed forms against dense arithmetic, and figures that others have published."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sslrec_core import memory
from sslrec_core.builtin.baselines import EASE, ClosedForm, ItemKNN, Popularity, RP3beta
from sslrec_core.builtin.evaluators import FullRanking
from sslrec_core.builtin.neighbours import strongest, weighted
from sslrec_core.data import Interactions
from sslrec_core.errors import DeviceError, TrainingError
from sslrec_core.loop import Loop
from sslrec_core.rows import Rows
from sslrec_core.settings import OptimConfig, TrainConfig
from sslrec_core.vocabulary import Vocabulary

BASELINES = (Popularity, ItemKNN, RP3beta, EASE)
USERS, ITEMS = 40, 25


class World:
    def __init__(self, parts: dict[str, Rows], n_users: int, n_items: int) -> None:
        self.users, self.items = Vocabulary.identity(n_users), Vocabulary.identity(n_items)
        self.interactions = Interactions(parts, self.users, self.items)
        self.n_users, self.n_items = n_users, n_items

    def queries(self, *args: Any, **options: Any) -> Any:
        return self.interactions.queries(*args, **options)


def world() -> World:
    """Random interactions; item 0 has none in training, user 0 no items, user 1 one."""
    draw = torch.rand(USERS, ITEMS, generator=torch.Generator().manual_seed(7))
    popular = torch.linspace(0.1, 0.5, ITEMS)
    train, valid, test = draw < popular, (draw >= popular) & (draw < popular + 0.1), draw > 0.93
    train[:, 0], train[0], train[1] = False, False, torch.arange(ITEMS) == 5
    parts = {"train": train, "valid": valid, "test": test}
    return World({name: Rows.of(*mask.nonzero().T, USERS, ITEMS) for name, mask in parts.items()}, USERS, ITEMS)


def fitted(kind: type[ClosedForm], data: Any, **options: Any) -> ClosedForm:
    """As the loop does it."""
    model = kind(kind.Config(**options), data)
    loop = Loop(model, TrainConfig(), OptimConfig(), torch.device("cpu"))
    for stage in model.stages(5):
        assert stage.epochs == 1 and not stage.judged
        stage.epoch(loop)
    return model


def scores(model: ClosedForm, data: World) -> Tensor:
    (queries,) = data.queries("test", data.n_users, users=torch.arange(data.n_users))
    return model.scorer()(queries)


def dense(data: World, *parts: str) -> Tensor:
    return torch.from_numpy(data.interactions.together(*(parts or ("train",))).to_scipy().toarray()).double()


def keep_largest(matrix: Tensor, k: int) -> Tensor:
    """The k largest positive values of each row, equal ones by lowest column."""
    kept = torch.zeros_like(matrix)
    for row in range(len(matrix)):
        best = sorted(range(matrix.shape[1]), key=lambda column: (-matrix[row, column].item(), column))[:k]
        kept[row, best] = matrix[row, best]
    return kept.clamp(min=0)


@pytest.mark.parametrize("kind", BASELINES)
def test_scores_have_the_right_shape_and_nothing_odd(kind: type[ClosedForm]) -> None:
    data = world()
    values = scores(fitted(kind, data), data)
    assert values.shape == (USERS, ITEMS) and values.dtype == torch.float32 and values.isfinite().all()
    metrics = FullRanking(FullRanking.Config()).evaluate(fitted(kind, data), data, "test")
    assert 0 < metrics["recall@20"] <= 1


def test_popularity_counts() -> None:
    data = world()
    assert scores(fitted(Popularity, data), data)[3].tolist() == dense(data).sum(0).tolist()


@pytest.mark.parametrize("kind", BASELINES)
def test_fit_on_decides_what_is_read(kind: type[ClosedForm]) -> None:
    data = world()
    both = World({"train": data.interactions.together("train", "valid")}, USERS, ITEMS)
    assert scores(fitted(kind, data, fit_on="train+valid"), data).allclose(scores(fitted(kind, both), both))
    less = World({"train": data.interactions.parts["train"]}, USERS, ITEMS)
    assert scores(fitted(kind, data), data).equal(scores(fitted(kind, less), less)), "valid and test are not read"


@pytest.mark.parametrize("kind", BASELINES)
def test_weights_restored_into_a_fresh_model_score_alike(kind: type[ClosedForm]) -> None:
    data = world()
    model, fresh = fitted(kind, data), kind(kind.Config(), data)
    with pytest.raises(TrainingError, match="has not been fitted"):
        fresh.scorer()
    fresh.load_weights(model.state_dict())
    assert scores(fresh, data).equal(scores(model, data))


def test_ease_is_the_constrained_ridge_regression() -> None:
    data = world()
    x = dense(data)
    weights = torch.zeros(ITEMS, ITEMS, dtype=torch.float64)
    for item in range(ITEMS):
        others = [other for other in range(ITEMS) if other != item]
        a = x[:, others]
        ridge = a.T @ a + 3.0 * torch.eye(len(others), dtype=torch.float64)
        weights[others, item] = torch.linalg.solve(ridge, a.T @ x[:, item])
    assert scores(fitted(EASE, data, l2=3.0), data).double().allclose(x @ weights, atol=1e-5)


def test_ease_has_coefficients_only_between_items_that_someone_has() -> None:
    data = world()
    model = fitted(EASE, data)
    assert model.known.tolist() == list(range(1, ITEMS)) and model.weights.shape == (ITEMS, ITEMS - 1)
    alone, beside = (model.fold_in(torch.tensor(items), torch.tensor([len(items)])) for items in ([3, 7], [0, 3, 7]))
    assert alone.equal(beside) and alone[0, 0] == 0 and alone[0, 1:].all()


@pytest.mark.parametrize("kind", ["cosine", "asymmetric", "jaccard", "dice", "overlap"])
def test_item_knn_sums_the_nearest_neighbours(kind: str) -> None:
    data = world()
    x = dense(data)
    common, size = x.T @ x, x.sum(0)
    own, other = size[:, None], size[None]
    below = {
        "cosine": (own * other).sqrt() + 2,
        "asymmetric": own**0.3 * other**0.7 + 2,
        "jaccard": own + other - common + 2,
        "dice": (own + other) / 2 + 2,
        "overlap": torch.ones(ITEMS, ITEMS, dtype=torch.float64),
    }[kind]
    similarity = (common / below).fill_diagonal_(0)
    expected = x @ keep_largest(similarity, 4).T
    model = fitted(ItemKNN, data, neighbours=4, shrink=2.0, similarity=kind, alpha=0.3)
    assert scores(model, data).double().allclose(expected, atol=1e-5)


def test_without_shrink_an_item_nobody_has_is_like_no_other() -> None:
    data = world()
    for kind in ("cosine", "jaccard", "dice"):
        assert (scores(fitted(ItemKNN, data, shrink=0.0, similarity=kind), data)[:, 0] == 0).all()


@pytest.mark.parametrize("how", ["tf-idf", "bm25"])
def test_weighting_makes_busy_users_count_less(how: Any) -> None:
    matrix = world().interactions.parts["train"].to_scipy()
    x = torch.from_numpy(matrix.toarray()).double()
    expected = x * (torch.tensor(ITEMS + 1.0).double() / (x.sum(1, keepdim=True) + 1)).log()
    if how == "bm25":
        length = 0.25 + 0.75 * x.sum(0) / x.sum(0).mean()
        expected = expected * 2.2 / (1.2 * length + 1)
    np.testing.assert_allclose(weighted(matrix, how).toarray(), expected.numpy(), rtol=1e-5)


@pytest.mark.parametrize("normalise", [False, True])
def test_rp3beta_walks_three_steps(normalise: bool) -> None:
    data = world()
    x = dense(data)
    to_items, to_users = (side / side.sum(1, keepdim=True).clamp(min=1) for side in (x, x.T))
    chance = to_users**0.8 @ to_items**0.8 / x.sum(0).clamp(min=1) ** 0.4
    kept = keep_largest(chance.fill_diagonal_(0).T, 5).T
    if normalise:
        kept = kept / kept.sum(1, keepdim=True).clamp(min=1e-12)
    model = fitted(RP3beta, data, alpha=0.8, beta=0.4, neighbours=5, normalise=normalise)
    assert scores(model, data).double().allclose(x @ kept, atol=1e-5)


def test_portions_of_similarities_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = world().interactions.parts["train"].to_scipy()
    whole = strongest(matrix.T.tocsr(), matrix, lambda common, part: common, 3)
    monkeypatch.setattr("sslrec_core.builtin.neighbours.portion", lambda n, device: 4)
    parts = strongest(matrix.T.tocsr(), matrix, lambda common, part: common, 3)
    np.testing.assert_array_equal(whole.toarray(), parts.toarray())
    assert whole.diagonal().sum() == 0 and np.diff(whole.indptr).max() == 3


def test_too_many_items_for_ease_is_said_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 2 * memory.GIB)
    everything = torch.arange(20_000)
    wide = World({"train": Rows.of(everything % 3, everything, 3, 20_000)}, 3, 20_000)
    monkeypatch.setattr(EASE, "_gram", lambda *_: pytest.fail("began to allocate"))
    with pytest.raises(DeviceError, match=r"EASE on 20000 items needs 4\.5 GiB, and cpu has 2\.0 GiB") as caught:
        fitted(EASE, wide)
    assert caught.value.facts == ("3 matrices x 20000² weights x 4 bytes = 4.5 GiB",)


def test_this_machine_tells_how_much_memory_it_has() -> None:
    free = memory.available(torch.device("cpu"))
    assert free is None or free > memory.GIB // 8


# ---- published figures ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def movies() -> World:
    """MovieLens-1M as split by the authors of RGCF."""
    root = os.environ.get("SSLREC_DATA")
    folder = Path(root, "cf", "ml-1m-rgcf") if root else None
    if folder is None or not folder.is_dir():
        pytest.skip("needs SSLREC_DATA with cf/ml-1m-rgcf")
    parts = {}
    for name in ("train", "valid", "test"):
        lines = [list(map(int, line.split())) for line in (folder / f"{name}.txt").read_text().splitlines()]
        users = torch.tensor([user for user, *items in lines for _ in items])
        items = torch.tensor([item for _, *items in lines for item in items])
        parts[name] = Rows.of(users, items, 6040, 3883)
    return World(parts, 6040, 3883)


@pytest.mark.parametrize(
    ("kind", "options", "published"),
    [
        (Popularity, {}, (0.0773, 0.1213)),
        (EASE, {"l2": 1000.0}, (0.2142, 0.3026)),
    ],
)
def test_published_figures(movies: World, kind: type[ClosedForm], options: Any, published: tuple[float, float]) -> None:
    """Recall and ndcg at 10, fitted on training and validation, both hidden.

    Popularity as in arXiv 2503.07823, table 17; EASE as an independent check with this weight had it: above its
    .2128 and .3015, for which no weight is given.
    """
    model = fitted(kind, movies, fit_on="train+valid", **options)
    got = FullRanking(FullRanking.Config(metrics=("recall", "ndcg"), at=(10,))).evaluate(model, movies, "test")
    assert (round(got["recall@10"], 4), round(got["ndcg@10"], 4)) == published
