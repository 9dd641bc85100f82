"""Workers: processes that take trials from a study and train them, and the parent that looks after them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import optuna
import torch
from optuna.trial import TrialState

from sslrec_core.errors import SslrecError, TrainingError
from sslrec_core.files import only_process, storage
from sslrec_core.hooks import hookimpl
from sslrec_core.interrupt import Interrupted, Processes
from sslrec_core.records import LAST, RESULT, read_events
from sslrec_core.registry import registry
from sslrec_core.running import Run
from sslrec_core.tuning.space import Params
from sslrec_core.tuning.study import ASKED, RETRY, WHY, Study, worker_name


@dataclass(frozen=True)
class News:
    """What a worker tells: where its trial stands."""

    worker: int
    trial: int
    params: Params
    state: Literal["training", "complete", "pruned", "failed", "tried again"]
    epoch: int | None = None
    value: float | None = None
    """The judging metric on the validation part, now or at its best."""
    why: str | None = None
    """Why it failed."""


Tell = Callable[[News], None]


class Reporter:
    """Tells a study what each epoch gave, and stops a run that the study gives up."""

    def __init__(self, study: Study, trial: optuna.Trial, tell: Callable[[int, float], None]) -> None:
        self._study, self._trial, self._tell, self.pruned = study, trial, tell, False

    @hookimpl(wrapper=True)
    def sslrec_evaluate(self, run: Run, split: str) -> Generator[None, Mapping[str, float], Mapping[str, float]]:
        """Report the judging metric of an epoch."""
        metrics = yield
        if run.in_training and split == run.config.train.select_on:
            value = metrics[run.config.train.judge]
            with self._study.reaching():
                self._trial.report(value, run.epoch)
            self._tell(run.epoch, value)
        return metrics

    @hookimpl
    def sslrec_should_stop(self) -> str | None:
        """Pruned by the study."""
        with self._study.reaching():
            self.pruned = self._trial.should_prune()
        return "worse than the median of the trials so far" if self.pruned else None

    def catch_up(self, run: Run) -> None:
        """Report what an earlier trial had of ``run``, which goes on in this one."""
        train, events = run.config.train, read_events(run.directory, run.progress.events)
        with self._study.reaching():
            for event in events:
                if event["event"] == train.select_on:
                    self._trial.report(event["metrics"][train.judge], event["epoch"])


def work(folder: Path, wanted: int, threads: int, data_root: Path | None, tell: Tell, worker: int = 0) -> None:
    """Train trials of the study in ``folder`` until ``wanted`` have begun.

    Raises:
        StorageError: the store cannot be reached.
    """
    torch.set_num_threads(threads)
    study = Study.open(folder, worker)
    while (asked := study.ask(wanted)) is not None:
        trial, params = asked
        _train(study, trial, params, data_root, tell)


def _train(study: Study, trial: optuna.Trial, params: Params, data_root: Path | None, tell: Tell) -> None:
    def news(state: Any, **facts: Any) -> None:
        tell(News(os.getpid(), trial.number, params, state, **facts))

    news("training")
    reporter = Reporter(study, trial, lambda epoch, value: news("training", epoch=epoch, value=value))
    try:
        result = _run(study, trial, params, data_root, reporter).execute()
    except KeyboardInterrupt:
        with study.reaching():
            trial.set_user_attr(ASKED, True)
        raise
    except SslrecError as error:
        # One combination that cannot be trained says nothing about the others.
        with study.reaching():
            trial.set_user_attr(WHY, error.problem)
        study.finish(trial, TrialState.FAIL)
        news("failed", why=error.problem)
        return
    value = result.selection[study.judge]
    if reporter.pruned:
        study.finish(trial, TrialState.PRUNED)
    else:
        study.finish(trial, TrialState.COMPLETE, value)
    news("pruned" if reporter.pruned else "complete", epoch=result.best_epoch, value=value)


def _run(study: Study, trial: optuna.Trial, params: Params, data_root: Path | None, reporter: Reporter) -> Run:
    """The run of a trial: that of the trial which it repeats, from its last checkpoint, or a new one."""
    directory = study.directory(trial.number)
    if RETRY in trial.user_attrs:
        before = study.directory(trial.user_attrs[RETRY])
        if (before / LAST).is_file() and not (before / RESULT).exists():
            with storage(directory, "going on with the run of an earlier trial"):
                before.rename(directory)
            run = Run.resume(directory, data_root=data_root, listeners=[reporter])
            reporter.catch_up(run)
            return run
    return Run.create(study.configured(params), directory, data_root=data_root, listeners=[reporter])


def tune(study: Study, wanted: int, jobs: int, data_root: Path | None, tell: Tell) -> None:
    """Bring the study to ``wanted`` trials with ``jobs`` workers at once; 0 is this process itself.

    A worker that dies takes its trial with it: that one is tried once more, by a new worker.  SIGTERM is passed on to
    the workers, which save and leave.

    Raises:
        Interrupted: asked to stop by SIGTERM; the same call goes on.
        StorageError: another process is at work in the folder, or the store cannot be reached any more.
        TrainingError: workers die before they begin a trial.
    """
    with only_process(study.folder):
        study.give_up()
        if jobs == 0:
            work(study.folder, wanted, torch.get_num_threads(), data_root, tell)
        else:
            _Crew(study, wanted, max(1, torch.get_num_threads() // jobs), data_root, tell).work(jobs)


class _Crew:
    """Workers in processes of their own, and what becomes of them."""

    def __init__(self, study: Study, wanted: int, threads: int, data_root: Path | None, tell: Tell) -> None:
        self._study, self._tell = study, tell
        self._task = (registry().files, study.folder, wanted, threads, data_root)
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[Connection, BaseProcess] = {}
        self._processes = Processes()
        self._numbers = itertools.count()
        self._idle_deaths = 0
        self._error: SslrecError | None = None

    def work(self, jobs: int) -> None:
        """Until all is done, with ``jobs`` workers at once."""
        with self._processes.listening():
            for _ in range(jobs):
                self._start()
            try:
                while self._workers:
                    for ready in wait(list(self._workers)):
                        assert isinstance(ready, Connection)
                        self._listen(ready)
            except KeyboardInterrupt:
                # The workers were interrupted with us: each saves its run and leaves.
                for process in self._workers.values():
                    process.join()
                raise
        if self._error is not None:
            raise self._error
        if self._processes.asked:
            raise Interrupted("stopped; the same again goes on")

    def _start(self) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_worker, args=(*self._task, theirs, next(self._numbers)), daemon=False)
        process.start()
        theirs.close()
        self._workers[ours] = process
        self._processes.add(process)

    def _listen(self, pipe: Connection) -> None:
        try:
            told = pipe.recv()
        except EOFError:
            process = self._workers.pop(pipe)
            process.join()
            self._processes.discard(process)
            if process.exitcode and self._error is None and not self._processes.asked:
                self._replace(process)
            return
        if isinstance(told, SslrecError):
            self._error = self._error or told  # the others finish their trials, or fail alike
        else:
            self._idle_deaths = 0
            self._tell(told)

    def _replace(self, process: BaseProcess) -> None:
        assert process.pid is not None
        try:
            again = self._study.give_up(worker_name(process.pid))
        except SslrecError as error:
            self._error = error
            return
        for number in again:
            why = f"its worker died with exit code {process.exitcode}"
            self._tell(News(process.pid, number, {}, "tried again", why=why))
        self._idle_deaths += 1
        if self._idle_deaths > MOST_IDLE_DEATHS:
            self._error = TrainingError(
                "workers die before they begin a trial",
                f"the last one with exit code {process.exitcode}; what it said is above",
                "a Python script that tunes with several jobs must do so under: if __name__ == '__main__'",
                fix="put that right, then: sslrec tune --resume " + str(self._study.folder),
            )
            return
        self._start()


MOST_IDLE_DEATHS = 3
"""Workers that may die one after the other without a word from any."""


def _worker(
    files: list[Path], folder: Path, wanted: int, threads: int, data_root: Path | None, pipe: Connection, number: int
) -> None:  # fmt: skip
    try:
        for file in files:
            registry().add_file(file)
        work(folder, wanted, threads, data_root, pipe.send, number)
    except SslrecError as error:
        pipe.send(error)
    except (Interrupted, KeyboardInterrupt):
        os._exit(0)
