"""Named datasets: their declarations, reading, what bad files say, and the real files where they are."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from sslrec_cf import datasets
from sslrec_cf.data import CF, CFData
from sslrec_cf.datasets import Demo, ItemLists
from sslrec_cf.plugin import sslrec_datasets
from sslrec_core.data import File, load_data, load_prepared
from sslrec_core.errors import DataError

CLASSES = {name: getattr(datasets, str(target).rpartition(":")[2]) for name, target in sslrec_datasets().items()}
NAMED: dict[str, type[ItemLists]] = {name: kind for name, kind in CLASSES.items() if issubclass(kind, ItemLists)}
DATA = os.environ.get("SSLREC_DATA")


class Small(ItemLists):
    """Three users, five items."""

    files = (File("train.txt"), File("valid_within_train.txt"), File("test.txt"))
    sizes = {"user": 4, "item": 5}
    pairs = {"train": 5, "valid": 1, "test": 1}


def write(folder: Path, **files: str) -> Path:
    content = {"train": "0 0 1\n1 1 2\n2 3\n", "valid_within_train": "1 2\n", "test": "0 2\n", **files}
    for name, text in content.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_all_named_datasets_are_here() -> None:
    assert len(NAMED) == 12
    assert set(CLASSES) - set(NAMED) == {"cf/demo"}
    assert len(set(CLASSES.values())) == len(CLASSES)


@pytest.mark.parametrize("name", NAMED)
def test_declarations_are_complete(name: str) -> None:
    kind = NAMED[name]
    assert kind.licence and kind.citation and kind.homepage.startswith("https://")
    assert kind.sizes.keys() == {"user", "item"}
    assert (
        {file.name.removesuffix(".txt").partition("_")[0] for file in kind.files}
        == kind.pairs.keys()
        >= {"train", "test"}
    )
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
        load_prepared(kind(kind.Config()), CF(CF.Config()), name=name, root=tmp_path, cache=tmp_path / "cache")
    for file in kind.files:
        assert str(tmp_path / name / file.name) in str(caught.value)
        assert str(file.sha256) in str(caught.value)
    assert kind.homepage in str(caught.value)


def test_reading_gives_parts_and_sizes(tmp_path: Path) -> None:
    raw = Small(Small.Config()).read(write(tmp_path))
    assert raw.identity_ids
    assert np.asarray(raw.tables["interactions"]["part"]).tolist() == [0, 0, 0, 0, 0, 1, 2]
    assert raw.sizes == {"user": 4, "item": 5}


def test_validation_pairs_leave_training_only_where_something_is_held_out(tmp_path: Path) -> None:
    write(tmp_path)
    raw = Small(Small.Config()).read(tmp_path)
    judged, published = (CF(CF.Config(holdout=share)).process(raw).meta["counts"] for share in (0.1, 0.0))
    assert (judged["train"], judged["valid"], judged["test"]) == (4, 1, 1)
    assert (published["train"], published["valid"], published["test"]) == (5, 0, 1)
    assert (judged["users"], judged["items"]) == (4, 5), "ids that do not occur count"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train": "0 0 1\n1 1\n2 3\n"}, r"train\.txt is not what Small declares.*expected: 5 pairs.*found: 4"),
        ({"test": "0 2 3\n"}, r"test\.txt is not what Small declares"),
        ({"valid_within_train": "7 2\n"}, r"expected: user ids below 4.*found: 7"),
        ({"test": "0 5\n"}, r"expected: item ids below 5.*found: 5"),
        ({"train": "0 0 1\n1 1 2\n2 -3\n"}, r"train\.txt:3: expected whole numbers from 0 on, found '-3'"),
    ],
)
def test_other_files_than_declared_are_refused(tmp_path: Path, files: dict[str, str], words: str) -> None:
    with pytest.raises(DataError, match=f"(?s){words}"):
        Small(Small.Config()).read(write(tmp_path, **files))


def test_the_demo_needs_no_file(tmp_path: Path) -> None:
    demo = Demo(Demo.Config(users=60, items=40))
    data = load_data(demo, CF(CF.Config()), name="cf/demo", root=tmp_path / "none", cache=tmp_path)
    assert isinstance(data, CFData)
    assert data.n_users == 60 and data.n_items <= 40
    assert all(data.interactions.parts[part].nnz for part in ("train", "valid", "test"))
    assert data.users.raw([7])[0] == "u0007"
    assert re.fullmatch(r"The \w+ \w+ \(.+\)", data.items.raw([0])[0])


@pytest.mark.parametrize("name", NAMED)
def test_real_files_hold_what_they_should(name: str, tmp_path: Path) -> None:
    if not DATA or not Path(DATA, name).is_dir():
        pytest.skip(f"set SSLREC_DATA to a folder that holds {name}/")
    kind = NAMED[name]
    counts = load_prepared(
        kind(kind.Config()), CF(CF.Config(holdout=0)), name=name, root=Path(DATA), cache=tmp_path
    ).meta["counts"]
    assert (counts["users"], counts["items"]) == (kind.sizes["user"], kind.sizes["item"])
    assert (counts["train"], counts["test"]) == (kind.pairs["train"], kind.pairs["test"])
    if not Path(DATA, "stats.json").is_file():
        return
    known = json.loads(Path(DATA, "stats.json").read_text())[name]
    assert (counts["users"], counts["items"]) == (known["n_user_ids"], known["n_item_ids"])
    assert (counts["users with interactions"], counts["items with interactions"]) == (known["users"], known["items"])
    for part in ("train", "valid", "test"):
        assert counts[part] == known.get(part, 0)
    for ours, theirs in (
        ("interactions", "interactions"),
        ("test users", "test_users"),
        ("test users without training items", "test_users_not_in_train"),
        ("test items unseen in training", "test_items_not_in_train"),
    ):
        assert counts[ours] == known.get(theirs, counts[ours])
