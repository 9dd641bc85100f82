"""Graphs: every way to make and change one equals the same on a dense matrix."""

from __future__ import annotations

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sslrec_core.errors import ConfigError, DeviceError
from sslrec_core.graph import (
    LayeredGraph,
    SparseGraph,
    TorchBackend,
    current_backend,
    edge_dot,
    edge_softmax,
    graph_at,
    propagate,
    spmm,
    use_backend,
)

DOUBLE = torch.float64


@st.composite
def edges(draw: st.DrawFn, *, square: bool = False) -> tuple[Tensor, Tensor, tuple[int, int]]:
    rows = draw(st.integers(1, 7))
    columns = rows if square else draw(st.integers(1, 7))
    pairs = st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1))
    chosen = torch.tensor(draw(st.lists(pairs, max_size=20)), dtype=torch.long).reshape(-1, 2)
    return chosen[:, 0], chosen[:, 1], (rows, columns)


def matrix(target: Tensor, source: Tensor, weight: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.zeros(shape, dtype=weight.dtype).index_put((target, source), weight, accumulate=True)


def normalised(dense: Tensor, how: str) -> Tensor:
    rows, columns = dense.sum(1), dense.sum(0)
    if how == "row":
        return torch.where(rows > 0, 1 / rows, 0).unsqueeze(1) * dense
    left, right = (torch.where(degree > 0, degree**-0.5, 0) for degree in (rows, columns))
    return left.unsqueeze(1) * dense * right


def mask_of(seed: int, size: int) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) < 0.6


def interactions() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(8)
    return torch.randint(6, (25,), generator=generator), torch.randint(5, (25,), generator=generator)


def both_directions(users: Tensor, items: Tensor, n_users: int, size: int) -> Tensor:
    ones = torch.ones(2 * users.numel())
    return matrix(torch.cat((users, items + n_users)), torch.cat((items + n_users, users)), ones, (size, size))


@given(edges(), st.sampled_from(["sym", "row"]))
@settings(deadline=None, max_examples=40)
def test_edges_in_any_order_make_the_same_matrix(given_edges: tuple[Tensor, Tensor, tuple[int, int]], how: str) -> None:
    target, source, shape = given_edges
    weight = torch.rand(target.numel(), dtype=DOUBLE)
    graph = SparseGraph.of(target, source, weight, shape=shape)
    dense = matrix(target, source, weight, shape)
    torch.testing.assert_close(graph.dense(), dense)
    assert torch.equal(graph.target, target[graph.edge_of])
    assert torch.equal(graph.source, source[graph.edge_of])
    assert (graph.target.diff() >= 0).all()
    for changed in (graph.normalised(how), graph.normalised("row").normalised(how)):  # type: ignore[arg-type]
        torch.testing.assert_close(changed.dense(), normalised(dense, how))
        torch.testing.assert_close(changed.transpose().dense(), normalised(dense, how).T)
        torch.testing.assert_close(changed.transpose().transpose().dense(), normalised(dense, how))


@given(edges(), st.integers(0, 99), st.booleans())
@settings(deadline=None, max_examples=40)
def test_views_equal_graphs_made_of_the_kept_edges(
    given_edges: tuple[Tensor, Tensor, tuple[int, int]], seed: int, unit: bool
) -> None:
    target, source, shape = given_edges
    weight = torch.ones(target.numel()) if unit else torch.rand(target.numel())
    graph = SparseGraph.of(target, source, None if unit else weight, shape=shape).normalised()
    kept = mask_of(seed, target.numel())
    dense = matrix(target[kept], source[kept], weight[kept], shape)
    view = graph.keep_interactions(kept)
    ids = torch.arange(target.numel())[graph.edge_of]
    for each in (view, view.compacted(), graph.keep(kept[graph.edge_of]), view.transpose().transpose()):
        torch.testing.assert_close(each.renormalised().dense(), normalised(dense, "sym"))
        torch.testing.assert_close(each.transpose().dense(), each.dense().T)
        torch.testing.assert_close(each.renormalised().transpose().dense(), normalised(dense, "sym").T)
        assert torch.equal(each.align(ids), each.edge_of)
    again = mask_of(seed + 1, view.compacted().n_edges)
    twice = view.compacted().keep(again).compacted()
    assert torch.equal(twice.align(ids), view.compacted().edge_of[again])
    torch.testing.assert_close(twice.transpose().dense(), twice.dense().T)
    assert torch.equal(twice.transpose().edge_of.sort().values, twice.edge_of.sort().values)


@given(edges(), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_products_of_views_have_the_gradient_of_the_dense_one(
    given_edges: tuple[Tensor, Tensor, tuple[int, int]], seed: int
) -> None:
    target, source, shape = given_edges
    graph = SparseGraph.of(target, source, torch.rand(target.numel(), dtype=DOUBLE), shape=shape)
    view = graph.keep(mask_of(seed, target.numel()))
    x = torch.randn(shape[1], 3, dtype=DOUBLE, requires_grad=True)
    upstream = torch.randn(shape[0], 3, dtype=DOUBLE)
    for each in (view, view.compacted()):
        (ours,) = torch.autograd.grad(each @ x, x, upstream)
        torch.testing.assert_close(ours, each.dense().T @ upstream)


def test_normalisation_has_a_gradient_where_nodes_have_no_edges() -> None:
    graph = SparseGraph.of(torch.tensor([0, 0, 2]), torch.tensor([1, 2, 1]), shape=(4, 4))
    weight = torch.rand(3, dtype=DOUBLE, requires_grad=True)
    for how in ("sym", "row"):
        assert torch.autograd.gradcheck(lambda w, how=how: graph.reweighted(w).normalised(how).weight, (weight,))


class TestBipartite:
    def graph(self) -> SparseGraph:
        return SparseGraph.bipartite(*interactions(), 6, 5).normalised()

    def test_is_symmetric_and_normalised(self) -> None:
        graph, dense = self.graph(), both_directions(*interactions(), 6, 11)
        torch.testing.assert_close(graph.dense(), normalised(dense, "sym"))
        assert graph.symmetric
        assert graph.transpose() is graph
        mirror = graph.structure.mirror
        assert mirror is not None
        assert torch.equal(graph.target[mirror], graph.source)
        assert torch.equal(graph.edge_of[mirror], graph.edge_of)

    @pytest.mark.parametrize("compacted", [False, True])
    def test_a_mask_over_interactions_drops_both_directions(self, compacted: bool) -> None:
        users, items = interactions()
        kept = mask_of(1, 25)
        view = self.graph().keep_interactions(kept)
        view = view.compacted() if compacted else view
        dense = both_directions(users[kept], items[kept], 6, 11)
        torch.testing.assert_close((view.dense() > 0).float(), (dense > 0).float())
        torch.testing.assert_close(view.renormalised().dense(), normalised(dense, "sym"))
        assert view.symmetric and view.renormalised().symmetric
        assert view.n_edges == (2 * int(kept.sum()) if compacted else 50)

    def test_compacting_keeps_the_way_back(self) -> None:
        view = self.graph().keep_interactions(mask_of(2, 25)).compacted()
        mirror = view.structure.mirror
        assert mirror is not None
        assert torch.equal(view.target[mirror], view.source)
        assert torch.equal(view.edge_of[mirror], view.edge_of)

    def test_a_mask_over_edges_makes_it_directed(self) -> None:
        for view in (self.graph().keep(mask_of(3, 50)), self.graph().keep(mask_of(3, 50)).compacted()):
            assert not view.symmetric
            torch.testing.assert_close(view.transpose().dense(), view.dense().T)

    def test_selected_targets_keep_their_edges(self) -> None:
        targets = torch.tensor([7, 2, 2, 0])
        kept = mask_of(3, 50)
        for graph in (self.graph().normalised("row"), self.graph().keep(kept), self.graph().keep(kept).compacted()):
            some = graph.select(targets)
            assert some.shape == (4, 11)
            torch.testing.assert_close(some.dense(), graph.dense()[targets])
            torch.testing.assert_close(some.transpose().dense(), some.dense().T)
            torch.testing.assert_close(some.renormalised().dense(), graph.dense()[targets])
            places = torch.cat([(graph.target == target).nonzero()[:, 0] for target in targets])
            assert torch.equal(some.edge_of, graph.edge_of[places])
        whole, mask = self.graph().normalised("row"), mask_of(6, 50)
        some = whole.select(targets)
        later = some.keep(some.align(mask)).renormalised()
        torch.testing.assert_close(later.dense(), whole.keep(mask).renormalised().dense()[targets])
        assert whole.select(targets[:0]).shape == (0, 11)

    def test_dropped_nodes_have_no_edges(self) -> None:
        kept = mask_of(4, 11)
        view = self.graph().keep_nodes(kept)
        expected = self.graph().dense() * kept.unsqueeze(1) * kept
        torch.testing.assert_close(view.dense(), expected)
        assert view.symmetric and view.shape == (11, 11)

    def test_row_normalised_it_is_no_longer_symmetric(self) -> None:
        graph = self.graph().normalised("row")
        assert not graph.symmetric
        torch.testing.assert_close(graph.transpose().dense(), graph.dense().T)
        torch.testing.assert_close(graph.dense().sum(1), (graph.dense().sum(1) > 0).float())

    def test_weights_of_interactions_reach_both_directions(self) -> None:
        users, items = interactions()
        weight = torch.rand(25)
        graph = SparseGraph.bipartite(users, items, 6, 5, weight)
        torch.testing.assert_close(graph.dense(), graph.dense().T)
        torch.testing.assert_close(graph.dense().sum(), 2 * weight.sum())

    def test_dropped_edges_stay_dropped_under_other_weights(self) -> None:
        kept = mask_of(5, 25)
        view = self.graph().keep_interactions(kept).reweighted(torch.ones(50), symmetric=True)
        assert torch.equal(view.weight, kept[view.edge_of].float())
        assert view.symmetric


def test_structures_are_freed_without_the_garbage_collector() -> None:
    from weakref import ref

    graph = SparseGraph.of(torch.tensor([0, 1, 1]), torch.tensor([1, 2, 0]), shape=(3, 3))
    x = torch.randn(3, 2, requires_grad=True)
    gc.disable()
    try:
        view = graph.keep(torch.tensor([True, False, True])).compacted()
        (view @ x).sum().backward()
        (view.transpose() @ x).sum().backward()
        watched = [ref(view.structure), ref(view.transpose().structure)]
        del view
        assert [each() for each in watched] == [None, None]
    finally:
        gc.enable()


class TestSecondDerivatives:
    """A gradient step inside a loss: what meta learning differentiates through."""

    def graph(self) -> SparseGraph:
        return SparseGraph.of(torch.tensor([0, 2, 2, 1]), torch.tensor([1, 0, 3, 3]), shape=(3, 4))

    def test_products_can_be_differentiated_twice(self) -> None:
        graph = self.graph()
        weight, x, a = (torch.randn(*shape, dtype=DOUBLE, requires_grad=True) for shape in ((4,), (4, 2), (3, 2)))
        assert torch.autograd.gradgradcheck(lambda w, x: spmm(graph, w, x), (weight, x))
        assert torch.autograd.gradgradcheck(lambda a, b: edge_dot(graph, a, b), (a, x))

    @pytest.mark.parametrize("symmetric", [True, False])
    def test_a_step_by_torch_func(self, symmetric: bool) -> None:
        if symmetric:
            graph = SparseGraph.bipartite(*interactions(), 6, 5).normalised()
            graph = graph.reweighted(graph.weight.double(), symmetric=True)
        else:
            graph = self.graph().reweighted(torch.rand(4, dtype=DOUBLE))
        x = torch.randn(graph.shape[1], 2, dtype=DOUBLE)
        rate = torch.ones((), dtype=DOUBLE, requires_grad=True)
        found = []
        for matrix in (graph, graph.dense()):

            def loss(x: Tensor, matrix: object = matrix) -> Tensor:
                return ((matrix @ x).tanh() * rate).square().sum()  # type: ignore[operator]

            found.append(torch.autograd.grad(loss(x - torch.func.grad(loss)(x)), rate)[0])
        torch.testing.assert_close(*found)
        assert found[0] != 0


class TestPropagation:
    def layers(self, *, same: bool) -> list[SparseGraph]:
        graphs = []
        for seed in range(3):
            view = SparseGraph.bipartite(*interactions(), 6, 5).normalised().keep_interactions(mask_of(seed, 25))
            graphs.append(view.reweighted(view.weight.double(), symmetric=True))
        directed = graphs[1].keep(mask_of(9, 50)).normalised("row")
        return [directed] * 3 if same else [graphs[0], directed, graphs[2]]

    def plain(self, graphs: list[SparseGraph], x: Tensor, layers: int, combine: str, ego: bool) -> Tensor:
        vectors = [x]
        for graph in graphs[:layers]:
            vectors.append(graph.dense() @ vectors[-1])
        chosen = torch.stack(vectors[0 if ego or layers == 0 else 1 :])
        return chosen.mean(0) if combine == "mean" else chosen.sum(0)

    @pytest.mark.parametrize("same", [True, False])
    @pytest.mark.parametrize("combine", ["mean", "sum"])
    @pytest.mark.parametrize("ego", [True, False])
    @pytest.mark.parametrize("layers", [0, 1, 2, 3])
    def test_equals_layer_by_layer(self, same: bool, combine: str, ego: bool, layers: int) -> None:
        graphs = self.layers(same=same)
        graph = graphs[0] if same else LayeredGraph(tuple(graphs))
        x = torch.randn(11, 3, dtype=DOUBLE, requires_grad=True)
        before = x.detach().clone()
        upstream = torch.randn(11, 3, dtype=DOUBLE)
        ours = propagate(graph, x, layers, combine, ego=ego)  # type: ignore[arg-type]
        theirs = self.plain(graphs, x, layers, combine, ego)
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(*(torch.autograd.grad(y, x, upstream) for y in (ours, theirs)))
        assert torch.equal(x, before)

    def test_weights_that_learn_get_their_gradient(self) -> None:
        graph = self.layers(same=True)[0]
        weight = graph.weight.clone().requires_grad_()
        x = torch.randn(11, 2, dtype=DOUBLE, requires_grad=True)
        assert torch.autograd.gradcheck(lambda w, v: propagate(graph.reweighted(w), v, 2), (weight, x))
        torch.testing.assert_close(propagate(graph.reweighted(weight), x, 2), propagate(graph, x, 2))

    def test_a_wider_table_is_not_narrowed(self) -> None:
        graph = SparseGraph.bipartite(*interactions(), 6, 5).normalised()
        x = torch.randn(11, 2, dtype=DOUBLE)
        assert propagate(graph, x, 2).dtype == DOUBLE
        assert (graph @ x.bfloat16()).dtype == torch.float32

    def test_too_few_layers(self) -> None:
        layered = LayeredGraph(tuple(self.layers(same=False)))
        assert graph_at(layered, 2) is layered.layers[2]
        with pytest.raises(ConfigError, match="has 3 layers, the encoder asks for layer 4"):
            propagate(layered, torch.randn(11, 2, dtype=DOUBLE), 4)


def test_sorted_rows_are_taken_as_they_are() -> None:
    matrix = torch.tensor([[0.0, 2, 1], [2, 0, 0], [1, 0, 3]], dtype=DOUBLE)
    rows, columns = matrix.nonzero().unbind(1)
    pointers = torch.cat([torch.zeros(1), torch.bincount(rows).cumsum(0)]).int()
    graph = SparseGraph.compressed(pointers, columns.int(), matrix[rows, columns], shape=(3, 3), symmetric=True)
    assert torch.equal(graph.dense(), matrix)
    assert graph.transpose() is graph
    assert torch.equal(graph.edge_of, torch.arange(5))
    x = torch.randn(3, 2, dtype=DOUBLE, requires_grad=True)
    (graph @ x).square().sum().backward()
    torch.testing.assert_close(x.grad, 2 * matrix.T @ matrix @ x.detach())
    degree = matrix.sum(1)
    torch.testing.assert_close(graph.normalised("sym").dense(), matrix / (degree[:, None] * degree).sqrt())


def test_impossible_shapes_are_refused() -> None:
    graph = SparseGraph.of(torch.tensor([0, 1]), torch.tensor([2, 0]), shape=(2, 3))
    with pytest.raises(ValueError, match="cannot multiply 2 rows"):
        graph @ torch.randn(2, 4)
    with pytest.raises(ValueError, match="2 edges need as many weights"):
        graph.reweighted(torch.ones(3))
    with pytest.raises(ValueError, match="2 edges need as many logits"):
        edge_softmax(graph, torch.ones(3))
    with pytest.raises(ValueError, match="square"):
        graph.keep_nodes(torch.ones(2, dtype=torch.bool))


def test_vectors_are_multiplied_like_tables() -> None:
    graph = SparseGraph.of(torch.tensor([0, 1]), torch.tensor([2, 0]), shape=(2, 3))
    x = torch.randn(3)
    torch.testing.assert_close(graph @ x, graph.dense() @ x)


def test_softmax_in_half_precision_is_widened() -> None:
    graph = SparseGraph.of(torch.tensor([0, 0, 1]), torch.tensor([2, 0, 1]), shape=(2, 3))
    assert edge_softmax(graph, torch.randn(3, dtype=torch.bfloat16)).dtype == torch.float32


class Elsewhere(TorchBackend):
    """A backend that the CPU is no place for."""

    name = "elsewhere"
    devices = frozenset({"cuda"})


def test_a_backend_is_refused_where_it_cannot_run() -> None:
    with pytest.raises(DeviceError, match="backend 'elsewhere' runs on cuda, this run is on cpu"):
        use_backend(Elsewhere(), torch.device("cpu"))
    assert current_backend().name == "torch"
    graph = SparseGraph.of(torch.tensor([0, 1]), torch.tensor([2, 0]), shape=(2, 3))
    use_backend(Elsewhere())
    try:
        with pytest.raises(DeviceError, match="runs on cuda"):
            graph @ torch.randn(3, 2)
    finally:
        use_backend(None)
    assert current_backend().name == "torch"
