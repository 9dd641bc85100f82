"""Named datasets: their declarations, reading, what bad files say, and the real files where they are."""

from __future__ import annotations

import json
import os
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from sslrec_core.builtin.datasets import Table
from sslrec_core.data import Raw, load_data, load_prepared
from sslrec_core.errors import DataError
from sslrec_seq import datasets
from sslrec_seq.data import Seq, SeqData
from sslrec_seq.datasets import (
    BeautyBERT4Rec,
    Declared,
    Demo,
    ItemSequences,
    ML1MPartial,
    SportsSSLRec,
    read_attributes,
)
from sslrec_seq.plugin import sslrec_datasets
from sslrec_seq.sessions import HEADER, read_sessions

CLASSES = {name: getattr(datasets, str(target).rpartition(":")[2]) for name, target in sslrec_datasets().items()}
NAMED: dict[str, type[Declared]] = {name: kind for name, kind in CLASSES.items() if issubclass(kind, Declared)}
DATA = os.environ.get("SSLREC_DATA")


class SmallSequences(ItemSequences):
    """Three users, four items."""

    users, items, interactions = 3, 4, 9


class SmallPairs(BeautyBERT4Rec):
    """Two users, three items."""

    users, items, interactions = 2, 3, 5


class SmallPartial(ML1MPartial):
    """Three users, five items."""

    users, items, interactions = 3, 5, 11


class SmallRows(SportsSSLRec):
    """Two users, four items."""

    users, items, interactions = 2, 4, 7


SEQUENCES = "1 2 1 3\n2 4 3\n3 1 2 3 4\n"
PAIRS = "1 1\n1 2\n1 3\n2 3\n2 1\n"
PARTIAL = "1 1 2 3 4\n2 5 4 3\n3 2 1 4 5\n"
TRAIN, TEST = "0\t4 1\t2\n7\t3\t1\n", "0\t4 1 2\t3\n7\t3 1\t4\n"


def columns(raw: Raw) -> list[list[int]]:
    return [np.asarray(column).tolist() for column in raw.tables["interactions"].values()]


def rows(folder: Path, train: str = TRAIN, test: str = TEST) -> Path:
    for name, text in (("train", train), ("test", test)):
        (folder / f"{name}.tsv").write_text(f"{HEADER.decode()}\n{text}")
    return folder


def as_sequences(raw: Raw, **options) -> SeqData:
    scenario = Seq(Seq.Config(**options))
    return scenario.data(scenario.process(raw))


# ---- declarations -------------------------------------------------------------------------------


def test_all_named_datasets_are_here() -> None:
    assert len(NAMED) == 7
    assert set(CLASSES) - set(NAMED) == {"seq/demo"}
    assert len(set(CLASSES.values())) == len(CLASSES)


@pytest.mark.parametrize("name", NAMED)
def test_declarations_are_complete(name: str) -> None:
    kind = NAMED[name]
    assert kind.licence and kind.citation and kind.homepage.startswith("https://")
    assert min(kind.users, kind.items, kind.interactions) > 0
    for number in (kind.users, kind.items, kind.interactions):
        assert f"{number:,}" in str(kind.__doc__), "the summary tells the sizes"
    for file in kind.files:
        assert file.sha256 and re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.size
        if file.url is not None:
            assert re.match(r"https://[^/]+/[^/]+/[^/]+/[0-9a-f]{40}/", file.url), "a link to a commit, not to a branch"


@pytest.mark.parametrize("name", NAMED)
def test_what_cannot_be_downloaded_is_named(name: str, tmp_path: Path) -> None:
    kind = NAMED[name]
    if all(file.url for file in kind.files):
        pytest.skip(f"all files of {name} can be downloaded")
    with pytest.raises(DataError) as caught:
        load_prepared(kind(kind.Config()), Seq(Seq.Config()), name=name, root=tmp_path, cache=tmp_path / "cache")
    for file in kind.files:
        assert str(tmp_path / name / file.name) in str(caught.value)
        assert str(file.sha256) in str(caught.value)
    assert kind.homepage in str(caught.value)


# ---- reading ------------------------------------------------------------------------------------


def test_sequences_are_read_in_order_with_attributes(tmp_path: Path) -> None:
    (tmp_path / "sequences.txt").write_text(SEQUENCES)
    (tmp_path / "item2attributes.json").write_text('{"1": [5, 6], "4": [], "9": [5]}')
    raw = SmallSequences(SmallSequences.Config()).read(tmp_path)
    assert columns(raw) == [[1, 1, 1, 2, 2, 3, 3, 3, 3], [2, 1, 3, 4, 3, 1, 2, 3, 4]]
    assert {name: np.asarray(c).tolist() for name, c in raw.tables["attributes"].items()} == {
        "item": [1, 1, 9], "attribute": [5, 6, 5],
    }  # fmt: skip


def test_pairs_are_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "interactions.txt").write_text(PAIRS)
    raw = SmallPairs(SmallPairs.Config()).read(tmp_path)
    assert columns(raw) == [[1, 1, 1, 2, 2], [1, 2, 3, 3, 1]]


def test_only_whole_sequences_validate(tmp_path: Path) -> None:
    (tmp_path / "sequences.txt").write_text(PARTIAL)
    (tmp_path / "complete_users.txt").write_text("3\n")
    raw = SmallPartial(SmallPartial.Config()).read(tmp_path)
    assert columns(raw)[2] == [0, 0, 0, 2, 0, 0, 2, 0, 0, 1, 2]
    assert raw.notes == ["2 users lack the interaction before their last one: they do not validate"]
    data = as_sequences(raw)
    (queries,) = data.queries("valid", 10)
    assert data.users.raw(queries.users.numpy()).tolist() == [3]
    assert (data.sequences.asked[1] >= 0).all()


def test_a_test_row_goes_on_from_its_training_row(tmp_path: Path) -> None:
    raw = SmallRows(SmallRows.Config()).read(rows(tmp_path))
    assert columns(raw) == [[0, 0, 0, 0, 7, 7, 7], [4, 1, 2, 3, 3, 1, 4], [0, 0, 0, 2, 0, 0, 2]]
    assert not raw.notes
    data = as_sequences(raw)
    (queries,) = data.queries("test", 10)
    assert data.items.raw(queries.histories.items.numpy()).tolist() == [4, 1, 2, 3, 1]
    assert data.items.raw(queries.truth.columns.numpy()).tolist() == [3, 4]


def test_other_rows_are_sequences_of_their_own(tmp_path: Path) -> None:
    """Session 7 goes on elsewhere, 8 is not in training, 9 not in the test."""
    rows(tmp_path, TRAIN + "9\t1 2\t3\n", "0\t4 1 2\t3\n8\t2\t4\n7\t3 2\t4\n")
    raw = read_sessions(tmp_path / "train.tsv", tmp_path / "test.tsv")
    users, items, parts = columns(raw)
    found: dict[str, list[tuple[int, int]]] = {}
    for user, item, part in zip(users, items, parts, strict=True):
        found.setdefault(user, []).append((item, part))
    assert found == {
        "0": [(4, 0), (1, 0), (2, 0), (3, 2)],
        "7": [(3, 0), (1, 0)],
        "7 (test)": [(3, 0), (2, 0), (4, 2)],
        "8": [(2, 0), (4, 2)],
        "9": [(1, 0), (2, 0), (3, 0)],
    }
    assert raw.notes == ["2 test rows go on from no training row: their lists are trained on too"]


# ---- what bad files say -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 3\n\n1 10\n2 1 0\n", r"sequences\.txt:4: item 0 stands for padding"),
        ("1 2 x\n", r"sequences\.txt:1: expected whole numbers from 0 on, found 'x'"),
        ("1 2 1 3\n2 4 3\n3 1 2 3\n", r"(?s)is not what SmallSequences declares.*expected: 9 interactions.*found: 8"),
        ("", r"sequences\.txt is empty"),
    ],
)
def test_other_sequences_than_declared_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "sequences.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        SmallSequences(SmallSequences.Config()).read(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 1\n1 0\n", r"interactions\.txt:2: item 0 stands for padding"),
        ("1 1\n1 2 3\n", r"interactions\.txt:2: expected 2 numbers \(user item\), found 3"),
        (PAIRS + "2 2\n", r"(?s)is not what SmallPairs declares.*expected: 5 interactions.*found: 6"),
    ],
)
def test_other_pairs_than_declared_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "interactions.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        SmallPairs(SmallPairs.Config()).read(tmp_path)


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (
            "0\t4 1 2\t3\n7\t3 1\n",
            r"test\.tsv:3: expected a session, a list of items and an item.*\n.*found: '7\\t3 1'",
        ),
        ("0\t4 1 2\t3\n7\t3  1\t4\n", r"test\.tsv:3: expected"),
        ("0\t\t3\n", r"test\.tsv:2: expected"),
        ("0\t4 1 b\t3\n", r"test\.tsv:2: expected.*whole numbers"),
        ("0\t4 1 2\t3\n7\t3 1\t4 2\n", r"test\.tsv:3: expected"),
        ("0\t4 1 2\t3\n\n7\t3 1\t4\n", r"test\.tsv:3: expected"),
        ("0\t4 1 2\t3\n7\t3 0\t4\n", r"test\.tsv:3: item 0 stands for padding"),
        ("0\t4 1 2\t3\n7\t3 1\t0\n", r"test\.tsv:3: item 0 stands for padding"),
        ("0\t4 1 2\t3\n7\t3 1\t4\n0\t1\t2\n", r"test\.tsv:4: session 0 has a line before this one"),
        ("0\t4 1 2\t3\n7\t3 1\t5\n", r"(?s)test\.tsv is not what SmallRows declares"),
    ],
)
def test_malformed_rows_are_named(tmp_path: Path, test: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        SmallRows(SmallRows.Config()).read(rows(tmp_path, test=test + "7\t3 1\t4\n" if "7\t" not in test else test))


def test_rows_need_their_header(tmp_path: Path) -> None:
    rows(tmp_path)
    (tmp_path / "train.tsv").write_text(TRAIN)
    with pytest.raises(DataError, match=r"train\.tsv:1: expected the header 'session_id:token"):
        SmallRows(SmallRows.Config()).read(tmp_path)


def test_line_ends_and_empty_lines_at_the_end_do_not_matter(tmp_path: Path) -> None:
    rows(tmp_path)
    for name in ("train", "test"):
        path = tmp_path / f"{name}.tsv"
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\n")
    assert columns(SmallRows(SmallRows.Config()).read(tmp_path))[1] == [4, 1, 2, 3, 3, 1, 4]


@pytest.mark.parametrize("text", ["[1, 2]", '{"1": 2}', '{"a": [1]}', '{"1": ["b"]}', "{"])
def test_attributes_of_another_form_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "item2attributes.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"item2attributes\.json is not of the form"):
        read_attributes(path)


# ---- a user's own files -------------------------------------------------------------------------


def own(path: Path, cache: Path, **options) -> SeqData:
    return load_data(Table(Table.Config(path=str(path), **options)), Seq(Seq.Config()), name="table", cache=cache)


def sequences_of(data: SeqData) -> list[list]:
    items = data.items.raw(data.sequences.items.numpy()).tolist()
    pointers = data.sequences.pointers.tolist()
    return [items[start:end] for start, end in pairwise(pointers)]


def test_times_order_a_table_and_equal_ones_leave_it_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text("uid,sku,when\nbo,c,3\nal,a,2\nbo,b,1\nal,d,2\nbo,a,2\nal,c,1\n")
    data = own(path, tmp_path, user="uid", item="sku", time="when")
    assert data.users.raw(np.arange(2)).tolist() == ["al", "bo"]
    assert sequences_of(data) == [["c", "a", "d"], ["b", "a", "c"]]
    (queries,) = data.queries("test", 10)
    assert data.items.raw(queries.truth.columns.numpy()).tolist() == ["d", "c"]


def test_dates_are_times(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text("user,item,date\n1,5,2024-03-01\n1,6,2024-01-31\n1,7,2024-02-15\n")
    assert sequences_of(own(path, tmp_path)) == [[6, 7, 5]]


def test_item_lists_are_in_order_and_item_0_is_an_item_there(tmp_path: Path) -> None:
    path = tmp_path / "my.txt"
    path.write_text("3 9 0 4\n1 4 9\n")
    data = own(path, tmp_path)
    assert sequences_of(data) == [[4, 9], [9, 0, 4]]
    assert data.items.raw(np.arange(3)).tolist() == [0, 4, 9]


def test_lists_with_parts_follow_one_another(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0 3 1 2\n1 2 3\n")
    (tmp_path / "test.txt").write_text("0 0\n1 1\n")
    data = own(tmp_path, tmp_path / "cache")
    assert sequences_of(data) == [[3, 1, 2, 0], [2, 3, 1]]
    assert torch.equal(data.sequences.asked[1], data.sequences.pointers[1:] - 1)


# ---- the demo, and the real files ---------------------------------------------------------------


def test_the_demo_needs_no_file(tmp_path: Path) -> None:
    demo = Demo(Demo.Config(users=60, items=40))
    data = load_data(demo, Seq(Seq.Config()), name="seq/demo", root=tmp_path / "none", cache=tmp_path)
    assert isinstance(data, SeqData)
    assert data.n_users == 60 and data.n_items <= 40
    assert data.attributes is not None and data.attributes.counts.eq(2).all(), "genre and artist"
    assert all(data.interactions.parts[part].nnz for part in ("train", "valid", "test"))


@pytest.mark.parametrize("name", NAMED)
def test_real_files_hold_what_they_should(name: str, tmp_path: Path) -> None:
    if not DATA or not Path(DATA, name).is_dir():
        pytest.skip(f"set SSLREC_DATA to a folder that holds {name}/")
    kind = NAMED[name]
    meta = load_prepared(kind(kind.Config()), Seq(Seq.Config()), name=name, root=Path(DATA), cache=tmp_path).meta
    counts, users = meta["counts"], kind.users
    assert (counts["users"], counts["items"], counts["interactions"]) == (users, kind.items, kind.interactions)
    assert counts["test"] == counts["test users"] == users
    if not Path(DATA, "stats.json").is_file():
        return
    known = json.loads(Path(DATA, "stats.json").read_text())[name]
    assert (users, kind.items, kind.interactions) == (known["users"], known["items"], known["interactions"])
    longest = known.get("max_len", known.get("max_seq", 0) + 1)
    assert counts["longest sequence"] == longest
    if "attributes" in known:
        assert counts["attributes"] == known["attributes"]
