"""Train a model on a dataset, choose its best epoch on validation, and evaluate that once on the test part."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sslrec_core.errors import ConfigError
from sslrec_core.experiments import configure


def command(
    model: Annotated[str | None, typer.Argument(help="Model, such as lightgcn or kg/kgcl.", show_default=False)] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Dataset, or the path of your own file.")
    ] = None,
    config: Annotated[list[Path] | None, typer.Option("--config", "-c", help="TOML or YAML file; may repeat.")] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, as in model.layers=3; may repeat.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A preset other than the model's own for this dataset.")] = None,
    protocol: Annotated[str | None, typer.Option(help="standard, or published: selected on test.")] = None,
    seed: Annotated[int | None, typer.Option(help="Start of all randomness.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of datasets; default $SSLREC_DATA.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run directory; must not exist.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on with the run in this directory; --set may change train.epochs and train.patience."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Train a model on a dataset.

    The best epoch is chosen on the validation part and evaluated once on the test part.

    Example: sslrec train kgcl --dataset kg/demo --set train.epochs=20
    """
    chosen = (model, dataset, config, preset, protocol, output, seed, device)
    if resume is not None and any(value not in (None, []) for value in chosen):
        raise ConfigError("--resume goes on with the run's own configuration", fix=f"sslrec train --resume {resume}")
    resolved = None
    if resume is None:
        resolved = configure(
            model, dataset, settings=assign or (), files=config or (), preset=preset, protocol=protocol, seed=seed,
            device=device, quiet=quiet or as_json,
        )  # fmt: skip

    from sslrec_core.interrupt import Interrupted
    from sslrec_core.records import read_result
    from sslrec_core.running import Run

    def say(text: str) -> None:
        if not (quiet or as_json):
            print(text, file=sys.stderr)

    if resolved is None:
        assert resume is not None
        run = Run.resume(resume, settings=assign or (), data_root=data_dir)
    else:
        run = Run.create(resolved, output, data_root=data_dir, say=say)
    if not (quiet or as_json):
        _announce(run)
    try:
        result = run.execute()
    except Interrupted as stop:
        print(f"sslrec: {stop}", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps({**asdict(result), "path": str(result.path)}))
        return
    from sslrec_core.cli.tables import metrics_table

    metrics_table(read_result(run.directory), run.config)


def _announce(run: Any) -> None:
    """Lines before the training: the model, the data and what is to be known of them, where the run lives."""
    from sslrec_core.environment import slow_precision

    config, data, model = run.config, run.data, run.model
    parameters = sum(parameter.numel() for parameter in model.parameters())
    counts = {part: rows.nnz for part, rows in data.interactions.parts.items()}
    label = f"  [{config.label}]" if config.label else ""
    slow = slow_precision(config.train.precision, run.device)
    lines = (
        f"model  {config.model.name}  {parameters:,} parameters  on {run.device}{label}",
        *([f"       {slow}"] if slow else ()),
        f"data   {config.data.name}  {data.n_users:,} users  {data.n_items:,} items  "
        + "  ".join(f"{part} {count:,}" for part, count in counts.items()),
        *(f"       {note}" for note in run.facts.get("notes", ())),
        f"run    {run.directory}",
    )
    print("\n".join(lines), file=sys.stderr)
