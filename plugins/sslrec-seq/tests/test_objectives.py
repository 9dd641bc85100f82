"""Losses of the next item: the shipped contract, and each beside its formula written plainly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.builtin.objectives import BPR, L2, AlignmentUniformity, InfoNCE
from sslrec_core.errors import ConfigError
from sslrec_core.testing import ComponentContract
from sslrec_seq.contrast import NTXent
from sslrec_seq.objectives import (
    BinaryCrossEntropy,
    FullSoftmax,
    GeneralisedBinaryCrossEntropy,
    NextItemLoss,
    PairwiseRanking,
    Predictions,
    SampledSoftmax,
    next_item_loss,
)

N, ITEMS, DIM = 7, 13, 5


def predictions(vectors: Tensor, items: Tensor, weights: Tensor | None = None) -> Predictions:
    """Targets 0, 2, 4, ...; absent items are those with odd numbers."""
    targets = 2 * torch.arange(len(vectors), device=vectors.device) % len(items)

    def absent(draws: int) -> Tensor:
        return 1 + 2 * torch.randint(len(items) // 2, (len(vectors), draws), device=vectors.device)

    counts = torch.arange(len(items), device=items.device)
    return Predictions(vectors, targets, items, counts, absent, weights)


def example(weights: Tensor | None = None) -> Predictions:
    torch.manual_seed(3)
    vectors, items = torch.randn(N, DIM, dtype=torch.float64), torch.randn(ITEMS, DIM, dtype=torch.float64)
    return predictions(vectors.requires_grad_(), items.requires_grad_(), weights)


def gradients(loss: Tensor, given: Predictions) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, (given.vectors, given.items))


def assert_same(mine: Tensor, true: Tensor, given: Predictions) -> None:
    torch.testing.assert_close(mine, true)
    torch.testing.assert_close(gradients(mine, given), gradients(true, given))


class LossContract(ComponentContract):
    kind = "objective"

    def inputs(self) -> tuple[Any, ...]:
        return torch.randn(N, DIM), torch.randn(ITEMS, DIM)

    def call(self, component: Any, *inputs: Any) -> Any:
        vectors, items = inputs
        return component(predictions(vectors, items))


class TestSoftmax(LossContract):
    component = "softmax"


class TestSampledSoftmax(LossContract):
    component = "sampled-softmax"
    options = {"negatives": 40}


class TestSampledSoftmaxByPopularity(LossContract):
    component = "sampled-softmax"
    options = {"negatives": 40, "draw": "popularity", "correct": False}


class TestBCE(LossContract):
    component = "bce"


class TestBCEWithMany(LossContract):
    component = "bce"
    options = {"negatives": 4, "draw": "shared", "average": True}


class TestGBCE(LossContract):
    component = "gbce"
    options = {"negatives": 6}


class TestPairwise(LossContract):
    component = "pairwise"


class TestTop1InBatch(LossContract):
    component = "pairwise"
    options = {"form": "top1", "draw": "batch", "negatives": 5}


class WeightedLossContract(LossContract):
    def call(self, component: Any, *inputs: Any) -> Any:
        vectors, items = inputs
        weights = torch.arange(len(vectors), dtype=vectors.dtype, device=vectors.device)
        return component(predictions(vectors, items, weights))


class TestWeightedSoftmax(WeightedLossContract):
    component = "softmax"


# ---- beside the formulas ------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_softmax_is_the_cross_entropy_over_all_items(temperature: float) -> None:
    given = example()
    loss = FullSoftmax(FullSoftmax.Config(temperature=temperature))(given)
    assert_same(loss, F.cross_entropy(given.vectors @ given.items.T / temperature, given.targets), given)


def test_softmax_in_half_precision_sums_in_single() -> None:
    given = example()
    half = predictions(given.vectors.detach().bfloat16(), given.items.detach().bfloat16())
    loss = FullSoftmax(FullSoftmax.Config())(half)
    assert loss.dtype == torch.float32
    single = F.cross_entropy(half.vectors.float() @ half.items.float().T, half.targets)
    torch.testing.assert_close(loss, single, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("draw", ["uniform", "popularity"])
def test_sampled_softmax_stands_for_the_full_one(draw: str) -> None:
    """The sum under the logarithm is that of all items, on average over many drawings."""
    torch.manual_seed(3)
    given = predictions(torch.randn(1, DIM, dtype=torch.float64), torch.randn(ITEMS, DIM, dtype=torch.float64))
    true = (given.vectors @ given.items.T).exp().sum()
    loss = SampledSoftmax(SampledSoftmax.Config(negatives=8, draw=draw))
    sums = torch.stack([(loss(given) + given.positive()).exp() for _ in range(1500)])
    assert (sums.mean() - true).abs() < 4 * sums.std() / len(sums) ** 0.5
    assert sums.std() < true, "so wide a spread would hide anything"
    # And the loss itself, where so many are drawn that the logarithm of a mean is the mean of a logarithm.
    given = example()
    many = SampledSoftmax(SampledSoftmax.Config(negatives=100_000, draw=draw))(given)
    torch.testing.assert_close(many, F.cross_entropy(given.vectors @ given.items.T, given.targets), rtol=0.01, atol=0)


def test_sampled_softmax_draws_popular_items_more_often() -> None:
    given = example()
    loss = SampledSoftmax(SampledSoftmax.Config(negatives=60_000, draw="popularity", correct=False))(given)
    scores, chance = given.vectors @ given.items.T, (given.counts + 1) / (given.counts + 1).sum()
    others = torch.arange(ITEMS) != given.targets[:, None]
    sums = (scores.exp() * others) @ chance.double() * 60_000 + given.positive().exp()
    torch.testing.assert_close(loss, (sums.log() - given.positive()).mean(), rtol=0.01, atol=0)


def drawn(given: Predictions, draw: str, negatives: int) -> Tensor:
    """The items that a loss will draw, ``[n, negatives]``; the generator is left where it was."""
    state = torch.get_rng_state()
    if draw == "absent":
        items = given.absent(negatives)
    elif draw == "uniform":
        items = torch.randint(ITEMS, (N, negatives))
    elif draw == "shared":
        items = torch.randint(ITEMS, (negatives,)).expand(N, -1)
    else:
        items = given.targets[torch.randint(N, (negatives,))].expand(N, -1)
    torch.set_rng_state(state)
    return items


def scores(given: Predictions, draw: str, negatives: int) -> tuple[Tensor, Tensor]:
    everything = given.vectors @ given.items.T
    return everything.gather(1, given.targets[:, None]), everything.gather(1, drawn(given, draw, negatives))


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("draw", ["absent", "uniform", "shared", "batch"])
def test_bce_is_a_yes_and_some_noes(draw: str, average: bool) -> None:
    given = example()
    yes, no = scores(given, draw, 3)
    expected = F.binary_cross_entropy_with_logits(yes, torch.ones_like(yes))
    expected = expected + F.binary_cross_entropy_with_logits(no, torch.zeros_like(no)) * (1 if average else 3)
    loss = BinaryCrossEntropy(BinaryCrossEntropy.Config(negatives=3, draw=draw, average=average))(given)
    assert_same(loss, expected, given)


@pytest.mark.parametrize("negatives", [1, 5, 40])
@pytest.mark.parametrize("calibration", [0.0, 0.75, 1.0])
def test_gbce_is_that_of_the_paper(calibration: float, negatives: int) -> None:
    """``-(log s(yes)^beta + sum log(1 - s(no))) / (1 + negatives)``, also where more are drawn than there are."""
    given = example()
    yes, no = scores(given, "uniform", negatives)
    alpha = negatives / (ITEMS - 1)
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    likelihood = (yes.sigmoid() ** beta).log().sum(1) + (1 - no.sigmoid()).log().sum(1)
    config = GeneralisedBinaryCrossEntropy.Config(negatives=negatives, calibration=calibration)
    assert_same(GeneralisedBinaryCrossEntropy(config)(given), -(likelihood / (1 + negatives)).mean(), given)


def test_gbce_without_calibration_is_bce_to_scale() -> None:
    given = example()
    torch.manual_seed(5)
    plain = BinaryCrossEntropy(BinaryCrossEntropy.Config(negatives=4, draw="uniform"))(given)
    torch.manual_seed(5)
    general = GeneralisedBinaryCrossEntropy(GeneralisedBinaryCrossEntropy.Config(negatives=4, calibration=0))(given)
    assert_same(5 * general, plain, given)


def test_gbce_fully_calibrated_has_its_optimum_at_the_true_chance() -> None:
    """One history, seen often, each time beside every other item in turn: the chance is that of the counts."""
    times = torch.tensor([10, 5, 3, 2])
    targets = torch.arange(4).repeat_interleave(3 * times)
    others = (targets + 1 + torch.arange(len(targets)) % 3)[:, None] % 4
    items = torch.zeros(4, 1, dtype=torch.float64, requires_grad=True)
    given = Predictions(torch.ones(len(targets), 1, dtype=torch.float64), targets, items, times, lambda draws: others)
    config = GeneralisedBinaryCrossEntropy.Config(negatives=1, calibration=1, draw="absent")
    loss = GeneralisedBinaryCrossEntropy(config)
    optimiser = torch.optim.LBFGS([items], max_iter=200, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimiser.zero_grad()
        value: Tensor = loss(given)
        value.backward()
        return value

    optimiser.step(step)
    torch.testing.assert_close(items.detach().sigmoid()[:, 0], times / times.sum().double(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("draw", ["absent", "batch"])
@pytest.mark.parametrize("form", ["bpr", "top1"])
def test_pairwise_puts_the_target_above_what_is_drawn(form: str, draw: str) -> None:
    given = example()
    yes, no = scores(given, draw, 4)
    terms = -(yes - no).sigmoid().log() if form == "bpr" else (no - yes).sigmoid() + (no**2).sigmoid()
    loss = PairwiseRanking(PairwiseRanking.Config(form=form, draw=draw, negatives=4))(given)
    assert_same(loss, terms.mean(), given)


LOSSES = [
    FullSoftmax(FullSoftmax.Config()),
    SampledSoftmax(SampledSoftmax.Config(negatives=9)),
    BinaryCrossEntropy(BinaryCrossEntropy.Config(negatives=2, draw="shared")),
    GeneralisedBinaryCrossEntropy(GeneralisedBinaryCrossEntropy.Config(negatives=2, draw="shared")),
    PairwiseRanking(PairwiseRanking.Config(negatives=2, draw="shared")),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_predictions_of_no_weight_are_not_there(loss: NextItemLoss) -> None:
    weights = torch.tensor([1.0, 0, 1, 1, 0, 0, 1], dtype=torch.float64)
    given, kept = example(weights), weights.bool()
    part = Predictions(given.vectors[kept], given.targets[kept], given.items, given.counts, given.absent)
    torch.manual_seed(6)
    weighed = loss(given)
    torch.manual_seed(6)
    assert_same(weighed, loss(part), given)


# ---- objectives that know nothing of predictions ------------------------------------------------


def test_losses_of_predictions_stay_what_they_are() -> None:
    assert next_item_loss(LOSSES[0], "softmax", weighted=True) is LOSSES[0]


def test_bpr_is_given_an_absent_item_for_each() -> None:
    given = example()
    torch.manual_seed(7)
    loss = next_item_loss(BPR(BPR.Config()), "bpr")(given)
    torch.manual_seed(7)
    assert_same(loss, PairwiseRanking(PairwiseRanking.Config())(given), given)


def test_infonce_is_given_the_catalogue() -> None:
    given = example()
    loss = next_item_loss(InfoNCE(InfoNCE.Config(temperature=0.5)), "infonce")(given)
    directions = F.normalize(given.vectors, dim=1) @ F.normalize(given.items, dim=1).T
    assert_same(loss, F.cross_entropy(directions / 0.5, given.targets), given)


def test_objectives_of_two_are_given_the_targets_alone() -> None:
    given = example()
    objective = AlignmentUniformity(AlignmentUniformity.Config())
    loss = next_item_loss(objective, "alignment-uniformity")(given)
    assert_same(loss, objective(given.vectors, given.items[given.targets]), given)


def test_candidates_may_stand_anywhere() -> None:
    given, contrast = example(), NTXent(NTXent.Config())
    loss = next_item_loss(contrast, "nt-xent")(given)
    assert_same(loss, F.cross_entropy(given.vectors @ given.items.T, given.targets), given)


def test_what_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="the objective 'l2' is no loss of the next item") as caught:
        next_item_loss(L2(L2.Config()), "l2")
    assert "softmax" in caught.value.fix


def test_a_plain_objective_cannot_weigh() -> None:
    with pytest.raises(ConfigError, match="the objective 'bpr' cannot weigh predictions") as caught:
        next_item_loss(BPR(BPR.Config()), "bpr", weighted=True)
    assert "pairwise" in caught.value.fix
