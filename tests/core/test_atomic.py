"""RecBole's atomic files."""

from __future__ import annotations

import gzip

import pytest

from sslrec_core.builtin.datasets import Table
from sslrec_core.data import Coded
from sslrec_core.errors import DataError


def read(path, **options):
    return Table(Table.Config(path=str(path), **options)).read(path)


def values(column):
    return (column.labels.raw(column.codes) if isinstance(column, Coded) else column).tolist()


@pytest.fixture
def folder(tmp_path):
    files = {
        "x.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu1\t5\t4\t100\nu2\t6\t3.5\t90\n",
        "x.kg": "head_id:token\trelation_id:token\ttail_id:token\nm.5\tfilm.genre\tm.9\n",
        "x.link": "item_id:token\tentity_id:token\n5\tm.5\n",
        "x.net": "source_id:token\ttarget_id:token\nu1\tu2\n",
        "x.item": "item_id:token\ttitle:token_seq\n5\tA Title\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_all_kinds_are_read(folder):
    raw = read(folder)
    assert {name: values(column) for name, column in raw.tables["interactions"].items()} == {
        "user": ["u1", "u2"], "item": [5, 6], "rating": [4.0, 3.5], "time": [100, 90],
    }  # fmt: skip
    assert {name: values(column) for name, column in raw.tables["triples"].items()} == {
        "head": ["m.5"], "relation": ["film.genre"], "tail": ["m.9"],
    }  # fmt: skip
    assert {name: values(column) for name, column in raw.tables["links"].items()} == {"item": [5], "entity": ["m.5"]}
    assert {name: values(column) for name, column in raw.tables["trust"].items()} == {
        "source": ["u1"],
        "target": ["u2"],
    }


def test_the_files_that_count_are_those_that_are_read(folder):
    names = [path.name for path in Table(Table.Config(path=str(folder))).paths(folder)]
    assert names == ["x.inter", "x.kg", "x.link", "x.net"]


def test_packed_files_and_single_files_are_read(folder):
    plain = folder / "x.inter"
    (folder / "x.inter.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert values(read(folder / "x.inter.gz").tables["interactions"]["item"]) == [5, 6]
    assert values(read(plain).tables["interactions"]["item"]) == [5, 6]


def test_the_parts_of_a_split_are_joined(folder):
    (folder / "x.inter").unlink()
    for name, row in {"train": "a\t1", "valid": "a\t2", "test": "b\t3"}.items():
        (folder / f"x.{name}.inter").write_text(f"user_id:token\titem_id:token\n{row}\n")
    table = read(folder).tables["interactions"]
    assert sorted(zip(values(table["user"]), values(table["item"]), values(table["part"]), strict=True)) == [
        ("a", 1, 0), ("a", 2, 1), ("b", 3, 2),
    ]  # fmt: skip


def test_other_columns_can_be_named(folder):
    (folder / "x.inter").write_text("who:token\twhat:token\n1\t2\n")
    with pytest.raises(DataError, match="columns: who, what"):
        read(folder)
    assert values(read(folder, user="who", item="what").tables["interactions"]["item"]) == [2]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.inter", "user_id\titem_id\n1\t2\n", r"x\.inter:1: the field 'user_id' has no type"),
        ("x.kg", "head_id:token\trelation_id:token\n1\t2\n", "no column 'tail_id'"),
        ("x.kg", "head_id:token\trelation_id:token\ttail_id:token\n1\t2\t\n", r"x\.kg:2: the tail is missing"),
        ("y.inter", "user_id:token\titem_id:token\n1\t2\n", "several .inter files"),
        ("y.kg", "head_id:token\trelation_id:token\ttail_id:token\n1\t2\t3\n", "several .kg files"),
    ],
)
def test_what_is_wrong_is_named(folder, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read(folder)


def test_a_folder_without_interactions_says_so(folder):
    (folder / "x.inter").unlink()
    with pytest.raises(DataError, match=r"no \.inter file"):
        read(folder, format="atomic")
