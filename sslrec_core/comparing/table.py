"""The comparison of groups of runs, as rows, and written for people and programs."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sslrec_core.comparing.runs import Group, Record, check_comparable, differences, find, grouped
from sslrec_core.comparing.statistics import Paired, holm, paired
from sslrec_core.errors import ConfigError, closest


@dataclass(frozen=True)
class Cell:
    """One metric of one group."""

    mean: float
    spread: float | None
    """Standard deviation over seeds; None for a single run."""
    versus: Paired | None
    """Beside the baseline, user by user; None for the baseline itself."""
    p: float | None
    """The t-test's p-value, corrected for all that are made."""


@dataclass(frozen=True)
class Row:
    """One group."""

    name: str
    seeds: tuple[int, ...]
    label: str | None
    """``selected on test``, or None."""
    cells: dict[str, Cell]
    slices: dict[str, float]
    """Means of the metrics of groups of users and items, where the runs measured them."""
    seconds: float
    """Of training, mean over seeds."""
    memory: float | None
    """Peak memory in GiB, the largest of the seeds; None where the runs did not record it."""


@dataclass(frozen=True)
class Comparison:
    """Groups of runs side by side."""

    dataset: str
    split: str
    baseline: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    differences: dict[str, list[Any]]
    """Options that are not the same in all groups, with the value in each row."""

    def to_polars(self) -> pl.DataFrame:
        """A row for each group and metric, with :data:`COLUMNS`."""
        lines = [line for row in self.rows for line in _lines(row)]
        return pl.DataFrame(lines, schema=COLUMNS, orient="row", infer_schema_length=None)

    def __str__(self) -> str:
        return str(self.to_polars())

    def _repr_html_(self) -> str:
        return self.to_polars()._repr_html_()


def compare(
    runs: Sequence[str | Path],
    *,
    metrics: Sequence[str] = (),
    split: str = "test",
    baseline: str | None = None,
    users: bool = True,
) -> Comparison:
    """Compare complete runs: mean and spread over seeds, and whether users are served differently.

    Args:
        runs: Run directories, or glob patterns.
        metrics: What to compare; none for the metric that judged the first run.
        split: ``test`` or ``valid``.
        baseline: Part of the name of the group that the others are tested against; none for the best one.
        users: Whether to compare user by user, for which models are loaded once and evaluated.

    Raises:
        CheckpointError: a run is not complete.
        ConfigError: runs differ in data or protocol, or a metric or baseline is not there.
    """
    records = [Record.read(path) for path in find([str(run) for run in runs])]
    check_comparable(records)
    groups = grouped(records)
    names = tuple(metrics) or (records[0].judge,)
    for name in names:
        _check_measured(name, groups, split)
    means = [statistics.mean(group.metric(names[0], split)) for group in groups]
    groups = [groups[place] for place in sorted(range(len(groups)), key=lambda place: -means[place])]
    beside = _baseline(groups, baseline)
    tests = _tests(groups, beside, names, split) if users else {}
    rows = tuple(_row(group, names, split, tests) for group in groups)
    return Comparison(records[0].config["data"]["name"], split, beside.name, names, rows, differences(groups))


def _check_measured(name: str, groups: Sequence[Group], split: str) -> None:
    for group in groups:
        if len(group.metric(name, split)) < len(group.records):
            record = group.records[0]
            known = list(record.result.metrics if split == "test" else record.result.selection)
            near = ", ".join(closest(name, known) or known[:6]) or "nothing"
            raise ConfigError(
                f"{name} is not measured on {split} in {record.directory}", f"measured: {near}", fix="--metric NAME"
            )


def _baseline(groups: Sequence[Group], wanted: str | None) -> Group:
    if wanted is None:
        return groups[0]
    found = [group for group in groups if group.name == wanted] or [group for group in groups if wanted in group.name]
    if len(found) != 1:
        raise ConfigError(
            f"{len(found)} groups are called '{wanted}'", *(group.name for group in groups), fix="--baseline NAME"
        )
    return found[0]


def _tests(
    groups: Sequence[Group], baseline: Group, names: Sequence[str], split: str
) -> dict[tuple[str, str], tuple[Paired, float]]:
    """By group and metric: the comparison with the baseline, and its corrected p-value."""
    found: dict[tuple[str, str], Paired] = {}
    for name in names:
        users, values = baseline.of_users(name, split)
        for group in groups:
            if group is not baseline:
                others, theirs = group.of_users(name, split)
                if not np.array_equal(users, others):
                    raise ConfigError(f"{group.name} was measured on other users than {baseline.name}")
                found[group.name, name] = paired(theirs, values)
    corrected = holm([one.t_test for one in found.values()])
    return {key: (one, p) for (key, one), p in zip(found.items(), corrected, strict=True)}


def _row(
    group: Group, names: Sequence[str], split: str, tests: dict[tuple[str, str], tuple[Paired, float]]
) -> Row:  # fmt: skip
    cells = {}
    for name in names:
        values = group.metric(name, split)
        versus, p = tests.get((group.name, name), (None, None))
        cells[name] = Cell(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None, versus, p)
    first = group.records[0].result
    sliced = [key for key in (first.metrics if split == "test" else first.selection) if key.partition("/")[0] in names]
    memory = [record.result.memory for record in group.records if record.result.memory is not None]
    return Row(
        name=group.name,
        seeds=tuple(record.seed for record in group.records),
        label=first.label,
        cells=cells,
        slices={key: statistics.mean(group.metric(key, split)) for key in sliced if "/" in key},
        seconds=statistics.mean(record.result.seconds for record in group.records),
        memory=max(memory) / 2**30 if memory else None,
    )


# ---- writing --------------------------------------------------------------------------------------------------------


def as_json(comparison: Comparison) -> str:
    """One JSON object."""
    return json.dumps(asdict(comparison), indent=1)


COLUMNS = (
    "group", "seeds", "metric", "mean", "spread", "difference", "low", "high", "effect", "p", "p_corrected", "seconds",
)  # fmt: skip


def as_csv(comparison: Comparison) -> str:
    """A line for each group and metric."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in comparison.rows:
        writer.writerows(_lines(row))
    return out.getvalue()


def _lines(row: Row) -> Iterator[list[Any]]:
    """One line for each metric, with :data:`COLUMNS`."""
    for name, cell in row.cells.items():
        tested: list[float | None] = [None] * 5
        if (versus := cell.versus) is not None:
            tested = [versus.difference, versus.low, versus.high, versus.effect, versus.t_test]
        yield [row.name, len(row.seeds), name, cell.mean, cell.spread, *tested, cell.p, row.seconds]


def as_latex(comparison: Comparison) -> str:
    """A tabular environment (booktabs): the best of a column bold, a dagger where p < 0.05 against the baseline."""
    best = {name: max(row.cells[name].mean for row in comparison.rows) for name in comparison.metrics}
    lines = [rf"\begin{{tabular}}{{l{'r' * len(comparison.metrics)}}}", r"\toprule"]
    lines += [" & ".join(["model", *map(_escaped, comparison.metrics)]) + r" \\", r"\midrule"]
    for row in comparison.rows:
        cells = []
        for name, cell in row.cells.items():
            text = f"{cell.mean:.4f}" + (rf" $\pm$ {cell.spread:.4f}" if cell.spread is not None else "")
            text = rf"\textbf{{{text}}}" if cell.mean == best[name] else text
            cells.append(text + (r"$^\dagger$" if cell.p is not None and cell.p < 0.05 else ""))
        lines.append(" & ".join([_escaped(row.name), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    for sign in "\\&%$#_{}":
        text = text.replace(sign, r"\textbackslash{}" if sign == "\\" else f"\\{sign}")
    return text
