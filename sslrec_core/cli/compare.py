"""Compare runs: mean and spread over seeds, and whether the difference could be chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sslrec_core.errors import ConfigError

if TYPE_CHECKING:
    from sslrec_core.comparing.table import Comparison

FORMATS = ("table", "csv", "latex", "json")


def command(
    runs: Annotated[list[str], typer.Argument(help="Run directories, or quoted patterns such as 'runs/*'.")],
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="What to compare; may repeat. Default: the judge.")
    ] = None,
    split: Annotated[str, typer.Option(help="test or valid.")] = "test",
    baseline: Annotated[str | None, typer.Option(help="Group to test against; default: the best.")] = None,
    users: Annotated[bool, typer.Option(help="Compare user by user: evaluates each run once more.")] = True,
    layout: Annotated[str, typer.Option("--format", "-f", help="table, csv, latex or json.")] = "table",
) -> None:
    """Compare runs on the same data.

    Runs that differ by their seed alone stand together.  Users are compared in pairs; p-values are corrected for their
    number (Holm).

    Example: sslrec compare 'runs/*-demo-*' -m recall@20 -m ndcg@20
    """
    if layout not in FORMATS:
        raise ConfigError(f"no format is called '{layout}'", fix=f"--format {', '.join(FORMATS)}")
    if split not in ("valid", "test"):
        raise ConfigError(f"there is no part called '{split}'", fix="--split valid or --split test")

    from sslrec_core.comparing import table

    found = table.compare(runs, metrics=metric or (), split=split, baseline=baseline, users=users)
    if layout == "table":
        _print(found)
    else:
        print({"csv": table.as_csv, "latex": table.as_latex, "json": table.as_json}[layout](found), end="")


def _print(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for name in found.metrics:
        table = Table(title=f"{found.dataset}, {found.split}: {name}", title_justify="left", box=None)
        for heading in ("group", "seeds", "mean", "spread", "difference", "95 %", "effect", "p"):
            table.add_column(heading, justify="left" if heading == "group" else "right", overflow="fold")
        for row in found.rows:
            cell, versus = row.cells[name], row.cells[name].versus
            label = f" [yellow]({row.label})[/]" if row.label else ""
            tested = ["", "", "", "baseline" if row.name == found.baseline else ""]
            if versus is not None and cell.p is not None:
                interval = f"{versus.low:+.4f} {versus.high:+.4f}"
                tested = [f"{versus.difference:+.4f}", interval, f"{versus.effect:+.2f}", _probability(cell.p)]
            spread = "" if cell.spread is None else f"{cell.spread:.4f}"
            table.add_row(row.name + label, str(len(row.seeds)), f"{cell.mean:.4f}", spread, *tested)
        console.print(table)
    costs = Table(title="cost", title_justify="left", box=None)
    for heading in ("group", "training s", "peak GiB"):
        costs.add_column(heading, justify="left" if heading == "group" else "right")
    for row in found.rows:
        costs.add_row(row.name, f"{row.seconds:.1f}", "" if row.memory is None else f"{row.memory:.2f}")
    console.print(costs)
    if sliced := [row for row in found.rows if row.slices]:
        slices = Table(title="slices", title_justify="left", box=None)
        slices.add_column("slice")
        for row in sliced:
            slices.add_column(row.name, justify="right", overflow="fold")
        for key in sliced[0].slices:
            slices.add_row(key, *(f"{row.slices[key]:.4f}" if key in row.slices else "" for row in sliced))
        console.print(slices)
    if found.differences:
        console.print("settings that differ")
        for key, values in found.differences.items():
            console.print(
                f"  {key}: {' | '.join('–' if value is None else str(value) for value in values)}", soft_wrap=True
            )


def _probability(p: float) -> str:
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"
