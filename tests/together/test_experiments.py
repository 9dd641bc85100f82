"""The functions for use from Python: they go the way that the command line goes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sslrec_core as sslrec
from sslrec_core.errors import ConfigError, SslrecError, TrainingError, UnknownName
from sslrec_core.experiments import assignments, configure
from sslrec_core.records import read_result

pytestmark = pytest.mark.timeout(400)  # a sweep's runs are processes that import torch
SMALL = {"data.users": 120, "data.items": 90}


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, sslrec_core; assert set(sslrec_core.__all__) >= {'run', 'tune'}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_name_of_the_package_is_there() -> None:
    assert all(getattr(sslrec, name) for name in sslrec.__all__)
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = sslrec.runn


def test_settings_are_what_set_takes() -> None:
    given = {"model.layers": 3, "train": {"patience": None}, "run.callbacks": [{"name": "ema", "decay": 0.9}]}
    assert assignments(given) == [
        "model.layers=3", 'train.patience="none"', 'run.callbacks=[{name = "ema", decay = 0.9}]',
    ]  # fmt: skip
    assert assignments(["model.layers=3"]) == ["model.layers=3"]
    assert assignments({}) == []


def test_a_run_is_trained_opened_and_asked(tmp_path: Path) -> None:
    result = sslrec.run(
        "itemknn", "cf/demo", settings={**SMALL, "model.neighbours": 5}, seed=3, directory=tmp_path / "a"
    )
    assert result == read_result(tmp_path / "a")
    opened = sslrec.open_run(str(tmp_path / "a"))
    assert opened.config.run.seed == 3 and opened.config.model.config.neighbours == 5
    assert opened.evaluate() == result.metrics
    assert opened.evaluate("valid") == result.selection
    assert list(sslrec.open_run(tmp_path / "a", at=[3], metrics=["recall"]).evaluate()) == ["recall@3"]
    assert len(opened.recommend(["u0001"], 4)["u0001"]) == 4


def test_a_quiet_run_keeps_the_callbacks_that_do_something(tmp_path: Path) -> None:
    settings = {**SMALL, "run.callbacks": ["progress", {"name": "time-limit", "minutes": 5}]}
    for quiet, names in ((True, ["time-limit"]), (False, ["progress", "time-limit"])):
        config = configure("itemknn", "cf/demo", settings=settings, quiet=quiet).config
        assert [callback.name for callback in config.run.callbacks] == names


def test_mistakes_are_the_errors_of_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="itemknnn"):
        sslrec.run("itemknnn", "cf/demo")
    with pytest.raises(ConfigError, match="neighbors"):
        sslrec.run("itemknn", "cf/demo", settings={"model.neighbors": 5}, directory=tmp_path / "a")
    with pytest.raises(SslrecError, match="not a run directory"):
        sslrec.open_run(tmp_path)
    assert not (tmp_path / "a").exists()


def test_a_sweep_is_made_and_compared(tmp_path: Path) -> None:
    wanted = {
        "datasets": ["cf/demo"], "seeds": [1, 2], "set": assignments(SMALL),
        "models": [{"name": "popularity", "seeds": [1]}, {"name": "itemknn", "set": ["model.neighbours=3"]}],
    }  # fmt: skip
    with pytest.raises(ConfigError, match="has no name"):
        sslrec.sweep(wanted)
    runs = sslrec.sweep(wanted, directory=tmp_path / "runs")
    assert [path.name for path in runs] == ["popularity-standard-1", "itemknn-standard-1", "itemknn-standard-2"]
    found = sslrec.compare(runs, metrics=["recall@20", "ndcg@20"], baseline="popularity")
    table = found.to_polars()
    assert table.columns[:4] == ["group", "seeds", "metric", "mean"] and len(table) == 4
    assert set(table["group"]) == {"itemknn", "popularity"}
    assert "<table" in found._repr_html_() and "itemknn" in str(found)
    wanted["models"].append({"name": "ease", "set": ["scenario.k_core=1000"]})
    with pytest.raises(TrainingError, match="2 of 5 runs failed, 3 are complete") as failed:
        sslrec.sweep(wanted, directory=tmp_path / "runs")
    assert failed.value.facts[0].startswith("ease-standard-1: sslrec: ")


def test_a_model_is_tuned_and_the_winner_trained(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="tuning needs the extra `tune`")
    space = {"model.neighbours": {"choices": [2, 8]}}
    about = {"space": space, "sampler": "grid", "settings": SMALL}
    told = []
    found = sslrec.tune("itemknn", "cf/demo", **about, trials=2, directory=tmp_path / "study", tell=told.append)
    assert [news.state for news in told if news.state != "training"] == ["complete"] * 2
    result = sslrec.run("itemknn", "cf/demo", settings=[*assignments(SMALL), *found.settings], directory=tmp_path / "b")
    assert result.selection["ndcg@20"] == found.value
    found.save_preset(tmp_path / "best.toml")
    again = sslrec.run("itemknn", "cf/demo", settings=SMALL, files=[tmp_path / "best.toml"], directory=tmp_path / "c")
    assert again.metrics == result.metrics
    assert sslrec.tune(resume=tmp_path / "study", trials=2).value == found.value
    with pytest.raises(ConfigError, match="own settings"):
        sslrec.tune("itemknn", resume=tmp_path / "study")
