"""Sweeps: which runs a file asks for, and that each is made once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from sslrec_core.cli import main
from sslrec_core.errors import ConfigError, SslrecError
from sslrec_core.records import read_result
from sslrec_core.sweeping import News, Sweep, carry_out

pytestmark = pytest.mark.timeout(400)  # each run is a process that imports torch
SMALL = "set = ['data.users=60', 'data.items=40']"
TWO = f"""
datasets = ["cf/demo"]
seeds = [1, 2]
{SMALL}

[[models]]
name = "popularity"
seeds = [7]

[[models]]
row = "ItemKNN, near"
name = "itemknn"
set = ["model.neighbours=3"]
"""


def sweep(folder: Path, text: str = TWO) -> Sweep:
    path = folder / "models.toml"
    path.write_text(text)
    return Sweep.read(path)


def made(found: Sweep, folder: Path) -> list[tuple[str, str]]:
    told: list[News] = []
    carry_out(found.jobs(), folder, at_once=2, threads=1, tell=told.append)
    return sorted((news.job.name, news.state) for news in told)


def test_the_runs_that_a_file_asks_for(tmp_path: Path) -> None:
    jobs = sweep(tmp_path).jobs()
    assert [job.name for job in jobs] == [
        "popularity-standard-7", "ItemKNN-near-standard-1", "ItemKNN-near-standard-2",
    ]  # fmt: skip
    assert jobs[1].arguments == [
        "train", "itemknn", "--dataset", "cf/demo", "--protocol", "standard", "--seed", "1",
        "--set", "data.users=60", "--set", "data.items=40", "--set", "model.neighbours=3",
    ]  # fmt: skip


def test_rows_may_be_for_some_of_several_datasets(tmp_path: Path) -> None:
    text = """
    datasets = ["cf/demo", "kg/demo"]
    protocols = ["standard", "published"]
    models = [{name = "popularity"}, {name = "ease", datasets = ["kg/demo"]}]
    """
    assert [job.name for job in sweep(tmp_path, text).jobs()] == [
        "cf-demo-popularity-standard-1", "cf-demo-popularity-published-1",
        "kg-demo-popularity-standard-1", "kg-demo-popularity-published-1",
        "kg-demo-ease-standard-1", "kg-demo-ease-published-1",
    ]  # fmt: skip


def test_each_run_is_made_once(tmp_path: Path) -> None:
    found, folder = sweep(tmp_path), tmp_path / "runs"
    first = made(found, folder)
    assert [state for _, state in first] == ["begins", "is complete"] * 3
    values = {job.name: read_result(folder / job.name).metrics for job in found.jobs()}
    assert values["ItemKNN-near-standard-1"] == values["ItemKNN-near-standard-2"]
    (folder / "popularity-standard-7" / "result.json").unlink()
    again = made(found, folder)
    assert ("popularity-standard-7", "goes on") in again
    assert [state for name, state in again if name.startswith("ItemKNN")] == ["was complete"] * 2


def test_a_run_that_was_made_with_other_settings_is_not_taken_for_it(tmp_path: Path) -> None:
    folder, only = (
        tmp_path / "runs",
        "datasets = ['cf/demo']\nmodels = [{name = 'itemknn', set = ['model.neighbours=3']}]",
    )
    made(sweep(tmp_path, f"{SMALL}\n{only}"), folder)
    config = folder / "itemknn-standard-1" / "config.toml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith("fit_on")]
    config.write_text("\n".join(lines))  # as an earlier version wrote it, which had fewer options
    assert made(sweep(tmp_path, f"{SMALL}\n{only}"), folder) == [("itemknn-standard-1", "was complete")]
    told: list[News] = []
    carry_out(sweep(tmp_path, f"{SMALL}\n{only.replace('=3', '=4')}").jobs(), folder, tell=told.append)
    assert [news.state for news in told] == ["failed"]
    assert "model.neighbours: 3, and now 4" in told[0].why
    config.write_text("[model\n")
    carry_out(sweep(tmp_path, f"{SMALL}\n{only}").jobs(), folder, tell=told.append)
    assert told[-1].state == "failed" and "config.toml" in told[-1].why


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to pass on")
def test_sigterm_reaches_the_runs_and_the_same_command_goes_on(tmp_path: Path) -> None:
    path, folder = tmp_path / "models.toml", tmp_path / "runs"
    long = "set = ['train.epochs=100000', 'model.embedding_dim=4', 'train.patience=none']"
    path.write_text(f"datasets = ['cf/demo']\nmodels = [{{name = 'cf/lightgcn', seeds = [1, 2], {long}}}]")
    command = [sys.executable, "-m", "sslrec_core.cli", "sweep", str(path), "-o", str(folder)]
    curve = folder / "cf-lightgcn-standard-1" / "metrics.jsonl"
    for begun in ("begins", "goes on"):
        seen = curve.read_text().count("\n") if curve.exists() else 0
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as sweeping:
            while not curve.exists() or curve.read_text().count("\n") < seen + 4:
                assert sweeping.poll() is None, sweeping.communicate()
                time.sleep(0.1)
            sweeping.terminate()
            _, said = sweeping.communicate(timeout=120)
        assert sweeping.returncode == 130
        assert f"cf-lightgcn-standard-1  {begun}" in said
        assert "cf-lightgcn-standard-1  stopped" in said and "the same command goes on" in said
        assert [one.name for one in folder.iterdir()] == ["cf-lightgcn-standard-1"]
    size = curve.stat().st_size
    time.sleep(1)
    assert curve.stat().st_size == size, "a run went on by itself"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datasets = ['cf/demo']", "models: Field required"),
        ("datasets = []\nmodels = [{name = 'ease'}]", "datasets: "),
        ("datasets = ['cf/demo']\nmodel = [{name = 'ease'}]", "no such key, closest: models"),
        ("datasets = ['cf/demo']\nmodels = [{name = 'ease'}, {name = 'ease'}]", "several runs called ease-standard-1"),
    ],
)
def test_a_file_that_is_no_sweep_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        sweep(tmp_path, text)
    assert message in str(refused.value)


@pytest.mark.parametrize("row", ["{name = 'eas'}", "{name = 'ease', set = ['model.l3=1']}"])
def test_a_row_that_cannot_be_run_is_found_before_any_run(tmp_path: Path, row: str) -> None:
    found = sweep(tmp_path, f"datasets = ['cf/demo']\nmodels = [{{name = 'popularity'}}, {row}]")
    with pytest.raises(SslrecError, match=r"^eas\w*-standard-1: "):
        made(found, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def sslrec(arguments: Sequence[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def test_the_command_says_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = tmp_path / "models.toml", tmp_path / "runs"
    path.write_text(TWO.replace("[1, 2]", "[1]"))
    assert sslrec(["sweep", str(path), "--dry-run"]) == 0
    assert "sslrec train popularity --dataset cf/demo --protocol standard --seed 7" in capsys.readouterr().out
    assert not folder.exists()
    assert sslrec(["sweep", str(path), "-o", str(folder), "--only", "popularity"]) == 0
    assert "complete: 1 runs, in" in capsys.readouterr().out
    # What cannot be trained is told, and the others are made all the same.
    path.write_text(path.read_text() + "[[models]]\nname = 'ease'\nseeds = [1]\nset = ['scenario.k_core=1000']\n")
    assert sslrec(["sweep", str(path), "-o", str(folder)]) == 1
    told = capsys.readouterr().err
    assert "ease-standard-1  failed" in told and "1 of 3 runs failed, 2 are complete, in " in told
