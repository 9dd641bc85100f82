"""Names of items: from a table, from an atomic file, in the order of item numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from sslrec_core.builtin.datasets import Table
from sslrec_core.errors import DataError
from sslrec_core.ingest.cache import Cache
from sslrec_core.ingest.naming import in_order, read_names
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig, resolve
from sslrec_core.testing.bench import QUIET
from sslrec_core.vocabulary import Vocabulary

HOSTILE = ["<img src=x onerror=alert(1)>", 'a "quoted", name', "\u202eright to left", "x" * 5000]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four users who like even or odd items."""
    rows = [f"u{user},{item}" for user in range(4) for item in range(10, 22) if (user + item) % 2]
    (tmp_path / "likes.csv").write_text("\n".join(["user,item", *rows]))
    return tmp_path


def configured(folder: Path, *settings: str) -> RunConfig:
    scenario = {"scenario": {"name": "plain"}}
    return resolve(
        "factors", str(folder / "likes.csv"), assignments=[*QUIET, "train.epochs=1", *settings], options=scenario
    ).config


def test_each_item_has_its_name_or_none(folder: Path, factors: Callable[..., RunConfig]) -> None:
    names = folder / "names.csv"
    rows = [
        f'{item},"{name.replace(chr(34), chr(34) * 2)}"' for item, name in zip((13, 11, 99, 12), HOSTILE, strict=True)
    ]
    names.write_text("\n".join(["item_id,title", *rows, "11,second", "14,"]) + "\n\n", encoding="utf-8")
    run = Run.create(configured(folder, f"data.names={names}"), folder / "run")
    assert run.data.items.raw(np.arange(5)).tolist() == [10, 11, 12, 13, 14]
    assert run.names(torch.arange(5)) == [None, HOSTILE[1], HOSTILE[3], HOSTILE[0], None]
    assert Run.create(configured(folder), folder / "other").names(torch.tensor([0, 3])) == [None, None]


def test_text_ids_are_found_too() -> None:
    items = Vocabulary.from_array(np.array(["a", "b", "c"], dtype=object))
    named = in_order(items, np.array(["c", "x", "a"], dtype=object), pl.Series(["sea", "?", "eh"]))
    assert named.to_list() == ["eh", None, "sea"]


def test_an_atomic_file_names_its_items(tmp_path: Path) -> None:
    (tmp_path / "ml.inter").write_text("user_id:token\titem_id:token\n1\t5\n2\t6\n")
    table = Table(Table.Config(path=str(tmp_path)))
    assert table.names(tmp_path) is None
    (tmp_path / "ml.item").write_text(
        "item_id:token\tyear:token\tmovie_title:token_seq\n5\t1999\tA Film, <b>\n6\t2000\t\n"
    )
    ids, names = table.names(tmp_path) or (None, None)
    assert list(ids) == [5, 6] and names.to_list() == ["A Film, <b>", None]
    (tmp_path / "ml.item").write_text("item_id:token\tyear:token\n5\t1999\n")
    assert table.names(tmp_path) is None


def test_what_cannot_be_read_is_explained(folder: Path) -> None:
    path = folder / "names.csv"
    path.write_text("item,price\n1,2.5\n")
    with pytest.raises(DataError, match="looks like the names") as refused:
        read_names(path)
    assert "item, price" in refused.value.facts[0]
    with pytest.raises(DataError, match="there is no file or folder"):
        Table(Table.Config(path=str(folder / "likes.csv"), names=str(folder / "gone.csv"))).names(folder)


def test_naming_items_does_not_change_the_data(folder: Path, factors: Callable[..., RunConfig]) -> None:
    keys = {
        Cache(folder).key("table", config.data.build(), config.scenario.build(), [])
        for config in (configured(folder), configured(folder, "data.names=names.csv"))
    }
    assert len(keys) == 1
