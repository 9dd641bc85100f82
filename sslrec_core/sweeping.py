"""Sweeps: models by datasets by seeds by settings, each an ordinary run, as one TOML file asks for them.

::

    datasets = ["seq/toys", "seq/beauty"]
    seeds = [1, 2, 3]
    set = ["eval.at=[5,10,20]"]               # for all of them

    [[models]]
    name = "seq/sasrec"

    [[models]]
    row = "SASRec by cosine"                  # what these runs are called; a model may stand in several rows
    name = "seq/sasrec"
    preset = "tuned"
    set = ["train.epochs=50"]
    seeds = [1]
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field, NonNegativeInt

from sslrec_core.config import Config, explain, flattened, parse_toml, read_config
from sslrec_core.errors import ConfigError, SslrecError
from sslrec_core.interrupt import Interrupted, Processes
from sslrec_core.records import CONFIG, RESULT
from sslrec_core.registry import registry
from sslrec_core.settings import RunConfig, resolve

Settings = tuple[str, ...]
Seeds = tuple[NonNegativeInt, ...]


class Row(Config):
    """One model with its settings: a row of the table that the sweep fills."""

    name: str
    """The model."""
    row: str | None = None
    """What its runs are called; none for the model's name."""
    preset: str | None = None
    """A preset other than the model's own."""
    set: Settings = ()
    """Assignments as on the command line, over those of the sweep."""
    datasets: tuple[str, ...] | None = None
    """Of the sweep's datasets, those this row is for; none for all."""
    seeds: Seeds | None = None
    """Seeds of this row; none for those of the sweep."""

    @property
    def title(self) -> str:
        """What its runs are called."""
        return self.row or self.name


class Sweep(Config):
    """What a sweep runs, and what a page about it says."""

    datasets: tuple[str, ...] = Field(min_length=1)
    """Named datasets, or paths."""
    models: tuple[Row, ...] = Field(min_length=1)
    """The rows."""
    seeds: Seeds = Field((1,), min_length=1)
    """Each run is made with each of them."""
    protocols: tuple[Literal["standard", "published"], ...] = Field(("standard",), min_length=1)
    """Each run is made by each of them."""
    set: Settings = ()
    """Assignments for all runs."""
    title: str = ""
    """Heading of a page about the results."""
    text: str = ""
    """What such a page says first."""
    metrics: tuple[str, ...] = ()
    """Its columns."""
    plot: tuple[str, ...] = ()
    """Metrics that are drawn."""
    published: tuple[dict[str, Any], ...] = ()
    """Figures of others that stand beside ours."""

    @classmethod
    def read(cls, path: Path) -> Sweep:
        """The sweep in a TOML file.

        Raises:
            ConfigError: a key is unknown or missing, or two runs would have one name.
        """
        return cls.of(read_config(path), str(path))

    @classmethod
    def of(cls, values: Mapping[str, Any], what: str) -> Sweep:
        """The sweep that ``values`` describe, as a file would; errors call it ``what``.

        Raises:
            ConfigError: as for :meth:`read`.
        """
        try:
            sweep = cls.model_validate(values)
        except pydantic.ValidationError as error:
            explained = explain(error, what)
            raise ConfigError(f"{what} is no sweep", *explained.facts, fix="datasets, seeds and [[models]]") from error
        names = [job.name for job in sweep.jobs()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"{what} has several runs called {twice[0]}", fix="give one of the rows another `row`")
        return sweep

    def rows(self, dataset: str) -> list[Row]:
        """The rows that a dataset has."""
        return [row for row in self.models if dataset in (row.datasets or self.datasets)]

    def jobs(self) -> list[Job]:
        """Every run, dataset by dataset and row by row."""
        return [
            Job(
                place=f"{dataset}-" if len(self.datasets) > 1 else "",
                row=row.title,
                model=row.name,
                dataset=dataset,
                protocol=protocol,
                seed=seed,
                preset=row.preset,
                assignments=(*self.set, *row.set),
            )
            for dataset in self.datasets
            for row in self.rows(dataset)
            for protocol in self.protocols
            for seed in (row.seeds or self.seeds)
        ]


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    place: str
    """What the name begins with: nothing, or the dataset where the sweep has several."""
    row: str
    model: str
    dataset: str
    protocol: str
    seed: int
    preset: str | None
    assignments: Settings

    @property
    def name(self) -> str:
        """The name of its run directory."""
        return re.sub(r"[^\w.=]+", "-", f"{self.place}{self.row}-{self.protocol}-{self.seed}")

    @property
    def arguments(self) -> list[str]:
        """What ``sslrec`` is told."""
        named = ["train", self.model, "--dataset", self.dataset, "--protocol", self.protocol, "--seed", str(self.seed)]
        preset = ["--preset", self.preset] if self.preset else []
        return [*named, *preset, *(part for text in self.assignments for part in ("--set", text))]

    def configured(self) -> RunConfig:
        """The configuration that the run has.

        Raises:
            ConfigError, UnknownName: it cannot be configured.
        """
        return resolve(
            self.model, self.dataset, assignments=self.assignments, preset=self.preset, protocol=self.protocol,
            options={"run": {"seed": self.seed}},
        ).config  # fmt: skip


State = Literal["begins", "goes on", "is complete", "was complete", "failed", "stopped"]


@dataclass(frozen=True)
class News:
    """What became of a run."""

    job: Job
    state: State
    why: str = ""
    """What it said when it failed."""


def carry_out(
    jobs: list[Job], folder: Path, *, at_once: int = 1, threads: int | None = None, tell: Callable[[News], None]
) -> None:
    """Make the runs of ``jobs`` in ``folder``: complete ones are left alone, unfinished ones go on.

    SIGTERM is passed on to the runs under way, which save, and no others begin.

    Args:
        jobs: Which runs.
        folder: Each run gets a directory of its own in it.
        at_once: How many runs are under way at the same time, each in a process.
        threads: Of each run; none for its share of the cores.
        tell: Is told of each run, from several threads.

    Raises:
        ConfigError, UnknownName: a run cannot be configured; none has begun then.
        Interrupted: asked to stop by SIGTERM; the same call goes on.
    """
    configs = []
    for job in jobs:
        try:
            configs.append(job.configured())
        except SslrecError as error:
            raise type(error)(f"{job.name}: {error.problem}", *error.facts, fix=error.fix) from error
    share, processes = threads or max(1, (os.cpu_count() or 1) // at_once), Processes()

    def one(job: Job, config: RunConfig) -> None:
        if not processes.asked:
            for news in _run(job, config, folder, share, processes):
                tell(news)

    with processes.listening(), ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, jobs, configs))
    if processes.asked:
        raise Interrupted("stopped; the same again goes on")


def _run(job: Job, config: RunConfig, folder: Path, threads: int, processes: Processes) -> Iterator[News]:
    directory = folder / job.name
    begun = directory.exists()
    if begun and (why := _other(directory, config)):
        yield News(job, "failed", why)
        return
    if (directory / RESULT).is_file():
        yield News(job, "was complete")
        return
    yield News(job, "goes on" if begun else "begins")
    files = [part for file in registry().files for part in ("--plugin-file", str(file))]
    arguments = ["train", "--resume", str(directory)] if begun else [*job.arguments, "-o", str(directory)]
    code, said = processes.run(
        [sys.executable, "-m", "sslrec_core.cli", *files, *arguments, "--quiet"],
        {**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    if not code:
        yield News(job, "is complete")
    elif processes.asked:
        yield News(job, "stopped")
    else:
        yield News(job, "failed", said.strip())


def _other(directory: Path, wanted: RunConfig) -> str:
    """Why the run in ``directory`` is not the one that is wanted: it was made with other settings; empty if it is.

    Options that only one of the two has, because another version made the run, say nothing.
    """
    try:
        made = dict(flattened(read_config(directory / CONFIG)))
    except ConfigError as error:
        return f"{error}\n  fix: remove {directory}"
    now = dict(flattened(parse_toml(wanted.to_toml(), CONFIG)))
    keys = [key for key in now.keys() & made.keys() if not key.startswith("run.") or key == "run.seed"]
    facts = [f"  {key}: {made[key]!r}, and now {now[key]!r}" for key in sorted(keys) if made[key] != now[key]]
    if not facts:
        return ""
    return "\n".join(
        [f"{directory} was made with other settings", *facts, f"  fix: another `row`, or remove {directory}"]
    )
