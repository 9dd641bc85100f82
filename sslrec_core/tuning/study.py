"""A study: a folder of trials that share a base configuration, a space and a store.

The folder holds ``config.toml`` (the base, complete), ``space.toml``, the store ``study.journal`` unless there is
another one, and ``trials/0000``, ``trials/0001``, … which are ordinary run directories.  Trials see the validation part
alone: the test part is for what was chosen.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic
from filelock import FileLock

from sslrec_core.config import Layer, explain, merge, parse_assignment, read_config, to_toml
from sslrec_core.errors import CheckpointError, ConfigError, SslrecError, StorageError
from sslrec_core.files import storage, write_text
from sslrec_core.settings import RunConfig
from sslrec_core.tuning.space import Params, Space

try:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise ConfigError("tuning needs Optuna", fix="pip install 'sslrec-core[tune]'") from error

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage

CONFIG, SPACE, SETTINGS, JOURNAL = "config.toml", "space.toml", "study.toml", "study.journal"
FOLDER, WORKER, WHY, RETRY = "folder", "worker", "why", "retry of"
"""What the store keeps about a trial: where it runs, who runs it, why it failed, which one it repeats."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Settings:
    """How a study searches."""

    name: str
    """What the study is called in its store."""
    store: str
    """URL of a database, or the path of a journal file."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """Who proposes values: a Parzen estimator (Bergstra et al. 2011), chance, or every combination in turn."""
    prune: bool = True
    """Whether a trial ends early that is worse than the median of others after as many epochs."""
    seed: int = 0
    """Starts the sampler."""


class Study:
    """A folder of trials; :meth:`create` or :meth:`open` it."""

    def __init__(self, folder: Path, config: RunConfig, space: Space, settings: Settings, worker: int = 0) -> None:
        self.folder, self.config, self.space, self.settings = folder, config, space, settings
        self.optuna = optuna.create_study(
            study_name=settings.name,
            storage=_storage(settings.store),
            pruner=_pruner(settings.prune),
            direction="maximize",
            load_if_exists=True,
        )
        self.optuna.sampler = self._sampler(worker)
        # Before anything is tried, and only then: a store that others use may hold a study of the same name.
        found = self.optuna.user_attrs.get("fingerprint")
        if found is None:
            self.optuna.set_user_attr("fingerprint", self.fingerprint)
        elif found != self.fingerprint:
            raise ConfigError(
                f"the study '{settings.name}' in {settings.store} is of another configuration or space",
                "its trials cannot be compared with new ones",
                fix="--study NAME with another name, or another --store",
            )

    @classmethod
    def create(cls, folder: Path, config: RunConfig, space: Space, settings: Settings) -> Study:
        """A new study in a new folder; its first trial is what the configuration has now, if the space holds that.

        Raises:
            ConfigError: a key of the space is no option of the configuration, or the store has another study.
            StorageError: the folder exists or cannot be made.
        """
        changed = {"test": False, "callbacks": []}
        base = config.model_dump(mode="json")
        base["run"] |= changed
        config = RunConfig.model_validate(base)
        configured(config, space, space.example())
        with storage(folder, "making the study's folder"):
            folder.mkdir(parents=True)
        try:
            write_text(folder / CONFIG, config.to_toml())
            write_text(folder / SPACE, space.to_toml())
            write_text(folder / SETTINGS, to_toml(asdict(settings)))
            study = cls(folder, config, space, settings)
            study._queue_first(base)
        except SslrecError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return study

    @classmethod
    def open(cls, folder: Path, worker: int = 0) -> Study:
        """The study in ``folder``, as its ``worker``-th worker sees it: each proposes by chance of its own.

        Raises:
            CheckpointError: it is not a study's folder.
        """
        if not (folder / SETTINGS).is_file():
            raise CheckpointError(
                f"{folder} is not a study's folder", f"it has no {SETTINGS}", fix="sslrec tune … -o DIR"
            )
        config = RunConfig.model_validate(tomllib.loads((folder / CONFIG).read_text(encoding="utf-8")))
        settings = Settings(**read_config(folder / SETTINGS))
        return cls(folder, config, Space.read(folder / SPACE), settings, worker)

    def _queue_first(self, base: Mapping[str, Any]) -> None:
        """What is tried before anything is proposed: the configuration as it is, and a whole grid."""
        if self.trials():
            return  # others have begun this study
        present = self.space.present(base)
        first = [present] if present is not None else []
        rest = self.space.combinations() if self.settings.sampler == "grid" else []
        for params in [*first, *(params for params in rest if params != present)]:
            self.optuna.enqueue_trial(params)

    @property
    def fingerprint(self) -> str:
        """Equal for studies whose trials can be compared."""
        config = self.config.model_dump(mode="json")
        del config["run"]["device"]
        text = f"{sorted_items(config)}\n{self.space.to_toml()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def judge(self) -> str:
        """The metric that is maximised, on the validation part."""
        return self.config.train.judge

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in the given states, all if none is given, in order."""
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    def best(self) -> FrozenTrial | None:
        """The best complete trial; the earliest of equal ones."""
        done = [trial for trial in self.trials(TrialState.COMPLETE) if trial.value is not None]
        return max(done, key=lambda trial: (trial.value, -trial.number), default=None)

    # ---- what workers do ------------------------------------------------------------------------

    def ask(self, wanted: int) -> tuple[optuna.Trial, Params] | None:
        """The next trial with its values, or None if ``wanted`` have begun, or a grid has no more."""
        with FileLock(self.folder / ".ask.lock"):
            # One without values died before it had begun.
            begun = [trial for trial in self.trials() if trial.state != TrialState.WAITING and trial.params]
            over = sum(RETRY not in trial.user_attrs for trial in begun) >= wanted
            again = any(RETRY in trial.user_attrs for trial in self.trials(TrialState.WAITING))
            if (over and not again) or (self.settings.sampler == "grid" and not self.trials(TrialState.WAITING)):
                return None
            trial = self.optuna.ask()
            trial.set_user_attr(WORKER, worker_name(os.getpid()))
            trial.set_user_attr(FOLDER, str(self.folder.resolve()))
            return trial, self.space.suggest(trial)

    def configured(self, params: Params) -> RunConfig:
        """The configuration of a trial with the values ``params``."""
        return configured(self.config, self.space, params)

    def directory(self, number: int) -> Path:
        """The run directory of trial ``number``."""
        return self.folder / "trials" / f"{number:04d}"

    # ---- what was left behind -------------------------------------------------------------------

    def give_up(self, worker: str | None = None) -> list[int]:
        """Trials of this folder whose worker is gone are failed, and tried again if that has not been done before.

        Args:
            worker: Its trials alone; None: all that run, as when nobody else is at work in this folder.

        Returns:
            The numbers of those that are tried again.
        """
        again = []
        # In a store of the folder's own all trials are, even one whose worker died before it could say so.
        alone = Path(self.settings.store).resolve().parent == self.folder.resolve()
        for trial in self.trials(TrialState.RUNNING):
            here = alone or trial.user_attrs.get(FOLDER) == str(self.folder.resolve())
            if not here or (worker is not None and trial.user_attrs.get(WORKER) != worker):
                continue
            self.optuna.tell(trial.number, state=TrialState.FAIL)
            if RETRY not in trial.user_attrs and trial.params:
                self.optuna.enqueue_trial(trial.params, user_attrs={RETRY: trial.number})
                again.append(trial.number)
        return again

    # ---- parts of Optuna ------------------------------------------------------------------------

    def _sampler(self, worker: int) -> BaseSampler:
        # Workers must not propose the same, nor one that comes back what it has proposed before; alone and not
        # interrupted, it proposes the same whenever the seed is the same.
        seed = self.settings.seed + 1_000 * worker + 100_000 * len(self.trials(TrialState.COMPLETE))
        if self.settings.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, multivariate=True)
        return optuna.samplers.RandomSampler(seed=seed)  # a grid is queued as a whole


def _pruner(prune: bool) -> BasePruner:
    if not prune:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=4)


class _SystemLock(JournalFileOpenLock):
    """A lock of the system's, which lets go when its holder is killed; Optuna's own stays for half a minute."""

    def __init__(self, store: str) -> None:
        super().__init__(store)
        self._lock = FileLock(f"{store}.lock")

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Let go of it."""
        self._lock.release()


def _storage(store: str) -> BaseStorage:
    """The store at a URL or path.

    Raises:
        StorageError: it cannot be reached.
    """
    try:
        if "://" in store:
            return optuna.storages.get_storage(store)
        return optuna.storages.JournalStorage(JournalFileBackend(store, lock_obj=_SystemLock(store)))
    except Exception as error:  # whatever the driver of a database raises when it cannot be reached
        reason = str(error).strip().splitlines()
        raise StorageError(
            f"the store {store} cannot be opened",
            *reason[:1],
            fix="check --store: a journal file, sqlite:///FILE, or postgresql://…",
        ) from error


def configured(config: RunConfig, space: Space, params: Params) -> RunConfig:
    """``config`` with ``params`` laid over it.

    Raises:
        ConfigError: a key is no option of it, or a value cannot be used.
    """
    layers = [Layer("base", config.model_dump(mode="json"))]
    layers += [Layer("the space", parse_assignment(text)) for text in space.assignments(params)]
    values, origins = merge(layers)
    try:
        return RunConfig.model_validate(values)
    except pydantic.ValidationError as error:
        raise explain(error, config.model.entry.name, origins, RunConfig) from error


def worker_name(pid: int) -> str:
    """How the worker with this process number is called."""
    return f"{socket.gethostname()}:{pid}"


def sorted_items(values: Any) -> Any:
    """Nested tables in an order that does not depend on how they were written."""
    if isinstance(values, Mapping):
        return [(key, sorted_items(values[key])) for key in sorted(values)]
    return values
