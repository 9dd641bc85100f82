"""Augmenters for graphs and vectors: views that differ by chance, drawn on the device.

All chance comes from torch's default generator of the device that the view lives on.
"""

from __future__ import annotations

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional

from sslrec_core.config import Rate
from sslrec_core.graph import LayeredGraph, SparseGraph
from sslrec_core.model import Augmenter


class EdgeDrop(Augmenter):
    """Drops edges by chance, both directions of an interaction together (Wu et al., SGL, SIGIR 2021, eq. 9)."""

    class Config(Augmenter.Config):
        rate: Rate = 0.1
        """Share of interactions to drop."""
        renormalise: bool = True
        """Normalise what is left by its own degrees; otherwise edges keep their weights."""
        rescale: bool = False
        """Divide by the share kept, so that sums keep their expectation; of no use when weights are renormalised."""
        exact: bool = False
        """Drop exactly that share, as SGL's authors do; otherwise each interaction is dropped independently."""

    config: Config

    def forward(self, graph: SparseGraph) -> SparseGraph:
        """A view of the same nodes with fewer edges."""
        config = self.config
        kept = _kept(graph.n_interactions, config.rate, graph.device, exact=config.exact)
        return _finished(graph.keep_interactions(kept), config.renormalise, config.rate if config.rescale else 0.0)


class NodeDrop(Augmenter):
    """Drops nodes with all their edges by chance, each independently (Wu et al., SGL, SIGIR 2021, eq. 8)."""

    class Config(Augmenter.Config):
        rate: Rate = 0.1
        """Share of nodes to drop."""
        renormalise: bool = True
        """Normalise what is left by its own degrees; otherwise edges keep their weights."""

    config: Config

    def forward(self, graph: SparseGraph) -> SparseGraph:
        """A view in which dropped nodes have no edges; nodes keep their numbers."""
        kept = _kept(graph.shape[0], self.config.rate, graph.device)
        return _finished(graph.keep_nodes(kept), self.config.renormalise)


class RandomWalk(Augmenter):
    """Drops other edges in every layer, which makes paths differ (Wu et al., SGL, SIGIR 2021, eq. 10)."""

    class Config(Augmenter.Config):
        rate: Rate = 0.1
        """Share of interactions to drop in each layer."""
        layers: PositiveInt = 3
        """Number of layers; as many as the encoder has."""
        renormalise: bool = True
        """Normalise what is left by its own degrees; otherwise edges keep their weights."""

    config: Config

    def forward(self, graph: SparseGraph) -> LayeredGraph:
        """One view per layer."""
        config = self.config
        drawn = (_kept(graph.n_interactions, config.rate, graph.device) for _ in range(config.layers))
        return LayeredGraph(tuple(_finished(graph.keep_interactions(kept), config.renormalise) for kept in drawn))


class EmbeddingNoise(Augmenter):
    """Adds to each vector a random one of fixed length in the same orthant (Yu et al., SimGCL, SIGIR 2022, eq. 8)."""

    class Config(Augmenter.Config):
        noise: PositiveFloat = 0.1
        """Length of the vector that is added."""

    config: Config

    def forward(self, vectors: Tensor) -> Tensor:
        """``[..., dim] -> [..., dim]``; the gradient passes through unchanged."""
        noise = functional.normalize(torch.rand_like(vectors), dim=-1)
        return vectors + noise * vectors.detach().sign() * self.config.noise


def _kept(n: int, rate: float, device: torch.device, *, exact: bool = False) -> Tensor:
    """A mask that drops ``rate`` of ``n``, independently or exactly, ``[n]``."""
    if not exact:
        return torch.rand(n, device=device) >= rate
    kept = torch.zeros(n, dtype=torch.bool, device=device)
    return kept.index_fill_(0, torch.randperm(n, device=device)[: round(n * (1 - rate))], True)


def _finished(view: SparseGraph, renormalise: bool, dropped: float = 0.0) -> SparseGraph:
    if renormalise:
        return view.renormalised()
    return view.scaled(1 / (1 - dropped)) if dropped else view
