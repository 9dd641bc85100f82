"""Objectives: their contracts, and their formulas pair by pair."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sslrec_core.testing import ComponentContract
from sslrec_core.testing.components import small_graph
from sslrec_social.objectives import HierarchicalInfomax, SelfAugmented, SquaredError, squared_length


class TestHierarchicalInfomax(ComponentContract):
    kind = "objective"
    component = "hierarchical-infomax"

    def inputs(self) -> tuple[Any, ...]:
        return small_graph(), torch.randn(20, 8)


class TestSelfAugmented(ComponentContract):
    kind = "objective"
    component = "self-augmented"

    def build(self, config: Any) -> SelfAugmented:
        return SelfAugmented(config, 8)

    def inputs(self) -> tuple[Any, ...]:
        return torch.randn(4, 7, 8).unbind()


class TestSquaredError(ComponentContract):
    kind = "objective"
    component = "squared-error"

    def inputs(self) -> tuple[Any, ...]:
        return torch.randn(6, 4), torch.randn(6, 4), torch.randn(6, 3, 4)


def log_sigmoid(x: Tensor) -> Tensor:
    return torch.log(torch.sigmoid(x))


@pytest.mark.parametrize("normalise", [False, True])
def test_infomax_user_by_user(normalise: bool) -> None:
    h, x = torch.rand(9, 9, dtype=torch.double), torch.randn(9, 5, dtype=torch.double, requires_grad=True)
    torch.manual_seed(7)
    fast = HierarchicalInfomax(HierarchicalInfomax.Config(weight=0.3, normalise=normalise))(h, x)
    torch.manual_seed(7)
    rows = torch.randperm(9)
    orders = [(torch.randperm(5), torch.randperm(9)) for _ in range(2)]
    z = x / x.norm(dim=1, keepdim=True) if normalise else x
    e = h @ z
    one, other = (e[:, columns][places] for columns, places in orders)
    g = e.mean(0)
    slow = torch.zeros((), dtype=torch.double)
    for user in range(9):
        own, foreign, corrupted = z[user] @ e[user], z[rows[user]] @ e[user], one[user] @ z[user]
        slow = slow - log_sigmoid(own - foreign) - log_sigmoid(foreign - corrupted)
        slow = slow - log_sigmoid(e[user] @ g - other[user] @ g)
    torch.testing.assert_close(fast, 0.3 * slow)
    torch.testing.assert_close(*(torch.autograd.grad(value, x)[0] for value in (fast, 0.3 * slow)))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_self_augmentation_pair_by_pair(reduction: str) -> None:
    objective = SelfAugmented(SelfAugmented.Config(weight=2, dropout=0, reduction=reduction), 4).double()
    a, b, a2, b2 = torch.randn(4, 6, 4, dtype=torch.double).unbind()
    slow = torch.zeros((), dtype=torch.double)
    for k in range(6):
        mixed = objective.mix.weight @ torch.cat([a[k], b[k]]) + objective.mix.bias
        mixed = torch.where(mixed > 0, mixed, 0.5 * mixed) + a[k] + b[k]
        z = torch.sigmoid(objective.rate.weight @ mixed + objective.rate.bias)
        slow = slow + torch.clamp(1 - z * (a2[k] @ b2[k]), min=0).sum()
    torch.testing.assert_close(objective(a, b, a2, b2), 2 * slow / (6 if reduction == "mean" else 1))


def test_dropout_acts_while_training_alone() -> None:
    objective = SelfAugmented(SelfAugmented.Config(), 4)
    one, other = torch.randn(2, 50, 4)
    assert not torch.equal(objective.likeness(one, other), objective.likeness(one, other))
    objective.eval()
    assert torch.equal(objective.likeness(one, other), objective.likeness(one, other))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_squared_error_pair_by_pair(reduction: str) -> None:
    users, positives, negatives = torch.randn(5, 3), torch.randn(5, 3), torch.randn(5, 2, 3)
    slow = torch.zeros(())
    for k in range(5):
        slow = slow + (1 - torch.sigmoid(users[k] @ positives[k])) ** 2 / 2
        slow = slow + sum(torch.sigmoid(users[k] @ negatives[k, n]) ** 2 / 2 for n in range(2))
    fast = SquaredError(SquaredError.Config(weight=3, reduction=reduction))(users, positives, negatives)
    torch.testing.assert_close(fast, 3 * slow / (5 if reduction == "mean" else 1))


def test_squared_length_is_half_the_sum_of_squares() -> None:
    assert squared_length([torch.tensor([3.0, 4.0]), torch.tensor([[1.0]])]).item() == 13
