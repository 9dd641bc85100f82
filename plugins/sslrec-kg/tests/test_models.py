"""The contract of models, and what is KGCL's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sslrec_core.data import Interactions, PairBatch, Rows, Vocabulary
from sslrec_core.graph import SparseGraph
from sslrec_core.testing import ComponentContract, ModelContract
from sslrec_core.testing.bench import Bench
from sslrec_kg.data import KGData
from sslrec_kg.encoders import RGAT, NeighbourMix
from sslrec_kg.models.kgcl import KGCL, View, random_mask, with_triples
from sslrec_kg.objectives import Translation
from sslrec_kg.triples import Triples

QUIET = {"dropout": 0, "input_dropout": 0, "attention_dropout": 0}


class TestKGCL(ModelContract):
    model = "kg/kgcl"
    world = "kg/checkerboard"
    settings = ("optim.learning_rate=0.02", "train.batch_size=128")


class TestKGCLOnWholeGraphs(ModelContract):
    """As in the authors' later code, and with TransR."""

    model = "kg/kgcl"
    world = "kg/checkerboard"
    settings = (
        "optim.learning_rate=0.02", "train.batch_size=128",
        "model.kg_phase=transr", "model.knowledge.layers=2", "model.knowledge.normalise=true", "model.kg_draw=triples",
        "model.keep_by=interaction", "model.kg_dropout=0.3", "model.triples_per_head=none",
    )  # fmt: skip


class TestKGIN(ModelContract):
    model = "kg/kgin"
    world = "kg/checkerboard"
    settings = ("optim.learning_rate=0.02", "train.batch_size=128")
    variants = (("model.independence.form=mi",),)


class TestKGINAsInThePaper(ModelContract):
    """The equations of the paper, and mutual information."""

    model = "kg/kgin"
    world = "kg/checkerboard"
    settings = (
        "optim.learning_rate=0.02", "train.batch_size=128",
        "model.form=paper", "model.independence.form=mi", "model.layers=2",
    )  # fmt: skip


class TestKGAT(ModelContract):
    model = "kg/kgat"
    world = "kg/checkerboard"
    settings = (
        "optim.learning_rate=0.01", "train.batch_size=128", "model.kg_batch_size=256", "model.pretrain_epochs=0",
    )  # fmt: skip
    variants = (("model.pretrain_epochs=2", "model.kg_draw=heads"),)

    def bench(self, *assignments: str) -> Bench:
        """Where each user has a single item, an epoch is a step: there smaller and bolder ones."""
        bolder = ("optim.learning_rate=0.05", "train.batch_size=8", "model.kg_batch_size=32")
        return super().bench(*(bolder if "data.known=1" in assignments else ()), *assignments)


class TestRGAT(ComponentContract):
    kind = "encoder"
    component = "rgat"

    def build(self, config: Any) -> RGAT:
        return RGAT(config, 8)

    def inputs(self) -> tuple[Any, ...]:
        kg = SparseGraph.of(torch.randint(6, (40,)), torch.randint(6, (40,)), shape=(6, 6))
        return kg, torch.randint(3, (40,)), torch.randn(6, 8), torch.randn(3, 8)


class TestTranslation(ComponentContract):
    kind = "objective"
    component = "translation"

    def build(self, config: Any) -> Translation:
        return Translation(config, 8, 3)

    def inputs(self) -> tuple[Any, ...]:
        return *torch.randn(4, 7, 8).unbind(), torch.arange(7) % 3


class TestNeighbourMix(ComponentContract):
    kind = "encoder"
    component = "neighbour-mix"

    def build(self, config: Any) -> NeighbourMix:
        return NeighbourMix(config, 8)

    def inputs(self) -> tuple[Any, ...]:
        graph = SparseGraph.of(torch.randint(6, (40,)), torch.randint(6, (40,)), shape=(6, 6)).normalised("row")
        nodes = torch.tensor([4, 0])
        return graph, torch.randn(6, 8), nodes, graph.select(nodes)


class TestIndependence(ComponentContract):
    kind = "objective"
    component = "independence"
    variants = ({"form": "mi"},)

    def inputs(self) -> tuple[Any, ...]:
        return (torch.randn(4, 9),)


# ---- a small world


@pytest.fixture
def data() -> KGData:
    generator = torch.Generator().manual_seed(0)
    users, items = torch.arange(12).repeat_interleave(4), torch.randint(8, (48,), generator=generator)
    interactions = Interactions(
        {"train": Rows.of(users, items, 12, 8)}, Vocabulary.identity(12), Vocabulary.identity(8)
    )
    rows = {(i % 8, i % 3, 8 + i % 5) for i in range(40)} | {(8, 3, 9), (9, 4, 2)}
    heads, relations, tails = torch.tensor(sorted(rows)).unbind(1)
    return KGData(interactions, Triples(heads, relations, tails, 14), 5)


def build(data: KGData, **options: Any) -> KGCL:
    torch.manual_seed(0)
    return KGCL(KGCL.Config(embedding_dim=6, **options), data)


def pairs(data: KGData) -> PairBatch:
    train = data.interactions.parts["train"]
    return PairBatch(train.row_index, train.columns, train.draw_absent(train.row_index, 1))


# ---- attention


def attend_slowly(encoder: RGAT, data: KGData, x: Tensor, relations: Tensor) -> Tensor:
    """One hop, triple by triple: KGCL, section 3.1."""
    out = []
    rows = list(
        zip(data.triples.heads.tolist(), data.triples.relations.tolist(), data.triples.tails.tolist(), strict=True)
    )
    for head in range(data.n_entities):
        mine = [(relation, tail) for h, relation, tail in rows if h == head]
        if not mine:
            out.append(x[head])
            continue
        logits = [relations[r] @ encoder.attend(torch.cat([x[head], x[t]])) for r, t in mine]
        weights = torch.nn.functional.leaky_relu(torch.stack(logits), 0.2).softmax(0)
        out.append(x[head] + sum(w * x[t] for w, (_, t) in zip(weights, mine, strict=True)))
    return torch.stack(out)


@pytest.mark.parametrize("tables", [0, 1000])
def test_attention_equals_the_slow_way(data: KGData, tables: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslrec_kg.encoders.TABLES", tables)
    encoder = RGAT(RGAT.Config(**QUIET), 6)
    x, relations = torch.randn(14, 6, requires_grad=True), torch.randn(5, 6, requires_grad=True)
    fast, slow = encoder(data.kg, data.relation, x, relations), attend_slowly(encoder, data, x, relations)
    torch.testing.assert_close(fast, slow)
    weights = torch.randn_like(fast)
    learns = (x, relations, encoder.attend.weight)
    for one, other in zip(*(torch.autograd.grad((y * weights).sum(), learns) for y in (fast, slow)), strict=True):
        torch.testing.assert_close(one, other)


def test_one_hop_needs_the_edges_into_items_alone(data: KGData) -> None:
    encoder = RGAT(RGAT.Config(**QUIET), 6)
    x, relations = torch.randn(14, 6), torch.randn(5, 6)
    whole = encoder(data.kg, data.relation, x, relations)
    torch.testing.assert_close(encoder(data.item_kg, data.item_relation, x, relations), whole[: data.n_items])


@pytest.mark.parametrize("readout", ["last", "sum"])
def test_hops_add_up(data: KGData, readout: str) -> None:
    x, relations = torch.randn(14, 6), torch.randn(5, 6)
    one = RGAT(RGAT.Config(**QUIET), 6)
    two = RGAT(RGAT.Config(layers=2, readout=readout, **QUIET), 6)
    two.load_state_dict(one.state_dict())
    first = one(data.kg, data.relation, x, relations)
    second = one(data.kg, data.relation, first, relations)
    wanted = second if readout == "last" else x + first + second
    torch.testing.assert_close(two(data.kg, data.relation, x, relations), wanted)


def test_without_residual_an_entity_is_what_its_neighbours_say(data: KGData) -> None:
    encoder = RGAT(RGAT.Config(residual=False, **QUIET), 6)
    x = torch.ones(14, 6)
    known = torch.bincount(data.triples.heads, minlength=14) > 0
    torch.testing.assert_close(encoder(data.kg, data.relation, x, torch.randn(5, 6)), x * known[:, None])


# ---- triples


@pytest.mark.parametrize("projected", [0, 5])
def test_translation_by_hand(projected: int) -> None:
    objective = Translation(Translation.Config(weight=2, l2=0.1), 3, projected)
    h, r, t, c = torch.randn(4, 7, 3).unbind()
    relation = torch.arange(7) % 5
    total = torch.zeros(())
    for k in range(7):
        matrix = torch.eye(3) if objective.projection is None else objective.projection[relation[k]]
        head, tail, corrupted = (v[k] @ matrix for v in (h, t, c))
        gain = (head + r[k] - corrupted).square().sum() - (head + r[k] - tail).square().sum()
        lengths = sum(v.square().sum() / 2 for v in (head, r[k], tail, corrupted))
        total = total - torch.nn.functional.logsigmoid(gain) + 0.1 * lengths
    torch.testing.assert_close(objective(h, r, t, c, relation), 2 * total / 7)


def test_phases_have_optimisers_of_their_own(data: KGData) -> None:
    made: list[list[Tensor]] = []
    model = build(data, kg_phase="transr")
    model.optimizers(lambda parameters: made.append(list(parameters)))  # type: ignore[arg-type,return-value]
    main, kg = made
    assert {id(p) for p in main} | {id(p) for p in kg} == {id(p) for p in model.parameters()}
    assert {id(p) for p in kg} == {
        id(model.entities.weight),
        id(model.relations.weight),
        id(model.translation.projection),
    }
    assert list(build(data, kg_phase="none").optimizers(lambda _: None)) == ["main"]  # type: ignore[arg-type,return-value]


# ---- views


def test_trust_follows_agreement(data: KGData) -> None:
    model = build(data, keep=0.6)
    one = torch.randn(8, 6)
    other = one.clone()
    other[3] = -other[3]
    chance = model.keep_chance(one, other)
    assert chance.argmin() == 3
    torch.testing.assert_close(chance[3] / chance[0], torch.tensor(0.3))
    assert chance.max() <= 0.95
    assert build(data, guided=False, keep=0.6).keep_chance(one, other).unique().item() == pytest.approx(0.6)


def test_equal_agreement_is_no_division_by_zero(data: KGData) -> None:
    one = torch.randn(8, 6)
    assert build(data).keep_chance(one, one).isfinite().all()


def test_items_are_kept_or_dropped_as_a_whole(data: KGData) -> None:
    items = data.interactions.parts["train"].columns
    mask = build(data, keep_by="item").kept(torch.full((8,), 0.5))
    assert all(len(mask[items == item].unique()) == 1 for item in items.unique())
    torch.manual_seed(1)
    mask = build(data, keep_by="interaction").kept(torch.full((8,), 0.5))
    assert any(len(mask[items == item].unique()) == 2 for item in items.unique())


def test_views_keep_relations_beside_their_triples(data: KGData) -> None:
    model = build(data, triples_per_head=2)
    known = set(
        zip(data.triples.heads.tolist(), data.triples.relations.tolist(), data.triples.tails.tolist(), strict=True)
    )
    plain, *views = model.draw_views()
    assert torch.bincount(plain.kg.target).max() <= 2
    for view in (plain, *views):
        edges = zip(view.kg.target.tolist(), view.relation.tolist(), view.kg.source.tolist(), strict=True)
        assert set(edges) <= known
        assert view.kg.n_edges == len(view.relation)
    assert plain.graph is data.graph


def test_views_are_normalised_by_what_is_left(data: KGData) -> None:
    model = build(data)
    mask = torch.rand(data.interactions.parts["train"].nnz) < 0.5
    matrix = model.with_interactions(model.whole, mask).graph.dense()
    degree = (matrix > 0).sum(1)
    wanted = (degree[:, None] * degree[None]).float().rsqrt() * (matrix > 0)
    torch.testing.assert_close(matrix, wanted.nan_to_num(0))


def test_thinning_is_by_the_mask(data: KGData) -> None:
    view = View(data.graph, data.kg, data.relation)
    mask = torch.arange(data.kg.n_edges) % 2 == 0
    thin = with_triples(view, mask)
    assert torch.equal(thin.kg.source, data.kg.source[mask])
    assert torch.equal(thin.relation, data.relation[mask])
    assert random_mask(data.kg, 0.0).all()


def test_contrast_is_against_everybody_or_the_batch(data: KGData) -> None:
    quiet = {"knowledge": QUIET, "graph_dropout": 0, "view_dropout": 0, "triples_per_head": None}
    batch = pairs(data)
    model = build(data, **quiet)
    _, one, other = model.draw_views()
    a, b = model.encode(one), model.encode(other)

    def loss(rows: Tensor, x: Tensor, y: Tensor, candidates: Tensor) -> Tensor:
        x, y, candidates = (torch.nn.functional.normalize(v) for v in (x[rows], y[rows], candidates))
        return 0.1 * ((x @ candidates.T / 0.2).logsumexp(1) - (x * y).sum(1) / 0.2).sum()

    u, p = batch.users, batch.positives
    wanted = {
        "all": loss(u, a.users, b.users, b.users) + loss(p, a.items, b.items, b.items),
        "batch": loss(u, a.users, b.users, b.users[u]) + loss(p, a.items, b.items, b.items[p]),
    }
    for candidates, value in wanted.items():
        same = build(data, contrast_with=candidates, **quiet)
        same._epoch_views = [View(data.graph, *one[1:]), one, other]
        torch.testing.assert_close(same.losses(batch)["contrast"], value)
