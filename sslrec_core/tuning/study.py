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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic
from filelock import FileLock

from sslrec_core.config import explain, read_config, to_toml
from sslrec_core.errors import CheckpointError, ConfigError, SslrecError, StorageError
from sslrec_core.files import storage, write_text
from sslrec_core.settings import RunConfig, laid_over
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
FOLDER, WORKER, WHY, RETRY, ASKED = "folder", "worker", "why", "retry of", "asked to stop"
"""What the store keeps about a trial: where it runs, who runs it, why it failed, which one it repeats, and whether its
worker was asked to stop."""

PATIENCE = 60.0
"""Seconds to wait for somebody who holds the store; each holds it for milliseconds."""

FIXED = ("data", "scenario", "eval", "run", "train.select_on", "train.judge")
"""Options that no trial may vary: values of the judge under different ones cannot be compared."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Settings:
    """How a study searches."""

    name: str
    """What the study is called in its store."""
    store: str
    """URL of a database, or the path of a journal file, absolute or in the study's folder."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """Who proposes values: a Parzen estimator (Bergstra et al. 2011), chance, or every combination in turn."""
    prune: bool = True
    """Whether a trial ends early that is worse than the median of others after as many epochs."""
    seed: int = 0
    """Starts the sampler."""


class Study:
    """A folder of trials; :meth:`create` or :meth:`open` it."""

    def __init__(
        self, folder: Path, config: RunConfig, space: Space, settings: Settings, worker: int = 0, begin: bool = True
    ) -> None:
        self.folder, self.config, self.space, self.settings = folder, config, space, settings
        with self.reaching():
            storage = _storage(self.store, begin)
            if begin:
                optuna.create_study(
                    study_name=settings.name, storage=storage, direction="maximize", load_if_exists=True
                )
            elif settings.name not in optuna.get_all_study_names(storage):
                raise FileNotFoundError(f"it has no study called '{settings.name}' any more")
            self.optuna = optuna.load_study(study_name=settings.name, storage=storage, pruner=_pruner(settings.prune))
            self.optuna.sampler = self._sampler(worker)
            # Before anything is tried, and only then: a store that others use may hold a study of the same name.
            found = self.optuna.user_attrs.get("fingerprint")
            if found is None:
                self.optuna.set_user_attr("fingerprint", self.fingerprint)
                self.optuna.set_user_attr("of", self.subject)
        if found not in (None, self.fingerprint):
            raise ConfigError(
                f"the study '{settings.name}' in {self.store} is of another configuration or space",
                f"it is of {self.optuna.user_attrs.get('of', 'an earlier version')}, this one of {self.subject}",
                "its trials cannot be compared with new ones",
                fix="--study NAME with another name, or another --store",
            )

    @classmethod
    def create(cls, folder: Path, config: RunConfig, space: Space, settings: Settings) -> Study:
        """A new study in a new folder; its first trial is what the configuration has now, if the space holds that.

        Raises:
            ConfigError: a key of the space is no option of the configuration or must not vary, the test part would
                choose, or the store has another study.
            StorageError: the folder exists or cannot be made, or the store cannot be reached.
        """
        base = config.unattended().model_dump(mode="json")
        base["run"]["test"] = False
        config = RunConfig.model_validate(base)
        _check_selects_on_validation(config, space)
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
            ConfigError: it was made by another version, or with plugins that are not installed.
            StorageError: its store cannot be reached, or has lost it.
        """
        if not (folder / SETTINGS).is_file():
            raise CheckpointError(
                f"{folder} is not a study's folder", f"it has no {SETTINGS}", fix="sslrec tune … -o DIR"
            )
        try:
            config = RunConfig.model_validate(read_config(folder / CONFIG))
            settings = Settings(**read_config(folder / SETTINGS))
        except pydantic.ValidationError as error:
            raise explain(error, f"the study in {folder}", otherwise=f"look at {folder / CONFIG}") from error
        except TypeError as error:
            raise CheckpointError(f"{folder / SETTINGS} cannot be read", str(error), fix="start a new study") from error
        return cls(folder, config, Space.read(folder / SPACE), settings, worker, begin=False)

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
        """Equal for studies whose trials can be compared.

        Of what the folder has, not of the configuration that was read from it: options that came with later versions
        are not in there, and change nothing.
        """
        config = read_config(self.folder / CONFIG)
        config.get("run", {}).pop("device", None)
        text = f"{sorted_items(config)}\n{self.space.to_toml()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def store(self) -> str:
        """URL or path of the store; a journal in the folder moves with it."""
        store = self.settings.store
        return store if "://" in store else str(self.folder / store)

    @property
    def subject(self) -> str:
        """The model and the dataset."""
        return f"{self.config.model.name} on {self.config.data.name}"

    @property
    def judge(self) -> str:
        """The metric that is maximised, on the validation part."""
        return self.config.train.judge

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in the given states, all if none is given, in order.

        Raises:
            StorageError: the store cannot be reached.
        """
        with self.reaching():
            return self.optuna.get_trials(deepcopy=False, states=states or None)

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Turn whatever the store's driver raises into a :class:`StorageError`."""
        try:
            yield
        except (SslrecError, optuna.TrialPruned):
            raise
        except Exception as error:
            raise StorageError(
                f"the store {self.store} cannot be reached",
                *str(error).strip().splitlines()[:1],
                fix=f"when it is there again: sslrec tune --resume {self.folder}",
            ) from error

    def best(self) -> FrozenTrial | None:
        """The best complete trial; the earliest of equal ones."""
        done = [trial for trial in self.trials(TrialState.COMPLETE) if trial.value is not None]
        return max(done, key=lambda trial: (trial.value, -trial.number), default=None)

    # ---- what workers do ------------------------------------------------------------------------

    def ask(self, wanted: int) -> tuple[optuna.Trial, Params] | None:
        """The next trial with its values, or None if ``wanted`` have begun, or a grid has no more.

        Raises:
            StorageError: the store cannot be reached, or somebody holds it.
        """
        with self.reaching(), FileLock(self.folder / ".ask.lock", timeout=PATIENCE):
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

    def finish(self, trial: optuna.Trial | int, state: TrialState, value: float | None = None) -> None:
        """Note how a trial ended.

        Raises:
            StorageError: the store cannot be reached.
        """
        with self.reaching():
            self.optuna.tell(trial, value, state=state)

    def configured(self, params: Params) -> RunConfig:
        """The configuration of a trial with the values ``params``."""
        return configured(self.config, self.space, params)

    def directory(self, number: int) -> Path:
        """The run directory of trial ``number``."""
        return self.folder / "trials" / f"{number:04d}"

    # ---- what was left behind -------------------------------------------------------------------

    def give_up(self, worker: str | None = None) -> list[int]:
        """Trials of this folder whose worker is gone are failed, and tried again.

        One whose worker died is tried again once, as it may be the trial that kills; one whose worker was asked to stop
        as often as that happens.

        Args:
            worker: Its trials alone; None: all that run, as when nobody else is at work in this folder.

        Returns:
            The numbers of those that are tried again.
        """
        again = []
        # In a store of the folder's own all trials are, even one whose worker died before it could say so.
        alone = Path(self.store).resolve().parent == self.folder.resolve()
        for trial in self.trials(TrialState.RUNNING):
            here = alone or trial.user_attrs.get(FOLDER) == str(self.folder.resolve())
            if not here or (worker is not None and trial.user_attrs.get(WORKER) != worker):
                continue
            self.finish(trial.number, TrialState.FAIL)
            if trial.params and (RETRY not in trial.user_attrs or ASKED in trial.user_attrs):
                with self.reaching():
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


class _Journal(JournalFileBackend):
    """A journal that does not begin anew where its file was taken away."""

    def __init__(self, store: str, begin: bool) -> None:
        self._place = Path(store)
        if not begin:
            self._check()
        super().__init__(store, lock_obj=_SystemLock(store))

    def _check(self) -> None:
        if not self._place.exists():
            raise FileNotFoundError(f"{self._place} is not there any more")

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add to the file.

        Raises:
            FileNotFoundError: it is not there any more.
        """
        self._check()
        super().append_logs(logs)


class _SystemLock(JournalFileOpenLock):
    """A lock of the system's, which lets go when its holder is killed; Optuna's own stays for half a minute."""

    def __init__(self, store: str) -> None:
        super().__init__(store)
        self._lock = FileLock(f"{store}.lock")

    def acquire(self) -> bool:
        """Wait for the lock.

        Raises:
            Timeout: somebody does not let go of it.
        """
        self._lock.acquire(timeout=PATIENCE)
        return True

    def release(self) -> None:
        """Let go of it."""
        self._lock.release()


def _storage(store: str, begin: bool) -> BaseStorage:
    """The store at a URL or path; a journal that is not there is made only where a study begins.

    Raises:
        StorageError: it cannot be opened.
    """
    try:
        if store.startswith("sqlite:"):
            return optuna.storages.RDBStorage(store, engine_kwargs={"connect_args": {"timeout": PATIENCE}})
        if "://" in store:
            return optuna.storages.RDBStorage(store)
        return optuna.storages.JournalStorage(_Journal(store, begin))
    except Exception as error:  # whatever the driver of a database raises when it cannot be reached
        reason = str(error).strip().splitlines()
        raise StorageError(
            f"the store {store} cannot be opened",
            *reason[:1],
            fix="check --store: a journal file, sqlite:///FILE, or postgresql://… (which needs psycopg2-binary)",
        ) from error


def _check_selects_on_validation(config: RunConfig, space: Space) -> None:
    if config.train.select_on != "valid":
        raise ConfigError(
            f"tuning selects on the validation part, not on train.select_on = '{config.train.select_on}'",
            fix="--set train.select_on=valid; train the winner as you like",
        )
    fixed = [key for key in space.dimensions if any(key == one or key.startswith(f"{one}.") for one in FIXED)]
    if fixed:
        raise ConfigError(
            f"{fixed[0]} is no option to try: it decides what is measured, so that trials could not be compared",
            fix="a space has options of the model, of training and of its optimiser",
        )


def configured(config: RunConfig, space: Space, params: Params) -> RunConfig:
    """``config`` with ``params`` laid over it.

    Raises:
        ConfigError: a key is no option of it, or a value cannot be used.
    """
    return laid_over(config, space.assignments(params), "the space", config.model.entry.name)


def worker_name(pid: int) -> str:
    """How the worker with this process number is called."""
    return f"{socket.gethostname()}:{pid}"


def sorted_items(values: Any) -> Any:
    """Nested tables in an order that does not depend on how they were written."""
    if isinstance(values, Mapping):
        return [(key, sorted_items(values[key])) for key in sorted(values)]
    return values
