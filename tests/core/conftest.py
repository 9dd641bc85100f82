"""What the core's tests share: a small model, and the toy world it learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sslrec_core.registry import registry, reset
from sslrec_core.settings import RunConfig, resolve
from sslrec_core.testing.bench import QUIET, offer_worlds

FACTORS = '''
import torch
from pydantic import NonNegativeInt
from torch import nn

from sslrec_core import hookimpl
from sslrec_core.builtin.objectives import BPR
from sslrec_core.model import Embeddings, Model


class Factors(Model):
    """Matrix factorisation, which breaks at a step if it is told to."""

    class Config(Model.Config):
        embedding_dim: int = 8
        """Size of vectors."""
        break_at: NonNegativeInt | None = None
        """The step at which the loss is not a number."""

    def __init__(self, config, data):
        super().__init__(config, data)
        self.users = nn.Embedding(data.n_users, config.embedding_dim)
        self.items = nn.Embedding(data.n_items, config.embedding_dim)
        self.ranking = BPR(BPR.Config())
        self.steps = 0

    def losses(self, batch):
        self.steps += 1
        loss = self.ranking(self.users(batch.users), self.items(batch.positives), self.items(batch.negatives))
        broken = self.config.break_at is not None and self.steps > self.config.break_at
        return {"ranking": loss * float("nan") if broken else loss}

    def embeddings(self):
        return Embeddings(self.users.weight, self.items.weight)


@hookimpl
def sslrec_models():
    return {"factors": Factors}
'''


@pytest.fixture
def factors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RunConfig]]:
    """Configurations of a small model named ``factors`` in the checkerboard world."""
    monkeypatch.setenv("SSLREC_CACHE", str(tmp_path / "cache"))
    reset()
    offer_worlds()
    path = tmp_path / "factors_plugin.py"
    path.write_text(FACTORS)
    registry().add_file(path)

    def configure(*assignments: str, protocol: str | None = None) -> RunConfig:
        settings = [*QUIET, "train.batch_size=64", "train.epochs=4", *assignments]
        scenario = {"scenario": {"name": "plain"}}
        return resolve("factors", "checkerboard", assignments=settings, protocol=protocol, options=scenario).config

    yield configure
    reset()
    torch.use_deterministic_algorithms(False)
