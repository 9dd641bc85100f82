"""Ties between users: every form that a file of them may have, and what bad ones say."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sslrec_core.builtin.datasets import Table
from sslrec_core.data import Coded
from sslrec_core.errors import DataError
from sslrec_core.ingest.ties import read_ties

SHOP = "user,item\nann,1\nann,2\nbob,2\ncid,1\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


def plain(table):
    return {
        name: (column.labels.raw(column.codes) if isinstance(column, Coded) else column).tolist()
        for name, column in table.items()
    }


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("trust.txt", "0 1\n 1\t2\n\n2  0\n", {"source": [0, 1, 2], "target": [1, 2, 0]}),
        ("trust.txt.gz", "0 1\n1 2\n", {"source": [0, 1], "target": [1, 2]}),
        ("trust.txt", "0 1 1\n1 2 0.5\n", {"source": [0, 1], "target": [1, 2], "weight": [1.0, 0.5]}),
        ("trust.txt", "source target\nann bob\n",
         {"source": ["ann"], "target": ["bob"]}),
        ("trust.csv", "user,friend\nann,bob\n", {"source": ["ann"], "target": ["bob"]}),
        ("trust.csv", "1,2,7\n", {"source": [1], "target": [2], "weight": [7.0]}),
        ("trust.csv", "weight;followee;follower\n2;bob;ann\n", {"source": ["ann"], "target": ["bob"], "weight": [2.0]}),
        ("x.net", "source_id:token\ttarget_id:token\nu1\tu2\n", {"source": ["u1"], "target": ["u2"]}),
        ("x.net", "source_id:token\ttarget_id:token\tweight:float\n1\t2\t.5\n",
         {"source": [1], "target": [2], "weight": [0.5]}),
    ],
)  # fmt: skip
def test_every_form_is_read(write, name, text, wanted):
    assert plain(read_ties(write(text, name))) == wanted


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("trust.txt", "0 1\n1 2 3\n", r"trust\.txt:2: expected 2 numbers \(source target\), found 3"),
        ("trust.txt", "0 1\n1 -2\n", r"trust\.txt:2: expected whole numbers from 0 on, found '-2'"),
        ("trust.txt", "0 1\n1\n", r"trust\.txt:2: expected 2 numbers"),
        ("trust.txt", "", "is empty"),
        ("trust.csv", "source,target,weight\n1,2,much\n", r"trust\.csv:2: the weight 'much' is not a number"),
        ("trust.csv", "source,target\n1,2\n3,\n", r"trust\.csv:3: "),
        ("trust.csv", "who,whom\n1,2\n", "no columns that look like the two users of a tie"),
        ("trust.csv", "source\n1\n", "no columns that look like the two users of a tie"),
    ],
)
def test_bad_ties_name_file_and_line(write, name, text, words):
    with pytest.raises(DataError, match=words):
        read_ties(write(text, name))


def read(path, **options):
    dataset = Table(Table.Config(path=str(path), **options))
    return dataset.read(Path("unused")), [path.name for path in dataset.paths(Path("unused"))]


def test_a_table_takes_ties_from_a_file_beside_it(write):
    shop, friends = write(SHOP, "shop.csv"), write("source,target\nann,bob\n", "friends.csv")
    raw, names = read(shop, trust=str(friends))
    assert plain(raw.tables["trust"]) == {"source": ["ann"], "target": ["bob"]}
    assert names == ["shop.csv", "friends.csv"]
    assert "trust" not in read(shop)[0].tables


def test_a_folder_of_tables_may_hold_ties(write, tmp_path):
    for name in ("train.csv", "test.csv"):
        write(SHOP, f"set/{name}")
    write("source,target\nann,bob\n", "set/trust.csv")
    raw, names = read(tmp_path / "set")
    assert plain(raw.tables["trust"])["target"] == ["bob"]
    assert names == ["train.csv", "test.csv", "trust.csv"]
    other = write("source,target\nbob,cid\n", "other.csv")
    raw, names = read(tmp_path / "set", trust=str(other))
    assert plain(raw.tables["trust"])["target"] == ["cid"]
    assert names == ["train.csv", "test.csv", "other.csv"]


def test_a_folder_with_one_table_and_ties_is_that_table(write, tmp_path):
    write(SHOP, "set/shop.csv")
    write("source,target\nann,bob\n", "set/trust.csv")
    assert read(tmp_path / "set")[1] == ["shop.csv", "trust.csv"]
    write("source\ttarget\nann\tbob\n", "set/trust.tsv")
    with pytest.raises(DataError, match="several tables of ties"):
        read(tmp_path / "set")


def test_lists_and_atomic_files_may_have_ties_elsewhere(write, tmp_path):
    write("0 1 2\n1 3\n", "lists/train.txt")
    write("user_id:token\titem_id:token\n1\t2\n", "atomic/x.inter")
    ties = write("0 1 0.5\n", "ties.txt")
    for folder in ("lists", "atomic"):
        raw, names = read(tmp_path / folder, trust=str(ties))
        assert plain(raw.tables["trust"]) == {"source": [0], "target": [1], "weight": [0.5]}
        assert names[-1] == "ties.txt"


def test_a_missing_file_of_ties_names_the_closest(write):
    shop = write(SHOP, "shop.csv")
    write("source,target\nann,bob\n", "friends.csv")
    with pytest.raises(DataError, match=r"there is no file or folder .*freinds\.csv") as caught:
        read(shop, trust=str(shop.with_name("freinds.csv")))
    assert "closest: friends.csv" in str(caught.value)
