"""Draw a page of results: every row's metrics in order, ours beside published figures, and the learning curves.

Usage: python tools/plot.py docs/results/toys.toml

Reads what tools/record.py copied next to the page, and writes a picture of the same name and one that ends in
``-curves``; matplotlib draws them, which ``pip install sslrec-core[plots]`` brings.
"""

from __future__ import annotations

import argparse
import itertools
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from record import curves, published, results

from sslrec_core.sweeping import Sweep

OURS, PUBLISHED = "#1f6fb4", "#9aa3ad"
ROW = 0.26
"""Inches a row is high."""


@dataclass(frozen=True)
class Bar:
    """One row of the picture."""

    label: str
    value: float
    spread: float
    ours: bool


def bars(sweep: Sweep, keep: Path, metric: str) -> list[Bar]:
    """Rows of the first dataset and protocol with a figure for ``metric``, the best last."""
    dataset, protocol = sweep.datasets[0], sweep.protocols[0]
    found = []
    for row in sweep.rows(dataset):
        values = [result["metrics"][metric] for result in results(sweep, keep, (dataset, row.title, protocol))]
        if values:
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            found.append(Bar(row.title, statistics.mean(values), spread, True))
    for paper in published(sweep, dataset, protocol):
        if metric in paper:
            # The page says more of the source than fits beside a bar.
            source = re.split(r", | \(", paper["source"])[0]
            found.append(Bar(f"{paper['model']}, {source}", paper[metric], 0.0, False))
    return sorted(found, key=lambda bar: bar.value)


def draw(axes: Axes, rows: list[Bar], metric: str) -> None:
    """One metric: a bar for each row, its figure at the end."""
    places = range(len(rows))
    colours = [OURS if bar.ours else PUBLISHED for bar in rows]
    axes.barh(places, [bar.value for bar in rows], color=colours, height=0.72)
    axes.errorbar(
        [bar.value for bar in rows], places, xerr=[bar.spread for bar in rows], fmt="none", ecolor="#10314d", capsize=2
    )
    for place, bar in zip(places, rows, strict=True):
        axes.annotate(
            f"{bar.value:.4f}", (bar.value + bar.spread, place), (4, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(places, [bar.label for bar in rows])
    axes.set_title(metric, loc="left")
    axes.margins(x=0.12, y=0.01)
    axes.locator_params(axis="x", nbins=6)
    axes.spines[["top", "right"]].set_visible(False)


def draw_curves(axes: Axes, rows: dict[str, list[list[tuple[int, float]]]], metric: str) -> None:
    """A line for each seed, those of a row in one colour and dash, and the epoch that was chosen."""
    colours = [mpl.colormaps["tab20"](number) for number in range(20)]
    # There are more rows than colours on some pages: dashes tell those apart that share one.
    looks = itertools.cycle(itertools.product(("-", "--", ":"), colours))
    for (dash, colour), (title, seeds) in zip(looks, rows.items(), strict=False):
        for number, values in enumerate(seeds):
            epochs, heights = zip(*values, strict=True)
            axes.plot(epochs, heights, dash, color=colour, linewidth=1, label=None if number else title)
            axes.plot(*max(values, key=lambda one: one[1]), "o", color=colour, markersize=4)
    axes.set_title(f"{metric} on the validation part; a dot is the epoch that was chosen", loc="left")
    axes.set_xlabel("epoch")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.figure.legend(loc="outside right center", frameon=False)


def main() -> None:
    """Read the specification and the records, write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specification", type=Path)
    path = parser.parse_args().specification
    sweep = Sweep.read(path)
    shown = {metric: bars(sweep, path.with_suffix(""), metric) for metric in sweep.plot}
    # Text stays text, and the same figures give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sslrec", "font.size": 9})
    longest = max(len(rows) for rows in shown.values())
    figure = Figure(figsize=(6.5 * len(shown), ROW * longest + 0.8), layout="constrained", facecolor="white")
    for axes, (metric, rows) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        draw(axes, rows, metric)
    where = f"{sweep.datasets[0]}, protocol {sweep.protocols[0]}"
    figure.suptitle(f"{where}: ours in blue, published in grey", x=0.01, ha="left")
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    metric = sweep.plot[-1]
    if learned := curves(sweep, path.with_suffix(""), metric):
        figure = Figure(figsize=(9, 4.5), layout="constrained", facecolor="white")
        draw_curves(figure.subplots(), learned, metric)
        figure.savefig(path.with_name(f"{path.stem}-curves.svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
