"""What the contracts share: toy worlds in the registry, models built from a config, scores read out of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sslrec_core.data import Data, Queries, load_data, load_prepared
from sslrec_core.evaluate import judging
from sslrec_core.loop import Loop, precision
from sslrec_core.model import Model
from sslrec_core.registry import registry
from sslrec_core.settings import RunConfig, resolve
from sslrec_core.testing import toys

QUIET = (
    "run.device=cpu",
    "run.callbacks=[]",
    "train.batch_size=128",
    "train.patience=none",
    "optim.learning_rate=0.02",
)
"""What the contracts assume unless a test class says otherwise: small batches, quick steps, nobody listening."""


def offer_worlds() -> None:
    """Add the toy worlds to the registry of this process."""
    if Path(toys.__file__).name not in registry().plugins:
        registry().add_file(toys.__file__)


@dataclass(frozen=True)
class Bench:
    """One model in one world, to be built as often as a check needs it."""

    config: RunConfig
    device: torch.device = torch.device("cpu")

    @classmethod
    def of(cls, model: str, world: str, assignments: Sequence[str] = ()) -> Bench:
        """The bench for ``model`` in ``world``, which is ``scenario/name`` of a dataset or of a toy world."""
        offer_worlds()
        scenario, _, name = world.rpartition("/")
        known = {entry.name for entry in registry().entries("dataset")}
        section = {"scenario": {"name": scenario}} if scenario else {}
        dataset = world if world in known else name
        return cls(resolve(model, dataset, assignments=[*QUIET, *assignments], options=section).config)

    def on(self, device: torch.device) -> Bench:
        """The same on another device."""
        return Bench(self.config, device)

    def new_data(self) -> Data:
        """The data, built again."""
        dataset, scenario = self.config.data, self.config.scenario
        return load_data(dataset.build(), scenario.build(), name=dataset.name).to(self.device)

    @cached_property
    def data(self) -> Data:
        """The data, built once."""
        return self.new_data()

    def same_data(self, other: Bench) -> bool:
        """Whether the scenario makes the same arrays of both worlds."""
        mine, its = (
            load_prepared(bench.config.data.build(), bench.config.scenario.build(), name=bench.config.data.name).arrays
            for bench in (self, other)
        )
        return mine.keys() == its.keys() and all(np.array_equal(mine[key], its[key]) for key in mine)

    def build(self, seed: int = 0, data: Data | None = None, config: Any = None) -> Model:
        """A fresh model; ``seed`` starts all of its randomness, that of its training too."""
        torch.manual_seed(seed)
        choice = self.config.model
        model: Model = choice.entry.load()(choice.config if config is None else config, data or self.data)
        return model.to(self.device)

    def loop(self, model: Model, kind: type[Loop] = Loop) -> Loop:
        """A loop to train ``model`` with."""
        return kind(model, self.config.train, self.config.optim, self.device)

    def train(self, model: Model, epochs: int, loop: Loop | None = None) -> list[dict[str, float]]:
        """Train ``epochs`` of each stage (at most as many as it has); the mean losses of each epoch of the last."""
        loop = loop or self.loop(model)
        curve: list[dict[str, float]] = []
        for stage in model.stages(epochs):
            curve, loop.step = [], 0
            for epoch in range(min(stage.epochs, epochs)):
                loop.begin_epoch(epoch)
                model.train()
                with precision(self.config.train.precision, self.device):
                    stage.epoch(loop)
                curve.append(loop.means())
        return curve

    def queries(self, split: str = "test", size: int = 1024) -> Queries:
        """The first ``size`` users with something to find in ``split``, everything they are known for hidden."""
        return next(iter(self.data.queries(split, size, "train+valid")))


def scores(model: Model, queries: Queries, to_host: bool = True) -> Tensor:
    """Scores ``[queries, items]`` as an evaluation computes them, on the CPU unless ``to_host`` is False."""
    with judging(model):
        found = model.scorer()(queries).float()
    return found.cpu() if to_host else found


@contextmanager
def separate_cache() -> Iterator[Path]:
    """A folder of its own for processed data."""
    with tempfile.TemporaryDirectory(prefix="sslrec-contract-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLREC_CACHE", folder)
        yield Path(folder)
