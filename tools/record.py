"""Carry out the runs behind a page of results, and write the page.

Usage: python tools/record.py docs/results/lastfm-lightgcnpp.toml [--jobs 2] [--page-only]

The specification names datasets, models, protocols and seeds, and the published figures to set beside ours.  A model
may stand in several rows, each with a ``row`` to call it by, a ``preset`` and what it sets; ``plot`` names the metrics
that tools/plot.py draws.  Runs that are complete are not repeated, runs that were cut off are resumed.  What each run
leaves behind (configuration, environment, learning curve, result) is copied next to the page, weights are not.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT = ("config.toml", "environment.json", "metrics.jsonl", "result.json")
WORK = Path("runs/record")


@dataclass(frozen=True)
class Job:
    """One run of a page."""

    page: str
    place: str
    """What the name begins with: nothing, or the dataset where the page has several."""
    row: str
    """What the page calls the model with its settings."""
    model: str
    dataset: str
    protocol: str
    seed: int
    preset: str | None
    assignments: tuple[str, ...]

    @property
    def name(self) -> str:
        return re.sub(r"[/, ]+", "-", f"{self.place}{self.row}-{self.protocol}-{self.seed}")

    @property
    def directory(self) -> Path:
        return WORK / self.page / self.name

    @property
    def arguments(self) -> list[str]:
        """The command that repeats the run."""
        sets = [part for text in self.assignments for part in ("--set", text)]
        preset = ["--preset", self.preset] if self.preset else []
        return [
            "train",
            self.model,
            "--dataset",
            self.dataset,
            "--protocol",
            self.protocol,
            "--seed",
            str(self.seed),
            *preset,
            *sets,
        ]


def jobs(page: str, spec: dict[str, Any]) -> list[Job]:
    """Every run that the specification asks for."""
    datasets = spec["datasets"]
    return [
        Job(
            page=page,
            place=f"{dataset}-" if len(datasets) > 1 else "",
            row=row_of(model),
            model=model["name"],
            dataset=dataset,
            protocol=protocol,
            seed=seed,
            preset=model.get("preset"),
            assignments=settings_of(spec, model),
        )
        for dataset in datasets
        for model in spec["models"]
        if dataset in model.get("datasets", datasets)
        for protocol in spec["protocols"]
        for seed in (model.get("seeds") or spec["seeds"])
    ]


def row_of(model: dict[str, Any]) -> str:
    """What the page calls ``model``: its ``row``, or its name where one row has it."""
    row: str = model.get("row", model["name"])
    return row


def settings_of(spec: dict[str, Any], model: dict[str, Any]) -> tuple[str, ...]:
    """Assignments of the page, then those of the row."""
    return (*spec.get("set", ()), *model.get("set", ()))


def carry_out(job: Job, threads: int, keep: Path) -> None:
    """Run, resume or skip ``job``, then copy its record to ``keep``."""
    target = keep / job.name
    if (target / "result.json").exists():
        return
    command = [sys.executable, "-m", "sslrec_core.cli"]
    if job.directory.exists():
        command += ["train", "--resume", str(job.directory), "--quiet"]
    else:
        job.directory.parent.mkdir(parents=True, exist_ok=True)
        command += [*job.arguments, "-o", str(job.directory), "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    print(f"begin {job.name}", flush=True)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"FAILED {job.name}\n{done.stderr}", flush=True)
        return
    target.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copy(job.directory / name, target / name)
    without_places(target / "environment.json")
    metrics = json.loads((target / "result.json").read_text())["metrics"]
    print(f"end   {job.name}  " + "  ".join(f"{k} {v:.4f}" for k, v in list(metrics.items())[:4]), flush=True)


def without_places(path: Path) -> None:
    """Leave out of a record where on this machine program and data stood: it tells nobody else anything."""
    environment = json.loads(path.read_text())
    environment["command"][0] = "sslrec"
    del environment["data_root"]
    path.write_text(json.dumps(environment, indent=1) + "\n")


def page(spec: dict[str, Any], wanted: list[Job], keep: Path) -> str:
    """The page: a table for each dataset and protocol, the published figures, the command of each row."""
    lines = [f"# {spec['title']}", "", spec["text"].strip(), ""]
    if "plot" in spec:
        lines += [f"![{' and '.join(spec['plot'])} of every row]({keep.name}.svg)", ""]
    for dataset in spec["datasets"]:
        for protocol in spec["protocols"]:
            lines += [f"## {_heading(spec, dataset, protocol)}", "", *_table(spec, wanted, keep, dataset, protocol), ""]
    lines += ["## Commands", "", "One line a row; the seed varies.", "", "```"]
    first = {(job.dataset, job.row, job.protocol): job for job in reversed(wanted)}
    lines += ["sslrec " + " ".join(_quoted(part) for part in job.arguments) for job in reversed(first.values())]
    return "\n".join([*lines, "```", ""])


def _heading(spec: dict[str, Any], dataset: str, protocol: str) -> str:
    where = f"{dataset}, protocol" if len(spec["datasets"]) > 1 else "Protocol:"
    return f"{where} {protocol}" + (" (selected on test)" if protocol == "published" else "")


def _table(spec: dict[str, Any], wanted: list[Job], keep: Path, dataset: str, protocol: str) -> list[str]:
    """A row for each of ours that has a finished run, then the published ones."""
    names = spec["metrics"]
    lines = [
        f"| model | seeds | {' | '.join(names)} | best epoch | training s |",
        "|---|---|" + "---:|" * (len(names) + 2),
    ]
    for model in spec["models"]:
        rows = results(wanted, keep, (dataset, row_of(model), protocol))
        if rows:
            cells = [_spread([row["metrics"][name] for row in rows]) for name in names]
            epochs = ", ".join(str(row["best_epoch"]) for row in rows)
            seconds = statistics.mean(row["seconds"] for row in rows)
            lines.append(f"| {row_of(model)} | {len(rows)} | {' | '.join(cells)} | {epochs} | {seconds:.0f} |")
    for row in published(spec, dataset, protocol):
        cells = [f"{row[name]:.4f}" if name in row else "" for name in names]
        lines.append(f"| *{row['model']}, {row['source']}* | | {' | '.join(cells)} | | |")
    return lines


def results(wanted: list[Job], keep: Path, row: tuple[str, str, str]) -> list[dict[str, Any]]:
    """What the finished runs of a dataset's row under a protocol gave."""
    files = [keep / job.name / "result.json" for job in wanted if (job.dataset, job.row, job.protocol) == row]
    return [json.loads(path.read_text()) for path in files if path.exists()]


def published(spec: dict[str, Any], dataset: str, protocol: str) -> list[dict[str, Any]]:
    """The published figures for a dataset under a protocol."""
    rows = spec.get("published", ())
    return [
        row
        for row in rows
        if (row.get("dataset", spec["datasets"][0]), row.get("protocol", "published")) == (dataset, protocol)
    ]


def _quoted(text: str) -> str:
    return f"'{text}'" if any(sign in text for sign in '[]{}" ') else text


def _spread(values: list[float]) -> str:
    if len(values) == 1 or max(values) - min(values) < 5e-7:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


def main() -> None:
    """Read the specification, run what is missing, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specification", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="runs at once; each gets its share of the cores")
    parser.add_argument("--threads", type=int, default=0, help="threads of each run; default: its share of the cores")
    parser.add_argument("--only", default="", help="only runs whose name contains this")
    parser.add_argument("--page-only", action="store_true", help="write the page from the records that are there")
    given = parser.parse_args()
    spec = tomllib.loads(given.specification.read_text())
    name = given.specification.stem
    keep = given.specification.with_suffix("")
    wanted = jobs(name, spec)
    if not given.page_only:
        threads = given.threads or max(1, (os.cpu_count() or 1) // given.jobs)
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(lambda job: carry_out(job, threads, keep), [job for job in wanted if given.only in job.name]))
    given.specification.with_suffix(".md").write_text(page(spec, wanted, keep))


if __name__ == "__main__":
    main()
