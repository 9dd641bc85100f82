"""The contract of models, and their formulas with dense matrices in double precision."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor

from sslrec_core.data import Interactions, PairBatch, Rows, Vocabulary
from sslrec_core.evaluate import judging
from sslrec_core.model import Model
from sslrec_core.testing import ModelContract
from sslrec_core.testing.bench import Bench
from sslrec_social.data import SocialData
from sslrec_social.models.diffnet import DiffNet
from sslrec_social.models.dsl import DSL
from sslrec_social.models.mhcn import MHCN

Some = TypeVar("Some", bound=Model)


class TestMHCN(ModelContract):
    model = "social/mhcn"
    world = "social/checkerboard"


class TestMHCNOfTheLaterCode(ModelContract):
    """Fewer pairs in the purchase channel, and a penalty on the batch."""

    model = "social/mhcn"
    world = "social/checkerboard"
    settings = ("model.least_common=4", "model.own_items=false", "model.l2_of=batch", "model.l2=1e-4")


class TestDSL(ModelContract):
    model = "social/dsl"
    world = "social/checkerboard"
    settings = ("model.ties.weight=1", "optim.learning_rate=0.05")


class TestDiffNet(ModelContract):
    model = "social/diffnet"
    world = "social/checkerboard"
    settings = ("model.diffusion=linear",)


class TestDiffNetOfTheCode(ModelContract):
    """With the loss of the authors' code."""

    model = "social/diffnet"
    world = "social/checkerboard"
    settings = ("model.diffusion=linear", "model.ranking=squared-error", "train.negatives=4")
    epochs = 60


class TestLearntDiffNet(ModelContract):
    """As in the paper."""

    model = "social/diffnet"
    world = "social/checkerboard"
    settings = ("model.diffusion=learnt",)

    def test_side_information_pays(self) -> None:
        """Where users have one item each, their own vectors fit it before ties are needed; not where they have some."""
        world = ("data.users=1000", "data.items=1000", "train.batch_size=512")
        learning = ("model.init_std=0.01", "model.l2.weight=1e-4", "optim.learning_rate=0.005")
        found = []
        for shuffled in ("false", "true"):
            told = (*self.settings, *world, *learning, f"data.shuffled={shuffled}")
            bench = Bench.of(self.model, "social/demo", told)
            model = bench.build()
            bench.train(model, 20)
            with judging(model):
                found.append(bench.config.eval.build().evaluate(model, bench.data, "test")["recall@20"])
        assert found[0] > found[1] + 0.08


# ---- a small world


USERS, ITEMS, DIM = 12, 8, 6


@pytest.fixture
def data() -> SocialData:
    generator = torch.Generator().manual_seed(0)
    users, items = torch.arange(USERS).repeat_interleave(4), torch.randint(ITEMS, (48,), generator=generator)
    train = Rows.of(users, items, USERS, ITEMS)
    ties = torch.randint(USERS, (2, 40), generator=generator)
    one, other = ties[:, ties[0] != ties[1]]
    interactions = Interactions({"train": train}, Vocabulary.identity(USERS), Vocabulary.identity(ITEMS))
    return SocialData(interactions, Rows.of(one, other, USERS, USERS))


def build(kind: type[Some], data: SocialData, **options: Any) -> Some:
    torch.manual_seed(0)
    model = kind(kind.Config(embedding_dim=DIM, **options), data).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 2)
    return model


def dense(rows: Rows) -> Tensor:
    out = torch.zeros(len(rows), rows.n_columns, dtype=torch.double)
    out[rows.row_index, rows.columns] = 1
    return out


def pairs(data: SocialData, negatives: int = 2) -> PairBatch:
    train = data.interactions.parts["train"]
    return PairBatch(train.row_index, train.columns, train.draw_absent(train.row_index, negatives))


def compare(model: Model, fast: Tensor, slow: Tensor, silent: tuple[str, ...] = ()) -> None:
    """Values are equal, and so is the gradient of every parameter; graphs are in single precision."""
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = [torch.autograd.grad(value, parameters, allow_unused=True) for value in (fast, slow)]
    for name, one, other in zip(names, *gradients, strict=True):
        if name in silent:
            assert one is None and other is None
        else:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def bpr(users: Tensor, items: Tensor, batch: PairBatch) -> Tensor:
    """The sum over pairs and their negatives."""
    total = torch.zeros((), dtype=torch.double)
    for u, p, row in zip(batch.users.tolist(), batch.positives.tolist(), batch.negatives.tolist(), strict=True):
        total = total - sum(torch.log(torch.sigmoid(users[u] @ (items[p] - items[n]))) for n in row)
    return total


def halved(*tensors: Tensor) -> Tensor:
    return sum((tensor.square().sum() for tensor in tensors), torch.zeros(())) / 2


def row_normalised(a: Tensor) -> Tensor:
    return a / a.sum(1, keepdim=True).clamp_min(1)


# ---- MHCN


def mhcn(model: MHCN, data: SocialData) -> tuple[Tensor, Tensor]:
    """Final users and items, channel by channel."""
    w = dict(model.named_parameters())
    h = [graph @ torch.eye(USERS, dtype=torch.double) for graph in model.hypergraphs]
    y = dense(data.interactions.parts["train"])
    r = y / y.sum(1, keepdim=True).sqrt() / y.sum(0).clamp_min(1).sqrt()

    def unit(x: Tensor) -> Tensor:
        return x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)

    def gated(k: int) -> Tensor:
        x = w["users.weight"]
        return x * torch.sigmoid(x @ w[f"gates.{k}.weight"].T + w[f"gates.{k}.bias"])

    def attended(c: list[Tensor]) -> Tensor:
        scores = torch.stack([(w["query"] * (x @ w["attend.weight"].T)).sum(1) for x in c], 1)
        weight = scores.exp() / scores.exp().sum(1, keepdim=True)
        return sum((weight[:, [k]] * x for k, x in enumerate(c)), torch.zeros(()))

    c, simple, items = [gated(k) for k in range(3)], gated(3), w["items.weight"]
    sums = [*c, simple, items]
    for _ in range(model.config.layers):
        mixed = attended(c) + simple / 2
        c = [h[k] @ c[k] for k in range(3)]
        simple, items = r @ items, r.T @ mixed
        sums = [total + unit(x) for total, x in zip(sums, [*c, simple, items], strict=True)]
    return attended(sums[:3]) + sums[3] / 2, sums[4]


@pytest.mark.parametrize("l2_of", ["tables", "batch"])
@pytest.mark.parametrize("layers", [1, 3])
def test_mhcn_equals_the_slow_way(data: SocialData, layers: int, l2_of: str) -> None:
    model = build(MHCN, data, layers=layers, l2_of=l2_of, l2=0.1, infomax={"weight": 0.3})
    batch = pairs(data)
    torch.manual_seed(5)
    losses = model.losses(batch)
    users, items = mhcn(model, data)
    torch.testing.assert_close(model.embeddings().users, users, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.embeddings().items, items, rtol=1e-5, atol=1e-6)
    torch.manual_seed(5)
    views = [users * torch.sigmoid(users @ w.T + b) for w, b in ((gate.weight, gate.bias) for gate in model.views)]
    around = [graph @ torch.eye(USERS, dtype=torch.double) for graph in model.hypergraphs]
    told = sum(model.infomax(h, view) for h, view in zip(around, views, strict=True))
    tables = {id(model.users.weight), id(model.items.weight)}
    matrices = [value for value in model.parameters() if id(value) not in tables]
    rows = [users[batch.users], items[batch.positives], items[batch.negatives]]
    penalised = rows if l2_of == "batch" else [model.users.weight, model.items.weight]
    slow = bpr(users, items, batch) + told + 0.1 * halved(*matrices, *penalised)
    compare(model, sum(losses.values(), torch.zeros(())), slow)


def test_mhcn_without_a_term_does_not_compute_it(data: SocialData) -> None:
    model = build(MHCN, data, infomax={"weight": 0}, l2=0)
    assert list(model.losses(pairs(data))) == ["ranking"]
    assert not any(name.startswith("views") for name, _ in model.named_parameters())


# ---- DSL


def test_dsl_equals_the_slow_way(data: SocialData) -> None:
    options = {"ties": {"weight": 0.7}, "augmented": {"weight": 0.3, "dropout": 0}, "social": {"layers": 1}}
    model = build(DSL, data, pairs=30, l2=0.1, **options)
    batch = pairs(data)
    torch.manual_seed(5)
    losses = model.losses(batch)
    torch.manual_seed(5)
    tied = data.draw_ties(len(batch))
    one, other = torch.randint(USERS, (2, 30))

    def looped(a: Tensor) -> Tensor:
        a = a + torch.eye(len(a), dtype=torch.double)
        return a / a.sum(1, keepdim=True).sqrt() / a.sum(0).sqrt()

    y, s = dense(data.interactions.parts["train"]), looped(dense(data.ties))
    corner = [torch.zeros(size, size, dtype=torch.double) for size in (USERS, ITEMS)]
    a = looped(torch.cat([torch.cat([corner[0], y], 1), torch.cat([y.T, corner[1]], 1)]))
    x = torch.cat([model.users.weight, model.items.weight])
    nodes = x + a @ x + a @ (a @ x)
    users, items = nodes[:USERS], nodes[USERS:]
    by_ties = model.users.weight + s @ model.users.weight
    friends = PairBatch(tied.users, tied.friends, tied.strangers.unsqueeze(1))
    slow = bpr(users, items, batch) / batch.negatives.numel() + 0.7 * bpr(by_ties, by_ties, friends) / len(batch)
    slow = slow + model.augmented(users[one], users[other], by_ties[one], by_ties[other])
    slow = slow + 0.1 * halved(*model.parameters())
    compare(model, sum(losses.values(), torch.zeros(())), slow)
    torch.testing.assert_close(model.embeddings().users, users, rtol=1e-5, atol=1e-6)


def test_ties_keep_their_weights_beside_loops(data: SocialData) -> None:
    weight = torch.arange(1.0, data.ties.nnz + 1)
    weighted = SocialData(data.interactions, data.ties, weight)
    model = build(DSL, weighted)
    a = torch.eye(USERS)
    a[data.ties.row_index, data.ties.columns] = weight
    torch.testing.assert_close(model.trust.dense(), a / a.sum(1, keepdim=True).sqrt() / a.sum(0).sqrt())


# ---- DiffNet


@pytest.mark.parametrize("diffusion", ["learnt", "linear"])
@pytest.mark.parametrize("ranking", ["bpr", "squared-error"])
def test_diffnet_equals_the_slow_way(data: SocialData, diffusion: str, ranking: str) -> None:
    chosen = {"name": ranking, "reduction": "sum"}
    model = build(DiffNet, data, diffusion=diffusion, ranking=chosen, layers=2, l2={"weight": 0.2})
    batch = pairs(data)
    s, r = row_normalised(dense(data.ties)), row_normalised(dense(data.interactions.parts["train"]))
    users = hop = model.users.weight
    for layer in range(2):
        if diffusion == "learnt":
            users = (torch.cat([s @ users, users], 1) @ model.mix[layer].T).clamp_min(0)
        else:
            hop = s @ hop
            users = hop if layer == 0 else users + hop
    users, items = users + r @ model.items.weight, model.items.weight
    rows = users[batch.users], items[batch.positives], items[batch.negatives]
    slow = bpr(users, items, batch)
    if ranking == "squared-error":
        liked, others = (rows[0] * rows[1]).sum(1), (rows[0][:, None] * rows[2]).sum(2)
        slow = halved(1 - torch.sigmoid(liked), torch.sigmoid(others))
    slow = slow + 0.2 * halved(*rows) / len(batch)
    compare(model, sum(model.losses(batch).values(), torch.zeros(())), slow)
    torch.testing.assert_close(model.embeddings().users, users, rtol=1e-5, atol=1e-6)


def test_diffnet_without_penalty_does_not_compute_it(data: SocialData) -> None:
    assert list(build(DiffNet, data, l2={"weight": 0}).losses(pairs(data))) == ["ranking"]
