"""Tuning: spaces, studies, and what is left when somebody pulls the plug."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from sslrec_core.cli import main
from sslrec_core.errors import CheckpointError, ConfigError, StorageError, TrainingError
from sslrec_core.registry import registry
from sslrec_core.settings import RunConfig, resolve
from sslrec_core.tuning.space import Space

optuna = pytest.importorskip("optuna", reason="tuning needs the extra `tune`")

from optuna.trial import TrialState  # noqa: E402

from sslrec_core.tuning.report import outcome, save_preset  # noqa: E402
from sslrec_core.tuning.study import ASKED, RETRY, Settings, Study, worker_name  # noqa: E402
from sslrec_core.tuning.worker import News, tune, work  # noqa: E402

# Optuna's journal closes its file when its reader is collected, which is a warning, and warnings are errors here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

Configure = Callable[..., RunConfig]

SMALL = ["model.neighbours=5"]
SPACE = """
["model.neighbours"]
low = 1
high = 9

["model.similarity"]
choices = ["cosine", "jaccard"]
"""
EMBEDDINGS = '["model.embedding_dim"]\nlow = 2\nhigh = 8\n'


def space_of(folder: Path, text: str) -> Space:
    file = folder / "space.toml"
    file.write_text(text)
    return Space.read(file)


def settings(folder: Path, **changed: Any) -> Settings:
    return Settings(**{"name": "test", "store": "study.journal", "prune": False} | changed)


def study(folder: Path, text: str = SPACE, **changed: Any) -> Study:
    folder.mkdir(exist_ok=True)
    config = resolve("itemknn", "cf/demo", assignments=["data.users=120", "data.items=90", *SMALL]).config
    place = folder / "study"
    return Study.create(place, config, space_of(folder, text), settings(place, **changed))


def small(factors: Configure, folder: Path, text: str, *assignments: str, **changed: Any) -> Study:
    """A study of a model that trains by epochs."""
    place = folder / "study"
    return Study.create(place, factors(*assignments), space_of(folder, text), settings(place, **changed))


# ---- spaces -------------------------------------------------------------------------------------


def test_values_of_a_space(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        '["a.whole"]\nlow = 1\nhigh = 3\n["a.even"]\nlow = 0\nhigh = 6\nstep = 2\n'
        '["a.tenths"]\nlow = 0.1\nhigh = 0.4\nstep = 0.1\n'
        '["a.any"]\nchoices = ["x", 2, {name = "y"}]\n["a.rate"]\nlow = 1e-4\nhigh = 1e-1\nlog = true\n',
    )
    values = {key: dimension.values() for key, dimension in space.dimensions.items()}
    assert values["a.whole"] == [1, 2, 3]
    assert values["a.even"] == [0, 2, 4, 6]
    assert values["a.tenths"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert values["a.any"] == ['"x"', "2", '{name = "y"}']
    assert values["a.rate"] is None
    trial = optuna.create_study().ask()
    params = space.suggest(trial)
    assert all(dimension.holds(params[key]) for key, dimension in space.dimensions.items())
    written = dict(text.split("=", 1) for text in space.assignments(params))
    assert float(written["a.rate"]) == pytest.approx(params["a.rate"], rel=1e-3)
    assert len(written["a.rate"]) <= len("0.0001234")
    again = space_of(tmp_path, space.to_toml())
    assert again.dimensions == space.dimensions


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('["a.b"]\nlow = 2\nhigh = 2\n', "the range is empty: low = 2 is not below high = 2"),
        ('["a.b"]\nlow = 2\n', "give low and high, or choices"),
        ('["a.b"]\nlow = 0.0\nhigh = 1.0\nlog = true\n', "a logarithmic range begins above 0"),
        ('["a.b"]\nchoices = [1]\n', "choices are two or more"),
        ('["a.b"]\nlowest = 1\n', "no such key"),
        ("[a.b]\nlow = 1\nhigh = 2\n", r'quote the whole key: \["a.b"\]'),
        ("", "has no option to try"),
        ('"a.b" = 3\n', "a.b is no table"),
    ],
)
def test_a_space_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        space_of(tmp_path, text)


def test_a_key_that_is_no_option_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neighbors: no such key, closest: neighbours"):
        study(tmp_path, '["model.neighbors"]\nlow = 1\nhigh = 2\n')
    assert not (tmp_path / "study").exists()


# ---- studies ------------------------------------------------------------------------------------


def test_the_first_trial_is_what_was_there_and_none_sees_the_test_part(tmp_path: Path) -> None:
    found = study(tmp_path)
    news: list[News] = []
    work(found.folder, 4, 1, None, news.append)
    trials = found.trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert trials[0].params["model.neighbours"] == 5
    best = outcome(found)
    assert best.best.value == max(trial.value for trial in trials if trial.value is not None)
    assert best.present is not None
    assert best.present.number == 0
    assert [one.trial for one in news if one.state == "complete"] == [0, 1, 2, 3]
    events = [(found.directory(trial.number) / "metrics.jsonl").read_text() for trial in trials]
    assert all('"valid"' in text and '"test"' not in text for text in events)


def test_the_same_seed_proposes_the_same(tmp_path: Path) -> None:
    def proposed(name: str, seed: int) -> list[Any]:
        found = study(tmp_path / name, seed=seed)
        work(found.folder, 4, 1, None, lambda news: None)
        return [trial.params for trial in found.trials()]

    first = proposed("one", 1)
    assert proposed("two", 1) == first
    assert proposed("three", 2)[1:] != first[1:]


def test_a_grid_is_tried_once_as_a_whole(tmp_path: Path) -> None:
    text = '["model.neighbours"]\nchoices = [3, 5, 7]\n["model.shrink"]\nlow = 0\nhigh = 1\n'
    found = study(tmp_path, text, sampler="grid")
    work(found.folder, 100, 1, None, lambda news: None)
    tried = [(trial.params["model.neighbours"], trial.params["model.shrink"]) for trial in found.trials()]
    assert sorted(tried) == list(itertools.product("357", (0, 1)))
    with pytest.raises(ConfigError, match=r"a grid needs a list of values for model\.alpha"):
        study(tmp_path / "other", '["model.alpha"]\nlow = 0.1\nhigh = 0.2\n', sampler="grid")


def test_a_combination_that_cannot_be_trained_is_noted(factors: Configure, tmp_path: Path) -> None:
    found = small(factors, tmp_path, '["model.break_at"]\nchoices = ["none", 2]\n', sampler="grid")
    news: list[News] = []
    work(found.folder, 2, 1, None, news.append)
    assert [one.state for one in news if one.state != "training"] == ["complete", "failed"]
    assert "became nan at step 2" in str(news[-1].why)


def test_a_trial_that_is_worse_than_others_after_as_many_epochs_ends_early(factors: Configure, tmp_path: Path) -> None:
    text = '["optim.learning_rate"]\nchoices = [0.05, 0.04, 0.03, 0.02, 0.01, 1e-7]\n'
    found = small(factors, tmp_path, text, "optim.learning_rate=0.05", "train.epochs=12", sampler="grid", prune=True)
    # A grid is tried in its own order: the hopeless value comes last, when five others can be looked back on.
    work(found.folder, 6, 1, None, lambda news: None)
    states = {trial.params["optim.learning_rate"]: trial.state for trial in found.trials()}
    assert states.pop("1e-07") == TrialState.PRUNED
    pruned = next(trial for trial in found.trials(TrialState.PRUNED) if trial.params["optim.learning_rate"] == "1e-07")
    assert 4 <= max(pruned.intermediate_values) < 11, "not in the first epochs, and not at the end"
    events = (found.directory(pruned.number) / "metrics.jsonl").read_text()
    assert "worse than the median" in events and '"test"' not in events
    best = outcome(found).best
    assert best.state == TrialState.COMPLETE


@pytest.mark.parametrize(
    ("setting", "text", "message"),
    [
        ("train.select_on=test", SPACE, "tuning selects on the validation part"),
        ("train.every=1", '["train.select_on"]\nchoices = ["valid", "test"]\n', "train.select_on is no option to try"),
        ("train.every=1", '["data.size"]\nlow = 8\nhigh = 32\n', "data.size is no option to try"),
    ],
)
def test_the_test_part_and_other_measures_never_choose(
    factors: Configure, tmp_path: Path, setting: str, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        small(factors, tmp_path, text, setting)
    assert not (tmp_path / "study").exists()


def test_what_changes_a_training_is_tuned_with_it(factors: Configure, tmp_path: Path) -> None:
    found = small(factors, tmp_path, EMBEDDINGS, 'run.callbacks=["progress", {name="ema", decay=0.5}]')
    assert [callback.name for callback in found.config.run.callbacks] == ["ema"]


def test_a_trial_whose_directory_is_taken_away_fails_alone(factors: Configure, tmp_path: Path) -> None:
    found = small(factors, tmp_path, EMBEDDINGS)
    news: list[News] = []

    def tell(one: News) -> None:
        news.append(one)
        if one.trial == 0 and one.epoch == 1 and one.state == "training":
            shutil.rmtree(found.directory(0))

    work(found.folder, 2, 1, None, tell)
    assert [one.state for one in news if one.state != "training"] == ["failed", "complete"]
    assert "while recording" in str(next(one.why for one in news if one.state == "failed"))
    # And one that is taken away later takes nothing of what the store knows.
    shutil.rmtree(found.directory(1))
    save_preset(Study.open(found.folder), tmp_path / "best.toml")
    assert "[model]" in (tmp_path / "best.toml").read_text()


# ---- the store ----------------------------------------------------------------------------------


def test_a_journal_that_is_taken_away_ends_the_study_and_is_not_begun_anew(tmp_path: Path) -> None:
    found = study(tmp_path)
    journal = Path(found.store)

    def tell(one: News) -> None:
        if one.state == "complete":
            journal.unlink(missing_ok=True)

    with pytest.raises(StorageError, match=r"cannot be reached[\s\S]*study\.journal[\s\S]*--resume"):
        work(found.folder, 3, 1, None, tell)
    with pytest.raises(StorageError, match="not there any more"):
        Study.open(found.folder)
    assert not journal.exists()
    assert (found.directory(0) / "result.json").is_file(), "what was trained stays"


def test_a_study_moves_with_its_folder(tmp_path: Path) -> None:
    found = study(tmp_path / "here")
    work(found.folder, 1, 1, None, lambda news: None)
    shutil.move(tmp_path / "here" / "study", tmp_path / "there")
    assert len(Study.open(tmp_path / "there").trials(TrialState.COMPLETE)) == 1


def test_a_database_that_lost_the_study_is_refused(tmp_path: Path) -> None:
    found = study(tmp_path, store=f"sqlite:///{tmp_path / 'shared.db'}")
    optuna.delete_study(study_name="test", storage=found.store)
    with pytest.raises(StorageError, match="has no study called 'test' any more"):
        Study.open(found.folder)


def test_a_store_that_somebody_holds_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sslrec_core.tuning.study.PATIENCE", 0.2)
    journal = study(tmp_path / "one")
    with FileLock(f"{journal.store}.lock"), pytest.raises(StorageError, match=r"journal cannot be reached"):
        journal.ask(1)
    assert journal.ask(1) is not None
    database = study(tmp_path / "two", store=f"sqlite:///{tmp_path / 'shared.db'}")
    with closing(sqlite3.connect(tmp_path / "shared.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match=r"shared\.db cannot be reached"):
            database.ask(1)
        other.rollback()
    assert database.ask(1) is not None


def test_a_store_without_its_driver_says_what_to_install(tmp_path: Path) -> None:
    if find_spec("psycopg2"):
        pytest.skip("the driver is installed")
    with pytest.raises(StorageError, match="psycopg2-binary"):
        study(tmp_path, store="postgresql://localhost/nothing")


HELPER = """
import os, pathlib
if os.environ.get("SSLREC_TEST_DIE"):
    os._exit(7)
if taken := os.environ.get("SSLREC_TEST_TAKE"):
    pathlib.Path(taken).unlink()
"""


@pytest.mark.timeout(400)
def test_workers_know_plugin_files_and_what_stops_them_is_said(
    factors: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker that trains a model of a file; one that dies at once; one whose store is taken away."""
    (tmp_path / "helper.py").write_text(HELPER)
    registry().add_file(tmp_path / "helper.py")
    found = small(factors, tmp_path, EMBEDDINGS, "train.epochs=1")
    tune(found, 1, 1, None, lambda news: None)
    assert [trial.state for trial in found.trials()] == [TrialState.COMPLETE]
    monkeypatch.setattr("sslrec_core.tuning.worker.MOST_IDLE_DEATHS", 0)
    monkeypatch.setenv("SSLREC_TEST_DIE", "yes")
    with pytest.raises(TrainingError, match="workers die before they begin a trial"):
        tune(found, 2, 1, None, lambda news: None)
    monkeypatch.delenv("SSLREC_TEST_DIE")
    monkeypatch.setenv("SSLREC_TEST_TAKE", found.store)
    with pytest.raises(StorageError, match="not there any more"):
        tune(found, 2, 1, None, lambda news: None)


# ---- what is left behind ------------------------------------------------------------------------


def test_trials_of_a_dead_worker_are_tried_once_more(tmp_path: Path) -> None:
    found = study(tmp_path)
    for repeats in (False, True):
        asked = found.ask(1)
        assert asked is not None
        trial, params = asked
        assert (RETRY in trial.user_attrs) == repeats
        assert found.give_up(worker_name(0)) == [], "another worker's"
        assert found.give_up(worker_name(os.getpid())) == ([] if repeats else [trial.number])
        assert params == {"model.neighbours": 5, "model.similarity": '"cosine"'}
    assert found.ask(1) is None, "the trial is marked, and was the only one wanted"
    assert [trial.state for trial in found.trials()] == [TrialState.FAIL] * 2


class Stop:
    """Asks to stop after some epochs, like Ctrl-C."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def __call__(self, news: News) -> None:
        if news.state == "training" and news.epoch == self.epochs:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_trial_goes_on_where_it_stood_as_often_as_that_happens(
    factors: Configure, tmp_path: Path
) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = small(factors, tmp_path / "whole", EMBEDDINGS, "train.epochs=6")
    work(whole.folder, 1, 1, None, lambda news: None)
    found = small(factors, tmp_path / "cut", EMBEDDINGS, "train.epochs=6")
    told: list[News] = []
    for epochs in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            tune(found, 1, 0, None, Stop(epochs))
    tune(found, 1, 0, None, told.append)
    assert [news.epoch for news in told if news.value is not None and news.state == "training"] == [4, 5]
    assert [trial.state for trial in found.trials()] == [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]
    ours, theirs = found.trials()[-1], whole.trials()[-1]
    assert ours.value == theirs.value and ours.intermediate_values == theirs.intermediate_values
    assert [folder.name for folder in (found.folder / "trials").iterdir()] == ["0002"]


def test_a_store_with_another_study_is_refused(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'shared.db'}"
    first = study(tmp_path / "one", store=store)
    work(first.folder, 1, 1, None, lambda news: None)
    second = study(tmp_path / "two", store=store)
    assert len(second.trials()) == 1, "the same configuration and space: workers share the study"
    other = '["model.neighbours"]\nlow = 2\nhigh = 3\n'
    with pytest.raises(ConfigError, match=r"of another configuration or space\n  it is of itemknn on cf/demo, this"):
        study(tmp_path / "three", other, store=store)
    with pytest.raises(StorageError, match=r"the store sqlite:////nowhere/at/all\.db cannot be opened"):
        study(tmp_path / "four", store="sqlite:////nowhere/at/all.db")
    assert not (tmp_path / "four" / "study").exists()
    with pytest.raises(StorageError, match="exists already"):
        study(tmp_path / "one", store=store)


def test_an_option_that_came_later_does_not_make_another_study(tmp_path: Path) -> None:
    begun = study(tmp_path)
    config, whole = begun.folder / "config.toml", begun.fingerprint
    before, after = config.read_text().split("\ndecay = 1.0\n")
    config.write_text(f"{before}\n{after}")
    assert begun.fingerprint != whole
    begun.optuna.set_user_attr("fingerprint", begun.fingerprint)  # as a version without this option made it
    assert Study.open(begun.folder).config == begun.config


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a study's folder"):
        Study.open(tmp_path)


def test_preset_says_how_it_was_found(tmp_path: Path) -> None:
    found = study(tmp_path)
    work(found.folder, 3, 1, None, lambda news: None)
    save_preset(found, tmp_path / "best.toml")
    text = (tmp_path / "best.toml").read_text()
    assert text.startswith("# itemknn on cf/demo, tuned on the validation part: ndcg@20 ")
    again = resolve("itemknn", "cf/demo", files=[tmp_path / "best.toml"]).config
    assert again.model.config.neighbours == outcome(found).best.params["model.neighbours"]


# ---- the command --------------------------------------------------------------------------------


def sslrec(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def test_what_cannot_be_meant_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "space.toml"
    file.write_text(SPACE)
    itemknn = ("tune", "itemknn", "-d", "cf/demo")
    for arguments, message in (
        (("tune", "popularity", "-d", "cf/demo"), "popularity comes without a search space"),
        ((*itemknn, "--space", str(file), "--sampler", "best"), "no sampler is called 'best'"),
        (("tune", "itemknn", "--resume", str(tmp_path)), "--resume goes on with the study's own settings"),
        (("tune", "--resume", str(tmp_path)), "is not a study's folder"),
    ):
        assert sslrec(*arguments) == 2
        assert message in capsys.readouterr().err


@pytest.mark.timeout(400)  # processes that import torch, on a machine that may be busy
def test_a_study_that_is_killed_loses_what_was_in_flight_at_most(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text('["model.shrink"]\nlow = 0.0\nhigh = 50.0\n')
    folder = tmp_path / "study"
    command = [sys.executable, "-m", "sslrec_core.cli", "tune"]
    begin = [
        *command,
        "itemknn",
        "-d",
        "cf/demo",
        "--space",
        str(file),
        "--trials",
        "400",
        "--jobs",
        "2",
        "-o",
        str(folder),
    ]
    results = "trials/*/result.json"
    with subprocess.Popen(begin, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and len(list(folder.glob(results))) < 4:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    written = len(list(folder.glob(results)))
    before = {trial.number: trial.value for trial in Study.open(folder).trials(TrialState.COMPLETE)}
    in_flight = Study.open(folder).trials(TrialState.RUNNING)
    running = sum(bool(trial.params) for trial in in_flight)
    # A run may have its result before the study knows of it.
    assert written >= 4 and len(before) + len(in_flight) >= written and len(in_flight) <= 2
    wanted = str(len(before) + running + 2)
    done = subprocess.run(
        [*command, "--resume", str(folder), "--trials", wanted], capture_output=True, text=True, check=True
    )
    found = Study.open(folder)
    after = {trial.number: trial.value for trial in found.trials(TrialState.COMPLETE)}
    assert before.items() <= after.items()
    assert len(after) == len(before) + running + 2
    assert len(found.trials(TrialState.FAIL)) == len(in_flight) and not found.trials(TrialState.RUNNING)
    assert "best   trial" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to pass on")
@pytest.mark.timeout(400)  # processes that import torch, on a machine that may be busy
def test_sigterm_reaches_the_workers_and_no_trial_begins(tmp_path: Path) -> None:
    file, folder = tmp_path / "space.toml", tmp_path / "study"
    file.write_text('["optim.learning_rate"]\nlow = 1e-4\nhigh = 1e-2\n')
    command = [sys.executable, "-m", "sslrec_core.cli", "tune", "lightgcn", "-d", "cf/demo", "--jobs", "2"]
    for text in ("train.epochs=100000", "train.patience=none", "model.embedding_dim=4"):
        command += ["--set", text]
    with subprocess.Popen(
        [*command, "--space", str(file), "-o", str(folder)], stderr=subprocess.PIPE, text=True
    ) as tuning:
        curves: list[Path] = []
        while len(curves) < 2 or min(curve.read_text().count("\n") for curve in curves) < 4:
            assert tuning.poll() is None, tuning.communicate()
            time.sleep(0.1)
            curves = list(folder.glob("trials/*/metrics.jsonl"))
        tuning.terminate()
        # A worker that went on would hold the pipe open.
        _, said = tuning.communicate(timeout=120)
    assert tuning.returncode == 130
    assert f"sslrec tune --resume {folder}" in said and "Traceback" not in said
    assert len(list(folder.glob("trials/*"))) == 2
    assert len(list(folder.glob("trials/*/last.safetensors"))) == 2
    in_flight = Study.open(folder).trials(TrialState.RUNNING)
    assert len(in_flight) == 2 and all(ASKED in trial.user_attrs for trial in in_flight)
