"""Baselines beside plain loops over short sequences, the shipped contract, and figures known from elsewhere."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sslrec_core.builtin.baselines import EASE, ItemKNN, Popularity, RP3beta
from sslrec_core.builtin.evaluators import FullRanking
from sslrec_core.data import Raw, load_data
from sslrec_core.errors import TrainingError
from sslrec_core.loop import Loop
from sslrec_core.settings import OptimConfig, TrainConfig
from sslrec_core.testing import ModelContract
from sslrec_seq.baselines import (
    ItemToItem,
    Markov,
    RecentItemKNN,
    SequenceNeighbours,
    cooccurrences,
    strongest_of_rows,
)
from sslrec_seq.data import Seq, SeqData
from sslrec_seq.datasets import Demo, Toys

DATA = os.environ.get("SSLREC_DATA")
SEQUENCES = [[0, 1, 2, 3, 4], [1, 2, 0, 3], [5, 1, 2, 5, 4, 3], [4, 0], [2, 1, 0, 5]]
sequences_of_items = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=9), min_size=1, max_size=6)


class TestMarkov(ModelContract):
    model = "seq/markov"
    world = "seq/checkerboard"
    side_information = False

    def test_overfits_a_tiny_world(self) -> None:
        pytest.skip("it knows what comes next, and not all else that a user likes")


class TestRecentItemKNN(ModelContract):
    model = "seq/recent-itemknn"
    world = "seq/checkerboard"
    side_information = False
    variants = (("model.similarity=asymmetric",),)


class TestSequenceNeighbours(ModelContract):
    model = "seq/neighbours"
    world = "seq/checkerboard"
    side_information = False


# ---- beside plain loops -------------------------------------------------------------------------


def data(sequences: list[list[int]] = SEQUENCES) -> SeqData:
    """Each user's last item is test, the one before valid; ids are as they stand here."""
    users = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    scenario = Seq(Seq.Config())
    return scenario.data(scenario.process(Raw({"interactions": {"user": users, "item": np.concatenate(sequences)}})))


def fitted(kind: type[ItemToItem], of: SeqData, **options) -> ItemToItem:
    model = kind(kind.Config(**options), of)
    loop = Loop(model, TrainConfig(), OptimConfig(), torch.device("cpu"))
    for stage in model.stages(5):
        assert stage.epochs == 1 and not stage.judged
        stage.epoch(loop)
    return model


def scores(model: ItemToItem, split: str = "test") -> np.ndarray:
    """Of all users that are asked for."""
    return torch.cat([model.scorer()(queries) for queries in model.data.queries(split, 3)]).double().numpy()


def training(sequences: list[list[int]]) -> list[list[int]]:
    return [sequence[: max(len(sequence) - 2, 1)] for sequence in sequences]


def counted(sequences: list[list[int]], window: int, power: float) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], float] = defaultdict(float)
    for sequence in sequences:
        for place, item in enumerate(sequence):
            for gap in range(1, min(window, len(sequence) - 1 - place) + 1):
                found[item, sequence[place + gap]] += gap**-power
    return found


@given(sequences_of_items, st.integers(1, 12), st.sampled_from([0.0, 0.5, 2.0]))
@settings(max_examples=50, deadline=None)
def test_cooccurrences_are_those_of_a_loop(sequences: list[list[int]], window: int, power: float) -> None:
    users = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    found = cooccurrences(users, np.concatenate(sequences), 7, window, power).toarray()
    wanted = np.zeros((7, 7))
    for (item, follower), value in counted(sequences, window, power).items():
        wanted[item, follower] = value
    assert np.allclose(found, wanted, rtol=1e-5)


@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=5, max_size=5), st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_the_strongest_of_a_row_are_kept_and_ties_go_to_the_lowest(matrix: list[list[int]], k: int) -> None:
    found = strongest_of_rows(csr_array(np.array(matrix, np.float32)), k).toarray()
    for row, values in enumerate(matrix):
        best = sorted((column for column in range(5) if values[column]), key=lambda column: (-values[column], column))
        assert found[row].tolist() == [values[column] if column in best[:k] else 0 for column in range(5)]


@pytest.mark.parametrize("smoothing", [0.1, 5.0])
def test_markov_gives_smoothed_chances(smoothing: float) -> None:
    found = scores(fitted(Markov, data(), smoothing=smoothing))
    known = training(SEQUENCES)
    steps = Counter(item for sequence in known for item in sequence)
    moves = Counter(pair for sequence in known for pair in pairwise(sequence))
    leaving = Counter(item for sequence in known for item in sequence[:-1])
    for row, sequence in enumerate(SEQUENCES):
        last = sequence[-2]
        for item in range(6):
            popularity = steps[item] / sum(steps.values())
            chance = (moves[last, item] + smoothing * popularity) / (leaving[last] + smoothing)
            assert math.isclose(found[row, item], chance, rel_tol=1e-5, abs_tol=1e-7)
    assert np.allclose(found.sum(1), 1, rtol=1e-5)


HAND_SET = {
    "window": 10, "gap_power": 1.0, "backward": 0.0, "row_power": 0.5, "column_power": 0.25, "last": 5, "decay": 0.7,
    "neighbours": 12_000, "idf": 0.0, "popularity": 0.0,
}  # fmt: skip
OPTIONS = (
    {},
    HAND_SET,
    {"window": 2, "gap_power": 0.0, "row_power": 0.0, "column_power": 0.0, "last": 1},
    {"backward": 0.5, "shrink": 2.0, "idf": 1.5, "popularity": 3.0, "decay": 1.0, "last": 3},
    {"fit_on": "train+valid", "row_power": 1.0, "column_power": 1.0},
)


@pytest.mark.parametrize("options", OPTIONS)
def test_neighbours_follow_the_formula(options: dict) -> None:
    model = fitted(SequenceNeighbours, data(), **options)
    config = model.config
    known = training(SEQUENCES) if config.fit_on == "train" else [sequence[:-1] for sequence in SEQUENCES]
    steps = Counter(item for sequence in known for item in sequence)
    total = sum(steps.values())
    forward = counted(known, config.window, config.gap_power)
    pairs = {(i, j): forward[i, j] + config.backward * forward[j, i] for i in range(6) for j in range(6)}
    own = {i: sum(pairs[i, j] for j in range(6)) for i in range(6)}
    other = {j: sum(pairs[i, j] for i in range(6)) for j in range(6)}
    found = scores(model)
    for row, sequence in enumerate(SEQUENCES):
        for item in range(6):
            wanted = config.popularity * steps[item] / total
            for ago, met in enumerate(reversed(sequence[:-1][-config.last :])):
                if pairs[met, item]:
                    size = own[met] ** config.row_power * other[item] ** config.column_power + config.shrink
                    rarity = math.log((total + 1) / (steps[met] + 1)) ** config.idf
                    wanted += config.decay**ago * rarity * pairs[met, item] / size
            assert math.isclose(found[row, item], wanted, rel_tol=1e-4, abs_tol=1e-6)


def test_neighbours_keep_so_many_candidates() -> None:
    model = fitted(SequenceNeighbours, data(), neighbours=1)
    assert model.pointers.diff().max() == 1


def test_recent_itemknn_is_itemknn_where_all_items_count_alike() -> None:
    of = data([list(dict.fromkeys(sequence)) for sequence in SEQUENCES])
    ours = fitted(RecentItemKNN, of, decay=1.0, last=50, neighbours=3, shrink=1.0)
    plain = ItemKNN(ItemKNN.Config(neighbours=3, shrink=1.0), of)
    plain.fit(of.interactions.parts["train"])
    for queries in of.queries("valid", 10):
        assert torch.allclose(ours.scorer()(queries), plain.scorer()(queries))


def test_recent_itemknn_asks_the_latest_items() -> None:
    of = data()
    model = fitted(RecentItemKNN, of, decay=0.5, last=2)
    similarity = np.zeros((6, 6))
    rows = np.repeat(np.arange(6), model.pointers.diff().numpy())
    similarity[rows, model.columns.numpy()] = model.values.numpy()
    wanted = [similarity[s[-2]] + (0.5 * similarity[s[-3]] if len(s) > 2 else 0) for s in SEQUENCES]
    assert np.allclose(scores(model), wanted)


@pytest.mark.parametrize("kind", [Markov, RecentItemKNN, SequenceNeighbours])
def test_the_test_part_is_never_counted(kind: type[ItemToItem]) -> None:
    other = [[*sequence[:-1], (sequence[-1] + 1) % 6] for sequence in SEQUENCES]
    for fit_on in ("train", "train+valid"):
        mine, its = (fitted(kind, data(some), fit_on=fit_on) for some in (SEQUENCES, other))
        assert all(torch.equal(mine.state_dict()[name], value) for name, value in its.state_dict().items())


def test_what_was_not_fitted_does_not_score() -> None:
    with pytest.raises(TrainingError, match="Markov has not been fitted"):
        Markov(Markov.Config(), data()).scorer()


# ---- worlds and figures -------------------------------------------------------------------------


def judge(model, of: SeqData, split: str = "test") -> dict[str, float]:
    evaluator = FullRanking(FullRanking.Config(metrics=("hit", "ndcg"), at=(10,)))
    return evaluator.evaluate(model, of, split)


def test_order_pays_in_the_demo() -> None:
    scenario = Seq(Seq.Config())
    of = scenario.data(scenario.process(Demo(Demo.Config(users=800, items=300)).read(Path())))
    plain = {}
    for kind in (Popularity, ItemKNN, RP3beta, EASE):
        model = kind(kind.Config(), of)
        model.fit(of.interactions.parts["train"])
        plain[kind] = judge(model, of)["ndcg@10"]
    markov, neighbours = (judge(fitted(kind, of), of)["ndcg@10"] for kind in (Markov, SequenceNeighbours))
    assert markov > 3 * plain[Popularity]
    assert markov > 1.3 * max(plain.values()), "order tells more than company"
    assert neighbours > markov, "what was heard before the last piece tells something too"


def test_hand_set_neighbours_on_toys(tmp_path: Path) -> None:
    if not DATA or not Path(DATA, "seq/toys").is_dir():
        pytest.skip("set SSLREC_DATA to a folder that holds seq/toys/")
    of = load_data(Toys(Toys.Config()), Seq(Seq.Config()), name="seq/toys", root=Path(DATA), cache=tmp_path)
    found = judge(fitted(SequenceNeighbours, of, **HAND_SET), of)
    # Found with the same weights by another implementation.
    assert found["hit@10"] == pytest.approx(0.0932, abs=1e-4)
    assert found["ndcg@10"] == pytest.approx(0.0613, abs=1e-4)
