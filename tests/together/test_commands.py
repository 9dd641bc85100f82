"""The commands as a person types them, from data to ranked lists, on small data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(400)  # several processes each, which import torch
SMALL = ("--set", "train.epochs=2", "--set", "model.embedding_dim=8")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def sslrec(cache: Path, *words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own and check how it ends."""
    environment = {"PATH": "/usr/bin:/bin", "SSLREC_CACHE": str(cache), "HOME": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sslrec_core.cli", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=cache)
    assert done.returncode == code, done.stderr
    return done


def test_train_evaluate_recommend(cache: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = json.loads(sslrec(cache, "train", "sgl", "-d", "cf/demo", "-o", run, "--json", *SMALL).stdout)
    assert trained["label"] is None and 0 < trained["metrics"]["recall@20"] < 1
    again = json.loads(sslrec(cache, "evaluate", run, "--json").stdout)
    assert again["metrics"] == trained["metrics"]
    sliced = json.loads(sslrec(cache, "evaluate", run, "--json", "--set", "eval.slices=true").stdout)
    assert any(name.startswith("recall@20/users:") for name in sliced["metrics"])
    lists = sslrec(cache, "recommend", run, "--user", "u0001", "--user", "u0002", "-k", "3", "--format", "jsonl").stdout
    rows = [json.loads(line) for line in lists.splitlines()]
    assert [row["user"] for row in rows] == ["u0001", "u0002"]
    assert all(len(row["items"]) == 3 for row in rows)


@pytest.mark.parametrize("augmenter", ["edge-drop", "node-drop", "random-walk"])
def test_parts_are_swapped_by_name(cache: Path, tmp_path: Path, augmenter: str) -> None:
    words = ["train", "sgl", "-d", "cf/demo", "-o", tmp_path / "run", "--quiet", *SMALL]
    sslrec(cache, *words, "--set", f"model.augmenter.name={augmenter}", "--set", "model.encoder.layers=3")
    assert f'name = "{augmenter}"' in (tmp_path / "run" / "config.toml").read_text()


def test_a_file_of_ones_own_is_a_dataset(cache: Path, tmp_path: Path) -> None:
    rows = [f"p{u},q{(u * k) % 17},{k}" for u in range(1, 40) for k in range(1, 9)]
    (tmp_path / "own.csv").write_text("\n".join(["uid,sku,when", *rows]) + "\n")
    named = ["--set", "data.user=uid", "--set", "data.item=sku", "--set", "data.time=when"]
    split = ["--set", "scenario.split=leave-one-out"]
    words = ["train", "lightgcn", "-d", tmp_path / "own.csv", "-o", tmp_path / "run", *named, *split, "--json", *SMALL]
    assert json.loads(sslrec(cache, *words).stdout)["metrics"]["hit@20"] > 0
    shown = sslrec(cache, "recommend", tmp_path / "run", "-u", "p3", "-k", "2").stdout
    assert "p3" in shown and "q" in shown


def test_a_missing_column_names_those_there_are(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("uid,sku\na,b\n")
    words = ["train", "lightgcn", "-d", tmp_path / "own.csv", "--set", "data.user=user", "--set", "data.item=sku"]
    said = sslrec(cache, *words, code=2).stderr
    assert "own.csv" in said and "'user'" in said and "uid" in said and "Traceback" not in said


def test_selecting_on_test_is_labelled_wherever_numbers_appear(cache: Path, tmp_path: Path) -> None:
    words = ["train", "lightgcn", "-d", "cf/demo", "-o", tmp_path / "run", "--protocol", "published", *SMALL]
    done = sslrec(cache, *words)
    assert "selected on test" in done.stdout and "selected on test" in done.stderr
    assert "selected on test" in sslrec(cache, "evaluate", tmp_path / "run").stdout


def test_plain_lines_where_there_is_no_terminal_and_none_when_quiet(cache: Path, tmp_path: Path) -> None:
    loud = sslrec(cache, "train", "lightgcn", "-d", "cf/demo", "-o", tmp_path / "loud", *SMALL)
    assert loud.stderr.count("epoch ") >= 1 and "\x1b" not in loud.stderr + loud.stdout
    quiet = sslrec(cache, "train", "lightgcn", "-d", "cf/demo", "-o", tmp_path / "quiet", "--quiet", *SMALL)
    assert quiet.stderr == "" and "recall@20" in quiet.stdout


def test_a_dataset_that_is_not_there_says_what_to_place_where(cache: Path, tmp_path: Path) -> None:
    words = ["train", "lightgcn", "-d", "cf/sparse_yelp", "--data-dir", tmp_path / "data"]
    said = sslrec(cache, *words, code=2).stderr
    assert "train.txt" in said and str(tmp_path / "data" / "cf" / "sparse_yelp") in said
    assert not (tmp_path / "data").exists() or not any((tmp_path / "data").rglob("*.txt"))
