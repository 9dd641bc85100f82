"""What graphs can do, on the backend in use, with the gradients written once for all of them.

The kernels are closed under differentiation: the gradient of ``spmm`` in its input is ``spmm`` on the transpose, in
its weights it is ``edge_dot``; the gradients of ``edge_dot`` are two ``spmm``; that of ``edge_softmax`` needs only its
own output and a sum over rows.  Both products can be differentiated any number of times, by ``torch.func`` too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from sslrec_core.graph.backend import GraphBackend
from sslrec_core.graph.seam import backend_on
from sslrec_core.graph.segments import segment_sum, spread
from sslrec_core.graph.structure import Structure

if TYPE_CHECKING:
    from sslrec_core.graph.sparse import SparseGraph


def spmm(graph: SparseGraph, weight: Tensor, x: Tensor) -> Tensor:
    """Weighted sums over each target's sources, with gradients in ``weight`` and ``x``.

    Args:
        graph: gives the structure.
        weight: in place of the graph's own, ``[edges]``.
        x: ``[sources, dim]`` or ``[sources]``.

    Returns:
        ``[targets, dim]`` or ``[targets]``, in the wider of both types.
    """
    if x.shape[0] != graph.shape[1]:
        raise ValueError(f"a graph of shape {graph.shape} cannot multiply {x.shape[0]} rows")
    if x.dtype != weight.dtype:
        wide = torch.promote_types(x.dtype, weight.dtype)
        weight, x = weight.to(wide), x.to(wide)
    backend = backend_on(x.device)
    if x.dim() == 1:
        return _spmm(backend, graph, weight, x.unsqueeze(1)).squeeze(1)
    return _spmm(backend, graph, weight, x)


def edge_dot(graph: SparseGraph, a: Tensor, b: Tensor) -> Tensor:
    """Dot product of both ends of every edge, with gradients: ``[targets, dim], [sources, dim] -> [edges]``."""
    if (a.shape[0], b.shape[0]) != graph.shape or a.shape[1] != b.shape[1]:
        raise ValueError(f"a graph of shape {graph.shape} has no use for ends of {tuple(a.shape)}, {tuple(b.shape)}")
    return _edge_dot(backend_on(a.device), graph, a, b)


def edge_softmax(graph: SparseGraph, logits: Tensor) -> Tensor:
    """Softmax over the edges of one target, with gradient: ``[edges]`` or ``[edges, heads]`` -> the same shape.

    Dropped edges get zero.  Half precision is widened, as autocast does for softmax.
    """
    if logits.shape[0] != graph.n_edges:
        raise ValueError(f"{graph.n_edges} edges need as many logits, not {logits.shape[0]}")
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    return recorded(_EdgeSoftmax, backend_on(logits.device), graph, logits)


def row_sum(structure: Structure, values: Tensor) -> Tensor:
    """Sum of each target's edge values, with gradient: ``[edges]`` or ``[edges, heads]`` -> ``[targets, ...]``."""
    return recorded(_RowSum, structure, values)


def sample(graph: SparseGraph, seeds: Tensor, fanout: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw up to ``fanout`` different edges of each seed, uniformly and without regard to weights.

    Args:
        graph: where to draw.
        seeds: targets, ``[seeds]``.
        fanout: edges per seed; a seed with fewer gets all it has.
        generator: source of chance, on the device of the graph; torch's default if None.

    Returns:
        Positions of edges, ``[seeds, fanout]``; -1 in slots beyond a seed's degree.
    """
    return backend_on(graph.device).sample(graph, seeds, fanout, generator)


def random_walk(graph: SparseGraph, seeds: Tensor, length: int, generator: torch.Generator | None = None) -> Tensor:
    """Walk ``length`` steps from each seed, each from a node to one of its sources, uniformly over edges.

    Returns:
        Nodes, ``[seeds, length + 1]``, the seed first; -1 after a node without edges.
    """
    if graph.shape[0] != graph.shape[1]:
        raise ValueError(f"walks need a square graph, not one of shape {graph.shape}")
    return backend_on(graph.device).random_walk(graph, seeds, length, generator)


def recorded(function: type[Function], *arguments: Any) -> Tensor:
    """``function.apply`` with a type."""
    apply: Callable[..., Tensor] = function.apply
    return apply(*arguments)


def _spmm(backend: GraphBackend, graph: SparseGraph, weight: Tensor, x: Tensor) -> Tensor:
    return recorded(_Spmm, backend, graph, weight is graph.weight, weight, x)


def _edge_dot(backend: GraphBackend, graph: SparseGraph, a: Tensor, b: Tensor) -> Tensor:
    return recorded(_EdgeDot, backend, graph, a, b)


class _Spmm(Function):
    @staticmethod
    def forward(backend: GraphBackend, graph: SparseGraph, own: bool, weight: Tensor, x: Tensor) -> Tensor:
        return backend.spmm(graph, weight, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.backend, ctx.graph, ctx.own, weight, x = inputs
        # The input is needed for the gradient of the weights alone, and is by far the larger of the two.
        ctx.save_for_backward(weight, x if ctx.needs_input_grad[3] else None)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, x = ctx.saved_tensors
        of_weight = of_x = None
        if ctx.needs_input_grad[3]:
            of_weight = _edge_dot(ctx.backend, ctx.graph, gradient, x)
        if ctx.needs_input_grad[4]:
            if ctx.own:
                back = ctx.graph.transpose()
                of_x = _spmm(ctx.backend, back, back.weight, gradient)
            else:
                of_x = _transposed_spmm(ctx.backend, ctx.graph, weight, gradient)
        return None, None, None, of_weight, of_x


class _EdgeDot(Function):
    @staticmethod
    def forward(backend: GraphBackend, graph: SparseGraph, a: Tensor, b: Tensor) -> Tensor:
        return backend.edge_dot(graph, a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.backend, ctx.graph, a, b = inputs
        ctx.save_for_backward(a, b)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        of_a = _spmm(ctx.backend, ctx.graph, gradient, b) if ctx.needs_input_grad[2] else None
        of_b = _transposed_spmm(ctx.backend, ctx.graph, gradient, a) if ctx.needs_input_grad[3] else None
        return None, None, of_a, of_b


class _EdgeSoftmax(Function):
    @staticmethod
    def forward(ctx: Any, backend: GraphBackend, graph: SparseGraph, logits: Tensor) -> Tensor:
        dropped = None
        if graph.alive is not None:
            dropped = ~graph.alive.view(-1, *[1] * (logits.dim() - 1))
            logits = logits.masked_fill(dropped, -torch.inf)
        out = backend.edge_softmax(graph, logits)
        if dropped is not None:
            # A target that lost all its edges has no largest logit: its softmax is not a number.
            out = out.masked_fill(dropped, 0)
        ctx.graph = graph
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (out,) = ctx.saved_tensors
        part = out * gradient
        return (None, None, part - out * spread(ctx.graph.structure, segment_sum(ctx.graph.structure, part)))


class _RowSum(Function):
    @staticmethod
    def forward(ctx: Any, structure: Structure, values: Tensor) -> Tensor:
        ctx.structure = structure
        return segment_sum(structure, values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, spread(ctx.structure, gradient)


def _transposed_spmm(backend: GraphBackend, graph: SparseGraph, weight: Tensor, x: Tensor) -> Tensor:
    """``spmm`` on the transpose with weights given for the edges of ``graph``, in their order."""
    _, order = graph.structure.transposed
    return _spmm(backend, graph.transpose(), weight.index_select(0, order), x)
