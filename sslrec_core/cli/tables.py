"""How results look on a terminal: tables that fit 80 columns, and plain text where there is no terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from sslrec_core.records import Result
from sslrec_core.settings import RunConfig


def metrics_table(result: Result, config: RunConfig) -> None:
    """Print the test metrics of ``result`` beside those of the part that chose the epoch."""
    console = Console(highlight=False)
    chosen = "" if result.best_epoch is None else f", epoch {result.best_epoch}"
    label = f"\n[bold yellow]{result.label}[/]" if result.label else ""
    table = Table(title=f"{config.model.name} on {config.data.name}{chosen}{label}", title_justify="left", box=None)
    table.add_column("metric")
    table.add_column(config.train.select_on, justify="right")
    table.add_column("test", justify="right", style="bold")
    for name in plain(result.metrics or result.selection):
        table.add_row(name, _figure(result.selection.get(name)), _figure(result.metrics.get(name)))
    console.print(table)
    console.print(f"run {result.path}  {result.seconds:.1f} s", soft_wrap=True)


def plain(metrics: Mapping[str, float]) -> dict[str, float]:
    """``metrics`` without slices: they are in the run's files, and too many for a screen."""
    return {name: value for name, value in metrics.items() if "/" not in name}


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
