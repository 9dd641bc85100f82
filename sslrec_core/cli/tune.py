"""Try many settings of a model, and find the best on the validation part."""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sslrec_core.errors import ConfigError

if TYPE_CHECKING:
    from sslrec_core.tuning.report import Outcome
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
    if save_preset is not None and not save_preset.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {save_preset.parent}", fix="make it, or --save-preset elsewhere")

    from sslrec_core.experiments import open_study

    found = open_study(
        model, dataset, space=space, sampler=sampler, prune=prune, store=store, name=study,  # type: ignore[arg-type]
        settings=assign or (), files=config or (), preset=preset, seed=seed, device=device, directory=output,
        resume=resume,
    )  # fmt: skip
    from sslrec_core.tuning.report import outcome
    from sslrec_core.tuning.worker import tune

    try:
        with _Lines(found) if not quiet else nullcontext(_quiet) as tell:
            tune(found, trials, jobs, data_dir, tell)
    except KeyboardInterrupt:
        print(f"sslrec: interrupted; go on with: sslrec tune --resume {found.folder}", file=sys.stderr)
        raise typer.Exit(130) from None
    best = outcome(found)
    _print(best)
    if save_preset is not None:
        best.save_preset(save_preset)
        print(f"preset {save_preset}")


def _quiet(news: News) -> None:
    """Say nothing."""


class _Lines:
    """A line for each trial that ends; on a terminal, one for each worker too, which says where its trial stands."""

    def __init__(self, study: Study) -> None:
        from rich.console import Console
        from rich.live import Live

        best = study.best()  # of what is complete already, where the study goes on
        self._study, self._best = study, float("-inf") if best is None or best.value is None else best.value
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._under_way: dict[int, str] = {}
        self._live = Live(console=self._console, transient=True) if self._console.is_terminal else None

    def __enter__(self) -> _Lines:
        print(f"study  {self._study.folder}", file=sys.stderr)
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, news: News) -> None:
        value = "" if news.value is None else f"  {self._study.judge} {news.value:.4f}"
        given = "  ".join(map(_short, self._study.space.assignments(news.params)))
        if news.state == "training":
            epoch = "" if news.epoch is None else f"  epoch {news.epoch:>4}"
            self._under_way[news.worker] = f"worker {news.worker}  trial {news.trial:>3}{epoch}{value}  {given}"
        else:
            self._under_way.pop(news.worker, None)
            mark = ""
            if news.state == "complete" and news.value is not None and news.value > self._best:
                self._best, mark = news.value, " *"
            why = f"  ({news.why})" if news.why else ""
            line = f"trial {news.trial:>3}  {news.state:<8}{value}{mark}  {given}{why}"
            self._console.print(line, soft_wrap=True)
        if self._live is not None:
            width = self._console.width - 1
            self._live.update("\n".join(line[:width] for line in self._under_way.values()))


def _short(assignment: str) -> str:
    """``learning_rate=0.01`` of ``optim.learning_rate=0.01``: lines are for one glance."""
    key, _, value = assignment.partition("=")
    return f"{key.rpartition('.')[2]}={value}"


def _print(found: Outcome) -> None:
    from sslrec_core.records import CONFIG

    study, best, present = found.study, found.best, found.present
    print(f"best   trial {best.number}  {study.judge} {found.value:.4f} (validation)")
    if present is not None and present.number != best.number:
        gain = found.value / present.value - 1 if present.value else float("inf")
        print(f"before trial {present.number}  {study.judge} {present.value:.4f}  the best is {gain:+.1%}")
    elif present is not None:
        print("       these are the settings that the study began with")
    for text in found.settings:
        print(f"  {text}")
    # From the study's own file: what was the same for all trials holds for the winner too.
    settings = [part for text in (*found.settings, "run.test=true") for part in ("--set", text)]
    print(f"train it: {shlex.join(['sslrec', 'train', '-c', str(study.folder / CONFIG), *settings])}")
