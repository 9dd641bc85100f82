"""The scenario seq: its contract, and batches and queries beside plain loops over random sequences."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sslrec_core.cli import main
from sslrec_core.data import Data, Raw
from sslrec_core.errors import ConfigError, DataError
from sslrec_core.running import Run
from sslrec_core.settings import TrainConfig
from sslrec_core.testing import ScenarioContract
from sslrec_core.testing.bench import Bench
from sslrec_seq.data import Seq, SeqBatch, SeqData

Parts = tuple[list[int], list[int], list[int]]
"""A user's items for training, validation and test."""
LENGTH = 3
steps = st.lists(st.integers(0, 7), max_size=7)
users_with_parts = st.lists(st.tuples(steps, st.lists(st.integers(0, 7), max_size=2), steps), min_size=1, max_size=6)
SEQUENCES: list[Parts] = [([0, 1, 2, 3, 4], [5], [6]), ([3, 2], [1], [0]), ([7], [0], [7]), ([5, 5, 1], [], [2, 4])]


class TestSeq(ScenarioContract):
    scenario = "seq"
    meaningless = {"seed"}
    variants = ({"split": "time"}, {"split": "leave-one-out", "k_core": 2, "min_rating": None, "min_length": 2})


def raw(sequences: list[Parts], **more: Any) -> Raw:
    """The table of ``sequences``, users together, in order."""
    rows = [(user, item, part) for user, parts in enumerate(sequences) for part in range(3) for item in parts[part]]
    users, items, parts = np.array(rows, np.int64).reshape(-1, 3).T
    return Raw({"interactions": {"user": users, "item": items, "part": parts.astype(np.int8)}, **more})


def data(sequences: list[Parts] = SEQUENCES, **options: Any) -> SeqData:
    scenario = Seq(Seq.Config(**{"max_length": LENGTH, "holdout": 0.0, "split": "own", **options}))
    return scenario.data(scenario.process(raw(sequences)))


def usable(sequences: list[Parts]) -> bool:
    items = {item for parts in sequences for part in parts for item in part}
    return len(items) > 1 and any(train for train, _, _ in sequences) and any(test for _, _, test in sequences)


# ---- training rows beside a plain loop ----------------------------------------------------------

Asked = tuple[int, int, tuple[int, ...]]
"""User, target and the history that it is predicted from, in raw ids."""


def asked_by_loop(sequences: list[Parts], targets: str) -> Counter[Asked]:
    found: Counter[Asked] = Counter()
    for user, (train, _, _) in enumerate(sequences):
        if targets == "prefix":
            places = range(1, len(train))
        elif targets == "last":
            places = range(max(1, len(train) - 1), len(train))
        else:
            places = range(max(1, len(train) - LENGTH), len(train))
        # With one row for each user, what came before the row is not seen from within it.
        begin = max(0, len(train) - 1 - LENGTH) if targets == "all" else 0
        for place in places:
            found[user, train[place], tuple(train[max(begin, place - LENGTH) : place])] += 1
    return found


def asked_by(batch: SeqBatch, of: SeqData) -> Counter[Asked]:
    histories = batch.histories
    rows, places = histories.rows[batch.at], histories.places[batch.at]
    starts = histories.pointers[rows]
    users, targets = of.users.raw(batch.owners.numpy()), of.items.raw(batch.targets.numpy())
    items = of.items.raw(histories.items.numpy())
    return Counter(
        (int(user), int(target), tuple(items[start : start + place + 1].tolist()))
        for user, target, start, place in zip(users, targets, starts.tolist(), places.tolist(), strict=True)
    )


@pytest.mark.parametrize("targets", ["all", "prefix", "last"])
@given(sequences=users_with_parts, size=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_each_target_is_asked_once_from_what_came_before(targets: Any, sequences: list[Parts], size: int) -> None:
    assume(usable(sequences) and any(len(train) > 1 for train, _, _ in sequences))
    of = data(sequences)
    found: Counter[Asked] = Counter()
    for batch in of.batches(TrainConfig(batch_size=size), targets=targets):
        assert len(batch) <= size and batch.histories.longest <= LENGTH
        found += asked_by(batch, of)
    assert found == asked_by_loop(sequences, targets)


@given(users_with_parts)
@settings(max_examples=30, deadline=None)
def test_what_is_held_out_changes_no_batch(sequences: list[Parts]) -> None:
    known = sorted({item for train, _, _ in sequences for item in train})
    assume(len(known) > 1 and any(len(train) > 1 for train, _, _ in sequences))
    # Only known items are held out and moved, so that the catalogue stays as it is.
    sequences = [
        (train, *([known[item % len(known)] for item in part] for part in held_out)) for train, *held_out in sequences
    ]
    assume(usable(sequences))
    other = [(train, valid[::-1], [known[0]] * len(test)) for train, valid, test in sequences]
    drawn = []
    for of in (data(sequences), data(other)):
        batches = of.batches(TrainConfig(batch_size=4), torch.Generator().manual_seed(0))
        drawn.append([(b.users.tolist(), b.histories.items.tolist(), b.targets.tolist()) for b in batches])
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("targets", ["all", "prefix", "last"])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_the_rows(targets: Any, world: int) -> None:
    of = data()
    shares = []
    for rank in range(world):
        generator = torch.Generator().manual_seed(5)
        batches = list(of.batches(TrainConfig(batch_size=2), generator, rank, world, targets=targets))
        shares.append((sum(map(len, batches)), sum((asked_by(batch, of) for batch in batches), Counter())))
    assert len({rows for rows, _ in shares}) == 1, "all take the same number of steps"
    everything, wanted = sum((found for _, found in shares), Counter()), asked_by_loop(SEQUENCES, targets)
    assert everything.keys() == wanted.keys()
    assert all(everything[key] >= times for key, times in wanted.items())


def test_the_last_batch_is_partial_wrapped_or_dropped() -> None:
    of = data()
    rows = len(of.steps[0])
    assert rows == 7
    sizes = {
        how: [len(batch) for batch in of.batches(TrainConfig(batch_size=3, last_batch=how))]
        for how in ("partial", "wrap", "drop")
    }
    assert sizes == {"partial": [3, 3, 1], "wrap": [3, 3, 3], "drop": [3, 3]}
    with pytest.raises(ConfigError, match="there is nothing to train on: 7 examples do not fill a batch of 8"):
        list(of.batches(TrainConfig(batch_size=8, last_batch="drop")))


def test_negatives_that_would_not_be_drawn_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.negatives = 4, and batches of sequences bring no negatives"):
        next(data().batches(TrainConfig(negatives=4)))


def test_batches_are_drawn_by_the_generator() -> None:
    of = data()
    orders = [
        [batch.users.tolist() for batch in of.batches(TrainConfig(batch_size=2), torch.Generator().manual_seed(seed))]
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_whole_training_sequences_whatever_the_limit() -> None:
    of = data()
    assert of.training.lengths.tolist() == [5, 2, 1, 3]
    assert of.training.items.tolist() == [0, 1, 2, 3, 4, 3, 2, 7, 5, 5, 1]
    assert of.item_counts.tolist() == [1, 2, 2, 2, 1, 2, 0, 1]


def test_where_nothing_follows_anything_there_is_nothing_to_learn() -> None:
    of = data([([0], [1], [2]), ([1], [], [0])])
    with pytest.raises(DataError, match="no user has two training items"):
        next(of.batches(TrainConfig()))


# ---- queries beside a plain loop ----------------------------------------------------------------


def queried_by_loop(sequences: list[Parts], split: str, hide: str) -> dict[int, tuple[list[int], int, set[int]]]:
    """History, item to find and hidden items of each user who is asked."""
    found = {}
    for user, parts in enumerate(sequences):
        code = 1 if split == "valid" else 2
        before = [item for part in parts[:code] for item in part]
        if parts[code] and before:
            hidden = set(parts[0]) | (set(parts[1]) if split == "test" and hide == "train+valid" else set())
            found[user] = (before[-LENGTH:], parts[code][0], hidden)
    return found


@pytest.mark.parametrize(("split", "hide"), [("valid", "train+valid"), ("test", "train+valid"), ("test", "train")])
@given(sequences=users_with_parts, size=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_queries_are_those_of_a_loop(split: str, hide: str, sequences: list[Parts], size: int) -> None:
    assume(usable(sequences))
    of, found = data(sequences), {}
    for queries in of.queries(split, size, hide):
        assert len(queries) <= size
        pointers = queries.histories.pointers.tolist()
        for row, user in enumerate(of.users.raw(queries.users.numpy()).tolist()):
            history = of.items.raw(queries.histories.items[pointers[row] : pointers[row + 1]].numpy()).tolist()
            (truth,), hidden = (
                of.items.raw(rows.select(torch.tensor([row])).columns.numpy()).tolist()
                for rows in (queries.truth, queries.seen)
            )
            found[user] = (history, truth, set(hidden))
    assert found == queried_by_loop(sequences, split, hide)


def test_what_was_met_is_hidden_also_where_it_should_be_found() -> None:
    (hidden,), (shown,) = (list(data(hide_met=met).queries("test", 10)) for met in (True, False))
    assert hidden.truth.keys.tolist() == shown.truth.keys.tolist()
    row = hidden.users.tolist().index(2)
    assert hidden.seen.select(torch.tensor([row])).columns.tolist() == [0, 7], "7 is to be found, and was met"
    assert shown.seen.nnz == 0, "shown alone, having been met would give it away"


def test_a_trained_model_can_be_evaluated_with_met_items_ranked_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("train.epochs=1", "model.embedding_dim=8", "data.users=40", "data.items=30", "train.judge=mrr@10")
    hidden = Run.create(Bench.of("seq/sasrec", "seq/demo", settings).config, tmp_path / "run").execute().metrics
    before = (tmp_path / "run" / "config.toml").read_text()

    with pytest.raises(SystemExit) as done:
        main(["evaluate", str(tmp_path / "run"), "--json", "--set", "scenario.hide_met=false", "--set", "eval.at=[20]"])
    assert not done.value.code
    shown = json.loads(capsys.readouterr().out)["metrics"]

    opened = Run.open(tmp_path / "run", at=[20])
    opened.data = replace(opened.data, hide_met=False)
    assert shown == opened.evaluate() != hidden
    assert (tmp_path / "run" / "config.toml").read_text() == before


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("scenario.max_length=4", "cannot change after training\n  options of seq that can: hide_met"),
        ("scenario.name=cf", "scenario.name cannot change after training"),
        ("scenario.hide_met=perhaps", "scenario.hide_met: Input should be a valid boolean"),
        ("scenario=cf", "--set scenario=cf: only eval"),
        ("model.pool=last", "--set model.pool=last: only eval"),
    ],
)
def test_nothing_else_of_the_scenario_changes_after_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], assignment: str, words: str
) -> None:
    settings = ("train.epochs=1", "model.embedding_dim=8", "data.users=40", "data.items=30")
    Run.create(Bench.of("seq/sasrec", "seq/demo", settings).config, tmp_path / "run").execute()
    with pytest.raises(SystemExit) as done:
        main(["evaluate", str(tmp_path / "run"), "--set", assignment])
    assert done.value.code == 2
    assert words in capsys.readouterr().err


def test_users_that_are_asked_for_need_nothing_to_find() -> None:
    of = data([([0, 1], [], []), ([2], [3], [4]), ([], [], [5]), ([4], [], [])])
    (queries,) = of.queries("test", 10, users=torch.tensor([1, 0]))
    assert queries.histories.items.tolist() == [2, 3, 0, 1], "the whole of what was met before"
    assert queries.truth.counts.tolist() == [1, 0]
    with pytest.raises(DataError, match="user '2' has no history to go by"):
        next(of.queries("test", 10, users=torch.tensor([1, 2])))


def test_it_is_data_and_moves() -> None:
    of = data()
    assert isinstance(of, Data)
    moved = of.to("meta")
    assert moved.sequences.items.device.type == moved.interactions.device.type == "meta"
    assert (moved.length, moved.hide_met, moved.masked) == (LENGTH, True, of.n_items)


# ---- splits -------------------------------------------------------------------------------------


def timed(sequences: list[list[int]], times: list[list[int]], **options: Any) -> SeqData:
    users = np.repeat(np.arange(len(sequences)), [len(items) for items in sequences])
    table = {"user": users, "item": np.concatenate(sequences), "time": np.concatenate(times)}
    scenario = Seq(Seq.Config(**options))
    return scenario.data(scenario.process(Raw({"interactions": table})))


def parts_of(of: SeqData) -> list[Parts]:
    """Items of each user by part, as the sequences have them."""
    found = []
    for user in range(of.n_users):
        begin, end = of.sequences.pointers[user : user + 2].tolist()
        valid, test = of.sequences.asked[:, user].tolist()
        test = test if test >= 0 else end
        valid = valid if valid >= 0 else test
        assert valid == of.sequences.ends[user]
        items = of.items.raw(of.sequences.items.numpy()).tolist()
        found.append((items[begin:valid], items[valid:test], items[test:end]))
    return found


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=7), min_size=1, max_size=5)
)
@settings(max_examples=50, deadline=None)
def test_leave_one_out_and_order_are_those_of_a_loop(interactions: list[list[tuple[int, int]]]) -> None:
    """Items with times that are often equal: those stay as the file has them."""
    assume(len({item for user in interactions for item, _ in user}) > 1)
    items, times = ([[pair[place] for pair in user] for user in interactions] for place in (0, 1))
    for holdout in (0.1, 0.0):
        wanted = []
        for user in interactions:
            ordered = [item for item, _ in sorted(user, key=lambda pair: pair[1])]
            test = len(ordered) - 1 if len(ordered) > 1 else len(ordered)
            valid = test - 1 if holdout and test > 1 and len(ordered) > 2 else test
            wanted.append((ordered[:valid], ordered[valid:test], ordered[test:]))
        assert parts_of(timed(items, times, holdout=holdout)) == wanted


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=7), min_size=2, max_size=5))
@settings(max_examples=50, deadline=None)
def test_a_split_in_time_is_at_one_moment_for_all(times: list[list[int]]) -> None:
    items = [list(range(len(user))) for user in times]
    assume(max(map(len, times)) > 1)
    of = timed(items, times, split="time", ratios=(0.6, 0.2, 0.2))
    everything = sorted(time for user in times for time in user)
    borders = [everything[max(int(np.floor(share * len(everything) + 0.5)) - 1, 0)] for share in (0.6, 0.8)]
    wanted = []
    for user in times:
        ordered = sorted(range(len(user)), key=lambda place: user[place])
        code = [sum(user[place] > border for border in borders) for place in ordered]
        wanted.append(
            tuple([item for item, own in zip(ordered, code, strict=True) if own == part] for part in range(3))
        )
    assert parts_of(of) == wanted


def test_a_split_in_time_needs_times() -> None:
    with pytest.raises(DataError, match="the split 'time' needs to know when"):
        Seq(Seq.Config(split="time")).process(Raw({"interactions": {"user": np.arange(3), "item": np.arange(3)}}))


def test_own_parts_without_validation_hold_out_the_last_training_item() -> None:
    of = data([([0, 1, 2], [], [3]), ([4], [], [0])], holdout=0.1)
    assert parts_of(of) == [([0, 1], [2], [3]), ([4], [], [0])]


def test_models_without_order_see_the_distinct_items_of_each_part() -> None:
    of = data()
    train, valid, test = (of.interactions.parts[name] for name in ("train", "valid", "test"))
    assert [train.select(torch.tensor([user])).columns.tolist() for user in range(4)] == [
        [0, 1, 2, 3, 4], [2, 3], [7], [1, 5],
    ]  # fmt: skip
    assert valid.columns.tolist() == [5, 1, 0]
    assert test.columns.tolist() == [6, 0, 7, 2, 4]
