"""Encoders that several scenarios share."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt
from torch import Tensor

from sslrec_core.graph import LayeredGraph, SparseGraph, propagate
from sslrec_core.model import Encoder


class LightGCNEncoder(Encoder):
    """Linear propagation, layers combined with equal weights (He et al., LightGCN, SIGIR 2020, eq. 7-8)."""

    class Config(Encoder.Config):
        layers: NonNegativeInt = 3
        """Number of propagations; with 0 vectors stay as they are, which is matrix factorisation."""
        combine: Literal["mean", "sum"] = "mean"
        """Mean over layers, as the paper does, or sum; they rank alike, but the loss sees longer vectors."""
        include_initial: bool = True
        """Count the vectors before propagation as a layer; SimGCL and XSimGCL leave them out."""

    config: Config

    def forward(self, graph: SparseGraph | LayeredGraph, x: Tensor) -> Tensor:
        """Vectors ``x`` of all nodes, propagated over ``graph``: ``[nodes, dim] -> [nodes, dim]``."""
        config = self.config
        return propagate(graph, x, config.layers, config.combine, ego=config.include_initial)
