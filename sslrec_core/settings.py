"""What a run is told: its sections, and the layers they are put together from.

``resolve`` turns names, files and ``--set`` assignments into one frozen :class:`RunConfig` and remembers which
layer each value came from.  Layers, weakest first: class defaults, the preset of the model's own plugin, ``-c``
files, ``--protocol``, ``--set`` and the options of the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from sslrec_core.choice import Choice, Of
from sslrec_core.config import Config, Layer, Share, explain, merge, parse_assignment, read_config, to_toml
from sslrec_core.errors import ConfigError
from sslrec_core.protocols import PROTOCOLS, SELECTED_ON_TEST
from sslrec_core.registry import Entry, registry


class TrainConfig(Config):
    """How long, in what portions and judged by what a model trains."""

    epochs: PositiveInt = 1000
    """Upper limit of passes over the training data."""
    batch_size: PositiveInt = 2048
    """Training examples per optimiser step."""
    negatives: PositiveInt = 1
    """Sampled negatives for each positive, in scenarios of pairs; a loss that draws its own has such an option too."""
    last_batch: Literal["partial", "wrap", "drop"] = "partial"
    """What becomes of the last, smaller batch: used as it is, filled up from the epoch's first pairs, or dropped."""
    select_on: Literal["valid", "test"] = "valid"
    """The part that chooses the best epoch.  With ``test`` the run is labelled `selected on test`."""
    judge: str = "ndcg@20"
    """The metric that chooses the best epoch; higher is better."""
    every: PositiveInt = 1
    """Epochs from one evaluation to the next."""
    patience: PositiveInt | None = 10
    """Evaluations without a better value before training stops; none for never."""
    clip: PositiveFloat | None = None
    """Largest norm of the gradient; none for no clipping."""
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """``tf32`` rounds what matrix products read, on CUDA devices alone; ``bf16`` runs the forward pass under autocast.
    Parameters stay in float32.  On x86 CPUs without AVX-512 ``bf16`` is many times slower than ``float32``."""
    compile: bool = False
    """Compile losses with ``torch.compile``, in the first epoch, which takes a minute; it is meant for GPUs."""


class OptimConfig(Config):
    """The optimiser that ``make`` builds for a model."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """Algorithm."""
    learning_rate: PositiveFloat = 1e-3
    """Step size, in the first epoch."""
    decay: Share = 1.0
    """Factor of the step size from each epoch of a stage to the next."""
    weight_decay: NonNegativeFloat = 0.0
    """Decay of all parameters; models bring their own regularisation of batch embeddings."""


class RunSection(Config):
    """Where and with what a run is carried out."""

    seed: NonNegativeInt = 2024
    """Start of the one generator that all randomness comes from."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes the first CUDA device, else the CPU."""
    graph: str = "torch"
    """Graph backend, see ``sslrec list backends``."""
    callbacks: tuple[Annotated[Choice, Of("callback")], ...] = (Choice.of("progress"),)
    """What listens to the run; nothing that is not named here does."""
    test: bool = True
    """Evaluate the best epoch on the test part when the training is over.  Without, the result has what was selected by
    alone, as while options are still being chosen; ``sslrec evaluate`` does it later."""
    checkpoint_seconds: NonNegativeFloat = 20.0
    """Least time between two checkpoints; they are written at the end of an epoch, and when the training is over.
    Resuming from any is exact."""
    deterministic: bool = False
    """Ask torch for deterministic kernels; on CUDA some are slower."""


class RunConfig(Config):
    """Everything that decides the numbers of a run."""

    model: Annotated[Choice, Of("model")]
    """The recommender and its hyper-parameters."""
    data: Annotated[Choice, Of("dataset")]
    """Where the raw tables come from."""
    scenario: Annotated[Choice, Of("scenario")]
    """What kind of problem the tables are read as; filtering and splitting."""
    train: TrainConfig = TrainConfig()
    """Epochs, batches, selection."""
    optim: OptimConfig = OptimConfig()
    """Optimiser."""
    eval: Annotated[Choice, Of("evaluator")] = Choice.of("full-ranking")
    """How ranked lists are judged."""
    run: RunSection = RunSection()
    """Seed, device, backend, callbacks."""

    @property
    def label(self) -> str | None:
        """``selected on test`` where the test part chose the epoch, else None."""
        return SELECTED_ON_TEST if self.train.select_on == "test" else None

    def unattended(self) -> RunConfig:
        """The same without the callback ``progress``, which is for somebody who looks on; others do something."""
        listening = tuple(callback for callback in self.run.callbacks if callback.name != "progress")
        return self.model_copy(update={"run": self.run.model_copy(update={"callbacks": listening})})

    def to_toml(self, comments: Mapping[str, str] | None = None) -> str:
        """The complete configuration as TOML, each line with its comment from ``comments``."""
        return to_toml(self.model_dump(mode="json"), comments)


@dataclass(frozen=True)
class Resolved:
    """A configuration and where its values came from."""

    config: RunConfig
    origins: Mapping[str, str]
    """Dotted key to the layer that set it; keys that are not here have their class default."""


def resolve(
    model: str | None = None,
    dataset: str | None = None,
    *,
    files: Sequence[Path] = (),
    assignments: Sequence[str] = (),
    preset: str | None = None,
    protocol: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Resolved:
    """Put the layers together.

    Args:
        model: Name of a model; may come from a file instead.
        dataset: Name of a dataset, or the path of a file or folder; may come from a file instead.
        files: TOML or YAML files, weakest first.
        assignments: ``key.path=value`` with a TOML literal, weakest first.
        preset: Name of a preset other than the model's own for this dataset.
        protocol: ``standard`` or ``published``.
        options: Values of single command-line options, nested as in a file.

    Raises:
        ConfigError: an unknown key, a value out of range, or a choice that is missing.
        UnknownName: a name that no plugin offers.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise ConfigError(f"no protocol is called '{protocol}'", fix=f"--protocol {' or '.join(PROTOCOLS)}")
    above = [Layer(path.name, read_config(path)) for path in files]
    if protocol is not None:
        above.append(Layer(f"--protocol {protocol}", dict(PROTOCOLS[protocol])))
    above += [Layer("--set", parse_assignment(text)) for text in assignments]
    above.append(Layer("command line", _named(model, dataset, options or {})))

    named, _ = merge(above)
    model_entry = _model(named)
    data_entry, scenario = _dataset(named, model_entry)
    names = {"model": registry().written(model_entry), "data": registry().written(data_entry), "scenario": scenario}
    base: dict[str, Any] = {section: {"name": name} for section, name in names.items()}
    layers = [
        Layer("command line", base),
        *_preset(model_entry, data_entry, preset),
        *(Layer(layer.origin, _in_full(layer.values, model_entry.scenario)) for layer in above),
    ]
    values, origins = merge(layers)
    try:
        return Resolved(RunConfig.model_validate(values, context={"scenario": scenario}), origins)
    except pydantic.ValidationError as error:
        raise explain(error, model_entry.name, origins, RunConfig, where_to_look(values)) from error


def laid_over(config: RunConfig, assignments: Sequence[str], origin: str, what: str) -> RunConfig:
    """``config`` with ``assignments`` over it; errors call it ``what`` and say that they come from ``origin``.

    Raises:
        ConfigError: a key is no option of it, or a value cannot be used.
    """
    layers = [Layer("base", config.model_dump(mode="json"))]
    layers += [Layer(origin, parse_assignment(text)) for text in assignments]
    values, origins = merge(layers)
    try:
        return RunConfig.model_validate(values)
    except pydantic.ValidationError as error:
        raise explain(error, what, origins, RunConfig, where_to_look(values)) from error


def where_to_look(values: Mapping[str, Any]) -> dict[str, str]:
    """For each section of a run's ``values``, the command that shows which options it has."""
    names = {section: _name(values, section) for section in ("model", "data", "scenario", "eval")}
    pages = {section: f"sslrec show {name}" for section, name in names.items() if name}
    whole = f"sslrec config {names['model']} --dataset {values['data'].get('path', names['data'])}"
    return {section: pages.get(section, whole) for section in RunConfig.model_fields}


def _named(model: str | None, dataset: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The layer of the command line's own arguments."""
    values: dict[str, Any] = {section: dict(part) for section, part in options.items()}
    if model is not None:
        values.setdefault("model", {})["name"] = model
    if dataset is not None:
        values.setdefault("data", {}).update(reference(dataset))
    return values


def reference(dataset: str) -> dict[str, Any]:
    """A dataset's table: its name, or the reader of own files with a path."""
    looks_like_path = dataset.startswith((".", "/", "~")) or Path(dataset).suffix != "" or "\\" in dataset
    if looks_like_path:
        return {"name": "table", "path": dataset}
    return {"name": dataset}


def _name(values: Mapping[str, Any], section: str) -> str | None:
    table = values.get(section)
    if isinstance(table, str):
        return table
    name = table.get("name") if isinstance(table, Mapping) else None
    if name is not None and not isinstance(name, str):
        raise ConfigError(f"{section}.name is not a name: {name!r}", fix=f"sslrec list {section}s")
    return name


def _in_full(values: dict[str, Any], scenario: str | None) -> dict[str, Any]:
    """``values`` with short names written in full, so that a short name is not taken for another component."""
    full = dict(values)
    for section, kind in (("model", "model"), ("data", "dataset")):
        name = _name(values, section)
        if name is not None:
            entry = registry().find(kind, name, scenario=scenario)
            table = values[section]
            full[section] = {**(table if isinstance(table, Mapping) else {}), "name": registry().written(entry)}
    return full


def _model(values: Mapping[str, Any]) -> Entry:
    name = _name(values, "model")
    if name is None:
        raise ConfigError("no model is named", fix="sslrec train MODEL --dataset DATASET, see: sslrec list models")
    return registry().find("model", name)


def _dataset(values: Mapping[str, Any], model: Entry) -> tuple[Entry, str]:
    """The dataset's entry and the name of the scenario that reads it."""
    name = _name(values, "data")
    if name is None:
        raise ConfigError(f"no dataset is named for {model.name}", fix="add --dataset NAME, see: sslrec list datasets")
    entry = registry().find("dataset", name, scenario=model.scenario)
    scenario = model.scenario or _name(values, "scenario") or entry.scenario
    if scenario is None:
        known = " or ".join(e.name for e in registry().entries("scenario"))
        raise ConfigError(
            f"{model.name} works in any scenario, and {name} belongs to none",
            fix=f"--set scenario.name={known}",
        )
    return entry, scenario


def _preset(model: Entry, dataset: Entry, name: str | None) -> Iterable[Layer]:
    found = registry().preset(model, dataset.name, name)
    if found is None:
        return []
    origin, values = found
    return [Layer(origin, values)]
