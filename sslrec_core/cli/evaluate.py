"""Evaluate the best epoch of a run again, on any part and with any settings of its evaluator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sslrec_core.config import parse_assignment
from sslrec_core.errors import ConfigError


def command(
    run: Annotated[Path, typer.Argument(help="Run directory.", show_default=False)],
    split: Annotated[str, typer.Option(help="valid or test.")] = "test",
    assign: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="eval.KEY=VALUE, as in eval.at=[10,50]; eval.name for another; scenario.KEY=VALUE where that decides "
            "only what is ranked.",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of datasets; default: the one given to train, else $SSLREC_DATA.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Evaluate a run's best epoch.

    Example: sslrec evaluate runs/kgcl-demo-… --set eval.slices=true
    """
    if split not in ("valid", "test"):
        raise ConfigError(f"there is no part called '{split}'", fix="--split valid or --split test")
    changed: dict[str, dict[str, Any]] = {"eval": {}, "scenario": {}}
    for text in assign or ():
        for section, values in parse_assignment(text).items():
            if section not in changed or not isinstance(values, dict):
                raise ConfigError(
                    f"--set {text}: only eval.* and, of scenario.*, what is ranked can change after training",
                    fix="--set eval.at=[10,50]",
                )
            changed[section] |= values

    from sslrec_core.running import Run

    opened = Run.open(run, device=device, data_root=data_dir, scenario=changed["scenario"], **changed["eval"])
    metrics = opened.evaluate(split)
    if as_json:
        print(json.dumps({"split": split, "label": opened.config.label, "metrics": metrics}))
        return
    from rich.console import Console
    from rich.table import Table

    title = f"{opened.config.model.name} on {opened.config.data.name}, {split}"
    if opened.config.label:
        title += f" ({opened.config.label})"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4f}")
    Console(highlight=False).print(table)
