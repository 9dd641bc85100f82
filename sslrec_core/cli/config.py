"""Print a configuration as a run would have it, each line with the place its value comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from sslrec_core.config import leaves, to_toml
from sslrec_core.settings import resolve


def command(
    model: Annotated[str | None, typer.Argument(help="Model, such as lightgcn or kg/kgcl.", show_default=False)] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Dataset, or a file of your own.")] = None,
    config: Annotated[list[Path] | None, typer.Option("--config", "-c", help="TOML or YAML file; may repeat.")] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, such as model.layers=3; may repeat.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A preset other than the model's own; none for no preset.")] = None,
    protocol: Annotated[str | None, typer.Option(help="standard, or published: selected on test.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print values and origins as one JSON object.")] = False,
) -> None:
    """Show the resolved configuration and where each value comes from.

    What is printed is a configuration file: saved, it can be given to sslrec train -c.

    Example: sslrec config kgcl -d amazon-book --set model.layers=3
    """
    resolved = resolve(model, dataset, files=config or (), assignments=assign or (), preset=preset, protocol=protocol)
    values = resolved.config.model_dump(mode="json")
    origins = {leaf: _origin(leaf, resolved.origins) for leaf in leaves(values)}
    if as_json:
        print(json.dumps({"config": values, "origins": origins}))
    else:
        print(to_toml(values, origins), end="")


def _origin(leaf: str, origins: Mapping[str, str]) -> str:
    # A component that was given as a bare name has its origin at the table, and the name inside it.
    return origins.get(leaf) or origins.get(leaf.removesuffix(".name")) or "default"
