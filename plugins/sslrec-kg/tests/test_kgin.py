"""KGIN equals a slow independent implementation of its formulas, user by user and triple by triple."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslrec_core.data import Interactions, PairBatch, Rows, Vocabulary
from sslrec_kg.data import KGData
from sslrec_kg.models.kgin import KGIN
from sslrec_kg.objectives import Independence, distance_correlation
from sslrec_kg.triples import Triples

QUIET = {"dropout": 0, "graph_dropout": 0, "kg_dropout": 0}
USERS, ITEMS, ENTITIES, RELATIONS, DIM = 7, 5, 9, 3, 4


@pytest.fixture(autouse=True)
def _double() -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def data() -> KGData:
    generator = torch.Generator().manual_seed(0)
    users, items = (
        torch.arange(USERS - 1).repeat_interleave(3),
        torch.randint(ITEMS, (3 * (USERS - 1),), generator=generator),
    )
    vocabularies = Vocabulary.identity(USERS), Vocabulary.identity(ITEMS)
    interactions = Interactions({"train": Rows.of(users, items, USERS, ITEMS)}, *vocabularies)
    rows = {(i % 4, i % 3, (5 * i) % ENTITIES) for i in range(30)} | {(8, 0, 1), (8, 1, 1)}
    return KGData(interactions, Triples.of(*torch.tensor(sorted(rows)).unbind(1), ENTITIES), RELATIONS)


def build(data: KGData, **options: Any) -> KGIN:
    torch.manual_seed(1)
    return KGIN(KGIN.Config(embedding_dim=DIM, **{**QUIET, **options}), data)


def batch(data: KGData) -> PairBatch:
    train = data.interactions.parts["train"]
    generator = torch.Generator().manual_seed(2)
    return PairBatch(train.row_index, train.columns, train.draw_absent(train.row_index, 2, generator))


def encode_slowly(model: KGIN, data: KGData) -> tuple[Tensor, Tensor]:
    """Sections 3.1.1, 3.2 and 3.3, triple by triple."""
    paper = model.config.form == "paper"
    triples = list(
        zip(data.triples.heads.tolist(), data.triples.relations.tolist(), data.triples.tails.tolist(), strict=True)
    )
    histories = [
        data.interactions.parts["train"].select(torch.tensor([user])).columns.tolist() for user in range(USERS)
    ]
    intents = [
        sum(model.mixtures[p].softmax(0)[r] * model.relations[r] for r in range(RELATIONS))
        for p in range(model.config.intents)
    ]
    users, entities = list(model.users.weight), list(model.entities.weight)
    all_users, all_entities = list(users), list(entities)
    for _ in range(model.config.layers):
        new_users, new_entities = [], []
        for u, history in enumerate(histories):
            if not history:
                new_users.append(torch.zeros(DIM))
                continue
            keys = intents if paper else list(model.latent)
            attention = torch.stack([key @ (model.users.weight[u] if paper else users[u]) for key in keys]).softmax(0)
            gathered = sum(
                attention[p] * intent * entities[i] for p, intent in enumerate(intents) for i in history
            ) / len(history)
            plain = sum(entities[i] for i in history) / len(history)
            new_users.append(gathered if paper else gathered + plain)
        for h in range(ENTITIES):
            said = [model.relations[r] * entities[t] for head, r, t in triples if head == h]
            new_entities.append(sum(said) / len(said) if said else torch.zeros(DIM))
        users, entities = ([normalize(x, dim=0) for x in xs] for xs in (new_users, new_entities))
        all_users = [a + b for a, b in zip(all_users, users, strict=True)]
        all_entities = [a + b for a, b in zip(all_entities, entities, strict=True)]
    return torch.stack(all_users), torch.stack(all_entities[:ITEMS])


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("layers", [1, 3])
def test_encoding_equals_the_slow_way(data: KGData, form: str, layers: int) -> None:
    model = build(data, form=form, layers=layers)
    fast, slow = model.embeddings(), encode_slowly(model, data)
    torch.testing.assert_close(fast.users, slow[0])
    torch.testing.assert_close(fast.items, slow[1])


@pytest.mark.parametrize("form", ["code", "paper"])
def test_losses_of_a_step_and_their_gradients_equal_those_of_the_whole_graph(data: KGData, form: str) -> None:
    model = build(data, form=form)
    given = batch(data)
    losses = model.losses(model.step(given))
    users, items = encode_slowly(model, data)
    u, p, n = users[given.users], items[given.positives], items[given.negatives]
    ranking = -torch.nn.functional.logsigmoid((u[:, None] * (p[:, None] - n)).sum(-1)).mean()
    l2 = 1e-5 / 2 * (u.square().sum() + p.square().sum() + n.square().sum()) / len(given)
    rows = model.mixtures if form == "code" else model.intents()
    wanted = {"ranking": ranking, "independence": model.independence(rows), "l2": l2}
    for name, value in wanted.items():
        torch.testing.assert_close(losses[name], value)
    parameters = list(model.parameters())
    fast, slow = (torch.autograd.grad(sum(terms.values()), parameters) for terms in (losses, wanted))
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other)


def test_dropping_is_of_edges_and_what_is_left_weighs_more(data: KGData) -> None:
    model = build(data, graph_dropout=0.5, kg_dropout=0.5)
    torch.manual_seed(3)
    view = model.step(batch(data)).view
    whole = data.interest.dense()[view.users]
    dropped = view.interest.dense()
    assert 0 < (dropped > 0).sum() < (whole > 0).sum()
    torch.testing.assert_close(dropped[dropped > 0], 2 * whole[dropped > 0])
    sums = view.kg.dense().sum(1)
    torch.testing.assert_close(sums, (sums > 0).to(sums))
    assert (view.kg.dense() > 0).sum() < (data.paths.heads.dense() > 0).sum()
    # The last hop walks over the same edges as those before it.
    torch.testing.assert_close(view.last.dense(), view.kg.dense()[view.items])


def test_only_the_users_of_a_batch_learn_from_it(data: KGData) -> None:
    model = build(data)
    given = batch(data)
    some = PairBatch(given.users[:4], given.positives[:4], given.negatives[:4])
    sum(model.losses(model.step(some)).values()).backward()
    learnt = model.users.weight.grad.abs().sum(1) > 0
    assert learnt.nonzero().flatten().tolist() == some.users.unique().tolist()


# ---- independence


def correlation_slowly(x: Tensor, y: Tensor) -> Tensor:
    def centred(v: Tensor) -> Tensor:
        n = len(v)
        d = torch.stack([torch.stack([((v[i] - v[j]) ** 2 + 1e-8) ** 0.5 for j in range(n)]) for i in range(n)])
        rows, columns = d.sum(1) / n, d.sum(0) / n
        return torch.stack(
            [torch.stack([d[i, j] - rows[i] - columns[j] + d.sum() / n**2 for j in range(n)]) for i in range(n)]
        )

    def covariance(a: Tensor, b: Tensor) -> Tensor:
        return ((a * b).sum().clamp_min(0) / a.numel() + 1e-8) ** 0.5

    a, b = centred(x), centred(y)
    return covariance(a, b) / (covariance(a, a) * covariance(b, b) + 1e-8) ** 0.5


@pytest.mark.parametrize("form", ["distance", "cosine", "mi"])
def test_independence_by_hand(form: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6, requires_grad=True)
    total = torch.zeros(())
    for p in range(4):
        cosines = torch.stack([x[p] @ x[q] / x[p].norm() / x[q].norm() for q in range(4)])
        if form == "mi":
            total = total - (cosines[p] / 0.3).exp().log() + (cosines / 0.3).exp().sum().log()
        for q in range(p + 1, 4):
            if form == "cosine":
                total = total + cosines[q] ** 2
            if form == "distance":
                total = total + correlation_slowly(x[p], x[q])
    value = Independence(Independence.Config(form=form, weight=2, temperature=0.3))(x)
    torch.testing.assert_close(value, 2 * total)
    torch.testing.assert_close(torch.autograd.grad(value, x), torch.autograd.grad(2 * total, x))


def test_a_row_is_wholly_dependent_on_itself() -> None:
    x = torch.randn(3, 500)
    table = distance_correlation(torch.cat([x, 2 * x[:1] + 1]))
    torch.testing.assert_close(table.diagonal(), torch.ones(4), atol=1e-6, rtol=0)
    assert table[0, 3] > 0.999 and table[0, 1] < 0.2
