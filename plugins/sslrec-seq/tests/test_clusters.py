"""K-means beside a plain one, and what it does where clusters run empty."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor

from sslrec_core.errors import ConfigError
from sslrec_core.testing.guards import Placement
from sslrec_seq import clusters
from sslrec_seq.clusters import clustering, k_means, nearest

BOTH = [
    "torch",
    pytest.param(
        "faiss", marks=pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")
    ),
]


def blobs(count: int, each: int, spread: float = 0.05, dim: int = 5) -> tuple[Tensor, Tensor]:
    """Vectors around some centres, shuffled, and the centres."""
    torch.manual_seed(0)
    centres = 4 * torch.randn(count, dim)
    x = centres.repeat(each, 1) + spread * torch.randn(count * each, dim)
    return x[torch.randperm(len(x))], centres


def lloyd(x: Tensor, centroids: Tensor, iterations: int) -> Tensor:
    """One vector and one cluster at a time; clusters that run empty stay where they are."""
    for _ in range(iterations):
        labels = [min(range(len(centroids)), key=lambda k: float((v - centroids[k]).square().sum())) for v in x]
        means = []
        for k, old in enumerate(centroids):
            own = [v for v, label in zip(x, labels, strict=True) if label == k]
            means.append(torch.stack(own).mean(0) if own else old)
        centroids = torch.stack(means)
    return centroids


@pytest.mark.parametrize("chunk", [7, 2**22])
def test_nearest_is_its_definition(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CHUNK", chunk)
    x, centres = blobs(6, 5, spread=3.0)
    labels, distances = nearest(x, centres)
    true = torch.cdist(x, centres).square()
    assert torch.equal(labels, true.argmin(1))
    torch.testing.assert_close(distances, true.amin(1), rtol=1e-4, atol=1e-4)


def test_the_first_of_equally_near_centroids_counts() -> None:
    centroids = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert nearest(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), centroids)[0].tolist() == [0, 0]


@pytest.mark.parametrize("iterations", [1, 3])
def test_steps_are_those_of_the_algorithm(iterations: int) -> None:
    x, _ = blobs(4, 15, spread=2.0)
    start = x[:4].clone()
    torch.testing.assert_close(k_means(x, 4, iterations, start=start), lloyd(x, start, iterations))


@pytest.mark.parametrize("chunk", [13, 2**22])
def test_products_give_the_same_sums(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CHUNK", chunk)
    x, centres = blobs(4, 15, spread=2.0)
    labels, _ = nearest(x, centres)
    for found, expected in zip(
        clusters._sums_by_products(x, labels, 6), clusters._sums(x, labels, 6), strict=True
    ):  # fmt: skip
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("by", BOTH)
def test_finds_what_is_there(by: str) -> None:
    x, centres = blobs(3, 40)
    torch.manual_seed(1)
    found = k_means(x, 3, 20, restarts=25, by=by)
    assert found.shape == centres.shape
    assert (torch.cdist(centres, found).amin(1) < 0.1).all()


def test_an_empty_cluster_begins_anew_at_the_farthest_vector() -> None:
    x = torch.tensor([[0.0], [0.1], [10.0], [10.1], [30.0], [52.0]])
    # The last two centroids are nearest to nothing; the two vectors farthest from the others' means are 52 and 30.
    found = k_means(x, 4, 1, start=torch.tensor([[0.0], [10.0], [900.0], [800.0]]))
    assert found[2:].flatten().tolist() == [52, 30]
    settled = k_means(x, 4, 5, start=torch.tensor([[0.0], [10.0], [900.0], [800.0]]))
    torch.testing.assert_close(settled.sort(0).values, torch.tensor([[0.05], [10.05], [30.0], [52.0]]))


@pytest.mark.parametrize("by", BOTH)
def test_the_same_seed_gives_the_same_centroids(by: str) -> None:
    x, _ = blobs(8, 20, spread=2.0)
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(k_means(x, 8, 5, restarts=2, by=by))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("by", BOTH)
def test_a_start_leaves_nothing_to_chance(by: str) -> None:
    x, centres = blobs(8, 20, spread=2.0)
    found = []
    for seed in (3, 4):
        torch.manual_seed(seed)
        found.append(k_means(x, 8, 5, restarts=2, start=centres, by=by))
    assert torch.equal(*found)


def test_both_implementations_go_the_same_way() -> None:
    pytest.importorskip("faiss")
    x, centres = blobs(8, 50, spread=1.0)
    start = centres + 0.5
    torch.testing.assert_close(k_means(x, 8, 10, start=start), k_means(x, 8, 10, start=start, by="faiss"))


def test_the_best_of_several_beginnings_counts() -> None:
    x, _ = blobs(12, 10)
    costs = []
    for restarts in (1, 20):
        torch.manual_seed(5)
        costs.append(float(nearest(x, k_means(x, 12, 10, restarts))[1].sum()))
    assert costs[1] < costs[0]


@pytest.mark.parametrize("by", BOTH)
def test_there_are_no_more_clusters_than_vectors(by: str) -> None:
    x = torch.randn(5, 3)
    found = k_means(x, 9, 4, by=by)
    torch.testing.assert_close(found.sort(0).values, x.sort(0).values)
    assert k_means(x, 9, 4, start=torch.randn(9, 3), by=by).shape == (5, 3)


def test_equal_vectors_are_no_trouble() -> None:
    assert torch.equal(k_means(torch.ones(6, 2), 3, 4), torch.ones(3, 2))


def test_nothing_cannot_be_clustered() -> None:
    with pytest.raises(ValueError, match="no vectors"):
        k_means(torch.empty(0, 3), 2, 1)


def test_works_on_the_device_of_the_vectors() -> None:
    x, _ = blobs(4, 10)
    with Placement() as placement:
        k_means(x.double(), 4, 3, restarts=2)
    assert not placement.found


def test_faiss_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, expected in ((object(), "faiss"), (None, "torch")):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, there=there: there)
        assert clustering("auto") == expected
        assert clustering("torch") == "torch"
    with pytest.raises(ConfigError, match="faiss, which is not installed"):
        clustering("faiss")
