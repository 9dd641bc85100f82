"""Carry out the runs behind a page of results, and write the page.

Usage: python tools/record.py docs/results/lastfm-lightgcnpp.toml [--jobs 2] [--page-only]

The specification is a sweep (see sslrec_core/sweeping.py) with a title, a text, the metrics to print, the published
figures to set beside ours and, in ``plot``, the metrics that tools/plot.py draws.  Runs that are complete are not
repeated, runs that were cut off are resumed.  What each run leaves behind (configuration, environment, learning curve,
result) is copied next to the page, weights are not.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import statistics
from pathlib import Path
from typing import Any

from sslrec_core.sweeping import Job, News, Sweep, carry_out

KEPT = ("config.toml", "environment.json", "metrics.jsonl", "result.json")
WORK = Path("runs/record")


def keep_record(run: Path, target: Path) -> None:
    """Copy what is kept of a complete run."""
    target.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copy(run / name, target / name)
    without_places(target / "environment.json")


def without_places(path: Path) -> None:
    """Leave out of a record where on this machine program and data stood: it tells nobody else anything."""
    environment = json.loads(path.read_text())
    environment["command"][0] = "sslrec"
    del environment["data_root"]
    path.write_text(json.dumps(environment, indent=1) + "\n")


def page(sweep: Sweep, keep: Path) -> str:
    """The page: a table for each dataset and protocol, the published figures, the command of each row."""
    lines = [f"# {sweep.title}", "", sweep.text.strip(), ""]
    if sweep.plot:
        lines += [f"![{' and '.join(sweep.plot)} of every row]({keep.name}.svg)", ""]
        if curves(sweep, keep, sweep.plot[-1]):
            lines += [f"![{sweep.plot[-1]} on the validation part, epoch by epoch]({keep.name}-curves.svg)", ""]
    for dataset in sweep.datasets:
        for protocol in sweep.protocols:
            lines += [f"## {_heading(sweep, dataset, protocol)}", "", *_table(sweep, keep, dataset, protocol), ""]
    lines += ["## Commands", "", "One line a row; the seed varies.", "", "```"]
    first = {(job.dataset, job.row, job.protocol): job for job in reversed(sweep.jobs())}
    lines += [shlex.join(["sslrec", *job.arguments]) for job in reversed(first.values())]
    return "\n".join([*lines, "```", ""])


def _heading(sweep: Sweep, dataset: str, protocol: str) -> str:
    where = f"{dataset}, protocol" if len(sweep.datasets) > 1 else "Protocol:"
    return f"{where} {protocol}" + (" (selected on test)" if protocol == "published" else "")


def _table(sweep: Sweep, keep: Path, dataset: str, protocol: str) -> list[str]:
    """A row for each of ours that has a finished run, then the published ones."""
    lines = [
        f"| model | seeds | {' | '.join(sweep.metrics)} | best epoch | training s |",
        "|---|---|" + "---:|" * (len(sweep.metrics) + 2),
    ]
    for row in sweep.rows(dataset):
        found = results(sweep, keep, (dataset, row.title, protocol))
        if found:
            cells = [_spread([one["metrics"][name] for one in found]) for name in sweep.metrics]
            epochs = ", ".join(str(one["best_epoch"]) for one in found)
            seconds = statistics.mean(one["seconds"] for one in found)
            lines.append(f"| {row.title} | {len(found)} | {' | '.join(cells)} | {epochs} | {seconds:.0f} |")
    for paper in published(sweep, dataset, protocol):
        cells = [f"{paper[name]:.4f}" if name in paper else "" for name in sweep.metrics]
        lines.append(f"| *{paper['model']}, {paper['source']}* | | {' | '.join(cells)} | | |")
    return lines


def results(sweep: Sweep, keep: Path, row: tuple[str, str, str]) -> list[dict[str, Any]]:
    """What the finished runs of a dataset's row under a protocol gave."""
    files = [keep / job.name / "result.json" for job in sweep.jobs() if (job.dataset, job.row, job.protocol) == row]
    return [json.loads(path.read_text()) for path in files if path.exists()]


def curves(sweep: Sweep, keep: Path, metric: str) -> dict[str, list[list[tuple[int, float]]]]:
    """Each learning row's values of ``metric`` on the validation part: for every seed, epochs and values."""
    found: dict[str, list[list[tuple[int, float]]]] = {}
    for job in sweep.jobs():
        path = keep / job.name / "metrics.jsonl"
        if (job.dataset, job.protocol) == (sweep.datasets[0], sweep.protocols[0]) and path.exists():
            events = [json.loads(line) for line in path.read_text().splitlines()]
            values = [(one["epoch"], one["metrics"][metric]) for one in events if one["event"] == "valid"]
            if len(values) > 1:
                found.setdefault(job.row, []).append(values)
    return found


def published(sweep: Sweep, dataset: str, protocol: str) -> list[dict[str, Any]]:
    """The published figures for a dataset under a protocol."""
    return [
        row
        for row in sweep.published
        if (row.get("dataset", sweep.datasets[0]), row.get("protocol", "published")) == (dataset, protocol)
    ]


def _spread(values: list[float]) -> str:
    if len(values) == 1 or max(values) - min(values) < 5e-7:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


def main() -> None:
    """Read the specification, run what is missing, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specification", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="runs at once; each gets its share of the cores")
    parser.add_argument("--threads", type=int, help="threads of each run; default: its share of the cores")
    parser.add_argument("--only", default="", help="only runs whose name contains this")
    parser.add_argument("--page-only", action="store_true", help="write the page from the records that are there")
    given = parser.parse_args()
    sweep = Sweep.read(given.specification)
    keep, folder = given.specification.with_suffix(""), WORK / given.specification.stem

    def tell(news: News) -> None:
        print(f"{news.job.name}  {news.state} {news.why}".rstrip(), flush=True)
        if news.state in ("is complete", "was complete"):
            keep_record(folder / news.job.name, keep / news.job.name)

    def missing(job: Job) -> bool:
        return given.only in job.name and not (keep / job.name / "result.json").exists()

    if not given.page_only:
        wanted = [job for job in sweep.jobs() if missing(job)]
        try:
            carry_out(wanted, folder, at_once=given.jobs, threads=given.threads, tell=tell)
        except KeyboardInterrupt:
            parser.exit(130, "stopped; the same command goes on\n")
    given.specification.with_suffix(".md").write_text(page(sweep, keep))


if __name__ == "__main__":
    main()
