"""The contract of graph backends: values and gradients equal those of dense matrices."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from sslrec_core.errors import DeviceError
from sslrec_core.graph import (
    GraphBackend,
    SparseGraph,
    current_backend,
    edge_dot,
    edge_softmax,
    propagate,
    random_walk,
    sample,
    use_backend,
)
from sslrec_core.registry import registry

DOUBLE = torch.float64


class BackendContract:
    """What every graph backend keeps, on graphs with empty rows, repeated edges, no edges, and two unequal sides::

    class TestMine(BackendContract):
        backend = "mine"
    """

    backend: ClassVar[str]
    """Name of the backend in the registry."""
    device: ClassVar[str | None] = None
    """Where to test it; by default on the first of its devices that torch finds here."""

    def built(self) -> GraphBackend:
        """The backend under test."""
        found: GraphBackend = registry().find("backend", self.backend).load()()
        return found

    def place(self) -> torch.device:
        """The device under test."""
        return torch.device(self.device or _first_available(self.built()))

    @pytest.fixture(autouse=True)
    def _in_use(self) -> Iterator[None]:
        before = current_backend()
        use_backend(self.built(), self.place())
        torch.manual_seed(4)
        yield
        use_backend(before)

    @pytest.fixture(params=["ragged", "wide", "tall", "repeated", "crowded", "no edges", "one node"])
    def graph(self, request: pytest.FixtureRequest) -> SparseGraph:
        """One of the graphs on which everything is checked, with weights in double precision."""
        return _graph(request.param).to(self.place())

    # ---- checks ---------------------------------------------------------------------------------

    def test_it_is_known_by_its_name(self) -> None:
        """The name in the registry is the one it gives itself, and it says where it runs."""
        assert self.built().name == self.backend
        assert self.built().devices, "it runs nowhere"

    def test_refuses_other_devices(self) -> None:
        """A device it does not list is refused by name before anything is computed."""
        with pytest.raises(DeviceError, match=f"backend '{self.backend}' runs on .*, this run is on xpu:7"):
            use_backend(self.built(), torch.device("xpu:7"))

    def test_product_equals_the_dense_one(self, graph: SparseGraph) -> None:
        """``graph @ x`` in both precisions."""
        x = self._random(graph.shape[1], 5)
        torch.testing.assert_close(graph @ x, graph.dense() @ x)
        single = graph.reweighted(graph.weight.float())
        torch.testing.assert_close(single @ x.float(), (graph.dense() @ x).float())

    def test_product_of_columns_with_gaps(self, graph: SparseGraph) -> None:
        """Strides are honoured: a transposed table is as good as one of its own."""
        x = self._random(5, graph.shape[1]).T
        torch.testing.assert_close(graph @ x, graph.dense() @ x)

    def test_product_has_the_gradient_of_the_dense_one(self, graph: SparseGraph) -> None:
        """In the input, and in the weights."""
        weight = graph.weight.clone().requires_grad_()
        x = self._random(graph.shape[1], 3).requires_grad_()
        upstream = self._random(graph.shape[0], 3)
        ours = torch.autograd.grad(graph.reweighted(weight) @ x, (weight, x), upstream)
        dense = torch.zeros(graph.shape, dtype=DOUBLE, device=graph.device)
        dense = dense.index_put((graph.target, graph.source), weight, accumulate=True)
        theirs = torch.autograd.grad(dense @ x, (weight, x), upstream)
        torch.testing.assert_close(ours, theirs)

    def test_gradients_agree_with_finite_differences(self, graph: SparseGraph) -> None:
        """All three differentiable kernels."""
        weight, logits = (self._random(graph.n_edges).requires_grad_() for _ in range(2))
        a, b = (self._random(size, 3).requires_grad_() for size in graph.shape)
        check = torch.autograd.gradcheck
        assert check(lambda w, x: graph.reweighted(w) @ x, (weight, b))
        assert check(lambda one, other: edge_dot(graph, one, other), (a, b))
        assert check(lambda values: edge_softmax(graph, values), (logits,))

    def test_edge_dot_equals_the_dense_one(self, graph: SparseGraph) -> None:
        """The score of every edge."""
        a, b = self._random(graph.shape[0], 4), self._random(graph.shape[1], 4)
        torch.testing.assert_close(edge_dot(graph, a, b), (a @ b.T)[graph.target, graph.source])

    @pytest.mark.parametrize("heads", [None, 1, 3])
    def test_edge_softmax_equals_the_plain_one(self, graph: SparseGraph, heads: int | None) -> None:
        """Row by row, with large logits, with and without heads."""
        logits = self._random(graph.n_edges, *([] if heads is None else [heads])) * 300
        answer = edge_softmax(graph, logits)
        assert answer.shape == logits.shape
        for row in range(graph.shape[0]):
            edges = graph.target == row
            torch.testing.assert_close(answer[edges], logits[edges].softmax(dim=0))

    def test_views_hide_dropped_edges(self, graph: SparseGraph) -> None:
        """Dropped edges weigh nothing, get no attention, and are drawn by nobody."""
        mask = torch.rand(graph.n_edges, device=graph.device) < 0.5
        view, cut = graph.keep(mask), graph.keep(mask).compacted()
        x, logits = self._random(graph.shape[1], 3), self._random(graph.n_edges)
        torch.testing.assert_close(view @ x, cut @ x)
        torch.testing.assert_close(edge_softmax(view, logits)[mask], edge_softmax(cut, cut.align(logits)))
        assert not edge_softmax(view, logits)[~mask].count_nonzero()
        seeds = torch.arange(graph.shape[0], device=graph.device)
        drawn = sample(view, seeds, 3)
        assert mask[drawn[drawn >= 0]].all()
        assert torch.equal((drawn >= 0).sum(1), cut.structure.counts.long().clamp(max=3))

    def test_propagation_equals_the_dense_one(self) -> None:
        """Several layers in one go, with their gradient."""
        graph = _graph("ragged").to(self.place())
        x = self._random(graph.shape[0], 3).requires_grad_()
        dense = graph.dense()
        expected = (x + dense @ x + dense @ dense @ x) / 3
        upstream = torch.randn_like(expected)
        answer = propagate(graph, x, 2)
        torch.testing.assert_close(answer, expected)
        torch.testing.assert_close(*(torch.autograd.grad(y, x, upstream) for y in (answer, expected)))

    def test_sample_draws_different_edges_of_the_seed(self, graph: SparseGraph) -> None:
        """Each seed gets its own edges, none twice, as many as there are up to the fanout; seeds may repeat."""
        seeds = torch.randint(graph.shape[0], (12,), device=graph.device)
        for fanout in (1, 2, 5):
            drawn = sample(graph, seeds, fanout)
            assert drawn.shape == (12, fanout)
            counts = graph.structure.counts.long().index_select(0, seeds)
            assert torch.equal((drawn >= 0).sum(1), counts.clamp(max=fanout))
            for seed, slots in zip(seeds.tolist(), drawn, strict=True):
                edges = slots[slots >= 0]
                assert (graph.target[edges] == seed).all()
                assert edges.unique().numel() == edges.numel()

    def test_sample_is_uniform(self) -> None:
        """Every edge of a row is drawn equally often, to within five standard deviations."""
        degree, fanout, draws = 7, 3, 4000
        graph = SparseGraph.of(torch.zeros(degree, dtype=torch.long), torch.arange(degree), shape=(1, degree))
        drawn = sample(graph.to(self.place()), torch.zeros(draws, dtype=torch.long, device=self.place()), fanout)
        share = drawn.flatten().bincount(minlength=degree) / draws
        error = (fanout / degree * (1 - fanout / degree) / draws) ** 0.5
        assert (share - fanout / degree).abs().max() < 5 * error

    def test_random_walks_follow_edges(self) -> None:
        """Each step goes from a node to one of its sources; a walk ends where there are none."""
        graph = _graph("ragged").to(self.place())
        seeds = torch.arange(graph.shape[0], device=graph.device).repeat(5)
        walks = random_walk(graph, seeds, 4)
        assert walks.shape == (seeds.numel(), 5)
        assert torch.equal(walks[:, 0], seeds)
        steps = {(-1, -1), *zip(graph.target.tolist(), graph.source.tolist(), strict=True)}
        steps |= {(row, -1) for row, count in enumerate(graph.structure.counts.tolist()) if not count}
        for walk in walks.tolist():
            assert set(pairwise(walk)) <= steps

    def test_same_seed_same_draws(self) -> None:
        """Chance comes from torch: its default generator, or the one that is given."""
        graph = _graph("ragged").to(self.place())
        seeds = torch.arange(graph.shape[0], device=graph.device).repeat(8)

        def draws(generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
            return sample(graph, seeds, 2, generator), random_walk(graph, seeds, 3, generator)

        torch.manual_seed(1)
        first = draws(None)
        torch.manual_seed(1)
        torch.testing.assert_close(draws(None), first)
        given = [draws(torch.Generator(graph.device).manual_seed(seed)) for seed in (2, 2, 3)]
        torch.testing.assert_close(given[0], given[1])
        assert not all(torch.equal(one, other) for one, other in zip(given[0], given[2], strict=True))

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(*shape, dtype=DOUBLE, device=self.place())


def _graph(name: str) -> SparseGraph:
    generator = torch.Generator().manual_seed(3)
    targets, sources, edges = {
        "ragged": (9, 9, 17),
        "wide": (4, 11, 15),
        "tall": (11, 4, 15),
        "repeated": (9, 2, 12),
        "crowded": (3, 3, 20),
        "no edges": (3, 5, 0),
        "one node": (1, 1, 1),
    }[name]
    # Only the first two thirds of the targets, so that there are rows without edges.
    target = torch.randint(max(targets - targets // 3, 1), (edges,), generator=generator)
    source = torch.randint(sources, (edges,), generator=generator)
    weight = torch.randn(edges, generator=generator, dtype=DOUBLE)
    return SparseGraph.of(target, source, weight, shape=(targets, sources))


def _first_available(backend: GraphBackend) -> str:
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    found = [device for device in ("cpu", "cuda", "mps") if device in backend.devices and here[device]]
    if not found:
        pytest.skip(f"{backend.name} runs on {', '.join(sorted(backend.devices))}, none of which is here")
    return found[0]
