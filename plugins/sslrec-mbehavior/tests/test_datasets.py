"""Named datasets: their declarations, reading, what bad files say, and the generated world."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from sslrec_core.data import Dataset, load_data
from sslrec_core.errors import DataError
from sslrec_mbehavior import datasets
from sslrec_mbehavior.baselines import SeenNotBought
from sslrec_mbehavior.data import MultiBehavior, MultiBehaviorData
from sslrec_mbehavior.datasets import Demo, Files, RetailRocket, Tmall, read_folder
from sslrec_mbehavior.plugin import sslrec_datasets
from sslrec_mbehavior.worlds import shopping_world

CLASSES = {name: getattr(datasets, target.rpartition(":")[2]) for name, target in sslrec_datasets().items()}
NAMED = {name: kind for name, kind in CLASSES.items() if kind.files}
ROWS = {
    "train_view.tsv": "0\t1\t10\n0\t2\t11\n2\t3\t5\n",
    "train_buy.tsv": "0\t1\t12\n1\t0\t3\n",
    "test.tsv": "0\t2\n1\t3\n",
}
LISTS = {
    "view_train.txt": "0 1 2\n2 3\n3\n",
    "cart_train.txt": "0 2\n",
    "buy_train.txt": "0 1\n1 0\n",
    "buy_valid.txt": "1 2\n",
    "buy_test.txt": "0 2\n1 3\n",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_all_named_datasets_are_here() -> None:
    assert len(CLASSES) == 4
    assert len(NAMED) == 2


@pytest.mark.parametrize("name", NAMED)
def test_declarations_are_complete(name: str) -> None:
    kind = NAMED[name]
    assert kind.licence
    assert kind.citation
    assert kind.homepage.startswith("https://")
    assert set(kind.sizes) == {"user", "item"}
    for file in kind.files:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.size
        assert file.url is None or re.match(r"https://[^/]+/[^/]+/[^/]+/[0-9a-f]{40}/", file.url)


def test_rows_with_times(tmp_path: Path) -> None:
    raw = read_folder(write(tmp_path, ROWS), "buy")
    assert raw.tables["interactions"]["part"].tolist() == [0, 0, 2, 2]
    assert "time" not in raw.tables["interactions"]
    assert raw.tables["behaviours"]["behaviour"].tolist() == ["view"] * 3
    assert raw.tables["behaviours"]["time"].tolist() == [10, 11, 5]


def test_rows_without_times_and_without_a_test_file(tmp_path: Path) -> None:
    files = {"train_view.tsv": "0\t1\n", "train_cart.tsv": "0\t1\t3\n", "train_buy.tsv": "0\t1\t12\n1\t0\t3\n"}
    raw = read_folder(write(tmp_path, files), "buy")
    assert set(raw.tables["interactions"]) == {"user", "item", "time", "behaviour"}
    assert set(raw.tables["behaviours"]) == {"user", "item", "behaviour"}


def test_lists(tmp_path: Path) -> None:
    raw = read_folder(write(tmp_path, LISTS), "buy")
    assert raw.sizes == {"user": 4}
    assert raw.tables["interactions"]["part"].tolist() == [0, 0, 1, 2, 2]
    assert sorted(set(raw.tables["behaviours"]["behaviour"].tolist())) == ["cart", "view"]


@pytest.mark.parametrize("files", [ROWS, LISTS])
def test_an_own_folder(files: dict[str, str], tmp_path: Path) -> None:
    dataset = Files(Files.Config(path=str(write(tmp_path, files))))
    assert {path.name for path in dataset.paths(Path())} == set(files)
    prepared = MultiBehavior(MultiBehavior.Config()).process(dataset.read(Path()))
    assert prepared.meta["behaviours"][0] == "view"


def test_the_folder_says_what_the_target_is_called(tmp_path: Path) -> None:
    dataset = Files(Files.Config(path=str(write(tmp_path, LISTS)), target="cart"))
    prepared = MultiBehavior(MultiBehavior.Config()).process(dataset.read(Path()))
    assert prepared.meta["target"] == "cart"
    assert prepared.meta["behaviours"] == ["view", "buy"]


@pytest.mark.parametrize(
    ("files", "target", "words"),
    [
        ({}, "buy", "no training file of 'buy'"),
        (ROWS, "purchase", "no training file of 'purchase'"),
        ({"train_buy.tsv": ROWS["train_buy.tsv"]}, "buy", "no training file of another behaviour"),
        ({**ROWS, "train_view.tsv": ""}, "buy", r"train_view\.tsv is empty"),
        ({**ROWS, "train_view.tsv": "0\t1\t10\n0\t2\n"}, "buy", r"train_view\.tsv:2: expected 3 numbers"),
        ({**ROWS, "train_view.tsv": "0\t1\n0\tx\n"}, "buy", r"train_view\.tsv:2: expected whole numbers"),
        ({**ROWS, "test.tsv": "0\n"}, "buy", r"test\.tsv:1: expected 2 numbers"),
        ({**LISTS, "cart_train.txt": ""}, "buy", r"cart_train\.txt is empty"),
    ],
)
def test_bad_folders_are_refused(files: dict[str, str], target: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        read_folder(write(tmp_path, files), target)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        Files(Files.Config(path=str(tmp_path / "nowhere"))).read(Path())


@pytest.mark.parametrize("kind", [RetailRocket, Tmall])
def test_what_is_missing_is_named(kind: type[Dataset], tmp_path: Path) -> None:
    scenario = MultiBehavior(MultiBehavior.Config())
    with pytest.raises(DataError) as caught:
        load_data(kind(kind.Config()), scenario, name="mbehavior/some", root=tmp_path, cache=tmp_path / "cache")
    assert str(tmp_path / "mbehavior/some" / kind.files[0].name) in str(caught.value)


# ---- real files


DATA = os.environ.get("SSLREC_DATA")


def real(name: str, tmp_path: Path, **options: object) -> MultiBehaviorData:
    if not DATA or not Path(DATA, name).is_dir():
        pytest.skip(f"set SSLREC_DATA to a folder that has {name}")
    kind, scenario = NAMED[name], MultiBehavior(MultiBehavior.Config(holdout=0, **options))
    data = load_data(kind(kind.Config()), scenario, name=name, root=Path(DATA), cache=tmp_path)
    assert isinstance(data, MultiBehaviorData)
    return data


def test_retail_rocket_is_what_it_says(tmp_path: Path) -> None:
    data = real("mbehavior/retail_rocket", tmp_path)
    assert (data.n_users, data.n_items) == (2_174, 30_113)
    assert [rows.nnz for rows in data.rows] == [75_374, 12_456, 9_551]
    assert data.interactions.parts["test"].nnz == 2_174
    assert all(each.times is not None for each in data.others)
    assert not np.isin(data.anything.keys.numpy(), data.interactions.parts["test"].keys.numpy()).any()


def test_tmall_is_what_it_says(tmp_path: Path) -> None:
    data = real("mbehavior/tmall", tmp_path)
    assert (data.n_users, data.n_items) == (15_449, 11_953)
    assert [rows.nnz for rows in data.rows] == [858_505, 180_027, 92_180]
    test = data.interactions.parts["test"].keys
    assert [int(torch.isin(test, rows.keys).sum()) for rows in data.rows] == [12_315, 3_024, 0]
    clean = real("mbehavior/tmall", tmp_path, hide_held_out=True)
    assert not torch.isin(test, clean.anything.keys).any()


# ---- the generated world


def demo(**options: object) -> MultiBehaviorData:
    scenario = MultiBehavior(MultiBehavior.Config())
    return scenario.data(scenario.process(Demo(Demo.Config(**options)).read(Path())))


def test_equal_seeds_give_equal_worlds() -> None:
    worlds = [shopping_world(seed, 40, 60).tables for seed in (0, 0, 1)]
    same = [all(np.array_equal(worlds[0][t][c], other[t][c]) for t in other for c in other[t]) for other in worlds[1:]]
    assert same == [True, False]


def test_the_control_changes_whose_behaviours_they_are_and_nothing_else() -> None:
    told, shuffled = (shopping_world(0, 40, 60, shuffled=shuffled).tables for shuffled in (False, True))
    for name in told["interactions"]:
        assert np.array_equal(told["interactions"][name], shuffled["interactions"][name])
    for name in ("item", "behaviour", "time"):
        assert np.array_equal(told["behaviours"][name], shuffled["behaviours"][name])
    counts = [sorted(np.unique(t["behaviours"]["user"], return_counts=True)[1].tolist()) for t in (told, shuffled)]
    assert counts[0] == counts[1]
    assert not np.array_equal(told["behaviours"]["user"], shuffled["behaviours"]["user"])


def test_views_and_carts_foretell_what_is_bought() -> None:
    hits = []
    for shuffled in (False, True):
        data = demo(users=300, items=300, shuffled=shuffled)
        rule = SeenNotBought(SeenNotBought.Config(), data)
        rule.compute()
        queries = next(iter(data.queries("test", 300)))
        best = rule.scorer()(queries).topk(10).indices
        found = queries.truth.contains(torch.arange(len(best))[:, None], best)
        hits.append(found.sum() / queries.truth.nnz)
    assert hits[0] > 0.5 > 0.1 > hits[1] > 0


def test_a_world_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one user and 8 items"):
        shopping_world(items=3)
