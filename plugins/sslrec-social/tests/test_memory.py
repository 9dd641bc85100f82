"""Nothing as large as users by users or users by items, beyond a chunk: a step and a query among 200,000 users."""

from __future__ import annotations

import tracemalloc

import pytest
import torch
from torch import Tensor

from sslrec_core.data import Interactions, Rows, Vocabulary
from sslrec_core.loop import Loop
from sslrec_core.registry import registry
from sslrec_core.settings import OptimConfig, TrainConfig
from sslrec_core.testing.guards import LargestTensor
from sslrec_social.data import SocialData

USERS, ITEMS, DIM = 200_000, 20_000, 8
BOUGHT, TIES = 800_000, 800_000
BUDGET = 2**30
"""Bytes that arrays of a model in the making may take; a square of users in single precision is 160 billion."""


@pytest.fixture(scope="module")
def data() -> SocialData:
    generator = torch.Generator().manual_seed(0)

    def drawn(n: int, below: int) -> Tensor:
        # The first ones are more popular than the others.
        return (torch.rand(n, generator=generator) ** 1.5 * below).long()

    # Everybody has an item, so that every user is in every graph.
    users = torch.cat([torch.arange(USERS), torch.randint(USERS, (BOUGHT - USERS,), generator=generator)])
    train = Rows.of(users, drawn(BOUGHT, ITEMS), USERS, ITEMS)
    one, other = torch.randint(USERS, (TIES,), generator=generator), drawn(TIES, USERS)
    apart = one != other
    interactions = Interactions({"train": train}, Vocabulary.identity(USERS), Vocabulary.identity(ITEMS))
    return SocialData(interactions, Rows.of(one[apart], other[apart], USERS, USERS))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mhcn", "dsl", "diffnet"])
def test_a_step_holds_nothing_as_large_as_a_square(data: SocialData, name: str) -> None:
    kind = registry().find("model", f"social/{name}").load()
    tracemalloc.start()
    try:
        model = kind(kind.Config(embedding_dim=DIM), data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < BUDGET, f"{peak / 2**20:.0f} MiB"
    train = TrainConfig(batch_size=1024)
    loop = Loop(model, train, OptimConfig(), torch.device("cpu"))
    batch = next(iter(data.batches(train)))
    query = next(iter(data.queries("test", 64, users=torch.arange(64))))
    with LargestTensor() as largest:
        loop.minimise(model.losses(batch))
        with torch.no_grad():
            assert model.scorer()(query).shape == (64, ITEMS)
    edges = [graph.shared.n_edges for graph in getattr(model, "hypergraphs", ())]
    numbers = max(4 * (USERS + ITEMS) * DIM, *edges, 2 * data.graph.n_edges)
    assert largest.bytes <= 8 * numbers, f"{largest.by} has {largest.bytes:,} bytes"
