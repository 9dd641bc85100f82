"""Try many settings of a model, and find the best on the validation part."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslrec_core.errors import ConfigError
from sslrec_core.settings import resolve

if TYPE_CHECKING:
    from sslrec_core.tuning.study import Study
    from sslrec_core.tuning.worker import News


def command(
    model: Annotated[str | None, typer.Argument(help="Model, such as lightgcn or kg/kgcl.", show_default=False)] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Dataset, or the path of your own file.")
    ] = None,
    space: Annotated[
        Path | None, typer.Option(help="TOML file of what to try; default: the one beside the model's presets.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study in all.")] = 30,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at once, each in a process.")] = 1,
    sampler: Annotated[str, typer.Option(help="tpe, random or grid.")] = "tpe",
    prune: Annotated[bool, typer.Option(help="End trials early that are worse than the median.")] = True,
    store: Annotated[
        str | None, typer.Option(help="Journal file, sqlite:///FILE or postgresql://…; default: in the folder.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study in its store.")] = None,
    config: Annotated[list[Path] | None, typer.Option("--config", "-c", help="TOML or YAML file; may repeat.")] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, the same for all trials; may repeat.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A preset other than the model's own for this dataset.")] = None,
    seed: Annotated[int | None, typer.Option(help="Start of each trial's randomness and of the sampler.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of datasets; default $SSLREC_DATA.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the study; must not exist.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the study in this folder.")] = None,
    save_preset: Annotated[Path | None, typer.Option(help="Write the winner's settings to this TOML file.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the outcome only.")] = False,
) -> None:
    """Tune a model's settings on the validation part of a dataset.

    The first trial is the model's preset.  No trial sees the test part: train the winner to know how it does there.

    Example: sslrec tune lightgcn --dataset lastfm --trials 30 --jobs 2
    """
    begun = None
    if resume is not None:
        if model or dataset or space or config or assign or preset or store or study or output or device or seed:
            raise ConfigError("--resume goes on with the study's own settings", fix=f"sslrec tune --resume {resume}")
    else:
        options: dict[str, Any] = {
            "run": {key: value for key, value in (("seed", seed), ("device", device)) if value is not None}
        }
        resolved = resolve(model, dataset, files=config or (), assignments=assign or (), preset=preset, options=options)
        if sampler not in ("tpe", "random", "grid"):
            raise ConfigError(f"no sampler is called '{sampler}'", fix="--sampler tpe, random or grid")
        begun = _begin(resolved.config, space, sampler, prune, store, study, seed or 0, output)

    from sslrec_core.tuning.report import outcome
    from sslrec_core.tuning.report import save_preset as write_preset
    from sslrec_core.tuning.study import Study
    from sslrec_core.tuning.worker import tune

    found = begun or Study.open(resume)  # type: ignore[arg-type]
    try:
        tune(found, trials, jobs, data_dir, _quiet if quiet else _Lines(found))
    except KeyboardInterrupt:
        print(f"sslrec: interrupted; go on with: sslrec tune --resume {found.folder}", file=sys.stderr)
        raise typer.Exit(130) from None
    _print(found, outcome(found))
    if save_preset is not None:
        write_preset(found, save_preset)
        print(f"preset {save_preset}")


def _begin(
    config: Any, space: Path | None, sampler: str, prune: bool, store: str | None, name: str | None, seed: int,
    output: Path | None,
) -> Study:  # fmt: skip
    from sslrec_core.records import new_name
    from sslrec_core.registry import registry
    from sslrec_core.tuning.space import Space
    from sslrec_core.tuning.study import JOURNAL, Settings, Study

    file = space or registry().space(config.model.entry)
    if file is None:
        raise ConfigError(
            f"{config.model.name} comes without a search space", fix="--space FILE, see: sslrec tune --help"
        )
    folder = output or Path("runs") / f"tune-{new_name(config)}"
    settings = Settings(
        name=name or f"{config.model.name} on {config.data.name}",
        store=store or str(folder / JOURNAL),
        sampler=sampler,  # type: ignore[arg-type]
        prune=prune,
        seed=seed,
    )
    return Study.create(folder, config, Space.read(file), settings)


def _quiet(news: News) -> None:
    """Say nothing."""


class _Lines:
    """A line for each trial that ends."""

    def __init__(self, study: Study) -> None:
        self._study, self._best = study, float("-inf")
        print(f"study  {study.folder}", file=sys.stderr)

    def __call__(self, news: News) -> None:
        if news.state == "training":
            return
        value = "" if news.value is None else f"  {self._study.judge} {news.value:.4f}"
        mark = ""
        if news.state == "complete" and news.value is not None and news.value > self._best:
            self._best, mark = news.value, " *"
        given = "  ".join(map(_short, self._study.space.assignments(news.params)))
        why = f"  ({news.why})" if news.why else ""
        print(f"trial {news.trial:>3}  {news.state:<8}{value}{mark}  {given}{why}", file=sys.stderr)


def _short(assignment: str) -> str:
    """``learning_rate=0.01`` of ``optim.learning_rate=0.01``: lines are for one glance."""
    key, _, value = assignment.partition("=")
    return f"{key.rpartition('.')[2]}={value}"


def _print(study: Study, found: Any) -> None:
    best, present = found.best, found.present
    print(f"best   trial {best.number}  {study.judge} {best.value:.4f} (validation)")
    if present is not None and present.number != best.number:
        gain = best.value / present.value - 1 if present.value else float("inf")
        print(f"before trial {present.number}  {study.judge} {present.value:.4f}  the best is {gain:+.1%}")
    elif present is not None:
        print("       these are the settings that the study began with")
    for text in study.space.assignments(best.params):
        print(f"  {text}")
    sets = " ".join(f"--set {text!r}" for text in study.space.assignments(best.params))
    config = study.config
    print(f"train it: sslrec train {config.model.name} --dataset {config.data.name} {sets}")
