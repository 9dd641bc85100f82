"""The models: the shipped contract, and losses beside their formulas written out on a graph of twelve edges."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from sslrec_cf.models.lightgcn import LightGCN
from sslrec_cf.models.sgl import SGL
from sslrec_cf.models.xsimgcl import XSimGCL
from sslrec_cf.nodes import distinct, gather, node_table, pair_nodes
from sslrec_core.data import PairBatch
from sslrec_core.errors import ConfigError
from sslrec_core.graph import SparseGraph
from sslrec_core.testing import ModelContract

USERS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4])
ITEMS = torch.tensor([0, 1, 2, 1, 3, 0, 4, 5, 5, 6, 2, 6])
N_USERS, N_ITEMS = 5, 7


class TestLightGCN(ModelContract):
    model = "cf/lightgcn"
    world = "cf/checkerboard"
    side_information = False


class TestSGL(ModelContract):
    model = "cf/sgl"
    world = "cf/checkerboard"
    side_information = False


class TestXSimGCL(ModelContract):
    model = "cf/xsimgcl"
    world = "cf/checkerboard"
    # With the default weight vectors of a world this small shrink until the noise tells nodes apart.
    settings = ("model.contrast.weight=0.05",)
    side_information = False


# ---- beside the formulas ------------------------------------------------------------------------


def data():
    graph = SparseGraph.bipartite(USERS, ITEMS, N_USERS, N_ITEMS).normalised("sym")
    return SimpleNamespace(n_users=N_USERS, n_items=N_ITEMS, graph=graph)


def batch(negatives: int = 1) -> PairBatch:
    """Users 0 and 2 come twice, item 5 too."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(N_ITEMS, (6, negatives), generator=generator)
    return PairBatch(USERS[[0, 2, 4, 5, 7, 8]], ITEMS[[0, 2, 4, 5, 7, 8]], drawn)


def adjacency(kept: Tensor | None = None) -> Tensor:
    """The normalised matrix of the interactions that are ``kept``, by hand."""
    a = torch.zeros(N_USERS + N_ITEMS, N_USERS + N_ITEMS, dtype=torch.float64)
    a[USERS, ITEMS + N_USERS] = 1.0 if kept is None else kept.double()
    a = a + a.T
    scale = a.sum(1).clamp_min(1e-30).rsqrt() * (a.sum(1) > 0)
    return scale[:, None] * a * scale


def built(kind, options: dict):
    torch.manual_seed(0)
    model = kind(kind.Config(embedding_dim=6, **options), data())
    with torch.no_grad():
        model.nodes.weight.mul_(3)
    return model, model.nodes.weight.detach().double().requires_grad_()


def propagated(a: Tensor, x: Tensor, layers: int) -> list[Tensor]:
    found = [x]
    for _ in range(layers):
        found.append(a @ found[-1])
    return found


def bpr(final: Tensor, pairs: PairBatch) -> Tensor:
    users, items = final[:N_USERS], final[N_USERS:]
    terms = [
        -F.logsigmoid(users[u] @ items[p] - users[u] @ items[n])
        for u, p, row in zip(pairs.users, pairs.positives, pairs.negatives, strict=True)
        for n in row
    ]
    return torch.stack(terms).mean()


def penalty(x: Tensor, pairs: PairBatch) -> Tensor:
    rows = [x[pairs.users], x[N_USERS + pairs.positives], x[N_USERS + pairs.negatives.flatten()]]
    return 1e-4 / 2 * sum(row.square().sum() for row in rows) / len(pairs)


def nce(anchors: Tensor, positives: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    anchors, positives, candidates = (F.normalize(v, dim=1) for v in (anchors, positives, candidates))
    terms = [
        -torch.log(((x @ y) / temperature).exp() / ((candidates @ x) / temperature).exp().sum())
        for x, y in zip(anchors, positives, strict=True)
    ]
    return torch.stack(terms).mean()


def assert_same(losses: dict, expected: dict, table: Tensor, exact: Tensor) -> None:
    """Each term, and the gradient of the sum, to single precision."""
    assert losses.keys() == expected.keys()
    for name, value in losses.items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    mine, true = (
        torch.autograd.grad(sum(losses.values()), table)[0],
        torch.autograd.grad(sum(expected.values()), exact)[0],
    )
    assert float((mine.double() - true).norm() / true.norm()) < 1e-5


@pytest.mark.parametrize("negatives", [1, 3])
def test_lightgcn_minimises_equation_15(negatives):
    model, x = built(LightGCN, {})
    pairs = batch(negatives)
    final = torch.stack(propagated(adjacency(), x, 3)).mean(0)
    expected = {"ranking": bpr(final, pairs), "l2": penalty(x, pairs)}
    assert_same(model.losses(pairs), expected, model.nodes.weight, x)
    users, items = model.embeddings()
    torch.testing.assert_close(torch.cat([users, items]).double(), final, rtol=1e-5, atol=1e-6)


def test_lightgcn_trains_on_an_augmented_graph_and_scores_on_the_whole():
    model, x = built(LightGCN, {"augmenter": {"name": "edge-drop", "rate": 0.5}})
    torch.manual_seed(3)
    drawn = model.losses(batch())["ranking"]
    torch.manual_seed(3)
    view = model.augmenter(model.data.graph)
    final = model.encoder(view, model.nodes.weight)
    torch.testing.assert_close(drawn.double(), bpr(final.double(), batch()), rtol=1e-5, atol=1e-6)
    whole = torch.stack(propagated(adjacency(), x, 3)).mean(0)
    torch.testing.assert_close(torch.cat(model.embeddings()).double(), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("negatives", ["all", "batch"])
def test_sgl_contrasts_two_views(negatives, monkeypatch):
    model, x = built(SGL, {"negatives": negatives})
    kept = [torch.arange(12) % 4 != 0, torch.arange(12) % 5 != 1]
    graph = model.data.graph
    monkeypatch.setattr(model, "draw_views", lambda: tuple(graph.keep_interactions(k).renormalised() for k in kept))
    pairs = batch()
    one, other = (torch.stack(propagated(adjacency(k), x, 3)).mean(0) for k in kept)
    contrast = 0.0
    for nodes, block in ((pairs.users, slice(N_USERS)), (pairs.positives, slice(N_USERS, None))):
        everyone = other[block] if negatives == "all" else other[block][nodes]
        contrast = contrast + 0.1 * nce(one[block][nodes], other[block][nodes], everyone, 0.2)
    final = torch.stack(propagated(adjacency(), x, 3)).mean(0)
    expected = {"ranking": bpr(final, pairs), "contrast": contrast, "l2": penalty(x, pairs)}
    assert_same(model.losses(pairs), expected, model.nodes.weight, x)


@pytest.mark.parametrize(("views", "drawings"), [("epoch", 2), ("step", 6)])
def test_sgl_draws_views_once_for_an_epoch_or_a_step(views, drawings, monkeypatch):
    model, _ = built(SGL, {"views": views})
    draw, calls = model.draw_views, []
    monkeypatch.setattr(model, "draw_views", lambda: calls.append(1) or draw())
    loop = SimpleNamespace(batches=lambda: [batch()] * 3, minimise=lambda losses: None)
    for _ in range(2):
        model.epoch(loop)
    assert len(calls) == drawings


@pytest.mark.parametrize(
    "options",
    [
        {"augmenter": "node-drop"},
        {"augmenter": {"name": "random-walk", "rate": 0.3}},
        {"contrast": "alignment-uniformity", "negatives": "batch"},
    ],
)
def test_sgl_is_open_to_other_parts(options):
    model, _ = built(SGL, options)
    losses = model.losses(batch())
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert model.nodes.weight.grad.isfinite().all()


def test_sgl_refuses_an_objective_without_candidates_where_it_would_give_some():
    with pytest.raises(ConfigError, match=r"alignment-uniformity.*does not take candidates") as caught:
        built(SGL, {"contrast": "alignment-uniformity"})
    assert caught.value.fix.startswith("--set model.negatives=batch")


@pytest.mark.parametrize("layer", [1, 3])
def test_xsimgcl_contrasts_a_layer_with_the_mean(layer):
    model, x = built(XSimGCL, {"layers": 3, "contrast_layer": layer})
    pairs = batch()
    torch.manual_seed(7)
    losses = model.losses(pairs)
    torch.manual_seed(7)
    noise = [0.2 * F.normalize(torch.rand(N_USERS + N_ITEMS, 6), dim=1).double() for _ in range(3)]
    a, layers = adjacency(), [x]
    for step in noise:
        clean = a @ layers[-1]
        layers.append(clean + clean.detach().sign() * step)
    final, shown = torch.stack(layers[1:]).mean(0), layers[layer]
    different = pairs.users.unique(), N_USERS + pairs.positives.unique()
    expected = {
        "ranking": bpr(final, pairs),
        "contrast": sum(0.2 * nce(final[nodes], shown[nodes], shown[nodes], 0.15) for nodes in different),
        "l2": 1e-4 / len(pairs) * (final[pairs.users].norm() + final[N_USERS + pairs.positives].norm()),
    }
    assert_same(losses, expected, model.nodes.weight, x)
    clean = torch.stack(propagated(a, x, 3)[1:]).mean(0)
    torch.testing.assert_close(torch.cat(model.embeddings()).double(), clean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [LightGCN, SGL])
def test_a_penalty_of_no_weight_is_no_term(kind):
    model, _ = built(kind, {"l2": {"weight": 0.0}})
    assert "l2" not in model.losses(batch())


def test_xsimgcl_can_penalise_initial_vectors():
    model, x = built(XSimGCL, {"penalised": "initial", "l2": {"form": "squared"}})
    torch.testing.assert_close(model.losses(batch())["l2"].double(), penalty(x, batch()), rtol=1e-6, atol=1e-9)


def test_xsimgcl_is_open_to_objectives_that_do_not_count(monkeypatch):
    model, _ = built(XSimGCL, {"contrast": "alignment-uniformity"})
    monkeypatch.setattr(Tensor, "is_cpu", property(lambda self: False))
    assert model.losses(batch())["contrast"].isfinite()


def test_xsimgcl_has_no_layer_beyond_the_last():
    with pytest.raises(ValidationError, match="contrast_layer=4 is above layers=2"):
        XSimGCL.Config(contrast_layer=4)


# ---- nodes --------------------------------------------------------------------------------------


def test_one_gather_gives_the_rows_of_three():
    x = torch.randn(N_USERS + N_ITEMS, 4)
    pairs = batch(2)
    rows = gather(x, pair_nodes(pairs, N_USERS))
    assert torch.equal(rows.users, x[pairs.users])
    assert torch.equal(rows.positives, x[N_USERS + pairs.positives])
    assert torch.equal(rows.negatives, x[N_USERS + pairs.negatives])


def test_distinct_nodes_by_shape_and_by_count_are_the_same_sum(monkeypatch):
    model, _ = built(XSimGCL, {})
    nodes = torch.tensor([4, 1, 4, 4, 0, 1, 11])
    assert distinct(nodes, 12, counted=True)[0].tolist() == [0, 1, 4, 11]
    # What runs where the number of nodes must not decide a shape, run here.
    monkeypatch.setattr(Tensor, "is_cpu", property(lambda self: False))
    everyone, counts = distinct(nodes, 12, counted=True)
    assert distinct(nodes, 12, counted=False)[1] is None
    assert everyone is nodes
    assert counts.tolist() == [True, True, False, False, True, False, True]
    final, layer = torch.randn(2, 12, 6, dtype=torch.float64)
    counted = model.agreement(final, layer, nodes)
    monkeypatch.undo()
    torch.testing.assert_close(counted, model.agreement(final, layer, nodes))


def test_tables_start_as_they_say():
    torch.manual_seed(0)
    normal = node_table(3000, 500, 8, "normal").weight
    assert float(normal.std().detach()) == pytest.approx(0.1, rel=0.05)
    xavier = node_table(3000, 500, 8, "xavier").weight.detach()
    bounds = [(6 / (n + 8)) ** 0.5 for n in (3000, 500)]
    for part, bound in zip(xavier.split([3000, 500]), bounds, strict=True):
        assert 0.98 * bound < float(part.abs().max()) <= bound
