"""Named datasets: their declarations, reading, what bad files say, and a user's own files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from sslrec_core.builtin.datasets import Table
from sslrec_core.data import load_data
from sslrec_core.errors import DataError
from sslrec_social import datasets
from sslrec_social.data import Social, SocialData
from sslrec_social.datasets import Demo, LastFM, ListsAndTrust
from sslrec_social.plugin import sslrec_datasets

CLASSES = {name: getattr(datasets, target.rpartition(":")[2]) for name, target in sslrec_datasets().items()}
NAMED = {name: kind for name, kind in CLASSES.items() if issubclass(kind, ListsAndTrust)}
TIES = {"ciao": 111_781, "dianping": 813_330, "douban-book": 169_142, "epinions": 595_104, "lastfm": 25_434,
        "yelp": 727_384}  # fmt: skip


class Small(ListsAndTrust):
    """Three users, four items."""

    sizes = {"user": 3, "item": 4}


def write(folder: Path, **files: str) -> Path:
    content = {"train": "0 0 1\n1 1 2\n2 3\n", "test": "0 2\n1 3\n", "trust": "0 1\n1 0\n2 0\n", **files}
    for name, text in content.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_all_named_datasets_are_here() -> None:
    assert len(NAMED) == 6
    assert len(CLASSES) == 7


@pytest.mark.parametrize("name", NAMED)
def test_declarations_are_complete(name: str) -> None:
    kind = NAMED[name]
    assert kind.licence and kind.citation
    assert kind.homepage.startswith("https://")
    assert set(kind.sizes) == {"user", "item"}
    assert [file.name for file in kind.files] == ["train.txt", "test.txt", "trust.txt"]
    assert all(file.size and re.fullmatch("[0-9a-f]{64}", str(file.sha256)) for file in kind.files)


def test_reading_gives_both_tables(tmp_path: Path) -> None:
    raw = Small(Small.Config()).read(write(tmp_path))
    assert raw.identity_ids
    assert raw.tables["trust"]["target"].tolist() == [1, 0, 0]
    assert raw.tables["interactions"]["part"].tolist() == [0, 0, 0, 0, 0, 2, 2]
    assert raw.sizes == dict(Small.sizes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 1\n\n1 3\n", r"trust\.txt:3: the target is no user, the last one is 2"),
        ("9 1\n", r"trust\.txt:1: the source is no user"),
        ("0 1\n1 0 4\n", r"trust\.txt:2: expected 2 numbers"),
        ("0 1\n1 friend\n", r"trust\.txt:2: expected whole numbers"),
        ("", r"trust\.txt is empty"),
    ],
)
def test_bad_ties_name_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Small(Small.Config()).read(write(tmp_path, trust=text))


def test_what_cannot_be_downloaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_data(LastFM(LastFM.Config()), Social(Social.Config()), name="social/lastfm", root=tmp_path, cache=tmp_path)
    said = str(caught.value)
    assert str(tmp_path / "social/lastfm/trust.txt") in said
    assert str(LastFM.files[2].sha256) in said


def test_the_demo_needs_no_file(tmp_path: Path) -> None:
    demo = Demo(Demo.Config(users=60, items=40))
    data = load_data(demo, Social(Social.Config()), name="social/demo", root=tmp_path, cache=tmp_path)
    assert isinstance(data, SocialData)
    assert data.n_users == 60 and data.ties.nnz == 480


# ---- a user's own files


def own(path: Path, **options: str) -> SocialData:
    table = Table(Table.Config(path=str(path), **options))
    scenario = Social(Social.Config())
    return scenario.data(scenario.process(table.read(Path("unused"))))


SHOP = "user,item\n" + "".join(f"{user},{item}\n" for user in ("ann", "bob", "cid") for item in range(5))


def test_a_table_with_ties_beside_it(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text(SHOP)
    (tmp_path / "friends.csv").write_text("user,friend,weight\nann,cid,0.5\nbob,eve,1\n")
    data = own(tmp_path / "shop.csv", trust=str(tmp_path / "friends.csv"))
    assert (data.trust.target.tolist(), data.trust.source.tolist()) == ([0], [2])
    assert data.trust.weight.tolist() == [0.5]


def test_lists_and_atomic_files(tmp_path: Path) -> None:
    write(tmp_path)
    assert own(tmp_path).ties.nnz == 3
    atomic = tmp_path / "atomic"
    atomic.mkdir()
    (atomic / "x.inter").write_text("user_id:token\titem_id:token\n" + SHOP.partition("\n")[2].replace(",", "\t"))
    (atomic / "x.net").write_text("source_id:token\ttarget_id:token\nann\tbob\n")
    assert own(atomic).ties.nnz == 1


def test_without_ties_it_is_said_where_to_put_them(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text(SHOP)
    with pytest.raises(DataError, match="no ties between users") as caught:
        own(tmp_path / "shop.csv")
    assert "--set data.trust=FILE" in str(caught.value)


# ---- the real files

DATA = Path(os.environ.get("SSLREC_DATA", "/nonexistent"))


@pytest.mark.parametrize("name", TIES)
def test_real_files_are_what_they_say(name: str, tmp_path: Path) -> None:
    if not (DATA / "social" / name).is_dir():
        pytest.skip("set SSLREC_DATA to a folder that has it")
    full = f"social/{name}"
    kind = NAMED[full]
    data = load_data(kind(kind.Config()), Social(Social.Config(holdout=0)), name=full, root=DATA, cache=tmp_path)
    assert isinstance(data, SocialData)
    assert (data.n_users, data.n_items) == tuple(kind.sizes.values())
    assert data.ties.nnz == TIES[name]
