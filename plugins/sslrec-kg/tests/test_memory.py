"""No step, no epoch's start and no scoring holds users x users, users x items or entities x entities."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sslrec_core.data import Interactions, Rows, Vocabulary
from sslrec_core.model import Model
from sslrec_core.settings import OptimConfig, TrainConfig
from sslrec_core.testing.guards import LargestTensor, OneStepLoop
from sslrec_kg.data import KGData
from sslrec_kg.evaluators import LinkPrediction
from sslrec_kg.models.kgat import KGAT
from sslrec_kg.models.kgcl import KGCL
from sslrec_kg.models.kgin import KGIN
from sslrec_kg.triples import Triples

USERS, ITEMS, ENTITIES, RELATIONS, DIM = 200_000, 20_000, 100_000, 8, 4
INTERACTIONS, TRIPLES, BATCH = 300_000, 100_000, 256


@pytest.fixture(scope="module")
def data() -> KGData:
    generator = torch.Generator().manual_seed(0)

    def some(most: int, count: int) -> Tensor:
        return torch.randint(most, (count,), generator=generator)

    rows = Rows.of(some(USERS, INTERACTIONS), some(ITEMS, INTERACTIONS), USERS, ITEMS)
    interactions = Interactions({"train": rows}, Vocabulary.identity(USERS), Vocabulary.identity(ITEMS))
    heads, relations, tails = some(ENTITIES, TRIPLES), some(RELATIONS, TRIPLES), some(ENTITIES, TRIPLES)
    return KGData(interactions, Triples.of(heads, relations, tails, ENTITIES), RELATIONS)


MODELS: dict[str, tuple[type[Model], dict[str, Any]]] = {
    "kgin": (KGIN, {"layers": 2}),
    "kgat": (KGAT, {"encoder": {"sizes": (4, 4)}, "kg_batch_size": BATCH}),
    "kgcl": (KGCL, {"kg_phase": "transr", "kg_batch_size": BATCH}),
}


@pytest.mark.parametrize("name", MODELS)
def test_tensors_are_as_large_as_tables_and_edges(name: str, data: KGData) -> None:
    kind, options = MODELS[name]
    torch.manual_seed(0)
    model = kind(kind.Config(embedding_dim=DIM, **options), data)
    loop = OneStepLoop(model, TrainConfig(batch_size=BATCH), OptimConfig(), torch.device("cpu"))
    with LargestTensor() as largest:
        model.epoch(loop)
        model.eval()
        with torch.no_grad():
            model.scorer()
        if name != "kgin":
            LinkPrediction(LinkPrediction.Config(triples="known", sample=2000)).evaluate(model, data, "test")
    # Tables of nodes, values of edges, or one portion of scores and contrasts.  The smallest of the matrices that must
    # not be, users by items, has 16,000,000,000 bytes.
    tables, edges = (USERS + ENTITIES) * 4 * DIM * 4, (2 * INTERACTIONS + 2 * TRIPLES) * DIM * 8
    allowed = max(tables, edges, 2**26)
    assert 0 < largest.bytes <= allowed, f"{largest.by} has {largest.bytes:,} bytes, more than {allowed:,}"
