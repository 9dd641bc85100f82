"""Text files of numbers: item lists and triples, well formed and not."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sslrec_core.builtin.datasets import read_list_folder
from sslrec_core.data import Scenario
from sslrec_core.errors import DataError
from sslrec_core.ingest.lists import read_columns, read_lists, read_parts
from sslrec_core.ingest.prepare import prepare_interactions

REAL = Path(os.environ.get("SSLREC_DATA", "/nonexistent"))


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "train.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_lists_become_pairs(write):
    users, items, size = read_lists(write("0 5 6\n2 5\n4\n"))
    assert list(zip(users.tolist(), items.tolist(), strict=True)) == [(0, 5), (0, 6), (2, 5)]
    assert size == 5


@pytest.mark.parametrize(
    "text", ["0 5 6\r\n2 5\r\n4", "\ufeff0 5 6\n2 5\n4", "0\t5 6 \n\n  2  5\n\n4\n\n", "\n0 5 6\n2 5\n4"]
)
def test_line_ends_blanks_and_marks_do_not_matter(write, text):
    users, items, size = read_lists(write(text))
    assert (users.tolist(), items.tolist(), size) == ([0, 0, 2], [5, 6, 5], 5)


@given(st.lists(st.lists(st.integers(0, 10**17), min_size=1, max_size=5), min_size=1, max_size=20))
def test_reading_is_the_inverse_of_writing(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("lists") / "train.txt"
    path.write_text("\n".join(" ".join(map(str, line)) for line in lines))
    users, items, size = read_lists(path)
    assert list(zip(users.tolist(), items.tolist(), strict=True)) == [
        (line[0], item) for line in lines for item in line[1:]
    ]
    assert size == max(line[0] for line in lines) + 1


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("0 1\n1 -2\n", 2, "-2"),
        ("0 1\n\n1 2 abc 4\n", 3, "abc"),
        ("0 1.5\n", 1, "1.5"),
        ("0 1\n1 2\n2 3,4\n", 3, "3,4"),
        ("0 99999999999999999999999\n", 1, "99999999999999999999999"),
        ("0 1\n1 ٣\n", 2, "٣"),
    ],
)
def test_a_malformed_line_is_named(write, text, line, found):
    path = write(text)
    with pytest.raises(DataError) as caught:
        read_lists(path)
    assert f"{path}:{line}:" in str(caught.value)
    assert found in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n\n  \n"])
def test_an_empty_file_is_named(write, text):
    path = write(text)
    with pytest.raises(DataError, match="is empty") as caught:
        read_lists(path)
    assert str(path) in str(caught.value)


def test_triples_need_three_numbers_on_each_line(write):
    assert read_columns(write("1 0 2\n3\t1\t4\n"), ("head", "relation", "tail"))["tail"].tolist() == [2, 4]
    path = write("1 0 2\n\n3 1\n")
    with pytest.raises(DataError, match="expected 3 numbers") as caught:
        read_columns(path, ("head", "relation", "tail"))
    assert f"{path}:3:" in str(caught.value)
    # As many numbers as two good lines, on lines of the wrong length.
    with pytest.raises(DataError, match="found 4"):
        read_columns(write("1 0 2 9\n3 1\n"), ("head", "relation", "tail"))


@pytest.mark.parametrize(("name", "pack"), [("train.txt.gz", gzip.compress), ("train.txt.xz", lzma.compress)])
def test_packed_files_are_read_and_broken_ones_named(write, name, pack):
    content = "\n".join(f"{user} {user + 1}" for user in range(500)).encode()
    assert read_lists(write(pack(content), name))[2] == 500
    path = write(pack(content)[:-20], name)
    with pytest.raises(DataError, match="damaged or cut off") as caught:
        read_lists(path)
    assert str(path) in str(caught.value)
    with pytest.raises(DataError, match="damaged or cut off"):
        read_lists(write(b"plain text", name))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no-such"):
        read_lists(tmp_path / "no-such.txt")


def test_millions_of_numbers_a_second(write):
    line = " ".join(str(number * 7919 % 90_000) for number in range(1000))
    path = write("\n".join(f"{user} {line}" for user in range(1000)))
    started = time.process_time()
    _, items, _ = read_lists(path)
    assert len(items) == 1_000_000
    # Twenty times slower than on an idle machine; a loop over tokens would be slower still.
    assert time.process_time() - started < 3


# ---- folders of lists ---------------------------------------------------------------------------


def prepare(folder, valid="valid.txt", **options):
    raw = read_parts(folder, {"train": "train.txt", "valid": valid, "test": "test.txt"})
    return prepare_interactions(raw, Scenario.Config(**options))


def pairs(prepared, part):
    counts = np.diff(prepared.arrays[f"{part}.pointers"])
    users = np.repeat(np.arange(len(counts)), counts)
    return list(zip(users.tolist(), prepared.arrays[f"{part}.columns"].tolist(), strict=True))


def test_ids_stay_as_they_are_and_span_the_range(write, tmp_path):
    write("0 1 7\n5 2\n9\n")
    write("0 3\n", "test.txt")
    prepared = prepare(tmp_path)
    assert prepared.meta["counts"]["users"] == 10
    assert prepared.meta["counts"]["items"] == 8
    assert pairs(prepared, "train") == [(0, 1), (0, 7), (5, 2)]
    assert "8 users without any interaction" in " ".join(prepared.meta["notes"])


def test_filtering_drops_ids_and_keeps_their_names(write, tmp_path):
    write("0 1 7\n5 1 7\n9 3\n")
    write("0 3\n5 3\n", "test.txt")
    prepared = prepare(tmp_path, k_core=2)
    assert prepared.arrays["users.integers"].tolist() == [0, 5]
    assert prepared.arrays["items.integers"].tolist() == [1, 3, 7]


def test_a_validation_part_inside_training_is_taken_out_of_it_or_ignored(write, tmp_path):
    write("0 1 2 3\n1 4 5\n")
    write("0 2\n1 5\n", "valid_within_train.txt")
    write("0 9\n", "test.txt")
    held = prepare(tmp_path, "valid_within_train.txt")
    assert pairs(held, "valid") == [(0, 2), (1, 5)]
    assert pairs(held, "train") == [(0, 1), (0, 3), (1, 4)]
    whole = prepare(tmp_path, "valid_within_train.txt", holdout=0)
    assert pairs(whole, "valid") == []
    assert pairs(whole, "train") == [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)]


def test_a_validation_part_of_its_own_stays_apart(write, tmp_path):
    write("0 1 2 3\n")
    write("0 4\n", "valid.txt")
    write("0 9\n", "test.txt")
    for holdout in (0.1, 0.0):
        prepared = prepare(tmp_path, holdout=holdout)
        assert pairs(prepared, "train") == [(0, 1), (0, 2), (0, 3)]
        assert pairs(prepared, "valid") == [(0, 4)]


def test_pairs_in_two_parts_are_kept_in_one_and_counted(write, tmp_path):
    write("0 1 2 3\n")
    write("0 3 5 6\n", "valid.txt")
    write("0 1 6 9\n", "test.txt")
    prepared = prepare(tmp_path)
    assert pairs(prepared, "train") == [(0, 1), (0, 2), (0, 3)]
    assert pairs(prepared, "valid") == [(0, 5)]
    assert pairs(prepared, "test") == [(0, 6), (0, 9)]
    notes = " ".join(prepared.meta["notes"])
    assert "1 test interactions are training interactions too" in notes
    assert "1 validation interactions are training interactions too" in notes
    assert "1 validation interactions are test interactions too" in notes


def test_a_stray_id_does_not_ask_for_memory_for_millions(write, tmp_path):
    write("0 1 2\n900000000000 1\n")
    write("0 3\n", "test.txt")
    with pytest.raises(DataError, match="largest user id is 900,000,000,000"):
        prepare(tmp_path)


def test_what_is_odd_about_the_test_part_is_counted(write, tmp_path):
    write("0 1 2 2\n1 1\n")
    write("0 3\n2 1\n", "test.txt")
    counts, notes = prepare(tmp_path).meta["counts"], " ".join(prepare(tmp_path).meta["notes"])
    assert counts["test users without training items"] == 1
    assert counts["test items unseen in training"] == 1
    assert "1 repeated interactions dropped" in notes
    assert "1 test users without training items (kept)" in notes
    assert "1 test items unseen in training (kept)" in notes


def test_triples_and_trust_come_along(write, tmp_path):
    write("0 1 2\n1 1\n")
    write("0 3\n", "test.txt")
    write("1 0 7\n", "kg_final.txt")
    write("0 1\n", "trust.txt")
    raw = read_list_folder(tmp_path)
    assert raw.tables["triples"]["tail"].tolist() == [7]
    assert raw.tables["trust"]["target"].tolist() == [1]


@pytest.mark.skipif(not (REAL / "stats.json").is_file(), reason="SSLREC_DATA has no stats.json")
def test_real_files_hold_what_was_counted_in_them():
    stats = {name: facts for name, facts in json.loads((REAL / "stats.json").read_text()).items() if name[:2] == "cf"}
    assert len(stats) >= 8
    for name in ("cf/lastfm", "cf/sparse_yelp", "cf/douban-book"):
        facts = stats[name]
        counts = prepare_interactions(read_list_folder(REAL / name), Scenario.Config(holdout=0)).meta["counts"]
        assert (counts["users"], counts["items"]) == (facts["n_user_ids"], facts["n_item_ids"])
        assert (counts["users with interactions"], counts["items with interactions"]) == (
            facts["users"],
            facts["items"],
        )
        assert [counts[part] for part in ("train", "valid", "test")] == [
            facts["train"], facts.get("valid", 0), facts["test"],
        ]  # fmt: skip
        assert counts["test users"] == facts["test_users"]
        assert counts["test users without training items"] == facts["test_users_not_in_train"]
        assert counts["test items unseen in training"] == facts["test_items_not_in_train"]
