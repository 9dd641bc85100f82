"""Experiments from Python: train, open, sweep, tune, look, hand over.  The command line goes the same way.

Each function is also an attribute of the package, beside ``sslrec_core.compare``::

    import sslrec_core as sslrec

    result = sslrec.run("lightgcn", "cf/demo", seed=1, settings={"train.epochs": 20})
    print(result.metrics["recall@20"])

What goes wrong by the caller's own doing is a subclass of :class:`sslrec_core.errors.SslrecError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sslrec_core.config import flattened, toml_value
from sslrec_core.errors import ConfigError, TrainingError
from sslrec_core.registry import registry
from sslrec_core.settings import Resolved, resolve

if TYPE_CHECKING:
    from sslrec_core.exporting.index import Measured
    from sslrec_core.records import Result
    from sslrec_core.running import Run
    from sslrec_core.sweeping import News as RunNews
    from sslrec_core.sweeping import Sweep
    from sslrec_core.tuning.report import Outcome
    from sslrec_core.tuning.study import Study
    from sslrec_core.tuning.worker import News as TrialNews

Place = str | Path
Settings = Mapping[str, Any] | Sequence[str]
"""Options by dotted key, ``{"model.layers": 3}``, or as ``--set`` takes them, ``["model.layers=3"]``."""
SAMPLERS = ("tpe", "random", "grid")
EXPORTS = ("embeddings", "onnx", "faiss", "recommendations")
FORMATS = ("parquet", "npz")


def assignments(settings: Settings) -> list[str]:
    """``settings`` as ``--set`` takes them; nested tables are as good as dotted keys."""
    if isinstance(settings, Mapping):
        return [f"{key}={toml_value(value)}" for key, value in flattened(settings) if key]
    return list(settings)


def configure(
    model: str | None = None,
    dataset: Place | None = None,
    *,
    settings: Settings = (),
    files: Sequence[Place] = (),
    preset: str | None = None,
    protocol: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> Resolved:
    """The complete configuration that a run with these arguments has; see :func:`run`."""
    given: dict[str, Any] = {"seed": seed, "device": device}
    options = {key: value for key, value in given.items() if value is not None}
    resolved = resolve(
        model,
        None if dataset is None else str(dataset),
        files=[Path(file) for file in files],
        assignments=assignments(settings),
        preset=preset,
        protocol=protocol,
        options={"run": options} if options else {},
    )
    return Resolved(resolved.config.unattended(), resolved.origins) if quiet else resolved


def run(
    model: str | None = None,
    dataset: Place | None = None,
    *,
    settings: Settings = (),
    files: Sequence[Place] = (),
    preset: str | None = None,
    protocol: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    directory: Place | None = None,
    data_root: Place | None = None,
    quiet: bool = True,
    listeners: Sequence[object] = (),
) -> Result:
    """Train a model, choose its best epoch on the validation part, and measure that once on the test part.

    Args:
        model: Its name, such as ``"lightgcn"`` or ``"kg/kgcl"``; may come from a file instead.
        dataset: Its name, or the path of a file of your own; may come from a file instead.
        settings: Options that differ from the model's preset.
        files: Configuration files, weakest first; ``settings`` count more.
        preset: A preset other than the model's own for this dataset.
        protocol: ``standard``, or ``published``: selected on test.
        seed: Start of all randomness.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto``.
        directory: The run directory, which must not exist; none for a new one under ``runs``.
        data_root: The folder of datasets; none for what SSLREC_DATA says.
        quiet: Whether to leave out the callback ``progress``.
        listeners: Objects with run hooks that listen to this run alone.

    Raises:
        ConfigError, UnknownName, DataError: it cannot be trained like this; nothing was made.
        StorageError: the directory exists or cannot be written.
        TrainingError: the training cannot go on.
        Interrupted: asked to stop by Ctrl-C; its message says how to go on.
    """
    resolved = configure(
        model, dataset, settings=settings, files=files, preset=preset, protocol=protocol, seed=seed, device=device,
        quiet=quiet,
    )  # fmt: skip
    from sslrec_core.running import Run

    made = Run.create(resolved, _path(directory), data_root=_path(data_root), listeners=listeners)
    return made.execute()


def open_run(directory: Place, *, device: str | None = None, data_root: Place | None = None, **evaluator: Any) -> Run:
    """The run in ``directory`` with its best weights: to evaluate, to recommend, to look at its model and data.

    Args:
        directory: A run directory.
        device: Another device than the one that it was trained on.
        data_root: Where the datasets are now; none for where they were.
        evaluator: Other options of its evaluator, such as ``at=[5, 10]``.

    Raises:
        CheckpointError: not a run directory, or made by another model, revision or version.
    """
    from sslrec_core.running import Run

    return Run.open(Path(directory), device=device, data_root=_path(data_root), **evaluator)


def sweep(
    wanted: Place | Mapping[str, Any] | Sweep,
    *,
    directory: Place | None = None,
    jobs: int = 1,
    threads: int | None = None,
    only: str = "",
    tell: Callable[[RunNews], None] = lambda news: None,
) -> list[Path]:
    """Make the runs that ``wanted`` asks for, each in a process; complete ones are kept, unfinished ones go on.

    Args:
        wanted: A TOML file, or what would stand in it.
        directory: The folder of the runs; none for ``runs`` with the file's name.
        jobs: Runs at once.
        threads: Of each run; none for its share of the cores.
        only: Only runs whose name contains this.
        tell: Is told of each run.

    Returns:
        The run directories.

    Raises:
        ConfigError, UnknownName: a run cannot be configured; none has begun then.
        TrainingError: runs failed; the others are complete.
        Interrupted: asked to stop by SIGTERM, which the runs under way are told; the same call goes on.
    """
    from sslrec_core.sweeping import Sweep, carry_out

    if isinstance(wanted, (str, Path)):
        folder = _path(directory) or Path("runs") / Path(wanted).stem
        found = Sweep.read(Path(wanted))
    elif directory is not None:
        folder = Path(directory)
        found = wanted if isinstance(wanted, Sweep) else Sweep.of(wanted, "the sweep")
    else:
        raise ConfigError("a sweep without a file has no name", fix="directory=…, where its runs go")
    chosen = [job for job in found.jobs() if only in job.name]
    failed: dict[str, str] = {}

    def listen(news: RunNews) -> None:
        if news.state == "failed":
            failed[news.job.name] = news.why
        tell(news)

    carry_out(chosen, folder, at_once=jobs, threads=threads, tell=listen)
    if failed:
        facts = [f"{name}: {why.partition(chr(10))[0]}" for name, why in failed.items()]
        raise TrainingError(
            f"{len(failed)} of {len(chosen)} runs failed, {len(chosen) - len(failed)} are complete, in {folder}",
            *facts, fix="the same again tries them once more",
        )  # fmt: skip
    return [folder / job.name for job in chosen]


def tune(
    model: str | None = None,
    dataset: Place | None = None,
    *,
    space: Place | Mapping[str, Mapping[str, Any]] | None = None,
    trials: int = 30,
    jobs: int = 0,
    sampler: Literal["tpe", "random", "grid"] = "tpe",
    prune: bool = True,
    store: str | None = None,
    study: str | None = None,
    settings: Settings = (),
    files: Sequence[Place] = (),
    preset: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    directory: Place | None = None,
    resume: Place | None = None,
    data_root: Place | None = None,
    tell: Callable[[TrialNews], None] = lambda news: None,
) -> Outcome:
    """Try settings of a model on the validation part of a dataset, the model's preset first.

    Args:
        model: As for :func:`run`.
        dataset: As for :func:`run`.
        space: What to try: a TOML file or what would stand in it; none for the one beside the model's presets.
        trials: Of the study in all.
        jobs: Trials at once, each in a process; 0 for one after the other in this one.
        sampler: Who proposes values.
        prune: Whether trials end early that are worse than the median.
        store: Journal file, ``sqlite:///FILE`` or ``postgresql://…``; none for a journal in the study's folder.
        study: Its name in the store.
        settings: Options that are the same for all trials.
        files: Configuration files.
        preset: A preset other than the model's own.
        seed: Of each trial, and of the sampler.
        device: As for :func:`run`.
        directory: The study's folder, which must not exist; none for a new one under ``runs``.
        resume: Go on with the study in this folder instead; nothing else may be said of it then.
        data_root: As for :func:`run`.
        tell: Is told of each trial.

    Returns:
        The best trial; its ``settings`` are for :func:`run`.

    Raises:
        ConfigError, UnknownName: the model, the space or Optuna is not there; nothing was made.
        StorageError: the folder exists, or the store cannot be reached.
        TrainingError: no trial is complete.
    """
    found = open_study(
        model, dataset, space=space, sampler=sampler, prune=prune, store=store, name=study, settings=settings,
        files=files, preset=preset, seed=seed, device=device, directory=directory, resume=resume,
    )  # fmt: skip
    from sslrec_core.tuning.report import outcome
    from sslrec_core.tuning.worker import tune as carry_out

    carry_out(found, trials, jobs, _path(data_root), tell)
    return outcome(found)


def report(
    runs: Place | Sequence[Place],
    output: Place | None = None,
    *,
    metrics: Sequence[str] = (),
    model: bool = True,
    names: Place | None = None,
    device: str = "auto",
    data_root: Place | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write one self-contained page about runs.

    Args:
        runs: Run directories, or glob patterns.
        output: The file; none, for a single run, for ``report.html`` in its directory.
        metrics: Whose curves to draw; none for the judge's and a few beside it.
        model: Whether to load models and data, or to use what was recorded alone.
        names: A table with columns item and name; none for the names that the data has.
        device: Where models are loaded.
        data_root: As for :func:`run`.
        say: Told what takes time.

    Returns:
        The file.

    Raises:
        CheckpointError: a run cannot be read at all.
        ConfigError: there is no such run, several have no file for their report, or an extra is missing.
        StorageError: the file cannot be written; an earlier report is as it was.
    """
    from sslrec_core.comparing.runs import find
    from sslrec_core.records import REPORT
    from sslrec_core.reporting.page import report as page
    from sslrec_core.reporting.page import save

    found = find([str(one) for one in ([runs] if isinstance(runs, (str, Path)) else runs)])
    if output is None and len(found) > 1:
        raise ConfigError(f"{len(found)} runs share no directory for their report", fix="-o FILE.html")
    path = found[0] / REPORT if output is None else Path(output)
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", fix=f"-o {path / REPORT}")
    made = page(
        found, metrics=metrics, model=model, names=_path(names), device=device, data_root=_path(data_root), say=say
    )  # fmt: skip
    save(made, path)
    return path


def board(folder: Place = "runs", output: Place | None = None) -> Path:
    """Write the leaderboard of all runs below ``folder`` into the folder ``output``, or into ``board`` beside them.

    Returns:
        The page.

    Raises:
        ConfigError: there are no runs, or an extra is missing.
        StorageError: the folder cannot be written.
    """
    from sslrec_core.overview.page import write_board
    from sslrec_core.overview.scan import Scanner

    root = Path(folder)
    return write_board(Scanner(root).scan(), root, _path(output) or root / "board")


def export(
    of: Place | Run,
    to: str,
    directory: Place | None = None,
    *,
    form: str = "parquet",
    k: int = 20,
    index: str = "HNSW32",
    users: int = 1000,
    recall: float = 0.95,
    force: bool = False,
    device: str | None = None,
    data_root: Place | None = None,
) -> str | Measured:
    """Write what a run found for use without sslrec.

    Args:
        of: A run directory, or a run that is open.
        to: ``embeddings``, ``onnx``, ``faiss`` or ``recommendations``.
        directory: The folder to write; none for one of that name in the run directory.
        form: Of embeddings: ``parquet`` or ``npz``.
        k: Length of the lists, and of those that recall is of.
        index: What faiss calls the index.
        users: How many users an index is measured with.
        recall: Share of exact search up to which an index is told to look further.
        force: Replace an earlier export.
        device: As for :func:`run`.
        data_root: As for :func:`run`.

    Returns:
        What was written, in words; for an index, what was measured: it may find less than ``recall``.

    Raises:
        ConfigError: there is no such export or format, the model has nothing of the kind, or an extra is missing.
        StorageError: the folder exists or cannot be written; nothing is left behind.
    """
    if to not in EXPORTS:
        raise ConfigError(f"there is no export '{to}'", fix=f"--to {', '.join(EXPORTS)}")
    if form not in FORMATS:
        raise ConfigError(f"there is no format '{form}'", fix=f"--format {' or '.join(FORMATS)}")
    if isinstance(of, (str, Path)):
        # A program is checked on the processor that it is run on.
        of = open_run(of, device="cpu" if to == "onnx" and device is None else device, data_root=data_root)
    target = _path(directory) or of.directory / to
    if to == "faiss":
        from sslrec_core.exporting.index import export_index

        return export_index(of, target, index, k, users, recall, force=force)
    if to == "onnx":
        from sslrec_core.exporting.onnx import export_onnx

        return export_onnx(of, target, force=force)
    if to == "recommendations":
        from sslrec_core.exporting.recommendations import export_recommendations

        return export_recommendations(of, target, k, force=force)
    from sslrec_core.exporting.embeddings import export_embeddings

    return export_embeddings(of, target, form, force=force)


def open_study(
    model: str | None,
    dataset: Place | None,
    *,
    space: Place | Mapping[str, Mapping[str, Any]] | None = None,
    sampler: Literal["tpe", "random", "grid"] = "tpe",
    prune: bool = True,
    store: str | None = None,
    name: str | None = None,
    settings: Settings = (),
    files: Sequence[Place] = (),
    preset: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    directory: Place | None = None,
    resume: Place | None = None,
) -> Study:
    """The study in ``resume``, or a new one; see :func:`tune`."""
    if resume is not None:
        if any((model, dataset, space, settings, files, preset, store, name, directory, device, seed)):
            raise ConfigError("--resume goes on with the study's own settings", fix=f"sslrec tune --resume {resume}")
        from sslrec_core.tuning.study import Study

        return Study.open(Path(resume))
    resolved = configure(
        model, dataset, settings=settings, files=files, preset=preset, seed=seed, device=device
    )  # fmt: skip
    config = resolved.config
    if sampler not in SAMPLERS:
        raise ConfigError(f"no sampler is called '{sampler}'", fix="--sampler tpe, random or grid")
    tried = registry().space(config.model.entry) if space is None else space
    if tried is None:
        raise ConfigError(
            f"{config.model.name} comes without a search space", fix="--space FILE, see: sslrec tune --help"
        )
    from sslrec_core.records import new_name
    from sslrec_core.tuning.space import Space
    from sslrec_core.tuning.study import JOURNAL, Study
    from sslrec_core.tuning.study import Settings as Search

    folder = _path(directory) or Path("runs") / f"tune-{new_name(config)}"
    search = Search(
        name=name or f"{config.model.name} on {config.data.name}",
        store=JOURNAL if store is None else store if "://" in store else str(Path(store).absolute()),
        sampler=sampler,
        prune=prune,
        seed=seed or 0,
    )
    read = Space.of(tried, "the space") if isinstance(tried, Mapping) else Space.read(Path(tried))
    return Study.create(folder, config, read, search)


def _path(place: Place | None) -> Path | None:
    return None if place is None else Path(place)
