"""Augmenters: what they may change, how much of it, and that a seed repeats it."""

from __future__ import annotations

import pytest
import torch

from sslrec_core.builtin.augmenters import EdgeDrop, EmbeddingNoise, NodeDrop, RandomWalk
from sslrec_core.graph import LayeredGraph, SparseGraph, propagate
from sslrec_core.model import Augmenter
from sslrec_core.testing import ComponentContract


def graph_of(users: int = 40, items: int = 30, pairs: int = 400) -> SparseGraph:
    generator = torch.Generator().manual_seed(2)
    places = torch.randperm(users * items, generator=generator)[:pairs]
    return SparseGraph.bipartite(places // items, places % items, users, items).normalised()


class TestEdgeDropContract(ComponentContract):
    kind = "augmenter"
    component = "edge-drop"
    variants = ({"renormalise": False, "rescale": True}, {"exact": True})


class TestNodeDropContract(ComponentContract):
    kind = "augmenter"
    component = "node-drop"


class TestRandomWalkContract(ComponentContract):
    kind = "augmenter"
    component = "random-walk"


class TestEmbeddingNoiseContract(ComponentContract):
    kind = "augmenter"
    component = "embedding-noise"

    def inputs(self) -> tuple[torch.Tensor]:
        return (torch.randn(12, 8),)


DROPS = [
    EdgeDrop(EdgeDrop.Config(rate=0.3)),
    EdgeDrop(EdgeDrop.Config(rate=0.3, exact=True)),
    NodeDrop(NodeDrop.Config(rate=0.3)),
    RandomWalk(RandomWalk.Config(rate=0.3, layers=2)),
]


def views_of(augmenter: Augmenter, graph: SparseGraph) -> tuple[SparseGraph, ...]:
    view = augmenter(graph)
    return view.layers if isinstance(view, LayeredGraph) else (view,)


@pytest.mark.parametrize("augmenter", DROPS, ids=lambda augmenter: type(augmenter).__name__)
def test_views_are_symmetric_smaller_and_renormalised(augmenter: Augmenter) -> None:
    graph = graph_of()
    whole = graph.dense()
    for view in views_of(augmenter, graph):
        dense = view.dense()
        assert view.symmetric and torch.equal(dense, dense.T)
        assert not dense[whole == 0].count_nonzero(), "an edge was added"
        assert 0 < dense.count_nonzero() < whole.count_nonzero()
        kept = (dense > 0).float()
        degree = kept.sum(1).clamp(min=1)
        torch.testing.assert_close(dense, kept / (degree.unsqueeze(1) * degree).sqrt())


@pytest.mark.parametrize("augmenter", DROPS, ids=lambda augmenter: type(augmenter).__name__)
def test_a_seed_repeats_a_view_and_another_changes_it(augmenter: Augmenter) -> None:
    graph = graph_of()
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(torch.stack([view.weight for view in views_of(augmenter, graph)]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_edges_keep_their_weights_when_asked() -> None:
    graph = graph_of()
    plain = EdgeDrop(EdgeDrop.Config(rate=0.3, renormalise=False))(graph)
    kept = plain.weight > 0
    assert torch.equal(plain.weight[kept], graph.weight[kept])
    scaled = EdgeDrop(EdgeDrop.Config(rate=0.2, renormalise=False, rescale=True))(graph)
    kept = scaled.weight > 0
    torch.testing.assert_close(scaled.weight[kept], graph.weight[kept] / 0.8)


def test_the_dropped_share_is_the_rate() -> None:
    graph = graph_of(200, 150, 20_000)
    for rate in (0.1, 0.5):
        kept = (EdgeDrop(EdgeDrop.Config(rate=rate))(graph).weight > 0).float().mean()
        assert abs(float(kept) - (1 - rate)) < 5 * (rate * (1 - rate) / 20_000) ** 0.5
        kept = (EdgeDrop(EdgeDrop.Config(rate=rate, exact=True))(graph).weight > 0).float().sum()
        assert int(kept) == 2 * round(20_000 * (1 - rate))
        view = NodeDrop(NodeDrop.Config(rate=rate))(graph)
        alone = float((view.dense().sum(1) == 0).float().mean())
        assert abs(alone - rate) < 5 * (rate * (1 - rate) / 350) ** 0.5


def test_nothing_is_dropped_at_rate_zero() -> None:
    graph = graph_of()
    for augmenter in (EdgeDrop(EdgeDrop.Config(rate=0)), NodeDrop(NodeDrop.Config(rate=0))):
        torch.testing.assert_close(augmenter(graph).weight, graph.weight)


def test_a_dropped_node_loses_all_its_edges() -> None:
    graph = graph_of()
    dense = NodeDrop(NodeDrop.Config(rate=0.4))(graph).dense() > 0
    left = dense.any(1)
    whole = (graph.dense() > 0) & left.unsqueeze(1) & left
    assert torch.equal(dense, whole), "between two nodes that are left an edge is missing"


def test_layers_of_a_random_walk_differ() -> None:
    view = RandomWalk(RandomWalk.Config(rate=0.3, layers=2))(graph_of())
    one, other = (layer.dense() for layer in view.layers)
    assert not torch.equal(one, other)
    x = torch.randn(70, 4)
    torch.testing.assert_close(propagate(view, x, 2), (x + one @ x + other @ one @ x) / 3)


def test_noise_has_its_length_and_stays_in_the_orthant() -> None:
    vectors = torch.randn(50, 16, requires_grad=True)
    changed = EmbeddingNoise(EmbeddingNoise.Config(noise=0.2))(vectors)
    added = changed - vectors
    torch.testing.assert_close(added.norm(dim=1), torch.full((50,), 0.2))
    assert (added * vectors >= 0).all()
    (gradient,) = torch.autograd.grad(changed.sum(), vectors)
    assert torch.equal(gradient, torch.ones_like(vectors))
