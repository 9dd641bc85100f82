"""The training loop: the verbs a model may use, and the core's own answers to the run hooks."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from sslrec_core.compiling import compiling
from sslrec_core.config import Configured
from sslrec_core.errors import TrainingError
from sslrec_core.hooks import hookimpl
from sslrec_core.memory import enough_memory

if TYPE_CHECKING:
    from sslrec_core.model import Losses, Model
    from sslrec_core.records import Result
    from sslrec_core.running import Run
    from sslrec_core.settings import OptimConfig, TrainConfig

StepListener = Callable[[Mapping[str, Tensor]], None]
BatchListener = Callable[[int, int], None]

_FUSED = frozenset({"cpu", "cuda", "mps"})
"""Devices on which torch has a fused Adam: 7 to 8 times faster than the default on embedding tables on a CPU."""


class Callback(Configured):
    """Something that listens to a run: a holder of run hooks, named in ``run.callbacks``.

    A callback that changes what is scored or when training ends keeps what it learned in :meth:`state`, so that a
    resumed run goes on exactly.
    """

    def check(self) -> None:
        """See whether all that is needed is there: called before a training begins and before its directory is made.

        A run that is opened to be evaluated needs none of it.

        Raises:
            ConfigError: something is missing.
        """

    def state(self) -> dict[str, Tensor]:
        """Tensors to save with each checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`state` gave."""

    def weights(self) -> Mapping[str, Tensor] | None:
        """Weights to keep as the best ones instead of the model's own, or None."""
        return None


def make_optimizer(config: OptimConfig, device: torch.device) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    """The function that builds one optimiser as ``config`` says, fused where the device supports it."""

    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        fused = device.type in _FUSED
        if config.name == "sgd":
            return SGD(parameters, config.learning_rate, weight_decay=config.weight_decay, fused=fused)
        kind = Adam if config.name == "adam" else AdamW
        return kind(parameters, config.learning_rate, weight_decay=config.weight_decay, fused=fused)

    return make


class _Curve:
    """The losses of the steps so far, in one tensor on the device.

    A small tensor kept from each step would sit between the large ones that come and go, and the memory of a process
    would grow with every step.
    """

    def __init__(self, terms: int, device: torch.device) -> None:
        self.values = torch.empty(256, terms, device=device)
        self.steps: list[int] = []

    def add(self, step: int, losses: Tensor) -> None:
        """Append one row ``[terms]``."""
        if len(self.steps) == len(self.values):
            self.values = torch.cat([self.values, torch.empty_like(self.values)])
        self.values[len(self.steps)] = losses
        self.steps.append(step)


class Loop:
    """What a model may ask for while it trains.

    Nothing here waits for the device inside a step: losses stay there and are read once, by :meth:`means`.
    ``rank`` and ``world`` are this process's place among several; data and samplers take their share by them.
    """

    def __init__(
        self, model: Model, train: TrainConfig, optim: OptimConfig, device: torch.device, rank: int = 0, world: int = 1
    ) -> None:
        self.model = model
        self.train = train
        self.device = device
        self.rank, self.world = rank, world
        self.epoch = 0
        self.step = 0
        self.on_batch: list[BatchListener] = []
        self.on_step: list[StepListener] = []
        self._make = make_optimizer(optim, device)
        self._decay = optim.decay
        self.optimizers: dict[str, Optimizer] = model.optimizers(self._make)
        self._curves: dict[tuple[str, ...], _Curve] = {}
        self._logged: dict[str, float | Tensor] = {}

    def begin_epoch(self, epoch: int) -> None:
        """Count the epochs of the stage: step sizes are those of ``epoch``, whether or not there were others before."""
        self.epoch = epoch
        for optimizer in self.optimizers.values():
            self._slow_down(optimizer)

    def _slow_down(self, optimizer: Optimizer) -> None:
        if self._decay == 1:
            return
        for group in optimizer.param_groups:
            # In the group, because it is saved with it: a resumed run begins from the same.
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * self._decay**self.epoch

    def batches(self, source: Iterable[Any] | None = None) -> Iterator[Any]:
        """The scenario's training batches for one epoch, or those of ``source``, counted and shown."""
        if source is None:
            source = self.model.data.batches(self.train, rank=self.rank, world=self.world)
        total = operator.length_hint(source, 0)
        for done, batch in enumerate(source):
            yield batch
            for listener in self.on_batch:
                listener(done + 1, total)

    def minimise(self, losses: Losses, by: str | Sequence[str] = "main") -> None:
        """One optimiser step on the sum of ``losses``: zero, backward, clip, step, record.

        Args:
            losses: Named scalar tensors, already weighted.
            by: The optimiser that steps, or several.
        """
        names = (by,) if isinstance(by, str) else tuple(by)
        optimizers = [self.optimizers[name] for name in names]
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        # Autocast is for the forward pass only; the backward pass follows the types that it recorded.
        with torch.autocast(self.device.type, enabled=False):
            first, *others = losses.values()
            torch.autograd.backward(sum(others, first))
            if self.train.clip is not None:
                parameters = [
                    p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]
                ]
                nn.utils.clip_grad_norm_(parameters, self.train.clip)
            for optimizer in optimizers:
                optimizer.step()
        # Autocast keeps its copies of weights until its outermost block ends, which is that of the epoch.
        torch.clear_autocast_cache()
        self._record(losses)
        self.step += 1
        for listener in self.on_step:
            listener(losses)

    def optimizer(self, name: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """The optimiser called ``name``, made for ``parameters`` as the config says when it is first asked for."""
        if name not in self.optimizers:
            self.optimizers[name] = self._make(parameters)
            self._slow_down(self.optimizers[name])
        return self.optimizers[name]

    def every(self, n: int) -> bool:
        """True at steps 0, n, 2n, ... of the stage."""
        return self.step % n == 0

    def log(self, **values: float | Tensor) -> None:
        """Record values with the epoch; a tensor is read when the epoch ends."""
        self._logged.update(values)

    def means(self) -> dict[str, float]:
        """Mean of each loss term since the last call, plus what was logged: the one read from the device.

        Raises:
            TrainingError: a term was not finite; the first such step and term are named.
        """
        means: dict[str, float] = {}
        for terms, curve in self._curves.items():
            values = curve.values[: len(curve.steps)].double().cpu()
            self._check_finite(terms, values, curve.steps)
            means.update(zip(terms, values.mean(0).tolist(), strict=True))
        means.update({name: float(value) for name, value in self._logged.items()})
        self._curves, self._logged = {}, {}
        return means

    def _record(self, losses: Losses) -> None:
        terms = tuple(losses)
        if terms not in self._curves:
            self._curves[terms] = _Curve(len(terms), self.device)
        self._curves[terms].add(self.step, torch.stack([value.detach().float() for value in losses.values()]))

    def _check_finite(self, terms: tuple[str, ...], values: Tensor, steps: list[int]) -> None:
        finite = values.isfinite()
        if finite.all():
            return
        row, column = (~finite).nonzero()[0].tolist()
        value = values[row, column].item()
        raise TrainingError(
            f"the loss '{terms[column]}' became {value} at step {steps[row]} of epoch {self.epoch}",
            fix="a smaller --set optim.learning_rate, or --set train.clip=1.0",
        )


@contextlib.contextmanager
def precision(kind: str, device: torch.device) -> Iterator[None]:
    """Autocast to bfloat16 when ``kind`` is ``bf16``, products of matrices in TF32 when it is ``tf32``."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if kind == "tf32" else before)
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=kind == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


class Defaults:
    """The core's own run hooks; each is asked after the callbacks'."""

    @hookimpl(trylast=True)
    def sslrec_run(self, run: Run) -> Result:
        """The stages, then the best checkpoint, then the test part: once, if it is asked for."""
        for stage in run.remaining_stages():
            run.stage = stage
            for epoch in run.remaining_epochs():
                run.epoch = epoch
                run.finish_epoch(run.hook.sslrec_epoch(run=run))
        run.restore_best()
        return run.finish(run.hook.sslrec_evaluate(run=run, split="test") if run.config.run.test else {})

    @hookimpl(trylast=True)
    def sslrec_epoch(self, run: Run) -> Mapping[str, float]:
        """One call of the stage's epoch; the mean of each loss."""
        run.loop.begin_epoch(run.epoch)
        run.model.train()
        around = compiling() if run.config.train.compile else contextlib.nullcontext()
        with precision(run.config.train.precision, run.device), around:
            run.stage.epoch(run.loop)
        return run.loop.means()

    @hookimpl(trylast=True)
    def sslrec_evaluate(self, run: Run, split: str) -> Mapping[str, float]:
        """The configured evaluator, without gradients."""
        run.model.eval()
        # In float32 whatever the training's precision: rounded scores would be ties, and ties are no ranking.
        enough = enough_memory(run.device, "evaluating", fix="--set eval.batch=… (users at once), or another --device")
        with torch.no_grad(), enough:
            metrics: Mapping[str, float] = run.evaluator.evaluate(run.model, run.data, split)
        return metrics

    @hookimpl(trylast=True)
    def sslrec_should_stop(self, run: Run) -> str | None:
        """Patience: too many evaluations without a better value."""
        patience = run.config.train.patience
        if patience is not None and run.progress.without_gain >= patience:
            return f"no better {run.config.train.judge} for {patience} evaluations"
        return None
