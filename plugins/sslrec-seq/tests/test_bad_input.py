"""What is odd about sequences is counted, what is wrong with them is refused in a sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sslrec_core.cli import main
from sslrec_core.data import Raw
from sslrec_core.errors import CheckpointError, ConfigError, DataError
from sslrec_core.running import Run
from sslrec_core.settings import TrainConfig, resolve
from sslrec_core.testing.bench import Bench
from sslrec_seq.data import Seq, SeqData
from sslrec_seq.models.s3rec import S3Rec
from sslrec_seq.models.sasrec import SASRec

Parts = tuple[list[int], list[int], list[int]]
"""A user's items for training, validation and test."""
SEQUENCES: list[Parts] = [([0, 1, 2, 3, 4], [5], [6]), ([3, 2], [1], [0]), ([7], [0], [7]), ([5, 5, 1], [], [2, 4])]


def raw(sequences: list[Parts], *, own: bool = True, **more: Any) -> Raw:
    """The table of ``sequences``, users together, in order; with parts if they are the files' ``own``."""
    rows = [
        (user, item, code) for user, parts in enumerate(sequences) for code, part in enumerate(parts) for item in part
    ]
    users, items, codes = np.array(rows, np.int64).reshape(-1, 3).T
    table = {"user": users, "item": items} | ({"part": codes.astype(np.int8)} if own else {})
    return Raw({"interactions": table, **more})


def data(sequences: list[Parts], **options: Any) -> SeqData:
    scenario = Seq(Seq.Config(holdout=0.0, **options))
    return scenario.data(scenario.process(raw(sequences)))


def notes(sequences: list[Parts], **options: Any) -> list[str]:
    return Seq(Seq.Config(**options)).process(raw(sequences)).meta["notes"]


def test_sequences_of_one_and_two_are_kept_and_counted() -> None:
    sequences: list[Parts] = [([0], [], []), ([1, 0], [], []), ([0, 1, 2], [], []), ([2, 0, 1, 3], [], [])]
    prepared = Seq(Seq.Config()).process(raw(sequences, own=False))
    assert prepared.arrays["sequence.pointers"].tolist() == [0, 1, 3, 6, 10]
    assert prepared.arrays["sequence.parts"].tolist() == [0, *(0, 2), *(0, 1, 2), *(0, 0, 1, 2)]
    assert (
        "3 users with fewer than two training items: nothing follows, so nothing is learned" in prepared.meta["notes"]
    )
    assert prepared.meta["counts"]["longest sequence"] == 4


def test_histories_above_the_limit_are_cut_and_counted() -> None:
    assert "1 users with more than 3 training items: models see the latest ones" in notes(SEQUENCES, max_length=3)
    assert not any("more than" in note for note in notes(SEQUENCES, max_length=5))
    (queries,) = data(SEQUENCES, max_length=3).queries("test", 10)
    assert queries.histories.lengths.tolist() == [3, 3, 2, 3]


def test_users_without_a_history_are_not_asked_and_counted() -> None:
    sequences: list[Parts] = [([0, 1], [], [2]), ([], [], [1, 0]), ([], [2], [0])]
    assert "2 users have something to find and nothing before it: they are not asked" in notes(sequences)
    (queries,) = data(sequences).queries("test", 10)
    assert queries.users.tolist() == [0, 2], "what is validated on is a history at the test"
    assert not list(data(sequences).queries("valid", 10))


def test_items_to_find_that_were_met_before_are_counted() -> None:
    assert "1 items to find that the user had met before: hidden, so not found (scenario.hide_met)" in notes(SEQUENCES)
    assert any("ranked with the others" in note for note in notes(SEQUENCES, hide_met=False))


def test_equal_times_are_counted() -> None:
    table = {"user": np.zeros(4, int), "item": np.arange(4), "time": np.array([2, 1, 2, 2])}
    prepared = Seq(Seq.Config()).process(Raw({"interactions": table}))
    assert prepared.arrays["sequence.items"].tolist() == [1, 0, 2, 3]
    wanted = "2 interactions at the same time as the user's one before (in the order of the file)"
    assert wanted in prepared.meta["notes"]


@pytest.mark.parametrize(("users", "back"), [([3, 3, 3, 4], 0), ([3, 4, 3, 3], 1), ([3, 4, 3, 4], 2)])
def test_without_times_it_is_counted_how_often_the_file_comes_back_to_a_user(users: list[int], back: int) -> None:
    said = f", which comes back to a user {back} times after others" if back else ""
    table = {"user": np.array(users), "item": np.arange(4)}
    prepared = Seq(Seq.Config()).process(Raw({"interactions": table}))
    assert f"there are no times: interactions follow one another as in the file{said}" in prepared.meta["notes"]


def test_a_file_for_each_part_comes_back_to_its_users_by_nature() -> None:
    table = {"user": np.array([3, 3, 4, 3, 4]), "item": np.arange(5), "part": np.array([0, 0, 0, 2, 2], np.int8)}
    prepared = Seq(Seq.Config()).process(Raw({"interactions": table}))
    assert "there are no times: interactions follow one another as in the file" in prepared.meta["notes"]


@pytest.mark.parametrize(
    ("repeats", "wanted"), [("keep", [5, 5, 1, 5, 2]), ("adjacent", [5, 1, 5, 2]), ("first", [5, 1, 2])]
)
def test_repeats_are_kept_or_dropped_and_counted(repeats: str, wanted: list[int]) -> None:
    scenario = Seq(Seq.Config(repeats=repeats))
    prepared = scenario.process(raw([([5, 5, 1, 5, 2], [], [])], own=False))
    of = scenario.data(prepared)
    assert of.items.raw(of.sequences.items.numpy()).tolist() == wanted
    dropped = f"{5 - len(wanted)} repeated interactions dropped (repeats: {repeats})"
    assert (dropped in prepared.meta["notes"]) == (repeats != "keep")
    assert prepared.meta["counts"]["interactions"] == len(wanted)


def test_attributes_of_unknown_items_are_dropped_and_counted() -> None:
    attributes = {"item": np.array([0, 1, 99, 98]), "attribute": np.array([7, 7, 7, 3])}
    prepared = Seq(Seq.Config()).process(raw([([0, 1], [], [2])], attributes=attributes))
    assert "2 attributes of items that nobody met (dropped)" in prepared.meta["notes"]
    assert (prepared.meta["counts"]["attributes"], prepared.meta["counts"]["items with attributes"]) == (1, 2)
    of = Seq(Seq.Config()).data(prepared)
    assert of.attributes is not None and of.attributes.counts.tolist() == [1, 1, 0]


def test_a_catalogue_of_one_item_is_refused() -> None:
    with pytest.raises(DataError, match="the catalogue has one item: there is nothing to choose from"):
        data([([3, 3], [], [3])])


def test_parts_out_of_order_are_refused() -> None:
    table = {"user": np.array([5, 5, 5, 6]), "item": np.arange(4), "part": np.array([0, 2, 0, 2], np.int8)}
    with pytest.raises(DataError, match="the files' own parts are not in time order") as caught:
        Seq(Seq.Config()).process(Raw({"interactions": table}))
    assert caught.value.facts == (
        "1 interactions of an earlier part follow one of a later part", "the first is of user '5'",
    )  # fmt: skip
    assert caught.value.fix == "--set scenario.split=leave-one-out"


def test_own_parts_need_a_test_part() -> None:
    with pytest.raises(DataError, match="the files bring no test part"):
        data([([0, 1], [2], [])])


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("scenario.split=ratio", r"scenario\.split: .*a random split takes sequences apart"),
        ("scenario.seed=3", r"scenario\.seed: .*sequences are split by order, which draws nothing"),
        ("scenario.max_length=0", r"scenario\.max_length: .*greater than 0"),
    ],
)
def test_options_that_mean_nothing_here_are_refused(
    assignment: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        main(["train", "markov", "--dataset", "seq/demo", "--set", assignment])
    assert done.value.code == 2
    assert re.search(words, capsys.readouterr().err)


def test_users_who_met_everything_learn_with_the_others() -> None:
    found = data([([0, 1, 2, 3, 4], [0], [1]), ([0, 1], [2], [3]), ([3, 4, 1], [0], [2])])
    batch = next(found.batches(TrainConfig(batch_size=3), targets="all"))
    sasrec, s3rec = (kind(kind.Config(embedding_dim=8), found) for kind in (SASRec, S3Rec))
    terms = {**sasrec.losses(batch), **s3rec.pretraining_losses(batch, found.training.items)}
    assert terms.keys() == {"next", "mip", "sp"} and all(term.isfinite() for term in terms.values())


def test_a_run_whose_items_were_renamed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"u{user},i{(3 * user + step) % 20},{step}" for user in range(30) for step in range(6)]
    table, run = tmp_path / "met.csv", str(tmp_path / "run")
    table.write_text("\n".join(["user,item,time", *rows]) + "\n")
    few = ("--set=train.epochs=1", "--set=model.embedding_dim=8")
    with pytest.raises(SystemExit) as done:
        main(["train", "sasrec", "-d", str(table), "-o", run, "--quiet", *few])
    assert done.value.code == 0
    table.write_text(table.read_text().replace(",i1,", ",zz,"))
    for command in (["evaluate", run], ["recommend", run, "--history", "i2,i3"]):
        with pytest.raises(SystemExit) as done:
            main(command)
        assert done.value.code == 2
        assert "users or items are others" in capsys.readouterr().err


def test_a_test_part_that_nobody_can_be_asked_about_is_refused_before_training(tmp_path: Path) -> None:
    rows = [f"{user},{user % 3 + step},{step},train" for user in range(5) for step in range(4)]
    rows += [f"{user},{user % 3},9,test" for user in range(5, 9)]
    table = tmp_path / "met.csv"
    table.write_text("\n".join(["user,item,time,part", *rows]) + "\n")
    resolved = resolve("seq/sasrec", str(table))
    with pytest.raises(DataError, match=r"nobody has anything to find in the test part[\s\S]*have no history"):
        Run.create(resolved, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("line", ["3 x 5 6", "3 -1 5", "3 1.5 2"], ids=["a word", "a negative number", "a fraction"])
def test_what_is_no_number_in_lines_of_items_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "met.txt"
    path.write_text(f"\ufeff1 2 3 4\n2 3 4\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"met\.txt:3: "):
        Bench(resolve("seq/sasrec", str(path)).config).new_data()


def test_an_encoder_of_something_else_is_refused() -> None:
    for choice in ("lightgcn", {"name": "weighted-mean", "weights": "lightgcn"}):
        with pytest.raises(ConfigError, match="'lightgcn' does not encode histories"):
            SASRec(SASRec.Config(encoder=choice), data(SEQUENCES))


def test_a_checkpoint_of_another_length_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("train.epochs=1", "model.embedding_dim=8", "scenario.max_length=6", "data.users=40", "data.items=30")
    Run.create(Bench.of("seq/sasrec", "seq/demo", settings).config, tmp_path / "run").execute()
    config = tmp_path / "run" / "config.toml"
    config.write_text(config.read_text().replace("max_length = 6", "max_length = 4"))
    with pytest.raises(CheckpointError, match="is not the one that its checkpoint was trained with") as caught:
        Run.open(tmp_path / "run")
    assert "scenario.max_length is 4, and was 6 when it was trained" in caught.value.facts
    with pytest.raises(SystemExit) as done:
        main(["evaluate", str(tmp_path / "run")])
    assert done.value.code == 2
    assert "scenario.max_length" in capsys.readouterr().err
