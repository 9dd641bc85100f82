"""Tracking: each service is told what the run records, in one record however often the run is resumed."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sslrec_core.builtin import tracking
from sslrec_core.errors import ConfigError, TrainingError
from sslrec_core.interrupt import Interrupted
from sslrec_core.records import Result
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig, resolve
from sslrec_core.testing.contract import Contract

Configure = Callable[..., RunConfig]
Told = list[tuple[Any, ...]]


class TestTensorBoard(Contract):
    def component_class(self) -> type[Any]:
        return tracking.TensorBoard


class TestWandB(Contract):
    def component_class(self) -> type[Any]:
        return tracking.WandB

    def component_config(self) -> Any:
        return tracking.WandB.Config(tags=("one", "two"), mode="offline")


class TestMLflow(Contract):
    def component_class(self) -> type[Any]:
        return tracking.MLflow


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What a service in TensorBoard's place is told."""
    told: Told = []

    class Recorded(tracking.TensorBoard):
        def begin(self, run, config, done):
            told.append(("begin", config["model.name"], done))

        def scalars(self, values, epoch):
            told.append(("scalars", epoch, dict(values)))

        def summary(self, values):
            told.append(("summary", dict(values)))

        def end(self, outcome):
            told.append(("end", outcome))

    Recorded.__doc__ = tracking.TensorBoard.__doc__
    monkeypatch.setattr(Recorded, "library", "json")
    monkeypatch.setattr(tracking, "TensorBoard", Recorded)
    return told


def interrupted(run: Run, after: int) -> None:
    """Execute ``run`` until a signal asks it to stop in the epoch with this number."""
    asked = []

    def ask(done: int, total: int) -> None:
        if run.epoch == after and not asked:
            asked.append(True)
            os.kill(os.getpid(), signal.SIGTERM)

    run.loop.on_batch.append(ask)
    with pytest.raises(Interrupted):
        run.execute()


def recorded(directory: Path, event: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == event]


def test_a_service_is_told_what_the_run_records(factors: Configure, tmp_path: Path, told: Told) -> None:
    settings = ('run.callbacks=["tensorboard"]', "train.every=2", "train.epochs=4")
    result = Run.create(factors(*settings, protocol="published"), tmp_path / "run").execute()
    assert told[0] == ("begin", '"factors"', 0)
    assert told[1] == ("summary", {"label": "selected on test"})
    losses = [(epoch, values) for kind, epoch, values in told[2:-2] if "train/ranking" in values]
    assert [epoch for epoch, _ in losses] == [0, 1, 2, 3]
    events = recorded(tmp_path / "run", "epoch")
    assert [values["train/ranking"] for _, values in losses] == [event["losses"]["ranking"] for event in events]
    judged = [(epoch, values) for kind, epoch, values in told[2:-2] if "best/ndcg@20" in values]
    assert [epoch for epoch, _ in judged] == [1, 3]
    values = [values["test/ndcg@20"] for _, values in judged]
    assert [values["best/ndcg@20"] for _, values in judged] == [values[0], max(values)]
    assert all(values["test/seconds"] >= 0 for _, values in judged)
    _, about = told[-2]
    assert about["outcome"] == "complete" and about["best epoch"] == result.best_epoch
    assert about["test/recall@20"] == result.metrics["recall@20"]
    assert told[-1] == ("end", "complete")


def test_a_model_that_only_counts_is_judged_once(factors: Configure, tmp_path: Path, told: Told) -> None:
    settings = ['run.callbacks=["tensorboard"]', "run.device=cpu"]
    scenario = {"scenario": {"name": "plain"}}
    config = resolve("popularity", "checkerboard", assignments=settings, options=scenario).config
    Run.create(config, tmp_path / "run").execute()
    judged = [epoch for kind, epoch, *values in told[1:-2] if "best/ndcg@20" in values[0]]
    assert judged == [0] and told[-1] == ("end", "complete")


def test_failure_and_interruption_are_told_as_such(factors: Configure, tmp_path: Path, told: Told) -> None:
    callbacks = 'run.callbacks=["tensorboard"]'
    with pytest.raises(TrainingError):
        Run.create(factors(callbacks, "model.break_at=5"), tmp_path / "broken").execute()
    assert told[-2][1]["outcome"].startswith("failed: the loss 'ranking' became nan")
    assert told[-1] == ("end", "failed")
    told.clear()
    interrupted(Run.create(factors(callbacks), tmp_path / "cut"), after=1)
    assert told[-2][1]["outcome"].startswith("interrupted: stopped after epoch")
    assert told[-1] == ("end", "interrupted")
    told.clear()
    Run.resume(tmp_path / "cut").execute()
    assert told[0] == ("begin", '"factors"', 2)
    assert [epoch for kind, epoch, *values in told[1:-2] if "train/ranking" in values[0]] == [2, 3]
    assert told[-1] == ("end", "complete")


def test_a_service_that_fails_costs_the_training_nothing(
    factors: Configure, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = Run.create(factors(), tmp_path / "plain").execute()

    def gone(*arguments: Any) -> None:
        raise ConnectionError("nobody answers\nand more")

    for name in ("scalars", "summary", "end"):
        monkeypatch.setattr(tracking.TensorBoard, name, gone)
    result = Run.create(factors('run.callbacks=["tensorboard"]'), tmp_path / "run").execute()
    assert result.metrics == plain.metrics
    assert capsys.readouterr().err.count("tensorboard cannot be told (nobody answers); all is in") == 1


def test_an_opened_run_tells_nobody(factors: Configure, tmp_path: Path, told: Told) -> None:
    Run.create(factors('run.callbacks=["tensorboard"]'), tmp_path / "run").execute()
    told.clear()
    opened = Run.open(tmp_path / "run")
    opened.hook.sslrec_evaluate(run=opened, split="valid")
    assert told == []


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_library_is_named_before_a_directory_is_made(
    factors: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=f"'{name}' needs {name}") as refused:
        Run.create(factors(f'run.callbacks=["{name}"]'), tmp_path / "run")
    assert refused.value.fix == f"pip install 'sslrec-core[{name}]'"
    assert not (tmp_path / "run").exists()


# ---- the services themselves --------------------------------------------------------------------


def cut_and_resumed(config: RunConfig, directory: Path) -> Result:
    interrupted(Run.create(config, directory), after=1)
    return Run.resume(directory).execute()


def test_tensorboard_shows_one_curve_of_a_resumed_run(factors: Configure, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "curves"
    config = factors(f'run.callbacks=[{{name="tensorboard", folder="{folder}"}}]', protocol="published")
    result = cut_and_resumed(config, tmp_path / "run")
    assert not (tmp_path / "run" / "tensorboard").exists()
    found = EventAccumulator(str(folder / "run")).Reload()
    curve = found.Scalars("train/ranking")
    assert [point.step for point in curve] == [0, 1, 2, 3]
    losses = [event["losses"]["ranking"] for event in recorded(tmp_path / "run", "epoch")]
    assert [point.value for point in curve] == pytest.approx(losses)
    judged = [event["metrics"]["ndcg@20"] for event in recorded(tmp_path / "run", "test")[:-1]]
    assert [point.value for point in found.Scalars("test/ndcg@20")][:4] == pytest.approx(judged)
    assert found.Scalars("run/best epoch")[-1].value == result.best_epoch
    texts = {name: found.Tensors(name)[-1].tensor_proto.string_val[0].decode() for name in found.Tags()["tensors"]}
    assert "| train.epochs | `4` |" in texts["configuration/text_summary"]
    assert texts["label/text_summary"] == "selected on test"
    assert texts["outcome/text_summary"] == "complete"


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The library, which finds no account and no place outside of the test's folder."""
    module = pytest.importorskip("wandb", reason="needs the extra `wandb`")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield module
    module.teardown()


def test_wandb_keeps_a_run_that_is_offline(factors: Configure, tmp_path: Path, wandb: Any) -> None:
    config = factors('run.callbacks=[{name="wandb", mode="offline", tags=["demo"]}]')
    cut_and_resumed(config, tmp_path / "run")
    identity = (tmp_path / "run" / "wandb.id").read_text()
    # The folder of a part that begins in the same second as another has a number at its end.
    kept = sorted((tmp_path / "run" / "wandb").glob(f"offline-run-*-{identity}*/run-{identity}.wandb"))
    assert len(kept) == 2, "one record, in two parts"
    told = b"".join(path.read_bytes() for path in kept)
    assert b"valid/ndcg@20" in told and b"train/ranking" in told and b"model.embedding_dim" in told


def test_wandb_without_an_account_or_a_network(
    factors: Configure, tmp_path: Path, wandb: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = factors('run.callbacks=["wandb"]', "train.epochs=1")
    with pytest.raises(ConfigError, match="cannot be used") as refused:
        Run.create(config, tmp_path / "nobody").execute()
    assert "wandb login" in str(refused.value.fix)
    wandb.teardown()
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    assert Run.create(config, tmp_path / "run").execute().metrics
    assert "send later: wandb sync" in capsys.readouterr().err
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))


def test_mlflow_has_one_record_of_a_resumed_run(
    factors: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="needs the extra `mlflow`")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    store = (tmp_path / "store").as_uri()
    config = factors(f'run.callbacks=[{{name="mlflow", tracking_uri="{store}"}}]', protocol="published")
    interrupted(Run.create(config, tmp_path / "run"), after=1)
    client = tracking.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("sslrec").experiment_id
    (found,) = client.search_runs([experiment])
    assert found.info.status == "KILLED" and found.data.tags["outcome"].startswith("interrupted")
    result = Run.resume(tmp_path / "run").execute()
    (found,) = client.search_runs([experiment])
    assert found.info.status == "FINISHED" and found.info.run_name == "run"
    assert found.data.tags["label"] == "selected on test" and found.data.tags["outcome"] == "complete"
    assert found.data.params["model.embedding_dim"] == "8"
    assert found.data.metrics["test/recall_at_20"] == result.metrics["recall@20"]
    curve = client.get_metric_history(found.info.run_id, "train/ranking")
    losses = [event["losses"]["ranking"] for event in recorded(tmp_path / "run", "epoch")]
    assert sorted((point.step, point.value) for point in curve) == list(enumerate(losses))


def test_an_mlflow_server_that_is_not_there_is_an_error_at_once(
    factors: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow.tracking", reason="needs the extra `mlflow`")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    config = factors('run.callbacks=[{name="mlflow", tracking_uri="http://127.0.0.1:9"}]')
    with pytest.raises(ConfigError, match=r"the MLflow store http://127.0.0.1:9 cannot be used"):
        Run.create(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
