"""KGAT equals a slow independent implementation of its equations, node by node and triple by triple."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, normalize

from sslrec_core.data import Interactions, PairBatch, Rows, Vocabulary
from sslrec_kg.data import KGData
from sslrec_kg.models import kgat
from sslrec_kg.models.kgat import KGAT
from sslrec_kg.triples import Triples

USERS, ITEMS, ENTITIES, RELATIONS, DIM = 6, 5, 8, 3, 4


@pytest.fixture
def data() -> KGData:
    generator = torch.Generator().manual_seed(0)
    users, items = torch.arange(USERS).repeat_interleave(3), torch.randint(ITEMS, (3 * USERS,), generator=generator)
    vocabularies = Vocabulary.identity(USERS), Vocabulary.identity(ITEMS)
    interactions = Interactions({"train": Rows.of(users, items, USERS, ITEMS)}, *vocabularies)
    # Item 2 and entity 7 are the head of nothing; two relations join 0 and 5.
    rows = [(0, 0, 5), (0, 1, 5), (0, 2, 6), (1, 0, 5), (3, 1, 7), (5, 2, 0), (6, 0, 1), (5, 0, 5), (4, 0, 2)]
    return KGData(interactions, Triples.of(*torch.tensor(rows).unbind(1), ENTITIES), RELATIONS)


def build(data: KGData, **options: Any) -> KGAT:
    torch.manual_seed(1)
    encoder = {"sizes": (4, 3, 2), "dropout": 0, **options.pop("encoder", {})}
    return KGAT(KGAT.Config(embedding_dim=DIM, encoder=encoder, **options), data).double()


def rows_of(data: KGData) -> list[tuple[int, int, int]]:
    """Triples and interactions both ways, users behind the entities."""
    train = data.interactions.parts["train"]
    known = zip(data.triples.heads.tolist(), data.triples.relations.tolist(), data.triples.tails.tolist(), strict=True)
    pairs = list(zip((train.row_index + ENTITIES).tolist(), train.columns.tolist(), strict=True))
    return [*known, *((u, RELATIONS, i) for u, i in pairs), *((i, RELATIONS + 1, u) for u, i in pairs)]


def attention_slowly(model: KGAT, data: KGData) -> Tensor:
    """Equations 4 and 5, ``[nodes, nodes]``."""
    nodes, relations, matrices = model.nodes.weight, model.relations.weight, model.translation.projection
    assert matrices is not None
    out = torch.zeros(len(nodes), len(nodes), dtype=torch.float64)
    for head in range(len(nodes)):
        mine = [(r, t) for h, r, t in rows_of(data) if h == head]
        if not mine:
            continue
        logits = [(nodes[t] @ matrices[r]) @ (nodes[head] @ matrices[r] + relations[r]).tanh() for r, t in mine]
        for weight, (_, t) in zip(torch.stack(logits).softmax(0), mine, strict=True):
            out[head, t] += weight
    return out


def encode_slowly(model: KGAT, attention: Tensor) -> Tensor:
    """Equations 3 and 6 to 11, ``[nodes, numbers]``."""
    x, slope = model.nodes.weight, model.config.encoder.negative_slope
    found = [x]
    for hop, linear in enumerate(model.encoder.mix):
        around = attention @ x
        if model.config.encoder.aggregator == "graphsage":
            new = leaky_relu(torch.cat([x, around], 1) @ linear.weight.T + linear.bias, slope)
        else:
            new = leaky_relu((x + around) @ linear.weight.T + linear.bias, slope)
        if model.config.encoder.aggregator == "bi-interaction":
            other = model.encoder.mix_products[hop]
            new = new + leaky_relu((x * around) @ other.weight.T + other.bias, slope)
        x = new
        found.append(normalize(x))
    return torch.cat(found, 1)


def batch(data: KGData) -> PairBatch:
    train = data.interactions.parts["train"]
    return PairBatch(train.row_index, train.columns, train.draw_absent(train.row_index, 2))


@pytest.mark.parametrize("chunk", [2, 1000])
def test_attention_equals_the_slow_way(data: KGData, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kgat, "EDGES_AT_ONCE", chunk)
    model = build(data)
    attentive = model.attentive()
    torch.testing.assert_close(attentive.dense(), attention_slowly(model, data).detach())
    assert not attentive.weight.requires_grad


@pytest.mark.parametrize("aggregator", ["bi-interaction", "gcn", "graphsage"])
def test_losses_and_gradients_equal_the_slow_way(data: KGData, aggregator: str) -> None:
    model = build(data, encoder={"aggregator": aggregator})
    given = batch(data)
    losses = model.losses(model.step(given))
    vectors = encode_slowly(model, attention_slowly(model, data).detach())
    u, p, n = vectors[given.users + ENTITIES], vectors[given.positives], vectors[given.negatives]
    ranking = -torch.nn.functional.logsigmoid((u[:, None] * (p[:, None] - n)).sum(-1)).mean()
    l2 = 1e-5 / 2 * (u.square().sum() + p.square().sum() + n.square().sum()) / len(given)
    torch.testing.assert_close(losses["ranking"], ranking)
    torch.testing.assert_close(losses["l2"], l2)
    parameters = [model.nodes.weight, *model.encoder.parameters()]
    fast, slow = (torch.autograd.grad(loss, parameters) for loss in (sum(losses.values()), ranking + l2))
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other)
    users, items = model.embeddings()
    torch.testing.assert_close(items, vectors[:ITEMS])
    torch.testing.assert_close(users, vectors[ENTITIES:])


def test_the_collaborative_graph_holds_triples_and_interactions_both_ways(data: KGData) -> None:
    triples, graph, relation = data.collaborative
    wanted = sorted(rows_of(data))
    assert torch.stack([triples.heads, triples.relations, triples.tails], 1).tolist() == [list(row) for row in wanted]
    edges = zip(graph.target.tolist(), relation.tolist(), graph.source.tolist(), strict=True)
    assert sorted(edges) == wanted


def test_attention_is_looked_at_once_an_epoch(data: KGData, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    model = build(data)
    whole = KGAT.attentive
    monkeypatch.setattr(KGAT, "attentive", lambda self: looks.append(0) or whole(self))
    for _ in range(3):
        model.step(batch(data))
    assert len(looks) == 1


def test_phases_have_optimisers_of_their_own(data: KGData) -> None:
    made: list[list[Tensor]] = []
    model = build(data, pretrain_epochs=2)
    model.optimizers(lambda parameters: made.append(list(parameters)))  # type: ignore[arg-type,return-value]
    main, kg, start = ({id(p) for p in group} for group in made)
    assert main | kg == {id(p) for p in model.parameters()}
    assert start == main & kg == {id(model.nodes.weight)}
    assert [(stage.name, stage.epochs, stage.judged) for stage in model.stages(9)] == [
        ("factorise", 2, False), ("train", 9, True),
    ]  # fmt: skip
    assert [stage.name for stage in build(data).stages(9)] == ["train"]
