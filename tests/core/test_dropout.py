"""Dropout from sixteen bits a number."""

from __future__ import annotations

import pytest
import torch

from sslrec_core.builtin.dropout import dropout


def test_dropout_drops_so_many_and_keeps_the_mean() -> None:
    x = torch.ones(1000, 101)
    dropped = dropout(x, 0.3, True)
    assert ((dropped == 0).double().mean() - 0.3).abs() < 0.01
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert dropout(x, 0.3, False) is x
    assert not torch.equal(dropout(x, 0.3, True), dropped)


def test_gradients_go_through_what_is_kept_alone() -> None:
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    dropped = dropout(x, 0.5, True)
    (gradient,) = torch.autograd.grad(dropped.sum(), x)
    torch.testing.assert_close(gradient, 2.0 * (dropped != 0).double())
