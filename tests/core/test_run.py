"""Runs: what the directory holds, going on after any end, and what cannot be done says so."""

from __future__ import annotations

import json
import os
import signal
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from sslrec_core import checkpoint, hookimpl
from sslrec_core.environment import slow_precision
from sslrec_core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DeviceError,
    PluginError,
    StorageError,
    TrainingError,
)
from sslrec_core.interrupt import Interrupted
from sslrec_core.records import read_result
from sslrec_core.registry import registry
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig, resolve

Configure = Callable[..., RunConfig]


def events(directory: Path) -> list[dict[str, Any]]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def test_a_run_leaves_a_complete_directory(factors: Configure, tmp_path: Path) -> None:
    run = Run.create(factors(), tmp_path / "run")
    result = run.execute()
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"config.toml", "environment.json", "metrics.jsonl", "best.safetensors", "result.json"}
    kinds = [event["event"] for event in events(tmp_path / "run")]
    assert kinds == ["epoch", "valid"] * 4 + ["test"]
    assert result.metrics == read_result(tmp_path / "run").metrics == events(tmp_path / "run")[-1]["metrics"]
    assert result.label is None
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["device"] == "cpu" and environment["revisions"]["factors"] == 1
    assert environment["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert tomllib.loads((tmp_path / "run" / "config.toml").read_text())["run"]["device"] == "cpu"


def test_the_written_configuration_repeats_the_run(factors: Configure, tmp_path: Path) -> None:
    first = Run.create(factors("train.patience=3"), tmp_path / "one").execute()
    again = resolve(files=[tmp_path / "one" / "config.toml"])
    assert again.config == Run.open(tmp_path / "one").config
    assert Run.create(again, tmp_path / "two").execute().metrics == first.metrics


def test_an_opened_run_scores_as_its_best_epoch_did(factors: Configure, tmp_path: Path) -> None:
    result = Run.create(factors(), tmp_path / "run").execute()
    opened = Run.open(tmp_path / "run")
    assert opened.hook.sslrec_evaluate(run=opened, split="test") == result.metrics
    assert opened.hook.sslrec_evaluate(run=opened, split="valid") == result.selection
    at_five = Run.open(tmp_path / "run", at=[5, 20])
    assert at_five.hook.sslrec_evaluate(run=at_five, split="test")["recall@20"] == result.metrics["recall@20"]


def test_an_opened_run_may_be_measured_without_what_judged_it(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors(), tmp_path / "run").execute()
    opened = Run.open(tmp_path / "run", at=[3], metrics=["recall"])
    assert list(opened.hook.sslrec_evaluate(run=opened, split="test")) == ["recall@3"]
    assert opened.config.eval.config.hide == Run.open(tmp_path / "run").config.eval.config.hide


def test_the_best_epoch_is_the_best_on_validation(factors: Configure, tmp_path: Path) -> None:
    result = Run.create(factors("train.epochs=8"), tmp_path / "run").execute()
    judged = [event["metrics"]["ndcg@20"] for event in events(tmp_path / "run") if event["event"] == "valid"]
    assert result.best_epoch == judged.index(max(judged))
    assert result.selection["ndcg@20"] == max(judged)


def test_patience_ends_a_run_that_no_longer_gains(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors("train.epochs=200", "train.patience=3"), tmp_path / "run").execute()
    recorded = events(tmp_path / "run")
    assert recorded[-2]["event"] == "stopped" and "3 evaluations" in recorded[-2]["why"]
    judged = [event["metrics"]["ndcg@20"] for event in recorded if event["event"] == "valid"]
    assert len(judged) < 200 and max(judged[-3:]) <= max(judged[:-3])


def test_a_run_selected_on_test_says_so(factors: Configure, tmp_path: Path) -> None:
    result = Run.create(factors(protocol="published"), tmp_path / "run").execute()
    assert result.label == "selected on test"
    assert json.loads((tmp_path / "run" / "result.json").read_text())["label"] == "selected on test"
    assert "test" in [event["event"] for event in events(tmp_path / "run")][:2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_finishes_the_epoch_and_the_run_goes_on_exactly(
    factors: Configure, tmp_path: Path, number: signal.Signals
) -> None:
    whole = Run.create(factors("train.epochs=5"), tmp_path / "whole").execute()
    run = Run.create(factors("train.epochs=5"), tmp_path / "cut")
    run.loop.on_batch.append(lambda done, total: os.kill(os.getpid(), number) if run.loop.step == 10 else None)
    with pytest.raises(Interrupted, match=r"after epoch .*--resume"):
        run.execute()
    torch.manual_seed(99)
    resumed = Run.resume(tmp_path / "cut").execute()
    assert resumed.metrics == whole.metrics
    assert events(tmp_path / "cut") == events(tmp_path / "whole")


def test_a_second_signal_stops_at_once(factors: Configure, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    run = Run.create(factors(), tmp_path / "run")
    run.loop.on_batch.append(lambda done, total: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="at once"):
        run.execute()
    assert run.loop.step < 4
    assert signal.getsignal(signal.SIGINT) is before


def test_two_processes_cannot_train_in_one_directory(factors: Configure, tmp_path: Path) -> None:
    run = Run.create(factors(), tmp_path / "run")
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(StorageError, match="another process is at work"):
        run.execute()
    assert run.execute().metrics


def test_resuming_a_complete_run_changes_nothing(factors: Configure, tmp_path: Path) -> None:
    result = Run.create(factors(), tmp_path / "run").execute()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    again = Run.resume(tmp_path / "run").execute()
    assert again == result
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize("seconds", [0, 1000])
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (["train.epochs=3"], ["train.epochs=8"]),
        (["train.epochs=8", "train.patience=1"], ["train.patience=none"]),
        (["train.epochs=2"], ["train.patience=1", "train.epochs=8"]),
        (["train.epochs=4", "train.every=2"], ["train.epochs=7"]),
    ],
)
def test_a_run_that_goes_on_longer_is_one_that_was_longer_from_the_beginning(
    factors: Configure, tmp_path: Path, first: list[str], then: list[str], seconds: int
) -> None:
    quick = ["optim.learning_rate=0.5", f"run.checkpoint_seconds={seconds}"]
    whole = Run.create(factors(*quick, *first, *then), tmp_path / "whole").execute()
    Run.create(factors(*quick, *first), tmp_path / "run").execute()
    assert len(events(tmp_path / "run")) < len(events(tmp_path / "whole"))
    torch.manual_seed(99)
    longer = Run.resume(tmp_path / "run", settings=then).execute()
    assert (longer.metrics, longer.selection, longer.best_epoch) == (whole.metrics, whole.selection, whole.best_epoch)
    assert events(tmp_path / "run") == events(tmp_path / "whole")
    configs = [tomllib.loads((tmp_path / name / "config.toml").read_text()) for name in ("run", "whole")]
    assert configs[0] == configs[1]
    assert "  # --resume --set" in (tmp_path / "run" / "config.toml").read_text()
    assert Run.resume(tmp_path / "run").execute() == longer


def test_a_run_out_of_patience_does_not_go_on_for_more_epochs(factors: Configure, tmp_path: Path) -> None:
    stopping = ("optim.learning_rate=0.5", "train.patience=1", "train.epochs=8", "run.checkpoint_seconds=0")
    result = Run.create(factors(*stopping), tmp_path / "run").execute()
    before = events(tmp_path / "run")
    assert Run.resume(tmp_path / "run", settings=["train.epochs=20"]).execute().metrics == result.metrics
    assert events(tmp_path / "run") == before


def test_a_run_that_was_judged_out_of_turn_does_not_go_on(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors("train.epochs=3", "train.every=2"), tmp_path / "run").execute()
    with pytest.raises(ConfigError, match=r"epoch 3 was judged as the last, out of turn \(train\.every = 2\)"):
        Run.resume(tmp_path / "run", settings=["train.epochs=4"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.embedding_dim=16", r"model\.embedding_dim cannot change[\s\S]*train\.epochs, train\.patience"),
        ("train.batch_size=7", r"train\.batch_size cannot change"),
        ("train.epoch=7", r"train\.epoch: no such key"),
        ("train.epochs=2", r"train\.epochs = 2, and 4 epochs are complete"),
        ("train.patience=2", r"train\.patience = 2, and it may have run out[\s\S]*train\.patience=3, or more"),
    ],
)
def test_nothing_else_changes_when_a_run_goes_on(
    factors: Configure, tmp_path: Path, setting: str, message: str
) -> None:
    Run.create(factors("train.epochs=4"), tmp_path / "run").execute()
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(ConfigError, match=message):
        Run.resume(tmp_path / "run", settings=[setting])
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_lost_loss_names_step_term_and_the_last_good_checkpoint(factors: Configure, tmp_path: Path) -> None:
    settings = ("model.break_at=20", "run.checkpoint_seconds=0", "train.epochs=50")
    run = Run.create(factors(*settings), tmp_path / "run")
    with pytest.raises(TrainingError, match=r"'ranking' became nan at step 20[\s\S]*last\.safetensors, after epoch"):
        run.execute()
    tensors, _ = checkpoint.load(tmp_path / "run" / "last.safetensors")
    assert all(bool(value.isfinite().all()) for name, value in tensors.items() if name.startswith("model/"))


def test_recommendations_leave_out_what_the_model_knows(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors("model.embedding_dim=4"), tmp_path / "run").execute()
    run = Run.open(tmp_path / "run")
    lists = run.recommend(["0", "5"], 6)
    parts = run.data.interactions.parts
    for user, ranked in lists.items():
        known = {int(i) for part in ("train", "valid") for i in parts[part].select(torch.tensor([int(user)])).columns}
        assert ranked and known.isdisjoint(int(item) for item, _ in ranked)
        assert [score for _, score in ranked] == sorted((score for _, score in ranked), reverse=True)
    with pytest.raises(DataError, match="'nobody'"):
        run.recommend(["nobody"], 5)


def test_a_directory_that_exists_is_not_touched(factors: Configure, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(StorageError, match="exists already"):
        Run.create(factors(), tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_mistake_found_while_building_leaves_no_directory(factors: Configure, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'ndcg@7' is not measured"):
        Run.create(factors("train.judge=ndcg@7"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Refusing:
    """Has something against the epoch ``at``."""

    def __init__(self, at: int) -> None:
        self.at = at

    @hookimpl
    def sslrec_epoch(self, run: Run) -> None:
        if run.epoch == self.at:
            raise ConfigError(f"no epoch {self.at}, please", fix="do without it")


def test_a_mistake_found_in_the_first_epoch_leaves_no_directory(factors: Configure, tmp_path: Path) -> None:
    run = Run.create(factors("train.last_batch=drop", "train.batch_size=100000"), tmp_path / "run")
    with pytest.raises(ConfigError, match="do not fill a batch of 100,000"):
        run.execute()
    assert list(tmp_path.glob("*run*")) == []


def test_a_mistake_found_in_a_later_epoch_leaves_what_there_is(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors("train.epochs=2"), tmp_path / "whole").execute()
    with pytest.raises(ConfigError, match="no epoch 1, please"):
        Run.create(factors("train.epochs=2"), tmp_path / "run", listeners=[Refusing(1)]).execute()
    Run.resume(tmp_path / "run").execute()
    assert events(tmp_path / "run") == events(tmp_path / "whole")


def test_a_precision_that_the_device_lacks_is_refused(factors: Configure, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"'tf32' is for CUDA devices, and this run is on cpu[\s\S]*float32"):
        Run.create(factors("train.precision=tf32"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("capability", "kind", "device", "slow"),
    [
        ("AVX2", "bf16", "cpu", True), ("AVX512", "bf16", "cpu", False),
        ("AVX2", "float32", "cpu", False), ("AVX2", "bf16", "cuda", False),
    ],
)  # fmt: skip
def test_a_precision_that_slows_a_cpu_down_is_told(
    monkeypatch: pytest.MonkeyPatch, capability: str, kind: str, device: str, slow: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    said = slow_precision(kind, torch.device(device))
    assert (said is not None and "float32 is faster" in said) is slow


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for begin in (Run.open, Run.resume):
        with pytest.raises(CheckpointError, match="not a run directory"):
            begin(tmp_path)


def test_a_run_without_checkpoint_cannot_be_opened(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors(), tmp_path / "run")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        Run.open(tmp_path / "run")


def test_a_checkpoint_of_another_model_or_revision_is_refused(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors(), tmp_path / "run").execute()
    best = tmp_path / "run" / "best.safetensors"
    tensors, about = checkpoint.load(best)
    checkpoint.save(best, tensors, {**about, "revision": 7})
    with pytest.raises(CheckpointError, match="another revision of factors"):
        Run.open(tmp_path / "run")
    checkpoint.save(best, tensors, {**about, "model": "cf/other"})
    with pytest.raises(CheckpointError, match="is of cf/other"):
        Run.open(tmp_path / "run")


def test_a_checkpoint_of_other_data_is_refused(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors("run.checkpoint_seconds=0"), tmp_path / "run").execute()
    for name, what in (("best", "ids"), ("last", "train")):
        path = tmp_path / "run" / f"{name}.safetensors"
        tensors, about = checkpoint.load(path)
        checkpoint.save(path, tensors, {**about, "learned_from": {**about["learned_from"], what: "other"}})
    with pytest.raises(CheckpointError, match=r"the data are not those[\s\S]*users or items are others"):
        Run.open(tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(CheckpointError, match=r"the data are not those[\s\S]*the training part differs"):
        Run.resume(tmp_path / "run")


def test_a_checkpoint_that_does_not_tell_of_its_data_is_taken(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors(), tmp_path / "run").execute()
    best = tmp_path / "run" / "best.safetensors"
    tensors, about = checkpoint.load(best)
    del about["learned_from"]
    checkpoint.save(best, tensors, about)
    assert Run.open(tmp_path / "run").evaluate() == read_result(tmp_path / "run").metrics


def test_a_damaged_result_is_named(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors(), tmp_path / "run").execute()
    (tmp_path / "run" / "result.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"result\.json cannot be read as a result"):
        Run.resume(tmp_path / "run").execute()


def test_a_configuration_that_was_changed_by_hand_is_refused(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors("run.checkpoint_seconds=0"), tmp_path / "run").execute()
    (tmp_path / "run" / "result.json").unlink()
    config = tmp_path / "run" / "config.toml"
    config.write_text(config.read_text().replace("embedding_dim = 8", "embedding_dim = 9"))
    for again in (Run.open, Run.resume):
        with pytest.raises(CheckpointError, match=r"the configuration in \S* is not the one") as caught:
            again(tmp_path / "run")
        assert caught.value.facts == ("model.embedding_dim is 9, and was 8 when it was trained",)


def test_weights_of_another_shape_are_named(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors(), tmp_path / "run").execute()
    best = tmp_path / "run" / "best.safetensors"
    tensors, about = checkpoint.load(best)
    checkpoint.save(best, {**tensors, "model/users.weight": tensors["model/users.weight"][1:]}, about)
    with pytest.raises(CheckpointError, match=r"does not fit factors[\s\S]*users\.weight"):
        Run.open(tmp_path / "run")


def test_a_callback_with_a_hook_that_does_not_exist_is_named(factors: Configure, tmp_path: Path) -> None:
    plugin = tmp_path / "typo_plugin.py"
    plugin.write_text(
        "from sslrec_core import hookimpl\n"
        "from sslrec_core.loop import Callback\n\n"
        "class Typo(Callback):\n"
        '    """Misspells a hook."""\n\n'
        "    @hookimpl\n    def sslrec_stepp(self, run):\n        return None\n\n"
        "@hookimpl\ndef sslrec_callbacks():\n    return {'typo': Typo}\n"
    )
    registry().add_file(plugin)
    with pytest.raises(PluginError, match=r"Typo cannot listen[\s\S]*sslrec_stepp"):
        Run.create(factors('run.callbacks=["typo"]'), tmp_path / "run")
