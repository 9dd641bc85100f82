"""The configuration of a run that was made before, as its directory has it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from sslrec_core.config import Layer, explain, flattened, merge
from sslrec_core.errors import CheckpointError, ConfigError
from sslrec_core.files import storage, write_text
from sslrec_core.records import CONFIG, ENVIRONMENT, RESULT, Progress
from sslrec_core.registry import registry
from sslrec_core.settings import RunConfig, TrainConfig, laid_over
from sslrec_core.toml import remarks

if TYPE_CHECKING:
    from sslrec_core.model import Stage

ENDING = ("epochs", "patience")
"""Options of ``train`` that decide about nothing but when a training ends."""


def recorded(
    directory: Path,
    device: str | None = None,
    evaluator: Mapping[str, Any] | None = None,
    scenario: Mapping[str, Any] | None = None,
) -> tuple[RunConfig, Path | None]:
    """How the run in ``directory`` was configured, and the folder of datasets that it was told of.

    Args:
        directory: A run directory.
        device: Another device.
        evaluator: Other settings of the evaluator.
        scenario: Other values of the options that the scenario lists as ``ranking``.

    Raises:
        CheckpointError: not a run directory, or one that cannot be read.
        ConfigError: no such option, one of the scenario that decides about more than the ranking, or a component that
            is not installed any more.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{directory} is not a run directory", f"it has no {CONFIG}", fix="sslrec train … -o DIR")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        root = json.loads((directory / ENVIRONMENT).read_text(encoding="utf-8"))["data_root"]
        if device is not None:
            values["run"]["device"] = device
        # Another evaluator starts with its own defaults; settings of the same one are laid over the run's.
        values["eval"] = merge([Layer(CONFIG, values["eval"]), Layer("settings", dict(evaluator or {}))])[0]
        if scenario:
            values["scenario"] |= _of_ranking(values["scenario"]["name"], scenario)
        return RunConfig.model_validate(values), Path(root) if root else None
    except pydantic.ValidationError as error:
        # A key that has gone, or a component that is not installed; keys that came later have their defaults.
        raise explain(
            error, f"the run in {directory}", schema=RunConfig, otherwise=f"look at {path}, and at what --set changes"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"the run in {directory} cannot be read", str(error), fix="train it again") from error


def prolonged(config: RunConfig, assignments: Sequence[str], directory: Path) -> RunConfig:
    """``config`` of the run in ``directory`` with other values of the options that say when its training ends.

    Raises:
        ConfigError: an option that decides about more than that, or a value that it cannot have.
    """
    after = laid_over(config, assignments, "--set", f"the run in {directory}")
    free = [f"train.{option}" for option in ENDING]
    was, now = (dict(flattened(one.model_dump(mode="json"))) for one in (config, after))
    for key in sorted(was.keys() | now.keys()):
        if key not in free and was.get(key) != now.get(key):
            raise ConfigError(
                f"{key} cannot change when a run goes on", f"what can: {', '.join(free)}",
                fix=f"begin another run: sslrec train -c {directory / CONFIG} --set …",
            )  # fmt: skip
    return after


def check_goes_on(before: TrainConfig, after: TrainConfig, progress: Progress, stage: Stage) -> None:
    """Refuse ``after`` where a training with it from the beginning would not have come by ``progress``.

    Args:
        before: What it was trained with so far.
        after: What it is to go on with.
        progress: What is complete of it.
        stage: The stage that it is in, as long as ``after`` makes it.

    Raises:
        ConfigError: fewer epochs than are complete, less patience than they may have taken, or a last epoch that was
            judged out of turn.
    """
    done, turns = progress.epoch, progress.epoch // after.every
    if done > stage.epochs:
        raise ConfigError(
            f"train.epochs = {after.epochs}, and {done} epochs are complete",
            fix=f"--set train.epochs={done}, or more",
        )  # fmt: skip
    less = after.patience is not None and (before.patience is None or after.patience < before.patience)
    # The first evaluation is always better than none, and running out in the last one ends the training here.
    if after.patience is not None and less and turns > after.patience + 1:
        raise ConfigError(
            f"train.patience = {after.patience}, and it may have run out before the {turns} evaluations so far",
            fix=f"--set train.patience={turns - 1}, or more",
        )
    if stage.judged and done == before.epochs < stage.epochs and done % after.every:
        raise ConfigError(
            f"epoch {done} was judged as the last, out of turn (train.every = {after.every})",
            "a training that is longer would not have been judged there",
            fix="begin another run",
        )


def replace_config(directory: Path, before: RunConfig, after: RunConfig) -> None:
    """Make the run in ``directory`` an unfinished one that is configured as ``after``, from :func:`prolonged`.

    Raises:
        StorageError: the directory cannot be written.
    """
    path = directory / CONFIG
    changed = [option for option in ENDING if getattr(before.train, option) != getattr(after.train, option)]
    with storage(path, "writing the configuration"):
        origins = remarks(path.read_text(encoding="utf-8"))
        # First the result: without one the run is unfinished, whatever happens before its configuration is there.
        (directory / RESULT).unlink(missing_ok=True)
        write_text(path, after.to_toml(origins | {f"train.{option}": "--resume --set" for option in changed}))


def _of_ranking(name: str, changed: Mapping[str, Any]) -> Mapping[str, Any]:
    """``changed``, where the scenario ``name`` lets all of it change after training."""
    ranking = registry().find("scenario", name).load().ranking
    for option in changed:
        if option not in ranking:
            raise ConfigError(
                f"scenario.{option} cannot change after training",
                f"options of {name} that can: {', '.join(sorted(ranking)) or 'none'}",
                fix="train with it: sslrec train --help",
            )
    return changed
