"""Contrast of views, and CL4SRec beside its formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.testing import ComponentContract
from sslrec_seq.contrast import NTXent


class TestNTXent(ComponentContract):
    kind = "objective"
    component = "nt-xent"

    def inputs(self) -> tuple[Tensor, ...]:
        return torch.randn(6, 4), torch.randn(6, 4)


class TestNTXentWithGroups(TestNTXent):
    def inputs(self) -> tuple[Tensor, ...]:
        return torch.randn(6, 4), torch.randn(6, 4), torch.tensor([3, 1, 3, 2, 1, 3])


class TestNTXentWithCandidates(TestNTXent):
    def inputs(self) -> tuple[Tensor, ...]:
        return torch.randn(6, 4), torch.randn(6, 4), None, torch.randn(9, 4)


def by_hand(one: Tensor, other: Tensor, groups: list[int], temperature: float) -> Tensor:
    """The definition, one anchor and one negative at a time."""
    sides, terms = (one, other), []
    for side, rows in enumerate(sides):
        for row, x in enumerate(rows):
            positive = torch.exp(x @ sides[1 - side][row] / temperature)
            negatives = [
                torch.exp(x @ y / temperature)
                for views in sides
                for number, y in enumerate(views)
                if groups[number] != groups[row]
            ]
            terms.append(-torch.log(positive / (positive + sum(negatives))))
    return torch.stack(terms).mean()


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("groups", [None, [0, 1, 0, 2, 1], [4, 4, 4, 4, 4]])
def test_nt_xent_is_its_definition(groups: list[int] | None, normalise: bool) -> None:
    torch.manual_seed(0)
    one, other = (torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    loss = NTXent(NTXent.Config(weight=0.5, temperature=0.7, normalise=normalise))
    found = loss(one, other, None if groups is None else torch.tensor(groups))
    views = [F.normalize(x, dim=1) if normalise else x for x in (one, other)]
    expected = 0.5 * by_hand(*views, groups or list(range(5)), 0.7)
    torch.testing.assert_close(found, expected)
    for mine, true in zip(
        torch.autograd.grad(found, (one, other)), torch.autograd.grad(expected, (one, other)), strict=True
    ):
        torch.testing.assert_close(mine, true, atol=1e-12, rtol=1e-9)


def test_nt_xent_finds_the_other_view_in_a_queue() -> None:
    torch.manual_seed(0)
    one, other, queue = torch.randn(4, 3), torch.randn(4, 3), torch.randn(7, 3)
    candidates = torch.cat([other, queue])
    found = NTXent(NTXent.Config(temperature=0.5))(one, other, candidates=candidates)
    torch.testing.assert_close(found, F.cross_entropy(one @ candidates.T / 0.5, torch.arange(4)))


def test_nt_xent_of_a_single_row_is_nothing() -> None:
    x = torch.randn(1, 3, requires_grad=True)
    loss = NTXent(NTXent.Config())(x, x * 2)
    loss.backward()
    assert float(loss.detach()) == 0 and x.grad is not None and x.grad.isfinite().all()


def test_nt_xent_takes_groups_or_candidates() -> None:
    with pytest.raises(ValueError, match="not both"):
        NTXent(NTXent.Config())(torch.randn(2, 3), torch.randn(2, 3), torch.arange(2), torch.randn(5, 3))
