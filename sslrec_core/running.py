"""A run: built from a configuration, owner of a directory, recorder of what happened.

The directory holds ``config.toml`` (complete), ``environment.json``, ``metrics.jsonl`` (one event a line),
``best.safetensors``, ``last.safetensors`` and, once the run is complete, ``result.json``.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import pluggy
import polars as pl
import torch
from torch import Tensor

from sslrec_core import checkpoint
from sslrec_core.data import Scenario, load_names, load_prepared, nobody
from sslrec_core.environment import describe, pick_device
from sslrec_core.errors import CheckpointError, ConfigError, DataError, DeviceError, PluginError, TrainingError
from sslrec_core.files import only_process, storage, write_text
from sslrec_core.graph import use_backend
from sslrec_core.hooks import RunHooks
from sslrec_core.interrupt import StopRequest
from sslrec_core.loop import Defaults, Loop, StepListener
from sslrec_core.memory import enough_memory, peak_memory, steady_memory
from sslrec_core.model import Stage
from sslrec_core.recommending import for_users, in_raw_ids
from sslrec_core.records import (
    BEST,
    CONFIG,
    ENVIRONMENT,
    LAST,
    RESULT,
    Progress,
    Result,
    append_event,
    keep_events,
    new_name,
    read_result,
    write_result,
)
from sslrec_core.registry import registry
from sslrec_core.reopening import check_goes_on, prolonged, recorded, replace_config
from sslrec_core.settings import Resolved, RunConfig

Say: TypeAlias = Callable[[str], None]
"""Told what takes time, such as "reading kg/demo"."""


class Run:
    """One training or evaluation: configuration, data, model, loop, directory.

    Build it with :meth:`create` or :meth:`open`; stability: stable for callers from API 1.
    """

    stage: Stage
    epoch: int = 0

    def __init__(
        self,
        config: RunConfig,
        directory: Path,
        data_root: Path | None = None,
        say: Say = lambda text: None,
        listeners: Sequence[object] = (),
    ) -> None:
        self.say = say
        self._listeners = listeners
        self.device = pick_device(config.run.device)
        self.config = config.model_copy(update={"run": config.run.model_copy(update={"device": str(self.device)})})
        self.directory = directory
        self.data_root = data_root
        self.progress = Progress()
        self.in_training = False
        self._saved_at = time.monotonic()
        self._began_at = time.monotonic()
        self._stop = StopRequest(f"sslrec train --resume {directory}")
        self._build()

    # ---- beginnings -----------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        resolved: Resolved | RunConfig,
        directory: Path | None = None,
        *,
        runs: Path = Path("runs"),
        data_root: Path | None = None,
        say: Say = lambda text: None,
        listeners: Sequence[object] = (),
    ) -> Run:
        """A new run in a new directory: ``directory``, or one named after model, dataset and time under ``runs``.

        Everything is built before the directory is made, so that a mistake leaves nothing behind.  ``listeners`` hold
        run hooks like callbacks, for whoever trains from Python; they are no part of the configuration.

        Raises:
            ConfigError: ``train.judge`` is not measured.
            DeviceError: ``train.precision`` is not for the device, or its memory does not suffice.
            StorageError: the directory exists or cannot be made.
        """
        origins = resolved.origins if isinstance(resolved, Resolved) else {}
        config = resolved.config if isinstance(resolved, Resolved) else resolved
        if directory is not None:
            with storage(directory, "making the run directory"):
                if directory.exists():
                    raise FileExistsError(directory)
        run = cls(config, directory or runs / new_name(config), data_root, say, listeners)
        if config.train.precision == "tf32" and run.device.type != "cuda":
            raise DeviceError(
                f"train.precision = 'tf32' is for CUDA devices, and this run is on {run.device}",
                fix="--set train.precision=float32, or --device cuda",
            )
        known = run.evaluator.names()
        # Before the first epoch, not after it: a metric that is not measured cannot judge.
        if config.train.judge not in known:
            raise ConfigError(
                f"train.judge = '{config.train.judge}' is not measured", f"measured: {', '.join(known)}",
                fix="--set train.judge=… or --set eval.at=[…]",
            )  # fmt: skip
        if config.run.test and next(iter(run.data.queries("test", 1)), None) is None:
            raise nobody(run.data, "test")
        for callback in run.callbacks:
            callback.check()
        # Filled beside its place and then renamed: a process that dies here leaves no half of a run to be resumed.
        new = run.directory.with_name(f".{run.directory.name}.{os.getpid()}.new")
        environment = describe(run.config, run.device, data_root) | {"data": run.facts}
        try:
            with storage(run.directory, "making the run directory"):
                new.mkdir(parents=True)
                write_text(new / CONFIG, run.config.to_toml(origins))
                write_text(new / ENVIRONMENT, json.dumps(environment, indent=1) + "\n")
                new.rename(run.directory)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return run

    @classmethod
    def open(
        cls, directory: Path, *, device: str | None = None, data_root: Path | None = None,
        scenario: Mapping[str, Any] | None = None, **evaluator: Any,
    ) -> Run:  # fmt: skip
        """The run in ``directory`` with the best weights that it has, for evaluation or recommendation.

        Args:
            directory: A run directory.
            device: Another device than the one that it was trained on.
            data_root: Where the data lives now; default: the root given in training, else the default one.
            scenario: Other values of the options that it lists as ``ranking``.
            evaluator: Other settings of the evaluator.

        Raises:
            CheckpointError: not a run directory, or made by another model, revision or version.
            ConfigError: no such option, or one of the scenario that decides about more than the ranking.
        """
        config, root = recorded(directory, device, evaluator, scenario)
        run = cls(config, directory, data_root or root)
        run._load_best()
        return run

    @classmethod
    def resume(
        cls, directory: Path, *, settings: Sequence[str] = (), data_root: Path | None = None,
        listeners: Sequence[object] = (),
    ) -> Run:  # fmt: skip
        """The unfinished run in ``directory``, ready to go on exactly where its last checkpoint stands.

        Args:
            directory: A run directory.
            settings: Other values of ``train.epochs`` and ``train.patience``, as ``--set`` takes them.  With them a run
                that is complete goes on too, as it would have if it had been told so in the beginning; its result is
                gone until the test part is measured again, for what is the best epoch then.
            data_root: Where the data lives now.
            listeners: As in :meth:`create`.

        Raises:
            CheckpointError: as for :meth:`open`.
            ConfigError: another option, or a value with which the epochs that are complete would have been others.
        """
        config, root = recorded(directory)
        wanted = prolonged(config, settings, directory) if settings else config
        run = cls(wanted, directory, data_root or root, listeners=listeners)
        if (directory / RESULT).exists() and wanted == config:
            return run
        for callback in run.callbacks:
            callback.check()
        if (directory / LAST).exists():
            run._load_last()
        if wanted != config:
            run._prolong(config)
        return run

    def _prolong(self, before: RunConfig) -> None:
        """Take the configuration in place of ``before``, and find out whether the training is still to stop."""
        progress = self.progress
        self.stage = self.model.stages(self.config.train.epochs)[progress.stage]
        check_goes_on(before.train, self.config.train, progress, self.stage)
        if progress.best is not None:
            self.epoch = progress.epoch - 1
            progress.stopped = self.hook.sslrec_should_stop(run=self)
        with only_process(self.directory):
            replace_config(self.directory, before, self.config)

    def _build(self) -> None:
        config = self.config
        if self.device.type == "cpu":
            steady_memory()
        backend = registry().find("backend", config.run.graph)
        use_backend(backend.load()(), self.device)
        torch.use_deterministic_algorithms(config.run.deterministic, warn_only=True)
        torch.manual_seed(config.run.seed)
        scenario: Scenario = config.scenario.build()
        prepared = load_prepared(
            config.data.build(), scenario, name=config.data.entry.name, root=self.data_root, say=self.say
        )
        self.facts: dict[str, Any] = prepared.meta
        fewer = "smaller options of the model or the scenario, or another --device"
        with enough_memory(self.device, f"building {config.model.name}", fix=fewer):
            self.data = scenario.data(prepared).to(self.device)
            self.model = config.model.build(self.data).to(self.device)
        self.evaluator = config.eval.build()
        if config.train.compile:
            self.model.losses = torch.compile(self.model.losses)
        self.loop = Loop(self.model, config.train, config.optim, self.device)
        self.callbacks = [choice.build() for choice in config.run.callbacks]
        manager = pluggy.PluginManager("sslrec")
        manager.add_hookspecs(RunHooks)
        for listener in (Defaults(), *self.callbacks, *self._listeners):
            try:
                manager.register(listener)
                manager.check_pending()
            except pluggy.PluginValidationError as error:
                name = type(listener).__qualname__
                raise PluginError(f"the callback {name} cannot listen", str(error), fix="see docs/hooks.md") from error
        self.hook = manager.hook
        # Resolved once to a plain list: a step must not pay for asking who listens.
        self.loop.on_step += [self._listener(impl) for impl in reversed(self.hook.sslrec_step.get_hookimpls())]

    def _listener(self, impl: pluggy.HookImpl) -> StepListener:
        wanted = impl.argnames  # a listener takes only what it needs, of run and losses

        def listen(losses: Mapping[str, Tensor]) -> None:
            impl.function(*(losses if name == "losses" else self for name in wanted))

        return listen

    # ---- the training ---------------------------------------------------------------------------

    def execute(self) -> Result:
        """Train, choose the best epoch, evaluate it once on the test part, and write ``result.json``.

        Raises:
            ConfigError: nothing can be trained like that; the directory is gone if no epoch is complete.
            DataError: nothing can be trained from that; likewise.
            DeviceError: its memory does not suffice.
            Interrupted: asked to stop by Ctrl-C or SIGTERM; :meth:`resume` goes on.
            StorageError: another process is at work in the directory.
            TrainingError: the loss is not finite any more.
        """
        finished = self.directory / RESULT
        if finished.exists():
            try:
                return read_result(self.directory)
            except (ValueError, KeyError) as error:
                fix = f"remove it, and sslrec train --resume {self.directory}"
                raise CheckpointError(f"{finished} cannot be read as a result", str(error), fix=fix) from error
        self._began_at = time.monotonic()
        with only_process(self.directory), self._stop.listening():
            keep_events(self.directory, self.progress.events)
            self.in_training = True
            fewer = (
                f"--set train.batch_size=… (it is {self.config.train.batch_size}), a smaller model, or another --device"
            )
            try:
                with enough_memory(self.device, f"training {self.config.model.name}", fix=fewer):
                    result: Result = self.hook.sslrec_run(run=self)
            except TrainingError as error:
                raise TrainingError(error.problem, *error.facts, self._last_good(), fix=error.fix) from error
            except (ConfigError, DataError):
                # Whoever resumed it would be refused again: it is as if it had been refused before it was made.
                if not self.progress.events:
                    shutil.rmtree(self.directory)
                raise
        return result

    def _last_good(self) -> str:
        path = self.directory / LAST
        if not path.exists():
            return "no checkpoint was written before it"
        return f"last good checkpoint: {path}, after epoch {checkpoint.load(path)[1]['epoch']}"

    def remaining_stages(self) -> Iterator[Stage]:
        """The stages that are not complete, each counted when it is."""
        stages: Sequence[Stage] = self.model.stages(self.config.train.epochs)
        while self.progress.stage < len(stages):
            yield stages[self.progress.stage]
            last = self.progress.stage == len(stages) - 1
            if not last:
                self.progress = Progress(stage=self.progress.stage + 1, events=self.progress.events)
                self.loop.step = 0
            else:
                return

    def remaining_epochs(self) -> Iterator[int]:
        """The epochs of the stage that are not complete, until something says stop."""
        while self.progress.epoch < self.stage.epochs and self.progress.stopped is None:
            yield self.progress.epoch
        if self.progress.stopped is not None:
            # Not when it was decided: a checkpoint of that moment belongs to no end if the run is told to go on.
            self.epoch = self.progress.epoch - 1
            self.record("stopped", why=self.progress.stopped)

    def finish_epoch(self, losses: Mapping[str, float]) -> None:
        """Record the epoch, judge it when that is due, and save a checkpoint if the last one is old or this the end."""
        progress = self.progress
        self.record("epoch", losses=losses, seconds=round(time.monotonic() - self._began_at, 3))
        progress.epoch += 1
        progress.step = self.loop.step
        due = progress.epoch % self.config.train.every == 0 or progress.epoch == self.stage.epochs
        if self.stage.judged and due:
            self._judge()
        progress.seconds += time.monotonic() - self._began_at
        over = progress.epoch == self.stage.epochs or progress.stopped is not None
        if over or self._stop.asked or time.monotonic() - self._saved_at >= self.config.run.checkpoint_seconds:
            self._save_last()
        self._began_at = time.monotonic()
        if self._stop.asked:
            raise self._stop.leave(f"after epoch {self.epoch}")

    def _judge(self) -> None:
        """Evaluate on the selecting part, keep the weights if they are the best yet, and ask whether to stop."""
        began = time.monotonic()
        split = self.config.train.select_on
        metrics = dict(self.hook.sslrec_evaluate(run=self, split=split))
        self.record(split, metrics=metrics, seconds=round(time.monotonic() - began, 3))
        self._keep_if_best(metrics)
        self.progress.stopped = self.hook.sslrec_should_stop(run=self)

    def _keep_if_best(self, metrics: dict[str, float]) -> None:
        progress, value = self.progress, metrics[self.config.train.judge]
        if progress.best is not None and value <= progress.best:
            progress.without_gain += 1
            return
        progress.best, progress.best_epoch, progress.best_metrics = value, self.epoch, metrics
        progress.without_gain = 0
        weights: Mapping[str, Tensor] = self.model.state_dict()
        for callback in self.callbacks:
            weights = callback.weights() or weights
        checkpoint.save(self.directory / BEST, checkpoint.prefixed(weights, "model"), self._about())

    def restore_best(self) -> None:
        """Take the best epoch's weights.  A model without judged epochs is judged now, once."""
        self.in_training = False
        if self.progress.best is None:
            self._judge()
        self._load_best()

    def finish(self, metrics: Mapping[str, float]) -> Result:
        """Record the test metrics, if any, and write ``result.json``: its presence means that the run is complete."""
        if metrics:
            self._append({"event": "test", "metrics": dict(metrics)})
        progress, seconds = self.progress, round(self.progress.seconds, 3)
        chosen = progress.best_metrics or {}
        memory = peak_memory(self.device)
        result = Result(self.directory, dict(metrics), chosen, progress.best_epoch, self.config.label, seconds, memory)
        write_result(result, self.config)
        return result

    def record(self, event: str, **values: Any) -> None:
        """Append one line to ``metrics.jsonl``, with the stage and the epoch."""
        self._append({"event": event, "stage": self.stage.name, "epoch": self.epoch, **values})

    def _append(self, event: Mapping[str, Any]) -> None:
        self.progress.events = append_event(self.directory, event)

    def evaluate(self, split: str = "test") -> dict[str, float]:
        """The evaluator's metrics of the model as it is now, on ``valid`` or ``test``.

        Raises:
            DataError: nobody has anything to find in ``split``.
        """
        return dict(self.hook.sslrec_evaluate(run=self, split=split))

    def recommend(self, users: Sequence[str], k: int) -> dict[str, list[tuple[Any, float]]]:
        """The ``k`` best items for each of ``users``, by raw id, with their scores.

        Items of the training and validation part are left out; a list is shorter where too few items remain.

        Raises:
            DataError: no such user in the data.
        """
        numbers = torch.tensor([self.data.users.index(user) for user in users], device=self.device)
        return dict(zip(users, in_raw_ids(self, for_users(self, numbers, k)), strict=True))

    def names(self, items: Tensor) -> list[str | None]:
        """What people call ``items``, given by number ``[n]``; None for those without a name.

        Raises:
            DataError: the data's file of names cannot be read.
        """
        named = self._item_names
        return [None] * len(items) if named is None else named.gather(items.cpu().numpy()).to_list()

    @cached_property
    def _item_names(self) -> pl.Series | None:
        choice = self.config.data
        return load_names(choice.build(), self.data.items, name=choice.entry.name, root=self.data_root)

    # ---- checkpoints ----------------------------------------------------------------------------

    def _about(self) -> dict[str, Any]:
        choice = self.config.model
        return {
            "model": choice.name,
            "plugin": choice.entry.plugin,
            "revision": choice.entry.load().revision,
            "settings": self._settings(),
            "learned_from": self._learned_from,
            "epoch": self.epoch,
            "judge": self.config.train.judge,
            "value": self.progress.best,
        }

    @cached_property
    def _learned_from(self) -> dict[str, str]:
        return checkpoint.known_by(self.data)

    def _settings(self) -> dict[str, Any]:
        """What decides about the weights: their names, their sizes, and what they are of."""
        return self.config.model_dump(mode="json", include={"model", "data", "scenario"})

    def _save_last(self) -> None:
        tensors = checkpoint.prefixed(self.model.state_dict(), "model")
        for name, optimizer in self.loop.optimizers.items():
            tensors |= checkpoint.prefixed(checkpoint.optimizer_state(optimizer), f"optim/{name}")
        for position, callback in enumerate(self.callbacks):
            tensors |= checkpoint.prefixed(callback.state(), f"callback/{position}")
        tensors |= checkpoint.prefixed(checkpoint.generator_state(self.device), "rng")
        about = {**self._about(), "progress": asdict(self.progress)}
        checkpoint.save(self.directory / LAST, tensors, about)
        self._saved_at = time.monotonic()

    def _load_last(self) -> None:
        tensors, about = checkpoint.load(self.directory / LAST)
        checkpoint.check_made_by(about, self.config.model, self.directory)
        checkpoint.check_settings(about, self._settings(), self.directory)
        checkpoint.check_learned_from(about, self._learned_from, self.directory, "ids", "train")
        self._load_weights(tensors)
        for name, optimizer in self.loop.optimizers.items():
            checkpoint.load_optimizer_state(optimizer, checkpoint.under(tensors, f"optim/{name}"))
        for position, callback in enumerate(self.callbacks):
            callback.load_state(checkpoint.under(tensors, f"callback/{position}"))
        self.progress = Progress(**about["progress"])
        self.loop.step = self.progress.step
        checkpoint.load_generator_state(self.device, checkpoint.under(tensors, "rng"))

    def _load_best(self) -> None:
        tensors, about = checkpoint.load(self.directory / BEST)
        checkpoint.check_made_by(about, self.config.model, self.directory)
        ranking = [f"scenario.{option}" for option in self.config.scenario.entry.load().ranking]
        checkpoint.check_settings(about, self._settings(), self.directory, ranking)
        checkpoint.check_learned_from(about, self._learned_from, self.directory, "ids")
        self._load_weights(tensors)

    def _load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        weights = {name: value.to(self.device) for name, value in checkpoint.under(tensors, "model").items()}
        try:
            self.model.load_weights(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"the checkpoint in {self.directory} does not fit {self.config.model.name}",
                *str(error).splitlines()[1:],
                fix="use the data and configuration that it was trained with",
            ) from error
