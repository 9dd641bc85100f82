"""No step holds anything of the size of users by users, or of users by items."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sslrec_core.data import Interactions, Rows, Vocabulary
from sslrec_core.registry import registry
from sslrec_core.settings import OptimConfig, TrainConfig
from sslrec_core.testing.guards import LargestTensor, OneStepLoop
from sslrec_mbehavior.data import Behaviour, MultiBehaviorData

USERS, ITEMS, PAIRS = 200_000, 20_000, 100_000
LARGEST = 400 * 4 * (USERS + ITEMS)
"""Bytes of a tensor with 400 numbers for each node; users by items would be 20,000 for each user."""

SETTINGS: dict[str, dict[str, Any]] = {
    "cml": {"embedding_dim": 8, "meta_users": 64, "encoder": {"layers": 1}},
    "crgcn": {"embedding_dim": 8},
    "mbgmn": {"embedding_dim": 8, "rank": 2, "draws": 4},
}


@pytest.fixture(scope="module")
def data() -> MultiBehaviorData:
    def rows() -> Rows:
        return Rows.of(torch.randint(USERS, (PAIRS,)), torch.randint(ITEMS, (PAIRS,)), USERS, ITEMS)

    torch.manual_seed(0)
    interactions = Interactions({"train": rows()}, Vocabulary.identity(USERS), Vocabulary.identity(ITEMS))
    view = rows()
    return MultiBehaviorData(interactions, "buy", (Behaviour("view", view, torch.ones_like(view.columns), None),))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_is_linear_in_users(name: str, data: MultiBehaviorData) -> None:
    kind = registry().find("model", f"mbehavior/{name}").load()
    model = kind(kind.Config(**SETTINGS[name]), data)
    loop = OneStepLoop(model, TrainConfig(batch_size=512), OptimConfig(), torch.device("cpu"))
    with LargestTensor() as largest:
        model.epoch(loop)
    assert loop.step
    assert 4 * PAIRS < largest.bytes <= LARGEST, largest.by


def test_scores_are_of_the_users_asked_for(data: MultiBehaviorData) -> None:
    queries = next(iter(_asked(data)))
    for name, options in SETTINGS.items():
        kind = registry().find("model", f"mbehavior/{name}").load()
        model = kind(kind.Config(**options), data)
        with torch.no_grad(), LargestTensor() as largest:
            assert model.scorer()(queries).shape == (2, ITEMS)
        assert largest.bytes <= LARGEST, f"{name}: {largest.by}"


def _asked(data: MultiBehaviorData) -> Any:
    return data.interactions.queries("test", 2, users=torch.tensor([3, 5]))
