"""What models compute, against slow implementations with loops and dense matrices, in double precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.data import Interactions, Queries, Rows, Vocabulary
from sslrec_mbehavior import prediction
from sslrec_mbehavior.baselines import AnyItemKNN, SeenNotBought
from sslrec_mbehavior.data import Behaviour, MultiBehaviorBatch, MultiBehaviorData
from sslrec_mbehavior.meta import BehaviourAttention, MetaKnowledge
from sslrec_mbehavior.models import mbgmn
from sslrec_mbehavior.models.cml import CML, separated
from sslrec_mbehavior.models.crgcn import CRGCN
from sslrec_mbehavior.models.mbgmn import MBGMN
from sslrec_mbehavior.prediction import MetaPredictor
from sslrec_mbehavior.weighing import Weigher

USERS, ITEMS = 7, 9


@pytest.fixture(autouse=True)
def _doubles() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def behaviour(name: str, share: float) -> Behaviour:
    users, items = (torch.rand(USERS, ITEMS) < share).nonzero().T
    rows = Rows.of(users, items, USERS, ITEMS)
    return Behaviour(name, rows, torch.randint(1, 5, (rows.nnz,)), torch.randint(100, (rows.nnz,)))


@pytest.fixture
def data() -> MultiBehaviorData:
    others = (behaviour("view", 0.5), behaviour("cart", 0.2))
    train = behaviour("buy", 0.3).rows
    interactions = Interactions({"train": train}, Vocabulary.identity(USERS), Vocabulary.identity(ITEMS))
    return MultiBehaviorData(interactions, "buy", others)


def batch_of(data: MultiBehaviorData, draws: int = 2, negatives: int = 2) -> MultiBehaviorBatch:
    return next(iter(data.user_batches(USERS, draws, negatives)))


def matrices(data: MultiBehaviorData, normalise: bool = True) -> list[Tensor]:
    """The square matrix of each behaviour, entry by entry."""
    found = []
    for rows in data.rows:
        r = torch.zeros(USERS, ITEMS)
        r[rows.row_index, rows.columns] = 1
        a = torch.zeros(USERS + ITEMS, USERS + ITEMS)
        a[:USERS, USERS:], a[USERS:, :USERS] = r, r.T
        degree = a.sum(1)
        for i, j in a.nonzero().tolist():
            if normalise:
                a[i, j] /= (degree[i] * degree[j]).sqrt()
        found.append(a)
    return found


def gradients(value: Tensor, parameters: Any) -> list[Tensor]:
    given = torch.autograd.grad(value, list(parameters), allow_unused=True, retain_graph=True)
    return [torch.zeros(()) if each is None else each for each in given]


def same_with_gradients(one: Tensor, other: Tensor, parameters: Any) -> None:
    torch.testing.assert_close(one, other)
    parameters = list(parameters)
    for mine, its in zip(gradients(one, parameters), gradients(other, parameters), strict=True):
        torch.testing.assert_close(mine, its)


# ---- CRGCN


def test_crgcn_by_hand(data: MultiBehaviorData) -> None:
    model = CRGCN(CRGCN.Config(embedding_dim=4, layers=2, l2={"weight": 0.1}), data)
    with torch.no_grad():
        model.bias.normal_()
    batch = batch_of(data, 1, 1)
    handed, total = model.nodes, torch.zeros(())
    for k, a in enumerate(matrices(data)):
        x = handed
        for layer in range(2):
            x = a @ x + model.bias[k, layer]
        handed = handed + x / x.norm(dim=1, keepdim=True)
        for u, p, n in zip(*(each.tolist() for each in vars(batch.pairs[k]).values()), strict=True):
            gap = handed[u] @ (handed[USERS + p] - handed[USERS + n[0]])
            total = total - torch.nn.functional.logsigmoid(gap) / len(batch.users)
    total = total + 0.1 / ITEMS * (model.nodes[:USERS].norm() + model.nodes[USERS:].norm())
    same_with_gradients(sum(model.losses(batch).values()), total, model.parameters())
    users, items = model.embeddings()
    torch.testing.assert_close(torch.cat([users, items]), handed)


# ---- CML


def cml(data: MultiBehaviorData, **options: Any) -> CML:
    return CML(
        CML.Config(**{"embedding_dim": 4, "dropout": 0, "contrast_share": 1.0, "contrast_block": 2, **options}), data
    )


def encoded_slowly(model: CML, data: MultiBehaviorData) -> tuple[Tensor, Tensor, Tensor]:
    own = model.encoder
    users, items = own.users, own.items
    layers: list[list[Tensor]] = [[], [], []]
    for of_users, of_items in zip(own.of_users, own.of_items, strict=True):
        messages = [a @ torch.cat([users, items]) for a in matrices(data, model.config.normalise)]
        together = sum(messages) / len(messages)
        users, items = torch.sigmoid(together[:USERS] @ of_users), torch.sigmoid(together[USERS:] @ of_items)
        alone = torch.stack([torch.sigmoid(m[:USERS] @ of_users) for m in messages])
        for kept, new in zip(layers, (users, items, alone), strict=True):
            kept.append(new)
    users, items, alone = (torch.cat(each, -1) for each in layers)
    return users @ own.users_out, items @ own.items_out, alone @ own.users_out


@pytest.mark.parametrize("normalise", [True, False])
def test_cml_encodes_as_dense_matrices_do(data: MultiBehaviorData, normalise: bool) -> None:
    model = cml(data, normalise=normalise)
    for mine, its in zip(model.encoder(model.graphs), encoded_slowly(model, data), strict=True):
        same_with_gradients((mine**2).sum(), (its**2).sum(), model.encoder.parameters())


def test_cml_losses_row_by_row(data: MultiBehaviorData) -> None:
    model = cml(data, temperature=3.0)
    batch = batch_of(data)
    users, items, alone = encoded_slowly(model, data)
    encoded = model.encoder(model.graphs)
    rankings = model.rankings(encoded, batch)
    for pairs, ranking in zip(batch.pairs, rankings, strict=True):
        for row, (u, p) in enumerate(zip(pairs.users.tolist(), pairs.positives.tolist(), strict=True)):
            gaps = [users[u] @ (items[p] - items[n]) for n in pairs.negatives[row].tolist()]
            torch.testing.assert_close(ranking[row], sum(-F.logsigmoid(gap) for gap in gaps) / len(gaps))
    sampled = torch.tensor([3, 0, 5, 3, 1, 6, 0])
    contrasts = model.contrasts(encoded, sampled)
    for k in range(3):
        for row, u in enumerate(sampled.tolist()):
            block = {int(sampled[at]) for at in (row - row % 2, row - row % 2 + 1) if at < len(sampled)}
            others = sorted(set(sampled.tolist()) - block)
            together = (alone[-1, u] @ alone[k, u] / 3).exp()
            apart = sum((alone[-1, u] @ alone[k, v] / 3).exp() for v in others)
            torch.testing.assert_close(contrasts[k, row], -(together / apart).log())


def test_nobody_to_be_told_apart_from_is_no_loss(data: MultiBehaviorData) -> None:
    assert torch.equal(separated(torch.tensor([4, 4, 4]), 1), torch.eye(3, dtype=torch.bool))
    model = cml(data)
    assert model.contrasts(model.encoder(model.graphs), torch.tensor([2, 2])).abs().max() == 0


def test_weights_by_hand() -> None:
    weigher = Weigher(4, 0.0)
    losses, own, general = torch.rand(5), torch.randn(5, 4), torch.randn(5, 4)

    def normed(x: Tensor) -> Tensor:
        return torch.sigmoid(F.batch_norm(x[:, None], None, None, training=True).squeeze(1))

    def looks(head: Any, order: tuple[Tensor, Tensor], times: Tensor) -> tuple[Tensor, Tensor]:
        first, second, third = head
        beside = torch.cat([losses[:, None].repeat(1, 4), *order], 1)
        one = 12**0.5 * second(F.prelu(first(beside), torch.tensor([0.25]))).squeeze(1)
        other = F.prelu(third(losses[:, None] * times), torch.tensor([0.25])).squeeze(1)
        return normed(one), normed(other)

    one, other = looks(weigher.contrast, (own, general), torch.cat([own, general], 1))
    torch.testing.assert_close(weigher.contrasts(losses, own, general), (one + other) / 2)
    one, other = looks(weigher.ranking, (general, own), general)
    torch.testing.assert_close(weigher.rankings(losses, own, general), one + other)
    assert weigher.rankings(losses[:0], own[:0], general[:0]).shape == (0,)


def test_weighted_losses_add_up(data: MultiBehaviorData) -> None:
    model = cml(data, contrast_weight=0.3, l2={"weight": 0.2})
    batch, sampled = batch_of(data), torch.arange(USERS)
    encoded = model.encoder(model.graphs)
    rankings, contrasts = model.rankings(encoded, batch), model.contrasts(encoded, sampled)
    total = torch.zeros(())
    for k, pairs in enumerate(batch.pairs):
        own = encoded.of_behaviour[k]
        weights = model.weigher.rankings(rankings[k], own[pairs.users], encoded.users[pairs.users])
        total = total + (weights * rankings[k]).sum() / 3 / len(batch)
        weights = model.weigher.contrasts(contrasts[k], own, encoded.users)
        total = total + 0.3 * (weights * contrasts[k]).sum() / 3 / len(batch)
    pairs = batch.pairs[-1]
    lengths = encoded.users[pairs.users].square().sum() + encoded.items[pairs.positives].square().sum()
    total = total + 0.2 / 2 / len(pairs) * (lengths + encoded.items[pairs.negatives].square().sum())
    same_with_gradients(sum(model.total(encoded, batch, sampled, through=True).values()), total, model.parameters())


def looked_ahead(model: CML, batch: MultiBehaviorBatch, judges: MultiBehaviorBatch, rate: float) -> Tensor:
    """The meta loss, with the step ahead taken on a second model."""
    torch.manual_seed(5)
    sampled = model.sampled(batch)
    value = sum(model.total(model.encoder(model.graphs), batch, sampled).values())
    slopes = torch.autograd.grad(value, list(model.encoder.parameters()))
    ahead = CML(model.config, model.data)
    ahead.load_state_dict(model.state_dict())
    with torch.no_grad():
        for parameter, slope in zip(ahead.encoder.parameters(), slopes, strict=True):
            parameter -= rate * slope
    weigh = model.config.weigh_meta_loss
    return sum(ahead.total(ahead.encoder(ahead.graphs), judges, judges.users, weigh).values())


@pytest.mark.parametrize("weigh", [True, False])
def test_the_meta_gradient_is_that_of_looking_ahead(data: MultiBehaviorData, weigh: bool) -> None:
    model = cml(data, inner_learning_rate=3.0, weigh_meta_loss=weigh)
    batch, judges = batch_of(data), batch_of(data, 3)
    torch.manual_seed(5)
    value = model.meta_loss(batch, judges)
    torch.testing.assert_close(value, looked_ahead(model, batch, judges, 3.0))
    parameters = dict(model.weigher.named_parameters())
    found = dict(zip(parameters, torch.autograd.grad(value, list(parameters.values())), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    step = 1e-5
    for name, place in (
        ("ranking.2.weight", (0, 1)),
        ("contrast.0.weight", (2, 3)),
        ("bend.weight", (0,)),
        ("shift", ()),
    ):
        changed = []
        for sign in (1, -1):
            parameters[name].data[place] += sign * step
            changed.append(looked_ahead(model, batch, judges, 3.0).item())
            parameters[name].data[place] -= sign * step
        difference = (changed[0] - changed[1]) / (2 * step)
        assert found[name][place].item() == pytest.approx(difference, rel=1e-4, abs=1e-9), name
        assert difference


def test_the_first_order_leaves_the_step_out(data: MultiBehaviorData) -> None:
    slopes = []
    batch, judges = batch_of(data), batch_of(data, 3)
    for first_order in (True, False):
        torch.manual_seed(0)
        model = cml(data, inner_learning_rate=3.0, first_order=first_order)
        torch.manual_seed(5)
        value = model.meta_loss(batch, judges)
        slopes.append((value.item(), torch.autograd.grad(value, model.weigher.shift)[0].item()))
    assert slopes[0][0] == slopes[1][0]
    assert slopes[0][1] != slopes[1][1]


def test_weights_that_learn_from_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="would learn from nothing"):
        CML.Config(first_order=True, weigh_meta_loss=False)


# ---- MB-GMN


def test_meta_knowledge_node_by_node() -> None:
    knowledge = MetaKnowledge(4, 2)
    nodes, near, kind = torch.randn(5, 4), torch.randn(5, 4), torch.randn(4)
    out = knowledge(nodes, near, kind, 3)
    for row in range(5):
        own = knowledge.of_users if row < 3 else knowledge.of_items
        meta = F.leaky_relu(knowledge.context(torch.cat([kind, nodes[row], near[row]])), 0.1)
        changed = nodes[row] @ own.first(meta).view(4, 2) @ own.second(meta).view(2, 4)
        torch.testing.assert_close(out[row], torch.cat([changed, nodes[row]]))


def test_attention_node_by_node() -> None:
    attention, messages = BehaviourAttention(6, 2), torch.randn(3, 5, 6)
    out = attention(messages)
    for node in range(5):
        total = messages[:, node].sum(0)
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            keys, values = (messages[:, node] @ attention.project)[:, part], messages[:, node, part]
            weights = (keys @ keys.T / 3**0.5).softmax(1)
            total = total + F.pad((weights @ values).sum(0), (3 * head, 3 - 3 * head))
        torch.testing.assert_close(out[node], total)


def predicted(predictor: MetaPredictor, u: Tensor, i: Tensor, tu: Tensor, ti: Tensor) -> Tensor:
    """The score of one pair."""

    def act(x: Tensor) -> Tensor:
        return torch.maximum(0.1 * x, x)

    f, g = torch.cat([u * i, u, i]), torch.cat([tu * ti, tu, ti])
    s, t = act(predictor.pair(f)), act(predictor.pair(g))
    m = act(predictor.meta(torch.cat([s * t, s, t])))
    matrix = predictor.matrix(m).view(3 * len(u), len(u))
    return act(f @ matrix + predictor.bias(m)) @ predictor.vector(m)


def test_predictions_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = MetaPredictor(4)
    u, i, tu, ti = torch.randn(4, 11, 4, requires_grad=True).unbind()
    one = predictor(u, i, tu, ti)
    slow = torch.stack([predicted(predictor, *each) for each in zip(u, i, tu, ti, strict=True)])
    monkeypatch.setattr(prediction, "AT_ONCE", 3)
    portions = predictor(u, i, tu, ti)
    torch.testing.assert_close(portions, one)
    for mine in (one, portions):
        same_with_gradients(mine.square().sum(), slow.square().sum(), [u, ti, *predictor.parameters()])


@pytest.mark.parametrize("predictor", ["meta", "dot"])
def test_mbgmn_by_hand(data: MultiBehaviorData, predictor: str) -> None:
    model = MBGMN(MBGMN.Config(embedding_dim=4, rank=2, layers=2, l2=0.1, scale=5.0, predictor=predictor), data)
    a, n = matrices(data), USERS
    near = [each @ model.nodes for each in a]
    encoded = []
    for k in range(3):
        x = [model.knowledge(model.nodes, near[k], model.behaviours[k], n)]
        for _ in range(2):
            x.append(F.leaky_relu(a[k] @ x[-1], 0.1) + x[-1])
        encoded.append(sum(x))
    x = [model.knowledge(model.nodes, sum(near), model.behaviours[3], n)]
    for of_users, of_items in zip(model.of_users, model.of_items, strict=True):
        said = torch.stack([F.leaky_relu(each @ x[-1], 0.1) for each in a])
        x.append(torch.cat([of_users(said[:, :n]), of_items(said[:, n:])]))
    encoded.append(sum(x))

    def score(source: Tensor, target: Tensor, u: int, i: int) -> Tensor:
        pair = source[u], source[n + i]
        return (
            pair[0] @ pair[1]
            if model.predictor is None
            else predicted(model.predictor, *pair, target[u], target[n + i])
        )

    batch = batch_of(data)
    total = torch.zeros(())
    for target, pairs in enumerate(batch.pairs):
        for source in range(4):
            for u, p, others in zip(
                pairs.users.tolist(), pairs.positives.tolist(), pairs.negatives.tolist(), strict=True
            ):
                for other in others:
                    gap = score(encoded[source], encoded[target], u, p) - score(
                        encoded[source], encoded[target], u, other
                    )
                    total = total + torch.clamp(1 - 5 * gap, min=0) / pairs.negatives.numel()
    free = {"behaviours", "knowledge.context.bias"}
    free |= {f"predictor.{name}.bias" for name in ("pair", "meta", "bias")}
    for name, value in model.named_parameters():
        total = total + (0 if name in free else 0.1 * value.square().sum())
    same_with_gradients(sum(model.losses(batch).values()), total, model.parameters())
    queries = Queries(torch.tensor([4, 1]), Rows.empty(2, ITEMS), Rows.empty(2, ITEMS))
    with torch.no_grad():
        wanted = torch.stack([torch.stack([score(encoded[3], encoded[2], u, i) for i in range(ITEMS)]) for u in (4, 1)])
        torch.testing.assert_close(model.scorer()(queries), wanted)


def test_scores_do_not_depend_on_portions(data: MultiBehaviorData, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MBGMN(MBGMN.Config(embedding_dim=4, rank=2), data)
    queries = Queries(torch.arange(USERS), Rows.empty(USERS, ITEMS), Rows.empty(USERS, ITEMS))
    with torch.no_grad():
        whole = model.scorer()(queries)
        monkeypatch.setattr(mbgmn, "PAIRS_AT_ONCE", 4)
        torch.testing.assert_close(model.scorer()(queries), whole)


# ---- the baselines


def test_any_itemknn_counts_users_who_did_anything(data: MultiBehaviorData) -> None:
    model = AnyItemKNN(AnyItemKNN.Config(similarity="overlap", neighbours=ITEMS), data)
    model.compute()
    met = torch.zeros(USERS, ITEMS)
    for rows in data.rows:
        met[rows.row_index, rows.columns] = 1
    common = met.T @ met
    scores = model.scorer()(Queries(torch.arange(USERS), Rows.empty(USERS, ITEMS), Rows.empty(USERS, ITEMS)))
    torch.testing.assert_close(scores.double(), (met @ common.fill_diagonal_(0)).double())


@pytest.mark.parametrize(
    "order", [("behaviour", "latest", "frequent", "popular"), ("frequent", "popular", "latest"), ("popular",)]
)
def test_seen_and_not_bought_comes_first_in_order(data: MultiBehaviorData, order: Any) -> None:
    rule = SeenNotBought(SeenNotBought.Config(order=order), data)
    rule.compute()
    train = data.interactions.parts["train"]
    popularity = torch.bincount(train.columns, minlength=ITEMS).tolist()
    scores = rule.scorer()(Queries(torch.arange(USERS), Rows.empty(USERS, ITEMS), Rows.empty(USERS, ITEMS)))
    for user in range(USERS):
        facts: dict[int, dict[str, float]] = {}
        for place, each in enumerate(data.others):
            assert each.times is not None
            for row, item, count, time in zip(each.rows.row_index.tolist(), each.rows.columns.tolist(),
                                              each.counts.tolist(), each.times.tolist(), strict=True):  # fmt: skip
                if row == user:
                    known = facts.setdefault(
                        item, {"behaviour": 0, "latest": 0, "frequent": 0, "popular": popularity[item]}
                    )
                    known["behaviour"] = max(known["behaviour"], place)
                    known["latest"] = max(known["latest"], time)
                    known["frequent"] += count
        bought = set(train.columns[train.row_index == user].tolist())
        fresh = [item for item in facts if item not in bought]
        ranked = scores[user].argsort(descending=True)[: len(fresh)].tolist()
        assert set(ranked) == set(fresh)
        keys = [tuple(facts[item][name] for name in order) for item in ranked]
        assert keys == sorted(keys, reverse=True)
        rest = [item for item in range(ITEMS) if item not in fresh]
        torch.testing.assert_close(
            scores[user, rest], torch.tensor([popularity[i] / (USERS + 1) for i in rest], dtype=torch.float32)
        )
