"""Linear propagation over several layers as one step of differentiation; graphs that differ between layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from sslrec_core.errors import ConfigError
from sslrec_core.graph.backend import GraphBackend
from sslrec_core.graph.functions import recorded
from sslrec_core.graph.seam import backend_on
from sslrec_core.graph.sparse import SparseGraph

Combine = Literal["mean", "sum"]


@dataclass(frozen=True)
class LayeredGraph:
    """One graph per layer of an encoder, over the same nodes."""

    layers: tuple[SparseGraph, ...]


def graph_at(graph: SparseGraph | LayeredGraph, layer: int) -> SparseGraph:
    """The graph of a layer, counted from 0; a plain graph serves all layers.

    Raises:
        ConfigError: a layered graph has fewer layers than the encoder asks for.
    """
    if isinstance(graph, SparseGraph):
        return graph
    if layer >= len(graph.layers):
        raise ConfigError(
            f"the augmented graph has {len(graph.layers)} layers, the encoder asks for layer {layer + 1}",
            fix="give the augmenter as many layers as the encoder, with its option 'layers'",
        )
    return graph.layers[layer]


def propagate(
    graph: SparseGraph | LayeredGraph, x: Tensor, layers: int, combine: Combine = "mean", *, ego: bool = True
) -> Tensor:
    """Combine ``x``, ``A x``, ``A A x``, ... up to ``layers`` products (He et al., LightGCN, SIGIR 2020, eq. 7-8).

    With fixed weights this is one node of differentiation that keeps no layer: over one graph it is evaluated as
    ``x + A (x + A (x + ...))``, and its gradient is the same expression in the transpose.  Weights that need a
    gradient are served layer by layer.

    Args:
        graph: square; one for all layers, or one per layer.
        x: ``[nodes, dim]``
        layers: number of products; with 0 the answer is ``x``.
        combine: mean or sum over layers.
        ego: whether ``x`` itself is among what is combined.

    Returns:
        ``[nodes, dim]``
    """
    graphs = tuple(graph_at(graph, layer) for layer in range(layers))
    if not graphs:
        return x
    if any(each.shape != (x.shape[0], x.shape[0]) for each in graphs):
        raise ValueError(f"{x.shape[0]} nodes cannot be propagated over a graph of shape {graphs[0].shape}")
    scale = 1 / (layers + ego) if combine == "mean" else 1.0
    if any(each.weight.requires_grad for each in graphs) or any(each.weight.dtype != x.dtype for each in graphs):
        return _by_layers(graphs, x, scale, ego)
    return recorded(_Propagate, backend_on(x.device), graphs, scale, ego, x)


def _by_layers(graphs: Sequence[SparseGraph], x: Tensor, scale: float, ego: bool) -> Tensor:
    vectors = [x]
    for graph in graphs:
        vectors.append(graph @ vectors[-1])
    return torch.stack(vectors[0 if ego else 1 :]).sum(dim=0) * scale


class _Propagate(Function):
    @staticmethod
    def forward(
        ctx: Any, backend: GraphBackend, graphs: tuple[SparseGraph, ...], scale: float, ego: bool, x: Tensor
    ) -> Tensor:
        ctx.backend, ctx.graphs, ctx.scale, ctx.ego = backend, graphs, scale, ego
        if all(graph is graphs[0] for graph in graphs):
            return _nested(backend, graphs, scale, ego, x)
        return _running(backend, graphs, scale, ego, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        back = tuple(graph.transpose() for graph in ctx.graphs)
        return (None, None, None, None, _nested(ctx.backend, back, ctx.scale, ctx.ego, gradient))


def _nested(backend: GraphBackend, graphs: Sequence[SparseGraph], scale: float, ego: bool, x: Tensor) -> Tensor:
    """``scale * (x + A1 (x + A2 (x + ...)))``, without the outermost ``x`` unless ``ego``."""
    out = x
    for graph in reversed(graphs[1:]):
        out = backend.spmm(graph, graph.weight, out).add_(x)
    # Scaling the weights of the last product is cheaper than another pass over the table.
    out = backend.spmm(graphs[0], graphs[0].weight * scale, out)
    return out.add_(x, alpha=scale) if ego else out


def _running(backend: GraphBackend, graphs: Sequence[SparseGraph], scale: float, ego: bool, x: Tensor) -> Tensor:
    """``scale * (x + A1 x + A2 A1 x + ...)``, without ``x`` itself unless ``ego``."""
    total = x * scale if ego else torch.zeros_like(x)
    for graph in graphs:
        x = backend.spmm(graph, graph.weight, x)
        total.add_(x, alpha=scale)
    return total
