"""Tables in every form, guessed and named columns, and what is wrong with them."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sslrec_core.builtin.datasets import Table
from sslrec_core.data import Coded, Scenario
from sslrec_core.errors import DataError, StorageError
from sslrec_core.ingest.export import export
from sslrec_core.ingest.prepare import prepare_interactions

FRAME = pl.DataFrame(
    {"user": ["u1", "u1", "u2", "u3"], "item": [10, 11, 10, 30], "time": [5, 6, 7, 8], "rating": [1.0, 4.5, 3.0, 5.0]}
)


def read(path, **options):
    return Table(Table.Config(path=str(path), **options)).read(Path("unused"))


def columns(raw):
    return {
        name: (column.labels.raw(column.codes) if isinstance(column, Coded) else column).tolist()
        for name, column in raw.tables["interactions"].items()
    }


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "my.csv") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_a_column_of_behaviours_is_read_where_it_is_named(write):
    path = write("user,item,event\n1,2,view\n1,3,buy\n")
    assert "behaviour" not in read(path).tables["interactions"]
    assert columns(read(path, behaviour="event"))["behaviour"] == ["view", "buy"]
    with pytest.raises(DataError, match="has no column 'action'"):
        read(path, behaviour="action")


@pytest.mark.parametrize(
    "name", ["t.csv", "t.tsv", "t.parquet", "t.jsonl", "t.ndjson", "t.csv.gz", "t.tsv.xz", "t.jsonl.gz", "t.parquet.gz"]
)
def test_every_form_gives_the_same_table(tmp_path, name):
    plain = tmp_path / name.removesuffix(".gz").removesuffix(".xz")
    if plain.suffix == ".parquet":
        FRAME.write_parquet(plain)
    elif plain.suffix in (".jsonl", ".ndjson"):
        FRAME.write_ndjson(plain)
    else:
        FRAME.write_csv(plain, separator="\t" if plain.suffix == ".tsv" else ",")
    if name.endswith((".gz", ".xz")):
        (tmp_path / name).write_bytes((gzip if name.endswith("gz") else lzma).compress(plain.read_bytes()))
    assert columns(read(tmp_path / name)) == FRAME.to_dict(as_series=False)


@pytest.mark.parametrize(
    ("separator", "name"), [(";", "t.csv"), ("|", "t.csv"), ("::", "t.dat"), (" ", "t.txt"), (",", "t.txt")]
)
def test_separators_are_found_out(write, separator, name):
    lines = ["user,item,rating", "a,1,5", "b,2,4"]
    raw = read(write("\n".join(lines).replace(",", separator), name))
    assert columns(raw) == {"user": ["a", "b"], "item": [1, 2], "rating": [5.0, 4.0]}


def test_a_table_without_a_header_needs_numbers_for_columns(write):
    path = write("196\t242\t3\t881250949\n186\t302\t3\t891717742\n", "u.data")
    assert columns(read(path, user=1, item=2, time=4, rating=None)) == {
        "user": [196, 186], "item": [242, 302], "time": [881250949, 891717742],
    }  # fmt: skip
    with pytest.raises(DataError) as caught:
        read(path)
    assert "columns: 1, 2, 3, 4" in str(caught.value)
    assert "--set data.user=" in str(caught.value)


def test_known_names_are_understood_whatever_their_case(write):
    raw = read(write("Rating,ASIN,reviewerID,unixReviewTime\n5,b,a,1\n"))
    assert columns(raw) == {"user": ["a"], "item": ["b"], "time": [1], "rating": [5.0]}


def test_named_columns_beat_known_names(write):
    raw = read(write("user,uid,item,sku\n1,2,3,4\n"), user="uid", item="sku")
    assert columns(raw) == {"user": [2], "item": [4]}


def test_a_column_that_is_not_there_is_answered_with_those_that_are(write):
    path = write("uid,sku,when\n1,2,3\n")
    with pytest.raises(DataError) as caught:
        read(path, user="uids")
    assert "columns: uid, sku, when" in str(caught.value)
    assert "closest: uid" in str(caught.value)
    with pytest.raises(DataError, match="columns: customer_name, thing"):
        read(write("customer_name,thing\n1,2\n", "other.csv"))
    with pytest.raises(DataError, match="two things"):
        read(path, user="uid", item="uid")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("user,item\n1,2\n,3\n", 3, "user is missing"),
        ("user,item\n1,2\n2,NaN\n", 3, "item is missing"),
        ("user,item,rating\n1,2,3\n1,3,nan\n", 3, "rating is missing"),
        ("user,item,rating\n1,2,3\n\n1,3,4\n", 3, "user is missing"),
        ('user,item,rating\n1,"2\n2",3\n1,3,\n', 4, "rating is missing"),
        ("user,item,rating\n1,2,3\n1,3,good\n", 3, "'good' is not a number"),
        ("user,item,time\n1,2,2020-01-01\n1,3,whenever\n", 3, "neither a number nor a date"),
        ("user,item\n1,2\n1,3,4\n", 3, "expected 2 fields, found 3"),
        ("user,item,part\n1,2,train\n1,3,exam\n", 3, "'exam' is none of"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_line(write, text, line, what):
    path = write(text)
    with pytest.raises(DataError) as caught:
        read(path)
    assert f"{path}:{line}:" in str(caught.value)
    assert what in str(caught.value)


def test_a_wrong_value_far_below_is_named_too(write):
    rows = [f"{row},{row % 7},{row % 5}" for row in range(12_000)]
    rows[11_500] = "11500,1,high"
    path = write("user,item,rating\n" + "\n".join(rows))
    with pytest.raises(DataError) as caught:
        read(path)
    assert f"{path}:11502:" in str(caught.value)
    assert columns(read(path, rating="none")).keys() == {"user", "item"}


def test_text_far_below_makes_all_ids_text(write):
    rows = [f"{row},1" for row in range(12_000)] + ["x9,1"]
    users = read(write("user,item\n" + "\n".join(rows) + "\n\n")).tables["interactions"]["user"]
    assert isinstance(users, Coded)
    assert len(users.labels) == 12_001
    assert users.labels.raw(users.codes[[0, 11_999, 12_000]]).tolist() == ["0", "11999", "x9"]


def test_leading_zeros_keep_ids_apart(write):
    assert columns(read(write("user,item\n007,1\n7,1\n")))["user"] == ["007", "7"]


def test_whole_numbers_written_as_fractions_are_ids_in_parquet(tmp_path):
    pl.DataFrame({"user": [1.0, 2.0], "item": [3.0, 4.0]}).write_parquet(tmp_path / "t.parquet")
    assert columns(read(tmp_path / "t.parquet")) == {"user": [1, 2], "item": [3, 4]}
    pl.DataFrame({"user": [1.0, 2.5], "item": [3.0, 4.0]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"row 2.*fraction"):
        read(tmp_path / "t.parquet")


def test_dates_become_times_in_order(write):
    text = "user,item,date\n1,2,2021-05-01 10:00:00\n1,3,2020-05-01 10:00:00\n"
    times = columns(read(write(text)))["time"]
    assert times[0] - times[1] == 365 * 86_400 * 1_000_000


@pytest.mark.parametrize(
    ("last", "what"),
    [
        ("yesterday", r":4: the time 'yesterday' is neither a number nor a date"),
        ("inf", ":4: the time 'inf' is not fin"),
    ],
)
def test_a_time_that_is_none_is_named(write, last, what):
    with pytest.raises(DataError, match=what):
        read(write(f"user,item,time\n1,2,1000\n1,3,1001\n1,4,{last}\n"))


@pytest.mark.parametrize("text", ["user,item\n1,2\n\n\n", "\n\nuser,item\r\n1,2\r\n\r\n", "\ufeffuser,item\n1,2"])
def test_blank_lines_around_a_table_and_marks_do_not_matter(write, text):
    assert columns(read(write(text))) == {"user": [1], "item": [2]}
    assert columns(read(write(gzip.compress(text.encode()), "t.csv.gz"))) == {"user": [1], "item": [2]}


@pytest.mark.parametrize(("text", "what"), [("", "is empty"), ("user,item\n", "has no rows"), ("\n\n", "is empty")])
def test_empty_tables_are_named(write, text, what):
    with pytest.raises(DataError, match=what):
        read(write(text))


@pytest.mark.parametrize(
    ("text", "what"),
    [(b"user,item\n\n1,2\n", ":2: an empty line"), (b"user,item\n1,\xe9\n", ":2: this is not UTF")],
)
def test_what_the_reader_cannot_read_is_named_by_its_line(write, text, what):
    with pytest.raises(DataError, match=what):
        read(write(text))


def test_a_cut_off_table_is_named(write):
    path = write(gzip.compress(b"user,item\n" + b"1,2\n" * 1000)[:-12], "t.csv.gz")
    with pytest.raises(DataError, match="cut off"):
        read(path)
    with pytest.raises(DataError, match="cannot be read"):
        read(write(b"PAR1 is not all it takes", "t.parquet"))


def test_a_missing_path_names_the_closest(write):
    path = write("user,item\n1,2\n", "ratings.csv")
    with pytest.raises(DataError, match=r"closest: ratings\.csv"):
        read(path.with_name("rating.csv"))
    with pytest.raises(DataError, match="says nothing about its form"):
        read(write("x", "ratings.bin"))


def test_nan_ratings_from_a_plugin_are_refused_too():
    from sslrec_core.data import Raw

    ids = np.arange(3)
    raw = Raw({"interactions": {"user": ids, "item": ids, "rating": np.array([1.0, np.nan, 2.0])}})
    with pytest.raises(DataError, match="interaction 2 is missing"):
        prepare_interactions(raw, Scenario.Config())


def test_ratings_below_the_least_are_dropped_and_counted(write):
    path = write("user,item,rating\n1,2,5\n1,3,1\n2,2,4\n")
    prepared = prepare_interactions(read(path), Scenario.Config(min_rating=4))
    assert prepared.meta["counts"]["interactions"] == 2
    assert "1 interactions rated below 4 dropped" in prepared.meta["notes"]
    assert prepared.arrays["items.integers"].tolist() == [2]
    with pytest.raises(DataError, match="have no ratings"):
        prepare_interactions(read(path, rating=None), Scenario.Config(min_rating=4))


# ---- folders ------------------------------------------------------------------------------------


def test_a_folder_of_parts_keeps_its_split(write, tmp_path):
    write("user,item\na,1\nb,2\n", "set/train.csv")
    write("user,item\na,3\n", "set/test.csv")
    assert columns(read(tmp_path / "set")) == {"user": ["a", "b", "a"], "item": [1, 2, 3], "part": [0, 0, 2]}
    assert [path.name for path in Table(Table.Config(path=str(tmp_path / "set"))).paths(tmp_path)] == [
        "train.csv",
        "test.csv",
    ]


def test_parts_of_different_kinds_of_ids_become_text(write, tmp_path):
    write("user,item\n1,1\n", "set/train.csv")
    write("user,item\nx,1\n", "set/test.csv")
    assert columns(read(tmp_path / "set"))["user"] == ["1", "x"]


def test_a_folder_with_one_table_is_that_table(write, tmp_path):
    write("user,item\n1,2\n", "set/anything.csv")
    assert columns(read(tmp_path / "set")) == {"user": [1], "item": [2]}


def test_a_folder_of_lists_is_recognised(write, tmp_path):
    write("0 1 2\n", "set/train.txt")
    write("0 3\n", "set/test.txt")
    raw = read(tmp_path / "set")
    assert raw.identity_ids
    assert columns(raw)["part"] == [0, 0, 2]


def test_a_single_file_of_lists_is_recognised(write):
    raw = read(write("0 1 2\n1 5\n", "all.txt"))
    assert raw.identity_ids
    assert columns(raw) == {"user": [0, 0, 1], "item": [1, 2, 5]}


def test_an_unknown_folder_is_told_what_is_understood(write, tmp_path):
    write("x", "set/readme.md")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "set")
    assert "understood: RecBole" in str(caught.value)


# ---- writing a folder ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["parquet", "lists"])
def test_an_exported_folder_is_a_dataset_with_the_same_parts(write, tmp_path, form):
    text = "user,item\n" + "\n".join(f"u{row % 6},{row * row % 17}" for row in range(80))
    meta = export(read(write(text)), Scenario.Config(), tmp_path / "out", form)
    again = prepare_interactions(read(tmp_path / "out"), Scenario.Config())
    assert [again.meta["counts"][part] for part in ("train", "valid", "test")] == [
        meta["counts"][part] for part in ("train", "valid", "test")
    ]
    assert meta["counts"]["valid"] > 0
    if form == "lists":
        assert (tmp_path / "out" / "user_list.txt").read_text().splitlines()[:2] == ["org_id remap_id", "u0 0"]
    with pytest.raises(StorageError, match="exists already"):
        export(read(write(text)), Scenario.Config(), tmp_path / "out", form)


def test_json_lines_name_their_columns(write):
    path = write("\n".join(json.dumps({"who": user, "what": "x"}) for user in (1, 2)), "t.jsonl")
    with pytest.raises(DataError, match="columns: who, what"):
        read(path)
    assert columns(read(path, user="who", item="what")) == {"user": [1, 2], "item": ["x", "x"]}
