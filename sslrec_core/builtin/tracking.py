"""Callbacks that show a run in TensorBoard, Weights & Biases or MLflow; each is off unless it is named.

What they send is what the run records anyway, once an epoch: nothing is read from the device for them.  A service that
fails while a run is under way costs the training nothing: standard error says so once, ``metrics.jsonl`` has it all.
A run that goes on after an interruption goes on in the same record.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sslrec_core.config import flattened, toml_value
from sslrec_core.errors import ConfigError, SslrecError, StorageError
from sslrec_core.files import write_text
from sslrec_core.hooks import hookimpl
from sslrec_core.loop import Callback
from sslrec_core.records import METRICS

if TYPE_CHECKING:
    from sslrec_core.records import Result
    from sslrec_core.running import Run

Outcome = Literal["complete", "interrupted", "failed"]


class Tracker(Callback):
    """Tells a tracking service what a run does; a subclass knows how one service is told."""

    library: str
    """The module that it needs."""
    extra: str
    """The extra of sslrec-core that brings it."""

    _done: int | None = None
    """Epochs that are complete, over all stages; None unless a run is under way."""
    _directory: Path
    _silent = False

    def check(self) -> None:
        found = find_spec(self.library)
        # A folder of that name, as services leave them where one works, is found too; it has no origin.
        if found is None or found.origin is None:
            raise ConfigError(
                f"the callback '{self.extra}' needs {self.library}", fix=f"pip install 'sslrec-core[{self.extra}]'"
            )

    # ---- how a service is told ------------------------------------------------------------------

    @abstractmethod
    def begin(self, run: Run, config: Mapping[str, str], done: int) -> None:
        """Open the record of ``run``, or the one that it had before it was interrupted after ``done`` epochs.

        Args:
            run: The run.
            config: Its configuration, by dotted key, as TOML.
            done: Epochs that are complete.

        Raises:
            SslrecError: the record cannot be opened; nothing has been trained yet.
        """

    @abstractmethod
    def scalars(self, values: Mapping[str, float], epoch: int) -> None:
        """Add values of one epoch, counted over all stages."""

    @abstractmethod
    def summary(self, values: Mapping[str, float | str]) -> None:
        """Add what describes the whole run."""

    @abstractmethod
    def end(self, outcome: Outcome) -> None:
        """Close the record."""

    # ---- what is told ---------------------------------------------------------------------------

    @hookimpl(wrapper=True)
    def sslrec_run(self, run: Run) -> Generator[None, Result, Result]:
        """Open the record, and close it however the run ends."""
        values = run.config.model_dump(mode="json")
        done = _epochs(run.directory / METRICS)
        try:
            self.begin(run, {key: toml_value(value) for key, value in flattened(values)}, done)
        except SslrecError:
            raise
        except Exception as error:  # whatever the service's library raises
            raise ConfigError(
                f"{self.extra} cannot record this run", _line(error),
                fix=f"put that right, then: sslrec train --resume {run.directory}",
            ) from error  # fmt: skip
        self._done, self._directory = done, run.directory
        if label := run.config.label:
            self._send(lambda: self.summary({"label": label}))
        outcome: Outcome = "failed"
        about: dict[str, float | str] = {}
        try:
            result = yield
            outcome = "complete"
            about = {"seconds": result.seconds, **{f"test/{name}": value for name, value in result.metrics.items()}}
            about |= {} if result.best_epoch is None else {"best epoch": result.best_epoch}
            about["outcome"] = outcome
            return result
        except BaseException as error:
            outcome = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            about["outcome"] = f"{outcome}: {_line(error)}"
            raise
        finally:
            self._send(lambda: self.summary(about))
            self._send(lambda: self.end(outcome))
            self._done = None

    @hookimpl(wrapper=True)
    def sslrec_epoch(self, run: Run) -> Generator[None, Mapping[str, float], Mapping[str, float]]:
        """Send the losses of an epoch and how long it took."""
        began = time.monotonic()
        losses = yield
        values = {f"{run.stage.name}/{name}": value for name, value in losses.items()}
        seconds = {f"{run.stage.name}/seconds": time.monotonic() - began}
        self._tell({**values, **seconds})
        assert self._done is not None
        self._done += 1
        return losses

    @hookimpl(wrapper=True)
    def sslrec_evaluate(self, run: Run, split: str) -> Generator[None, Mapping[str, float], Mapping[str, float]]:
        """Send what was measured, and the best so far.  What the finished run measures is in its summary."""
        began = time.monotonic()
        metrics = yield
        best = run.progress.best
        if self._done is not None and (run.in_training or best is None) and split == run.config.train.select_on:
            judge = run.config.train.judge
            values = {f"{split}/{name}": value for name, value in metrics.items()}
            now = metrics[judge] if best is None else max(best, metrics[judge])
            self._tell({**values, f"{split}/seconds": time.monotonic() - began, f"best/{judge}": now}, back=1)
        return metrics

    def _tell(self, values: Mapping[str, float], back: int = 0) -> None:
        assert self._done is not None
        epoch = max(self._done - back, 0)
        self._send(lambda: self.scalars(values, epoch))

    def _send(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:
            # Said once: a service that is gone would otherwise be told of at every epoch.
            if not self._silent:
                place = self._directory / METRICS
                print(f"sslrec: {self.extra} cannot be told ({_line(error)}); all is in {place}", file=sys.stderr)
            self._silent = True


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _epochs(events: Path) -> int:
    """How many epochs were complete when the run was interrupted."""
    if not events.exists():
        return 0
    with events.open(encoding="utf-8") as lines:
        return sum(json.loads(line)["event"] == "epoch" for line in lines)


class TensorBoard(Tracker):
    """Writes event files that TensorBoard shows: tensorboard --logdir runs."""

    class Config(Callback.Config):
        folder: str | None = None
        """Where the files go; none for ``tensorboard`` in the run directory."""

    library, extra = "tensorboard", "tensorboard"
    config: Config

    def begin(self, run: Run, config: Mapping[str, str], done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = Path(self.config.folder) / run.directory.name if self.config.folder else run.directory / "tensorboard"
        try:
            # What was written after the checkpoint that the run goes on from is hidden.
            self._writer: Any = SummaryWriter(str(folder), purge_step=done)
        except OSError as error:
            raise StorageError(f"cannot write {folder}", str(error), fix="another folder of the callback") from error
        lines = ["| option | value |", "|---|---|", *(f"| {key} | `{value}` |" for key, value in config.items())]
        self._writer.add_text("configuration", "\n".join(lines), done)
        self._last = done

    def scalars(self, values: Mapping[str, float], epoch: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._last = epoch

    def summary(self, values: Mapping[str, float | str]) -> None:
        for name, value in values.items():
            if isinstance(value, str):
                self._writer.add_text(name, value, self._last)
            else:
                self._writer.add_scalar(name if "/" in name else f"run/{name}", value, self._last)

    def end(self, outcome: Outcome) -> None:
        self._writer.close()


class WandB(Tracker):
    """Sends the run to Weights & Biases, or keeps it for `wandb sync` where that cannot be reached."""

    class Config(Callback.Config):
        project: str = "sslrec"
        """The project that the run belongs to."""
        entity: str | None = None
        """The user or team; none for the default one of the account."""
        group: str | None = None
        """A name that several runs share."""
        tags: tuple[str, ...] = ()
        """Words to find the run by."""
        mode: Literal["online", "offline", "disabled"] | None = None
        """``offline`` keeps the run in its directory for ``wandb sync``; none for what WANDB_MODE says, else online."""

    library, extra = "wandb", "wandb"
    config: Config

    def begin(self, run: Run, config: Mapping[str, str], done: int) -> None:
        wandb = import_module("wandb")
        known = _read(run.directory / "wandb.id")
        identity = known or secrets.token_hex(4)
        chosen: dict[str, Any] = {
            "id": identity, "name": run.directory.name, "dir": str(run.directory), "config": dict(config),
            "project": self.config.project, "entity": self.config.entity, "group": self.config.group,
            "tags": list(self.config.tags), "settings": wandb.Settings(console="off", quiet=True),
        }  # fmt: skip
        online = (self.config.mode or os.environ.get("WANDB_MODE", "online")) == "online"
        resume = {"resume": "allow"} if known and online else {}
        try:
            self._run = wandb.init(**chosen, mode=self.config.mode, **resume)
        except wandb.errors.UsageError as error:
            raise ConfigError(
                "Weights & Biases cannot be used", str(error),
                fix=f'wandb login, then sslrec train --resume {run.directory}; or mode = "offline"',
            ) from error  # fmt: skip
        except wandb.errors.CommError as error:
            kept = run.directory / "wandb" / "offline-*"
            print(f"sslrec: wandb is not reached ({_line(error)}); send later: wandb sync {kept}", file=sys.stderr)
            wandb.teardown()  # which still holds the run's id
            self._run = wandb.init(**chosen, mode="offline")
        write_text(run.directory / "wandb.id", identity)
        self._run.define_metric("*", step_metric="epoch")

    def scalars(self, values: Mapping[str, float], epoch: int) -> None:
        self._run.log({**values, "epoch": epoch})

    def summary(self, values: Mapping[str, float | str]) -> None:
        self._run.summary.update(dict(values))

    def end(self, outcome: Outcome) -> None:
        self._run.finish(exit_code=0 if outcome == "complete" else 1)


class MLflow(Tracker):
    """Sends the run to an MLflow server or store, which must be there when the run begins."""

    class Config(Callback.Config):
        tracking_uri: str | None = None
        """The server or store; none for what MLFLOW_TRACKING_URI says, else MLflow's own default."""
        experiment: str = "sslrec"
        """The experiment that the run belongs to; made if it is not there."""

    library, extra = "mlflow", "mlflow"
    config: Config

    def check(self) -> None:
        super().check()
        # By default MLflow tries for minutes, which each epoch would wait for once the server is gone.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        tracking: Any = import_module("mlflow.tracking")
        try:
            self._client = tracking.MlflowClient(tracking_uri=self.config.tracking_uri)
            found = self._client.get_experiment_by_name(self.config.experiment)
            self._experiment = found.experiment_id if found else self._client.create_experiment(self.config.experiment)
        except Exception as error:  # whatever the store's driver raises
            uri = self.config.tracking_uri or tracking.get_tracking_uri()
            raise ConfigError(
                f"the MLflow store {uri} cannot be used", _line(error),
                fix="start the server, or set tracking_uri of the callback",
            ) from error  # fmt: skip

    def begin(self, run: Run, config: Mapping[str, str], done: int) -> None:
        known = _read(run.directory / "mlflow.id")
        if known is not None:
            self._id = known
            self._client.update_run(known, status="RUNNING")
            return
        created = self._client.create_run(self._experiment, run_name=run.directory.name)
        self._id = created.info.run_id
        write_text(run.directory / "mlflow.id", self._id)
        entities: Any = import_module("mlflow.entities")
        parameters = [entities.Param(_spelled(key), value) for key, value in config.items()]
        for start in range(0, len(parameters), 100):  # more at once are refused
            self._client.log_batch(self._id, params=parameters[start : start + 100])

    def scalars(self, values: Mapping[str, float], epoch: int) -> None:
        entities: Any = import_module("mlflow.entities")
        now = int(time.time() * 1000)
        metrics = [entities.Metric(_spelled(name), value, now, epoch) for name, value in values.items()]
        for start in range(0, len(metrics), 1000):
            self._client.log_batch(self._id, metrics=metrics[start : start + 1000])

    def summary(self, values: Mapping[str, float | str]) -> None:
        for name, value in values.items():
            if isinstance(value, str):
                self._client.set_tag(self._id, _spelled(name), value)
        numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
        if numbers:
            self.scalars(numbers, 0)

    def end(self, outcome: Outcome) -> None:
        status = {"complete": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}[outcome]
        self._client.set_terminated(self._id, status)


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _spelled(name: str) -> str:
    """``name`` in the letters that MLflow accepts: ``recall_at_20``."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"))
