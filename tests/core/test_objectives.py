"""Objectives, against expressions written out for single rows; exact sums, against the plain ones."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sslrec_core.builtin import softmax
from sslrec_core.builtin.objectives import BPR, L2, AlignmentUniformity, InfoNCE
from sslrec_core.testing import ComponentContract


def plain_infonce(x, y, candidates, temperature, *, normalise=True):
    """The loss of each anchor, by way of the whole matrix."""
    if normalise:
        x, y, candidates = (F.normalize(each, dim=-1) for each in (x, y, candidates))
    return torch.logsumexp(x @ candidates.T / temperature, dim=1) - (x * y).sum(1) / temperature


def vectors(*shapes, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]


def relative(one, other):
    return float((one - other).norm() / other.norm())


# ---- InfoNCE ------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.2, 0.05, 0.004])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("in_batch", [True, False])
def test_infonce_equals_the_plain_expression(temperature, normalise, in_batch):
    x, y, others = vectors((150, 7), (150, 7), (333, 7))
    inputs = [x, y] if in_batch else [x, y, others]
    objective = InfoNCE(InfoNCE.Config(temperature=temperature, normalise=normalise, weight=0.3))
    mine = objective(*inputs)
    plain = 0.3 * plain_infonce(x, y, y if in_batch else others, temperature, normalise=normalise).mean()
    assert torch.isclose(mine, plain, rtol=1e-10)
    for one, other in zip(torch.autograd.grad(mine, inputs), torch.autograd.grad(plain, inputs), strict=True):
        assert relative(one, other) < 1e-10


@pytest.mark.parametrize("temperature", [0.5, 0.2])
def test_infonce_in_single_precision_is_as_good_as_the_type(temperature):
    x, y, others = vectors((300, 32), (300, 32), (2001, 32), dtype=torch.float32)
    mine = torch.autograd.grad(InfoNCE(InfoNCE.Config(temperature=temperature))(x, y, others), [x, y, others])
    exact = [each.detach().double().requires_grad_() for each in (x, y, others)]
    true = torch.autograd.grad(plain_infonce(*exact, temperature).mean(), exact)
    assert all(relative(one.double(), other) < 1e-6 for one, other in zip(mine, true, strict=True))


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 40), others=st.integers(1, 70), dim=st.integers(1, 9), budget=st.integers(1, 70_000))
def test_infonce_does_not_depend_on_how_it_is_cut(rows, others, dim, budget):
    x, y, e = vectors((rows, dim), (rows, dim), (others, dim))
    objective = InfoNCE(InfoNCE.Config(reduction="sum"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax, "CACHE_BYTES", budget)
        value = objective(x, y, e)
        gradients = torch.autograd.grad(value, [x, y, e])
    plain = plain_infonce(x, y, e, 0.2).sum()
    assert torch.isclose(value, plain, rtol=1e-10)
    for one, other in zip(gradients, torch.autograd.grad(plain, [x, y, e]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_portions_are_several_in_these_tests():
    x, y, e = vectors((200, 4), (200, 4), (100, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax, "CACHE_BYTES", 1)
        parts = [part for part, _ in softmax._portions(200, 112, x)]
        assert len(parts) == 4
        value = InfoNCE(InfoNCE.Config())(x, y, e)
    assert torch.isclose(value, plain_infonce(x, y, e, 0.2).mean(), rtol=1e-10)


def test_counting_a_pair_twice_equals_giving_it_twice():
    x, y = vectors((6, 5), (6, 5))
    repeated = torch.tensor([0, 1, 2, 2, 2, 4])
    counts = torch.tensor([1, 1, 3, 0, 1, 0])
    for reduction in ("mean", "sum"):
        objective = InfoNCE(InfoNCE.Config(reduction=reduction))
        counted, given_twice = objective(x, y, counts=counts), objective(x[repeated], y[repeated])
        torch.testing.assert_close(counted, given_twice)
        for one, other in zip(*(torch.autograd.grad(v, [x, y]) for v in (counted, given_twice)), strict=True):
            torch.testing.assert_close(one, other)


def test_counts_leave_given_candidates_alone():
    x, y, e = vectors((4, 5), (4, 5), (9, 5))
    keep = torch.tensor([True, False, True, True])
    counted = InfoNCE(InfoNCE.Config())(x, y, e, counts=keep)
    torch.testing.assert_close(counted, plain_infonce(x[keep], y[keep], e, 0.2).mean())


def test_infonce_without_gradients():
    x, y, e = vectors((20, 5), (20, 5), (30, 5))
    objective = InfoNCE(InfoNCE.Config())
    with torch.no_grad():
        value = objective(x, y, e)
    assert not value.requires_grad
    assert torch.equal(value, objective(x, y, e).detach())
    constant = objective(x.detach(), y.detach(), e)
    assert relative(*(torch.autograd.grad(v, e)[0] for v in (constant, objective(x, y, e)))) < 1e-12


def test_infonce_stays_in_single_precision_under_autocast():
    x, y, e = vectors((64, 16), (64, 16), (500, 16), dtype=torch.float32)
    objective = InfoNCE(InfoNCE.Config(temperature=0.1))
    with torch.autocast("cpu", torch.bfloat16):
        value = objective(x, y, e)
        half = objective(x.bfloat16(), y.bfloat16(), e.bfloat16())
    assert value.dtype == half.dtype == torch.float32
    assert torch.equal(value, objective(x, y, e))
    half.backward()
    assert x.grad.isfinite().all()
    torch.testing.assert_close(half, value, rtol=1e-2, atol=0)


def test_infonce_keeps_no_matrix_of_anchors_by_candidates():
    x, y, e = vectors((1500, 4), (1500, 4), (9000, 4), dtype=torch.float32)
    sizes = []

    def note(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        InfoNCE(InfoNCE.Config())(x, y, e).backward()
    assert max(sizes) <= e.numel()


def test_similarities_far_below_the_largest_possible_do_not_vanish():
    """All cosines are -1: with a constant subtracted, every exponential would be 0 in float32."""
    x = torch.tensor([[1.0, 0.0]], requires_grad=True)
    away = torch.tensor([[-1.0, 0.0], [-1.0, 1e-3]])
    value = InfoNCE(InfoNCE.Config(temperature=0.01))(x, away[:1], away)
    value.backward()
    assert value.isfinite()
    assert math.isclose(value.item(), math.log(2), rel_tol=1e-3)
    assert x.grad.isfinite().all()


def test_nonsense_in_is_nonsense_out():
    x, y, e = vectors((4, 3), (4, 3), (8, 3))
    broken = e.detach().clone()
    broken[3, 1] = float("nan")
    assert InfoNCE(InfoNCE.Config())(x, y, broken).isnan()


# ---- the others ---------------------------------------------------------------------------------


def test_bpr_by_hand():
    users, positives = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 5.0]])
    negatives = torch.tensor([[[1.0, 9.0], [4.0, 0.0]]])
    terms = [math.log(1 + math.exp(1 - 2)), math.log(1 + math.exp(4 - 2))]
    assert math.isclose(BPR(BPR.Config())(users, positives, negatives), sum(terms) / 2, rel_tol=1e-6)
    total = BPR(BPR.Config(reduction="sum", weight=2.0))(users, positives, negatives)
    assert math.isclose(total, 2 * sum(terms), rel_tol=1e-6)
    one = BPR(BPR.Config())(users, positives, negatives[:, 0])
    assert math.isclose(one, terms[0], rel_tol=1e-6)


def test_bpr_of_very_wrong_pairs_is_finite():
    far = torch.full((1, 1), 300.0)
    assert BPR(BPR.Config())(far, -far, far) == pytest.approx(180_000)


def test_l2_by_hand():
    x, y = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert L2(L2.Config(weight=0.1))(x, y) == pytest.approx(0.1 * (25 + 4) / 2 / 2)
    assert L2(L2.Config(weight=0.1, form="norm"))(x, y) == pytest.approx(0.1 * (5 + 2) / 2)


@pytest.mark.parametrize("rows", [2, 5, 130])
def test_alignment_and_uniformity_equal_the_plain_expressions(rows):
    users, items = vectors((rows, 6), (rows, 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax, "CACHE_BYTES", 1)
        mine = AlignmentUniformity(AlignmentUniformity.Config(uniformity=0.7, weight=1.5))(users, items)
    u, i = F.normalize(users, dim=1), F.normalize(items, dim=1)
    spread = sum(torch.pdist(x).square().mul(-2).exp().mean().log() for x in (u, i)) / 2
    plain = 1.5 * ((u - i).norm(dim=1).square().mean() + 0.7 * spread)
    assert torch.isclose(mine, plain, rtol=1e-10)
    for one, other in zip(*(torch.autograd.grad(v, [users, items]) for v in (mine, plain)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


class TestInfoNCE(ComponentContract):
    kind, component = "objective", "infonce"

    def inputs(self):
        return torch.randn(6, 4), torch.randn(6, 4), torch.randn(20, 4)


class TestBPR(ComponentContract):
    kind, component = "objective", "bpr"

    def inputs(self):
        return torch.randn(6, 4), torch.randn(6, 4), torch.randn(6, 2, 4)


class TestL2(ComponentContract):
    kind, component = "objective", "l2"

    def inputs(self):
        return torch.randn(6, 4), torch.randn(6, 2, 4)


class TestAlignmentUniformity(ComponentContract):
    kind, component = "objective", "alignment-uniformity"

    def inputs(self):
        return torch.randn(6, 4), torch.randn(6, 4)
