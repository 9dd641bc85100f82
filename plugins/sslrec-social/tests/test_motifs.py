"""Hypergraphs of motifs: what they are by the ten formulas, by counting, and in any portions."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sslrec_core.data import Rows
from sslrec_social import motifs
from sslrec_social.motifs import Hypergraph, motif_channels

USERS, ITEMS = 9, 6

# The ties inside each of the seven motifs, between users 0, 1 and 2: tied one-sidedly, or mutually.
MOTIFS = [
    {(0, 1), (1, 2), (2, 0)},
    {(0, 1), (1, 2), (2, 0), (1, 0)},
    {(0, 1), (1, 2), (2, 0), (1, 0), (2, 1)},
    {(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)},
    {(0, 1), (1, 2), (0, 2)},
    {(0, 1), (0, 2), (1, 2), (2, 1)},
    {(1, 0), (2, 0), (1, 2), (2, 1)},
]


def seven(s: Tensor) -> list[Tensor]:
    """``A1`` to ``A7`` out of the ties, by the paper's formulas."""
    b = s * s.T
    u = s - b
    c1 = (u @ u) * u.T
    c2 = (b @ u) * u.T + (u @ b) * u.T + (u @ u) * b
    c3 = (b @ b) * u + (b @ u) * b + (u @ b) * b
    a4 = (b @ b) * b
    c5 = (u @ u) * u + (u @ u.T) * u + (u.T @ u) * u
    a6 = (u @ b) * u + (b @ u.T) * u.T + (u.T @ u) * b
    a7 = (u.T @ b) * u.T + (b @ u) * u + (u @ u.T) * b
    return [c1 + c1.T, c2 + c2.T, c3 + c3.T, a4, c5 + c5.T, a6, a7]


def three(s: Tensor, y: Tensor) -> list[Tensor]:
    """``A8`` to ``A10`` out of ties and purchases."""
    b = s * s.T
    u = s - b
    c9 = (y @ y.T) * u
    a8, a9 = (y @ y.T) * b, c9 + c9.T
    return [a8, a9, y @ y.T - a8 - a9]


def row_normalised(a: Tensor) -> Tensor:
    total = a.sum(1, keepdim=True)
    return torch.where(total > 0, a / total.clamp_min(1e-300), 0)


def random_world(seed: int, ties: float = 0.4, bought: float = 0.4) -> tuple[Tensor, Tensor]:
    """Ties between users, none with oneself, and purchases: dense, of ones and zeros."""
    generator = torch.Generator().manual_seed(seed)
    s = (torch.rand(USERS, USERS, generator=generator) < ties).double().fill_diagonal_(0)
    return s, (torch.rand(USERS, ITEMS, generator=generator) < bought).double()


def rows_of(a: Tensor) -> Rows:
    return Rows.of(*a.nonzero().unbind(1), *a.shape)


def matrix(graph: Hypergraph) -> Tensor:
    return (graph @ torch.eye(USERS)).double()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), least=st.integers(1, 4), ties=st.floats(0.05, 0.9))
def test_channels_equal_the_ten_formulas(seed: int, least: int, ties: float) -> None:
    s, y = random_world(seed, ties)
    a8, a9, a10 = three(s, y)
    wanted = [sum(seven(s)), a8 + a9, a10 * (a10 >= least)]
    for graph, a in zip(motif_channels(rows_of(s), rows_of(y), least_common=least), wanted, strict=True):
        assert torch.equal(graph.shared.dense().double(), a)
        torch.testing.assert_close(matrix(graph), row_normalised(a), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("number", range(7))
def test_each_formula_counts_its_motif(number: int) -> None:
    s, _ = random_world(number)
    edges = {tuple(edge) for edge in s.nonzero().tolist()}
    counted = torch.zeros(USERS, USERS, dtype=torch.double)
    for trio in {tuple(sorted(trio)) for trio in permutations(range(USERS), 3)}:
        inside = {(one, other) for one, other in edges if one in trio and other in trio}
        if any({(names[i], names[j]) for i, j in MOTIFS[number]} == inside for names in permutations(trio)):
            for one, other in permutations(trio, 2):
                counted[one, other] += 1
    assert torch.equal(seven(s)[number], counted)


def test_portions_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    s, y = random_world(1)
    whole = motif_channels(rows_of(s), rows_of(y))
    for portion in (1, 7, 50):
        monkeypatch.setattr(motifs, "PORTION", portion)
        for one, other in zip(whole, motif_channels(rows_of(s), rows_of(y)), strict=True):
            assert torch.equal(one.shared.dense(), other.shared.dense())


def test_users_may_be_left_out_of_their_own_purchases() -> None:
    s, y = random_world(2)
    a10 = three(s, y)[2]
    graph = motif_channels(rows_of(s), rows_of(y), own=False).purchase
    assert torch.equal(graph.shared.dense().double(), (a10 * (a10 >= 2)).fill_diagonal_(0))


def test_gradients_are_those_of_the_matrix() -> None:
    s, y = random_world(3)
    x, weights = torch.randn(USERS, 4, requires_grad=True), torch.randn(USERS, 4)
    for graph in motif_channels(rows_of(s), rows_of(y)):
        (fast,) = torch.autograd.grad(((graph @ x) * weights).sum(), x)
        torch.testing.assert_close(fast, matrix(graph).float().T @ weights)


def test_nothing_in_common_is_an_empty_channel() -> None:
    nobody, one_each = torch.zeros(USERS, USERS), torch.eye(USERS, ITEMS)
    nobody[0, 1] = 1
    for graph in motif_channels(rows_of(nobody), rows_of(one_each)):
        assert torch.equal(matrix(graph), torch.zeros(USERS, USERS).double())
