"""Write a page about runs: curves, slices, popularity, embeddings, examples, configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def command(
    runs: Annotated[list[str], typer.Argument(help="Run directories, or quoted patterns such as 'runs/*'.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; default, for one run: report.html in its directory."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help="Curve to draw; may repeat. Default: the judge's and more."),
    ] = None,
    model: Annotated[
        bool, typer.Option("--model/--no-model", help="Load models and data, or use what was recorded alone.")
    ] = True,
    names: Annotated[
        Path | None, typer.Option(help="Table with columns item and name; default: the names that the data has.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")] = "auto",
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of datasets; default: the one given to train, else $SSLREC_DATA.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the file's name.")] = False,
) -> None:
    """Write one self-contained page about one or several runs.

    Runs that differ by their seed alone stand together.  The page loads nothing from anywhere: it can be sent, kept
    beside a paper, or opened from a disk.  Runs that are not complete are reported as far as they go.

    Example: sslrec report runs/kgcl-demo-… -o report.html
    """
    from sslrec_core import experiments

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr)

    path = experiments.report(
        runs, output, metrics=metric or (), model=model, names=names, device=device, data_root=data_dir, say=say
    )  # fmt: skip
    print(f"report {path}")
