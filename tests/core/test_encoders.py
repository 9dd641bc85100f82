"""The LightGCN encoder, against dense matrices."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from sslrec_core.builtin.encoders import LightGCNEncoder
from sslrec_core.graph import LayeredGraph, SparseGraph
from sslrec_core.testing import ComponentContract

USERS, ITEMS = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 0, 2, 3])


def graph():
    """3 users and 5 items, one of which nobody has met."""
    return SparseGraph.bipartite(USERS, ITEMS, 3, 5).normalised("sym")


def dense():
    """The same by hand: 1 / sqrt(degree of both ends)."""
    a = torch.zeros(8, 8, dtype=torch.float64)
    a[USERS, ITEMS + 3] = 1
    a = a + a.T
    degree = a.sum(1)
    scale = torch.where(degree > 0, degree.rsqrt(), torch.zeros_like(degree))
    return scale[:, None] * a * scale


def encode(x, view=None, **options):
    return LightGCNEncoder(LightGCNEncoder.Config(**options))(view or graph(), x)


@pytest.mark.parametrize("include_initial", [True, False])
@pytest.mark.parametrize("combine", ["mean", "sum"])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_layers_are_combined(layers, combine, include_initial):
    x = torch.randn(8, 5, requires_grad=True)
    a, terms = dense(), [x.double()]
    for _ in range(layers):
        terms.append(a @ terms[-1])
    terms = terms[0 if include_initial else 1 :]
    expected = sum(terms) / (len(terms) if combine == "mean" else 1)
    mine = encode(x, layers=layers, combine=combine, include_initial=include_initial)
    torch.testing.assert_close(mine.double(), expected, rtol=1e-5, atol=1e-5)
    direction = torch.randn(8, 5)
    gradients = (torch.autograd.grad(value, x, direction.to(value.dtype))[0] for value in (mine, expected))
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_no_layers_is_matrix_factorisation():
    x = torch.randn(8, 3)
    assert torch.equal(encode(x, layers=0), x)


def test_a_graph_for_each_layer():
    """Random walks give every layer a view of its own."""
    first, second = graph(), graph().keep_interactions(torch.tensor([1, 0, 1, 1, 0, 1], dtype=torch.bool))
    x = torch.randn(8, 4)
    mine = encode(x, LayeredGraph((first, second)), layers=2, combine="sum")
    torch.testing.assert_close(mine, x + first @ x + second @ (first @ x))


def test_a_negative_number_of_layers_is_refused():
    with pytest.raises(ValidationError, match="layers"):
        LightGCNEncoder.Config(layers=-1)


class TestLightGCNEncoder(ComponentContract):
    kind, component = "encoder", "lightgcn"
