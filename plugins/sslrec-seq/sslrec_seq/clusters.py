"""K-means: centroids that vectors gather around, by torch where the vectors are, or by faiss on the CPU.

Both take their chance from torch's generator, and give the same centroids for the same seed.  They are not the same as
one another: faiss splits large clusters where one is empty, torch begins it anew at the vector farthest from its own.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.errors import ConfigError

Clustering: TypeAlias = Literal["auto", "faiss", "torch"]
"""Which implementation of k-means: faiss, torch, or faiss where it is installed."""
CHUNK = 2**22
"""Distances that are held at once."""


def clustering(wanted: Clustering) -> Literal["faiss", "torch"]:
    """The implementation that ``wanted`` stands for on this machine.

    Raises:
        ConfigError: faiss is asked for and not installed.
    """
    there = importlib.util.find_spec("faiss") is not None
    if wanted == "faiss" and not there:
        raise ConfigError(
            "k-means by faiss needs the package faiss, which is not installed",
            fix="pip install 'sslrec-seq[faiss]', or --set model.clustering=torch",
        )
    return "faiss" if there and wanted != "torch" else "torch"


def k_means(
    x: Tensor,
    clusters: int,
    iterations: int,
    restarts: int = 1,
    start: Tensor | None = None,
    by: Literal["faiss", "torch"] = "torch",
) -> Tensor:
    """Centroids of ``x`` ``[n, dim]`` (Lloyd's algorithm), at most as many as there are vectors.

    Args:
        clusters: how many.
        iterations: how often vectors are assigned anew.
        restarts: how often to begin from other random vectors; the centroids that are nearest to all vectors are given.
        start: centroids to begin with instead, ``[clusters, dim]``; there is one beginning then.
        by: the implementation.

    Returns:
        ``[min(clusters, n), dim]``
    """
    if not len(x):
        raise ValueError("there are no vectors to find clusters of")
    x, clusters = x.detach().float(), min(clusters, len(x))
    if start is not None and len(start) != clusters:
        start = None
    if by == "faiss":
        return _by_faiss(x, clusters, iterations, restarts, start)
    starts = [_some(x, clusters) for _ in range(restarts)] if start is None else [start]
    found = [_by_torch(x, centroids, iterations) for centroids in starts]
    costs = torch.stack([nearest(x, centroids)[1].sum() for centroids in found])
    return torch.stack(found).index_select(0, costs.argmin()[None])[0]


def nearest(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """The centroid nearest to each of ``x`` ``[n, dim]``, the first of equally near ones, and how far it is, squared.

    Returns:
        ``Long[n]``, ``[n]``
    """
    lengths = centroids.square().sum(1)
    labels, distances = [], []
    for part in torch.split(x, max(1, CHUNK // len(centroids))):
        # Without the square of the vector itself, which is the same for all centroids.
        least, label = torch.addmm(lengths, part, centroids.T, alpha=-2).min(1)
        labels.append(label)
        distances.append((least + part.square().sum(1)).clamp(min=0))
    return torch.cat(labels), torch.cat(distances)


def _some(x: Tensor, count: int) -> Tensor:
    """So many of the vectors, without replacement."""
    return x[torch.randperm(len(x), device=x.device)[:count]]


def _by_torch(x: Tensor, centroids: Tensor, iterations: int) -> Tensor:
    for _ in range(iterations):
        labels, distances = nearest(x, centroids)
        sums, counts = _sums(x, labels, len(centroids))
        empty = counts == 0
        # The n-th empty cluster begins anew at the n-th farthest vector.
        far = distances.topk(len(centroids)).indices[(empty.cumsum(0) - 1).clamp(min=0)]
        centroids = torch.where(empty[:, None], x[far], sums / counts.clamp(min=1)[:, None])
    return centroids


def _sums(x: Tensor, labels: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """Sum and number of the vectors of each cluster, ``[clusters, dim]`` and ``[clusters]``."""
    if not x.is_cpu:
        return _sums_by_products(x, labels, clusters)
    sums, counts = x.new_zeros(clusters, x.shape[1]), x.new_zeros(clusters)
    return sums.index_add(0, labels, x), counts.index_add(0, labels, x.new_ones(len(x)))


def _sums_by_products(x: Tensor, labels: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """The same where the order of a sum by index is left to chance; that of a product is not."""
    sums, counts = x.new_zeros(clusters, x.shape[1]), x.new_zeros(clusters)
    size = max(1, CHUNK // clusters)
    for part, label in zip(torch.split(x, size), torch.split(labels, size), strict=True):
        member = F.one_hot(label, clusters).to(x.dtype)
        sums.addmm_(member.T, part)
        counts += member.sum(0)
    return sums, counts


def _by_faiss(x: Tensor, clusters: int, iterations: int, restarts: int, start: Tensor | None) -> Tensor:
    faiss: Any = importlib.import_module("faiss")
    # Every vector counts: neither is a part of them drawn, nor is there a warning that they are few.
    limits = {"min_points_per_centroid": 1, "max_points_per_centroid": len(x)}
    seed = int(torch.randint(2**31 - 1, (1,), device=torch.device("cpu")))
    means = faiss.Kmeans(x.shape[1], clusters, niter=iterations, nredo=restarts, seed=seed, **limits)
    means.train(x.cpu().numpy(), init_centroids=None if start is None else start.cpu().numpy())
    return torch.from_numpy(means.centroids).to(x)
