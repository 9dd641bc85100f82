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
from typing import TYPE_CHECKING, Any, Literal

import optuna
import torch
from optuna.trial import TrialState

from sslrec_core.errors import SslrecError
from sslrec_core.files import only_process
from sslrec_core.hooks import hookimpl
from sslrec_core.interrupt import Interrupted
from sslrec_core.running import Run
from sslrec_core.tuning.space import Params
from sslrec_core.tuning.study import WHY, Study, worker_name

if TYPE_CHECKING:
    from sslrec_core.records import Result


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

    def __init__(self, trial: optuna.Trial, tell: Callable[[int, float], None]) -> None:
        self._trial, self._tell, self.pruned = trial, tell, False

    @hookimpl(wrapper=True)
    def sslrec_evaluate(self, run: Run, split: str) -> Generator[None, Mapping[str, float], Mapping[str, float]]:
        """Report the judging metric of an epoch."""
        metrics = yield
        if run.in_training and split == run.config.train.select_on:
            value = metrics[run.config.train.judge]
            self._trial.report(value, run.epoch)
            self._tell(run.epoch, value)
        return metrics

    @hookimpl
    def sslrec_should_stop(self) -> str | None:
        """Pruned by the study."""
        self.pruned = self._trial.should_prune()
        return "worse than the median of the trials so far" if self.pruned else None


def work(folder: Path, wanted: int, threads: int, data_root: Path | None, tell: Tell, worker: int = 0) -> None:
    """Train trials of the study in ``folder`` until ``wanted`` have begun."""
    torch.set_num_threads(threads)
    study = Study.open(folder, worker)
    while (asked := study.ask(wanted)) is not None:
        trial, params = asked
        _train(study, trial, params, data_root, tell)


def _train(study: Study, trial: optuna.Trial, params: Params, data_root: Path | None, tell: Tell) -> None:
    def news(state: Any, **facts: Any) -> None:
        tell(News(os.getpid(), trial.number, params, state, **facts))

    news("training")
    reporter = Reporter(trial, lambda epoch, value: news("training", epoch=epoch, value=value))
    try:
        config = study.configured(params)
        run = Run.create(config, study.directory(trial.number), data_root=data_root, listeners=[reporter])
        result: Result = run.execute()
    except Interrupted:
        raise
    except SslrecError as error:
        # One combination that cannot be trained says nothing about the others.
        trial.set_user_attr(WHY, error.problem)
        study.optuna.tell(trial, state=TrialState.FAIL)
        news("failed", why=error.problem)
        return
    value = result.selection[study.judge]
    if reporter.pruned:
        study.optuna.tell(trial, state=TrialState.PRUNED)
    else:
        study.optuna.tell(trial, value)
    news("pruned" if reporter.pruned else "complete", epoch=result.best_epoch, value=value)


def tune(study: Study, wanted: int, jobs: int, data_root: Path | None, tell: Tell) -> None:
    """Bring the study to ``wanted`` trials with ``jobs`` workers at once.

    A worker that dies takes its trial with it: that one is tried once more, by a new worker.

    Raises:
        StorageError: another process is at work in the folder.
    """
    threads = max(1, torch.get_num_threads() // jobs)
    context = multiprocessing.get_context("spawn")
    with only_process(study.folder):
        study.give_up()
        workers: dict[Connection, BaseProcess] = {}
        numbers = itertools.count()

        def start() -> None:
            ours, theirs = context.Pipe(duplex=False)
            arguments = (study.folder, wanted, threads, data_root, theirs, next(numbers))
            process = context.Process(target=_worker, args=arguments, daemon=False)
            process.start()
            theirs.close()
            workers[ours] = process

        for _ in range(jobs):
            start()
        try:
            while workers:
                for ready in wait(list(workers)):
                    assert isinstance(ready, Connection)
                    try:
                        tell(ready.recv())
                    except EOFError:
                        process = workers.pop(ready)
                        process.join()
                        if process.exitcode:
                            _bury(study, process, tell)
                            start()
        except KeyboardInterrupt:
            # The workers were interrupted with us: each saves its run and leaves.
            for process in workers.values():
                process.join()
            raise


def _bury(study: Study, process: BaseProcess, tell: Tell) -> None:
    assert process.pid is not None
    for number in study.give_up(worker_name(process.pid)):
        why = f"its worker died with exit code {process.exitcode}"
        tell(News(process.pid, number, {}, "tried again", why=why))


def _worker(
    folder: Path, wanted: int, threads: int, data_root: Path | None, pipe: Connection, number: int
) -> None:  # fmt: skip
    try:
        work(folder, wanted, threads, data_root, pipe.send, number)
    except (Interrupted, KeyboardInterrupt):
        os._exit(0)
