"""The loop's verbs: one step is what torch would do by hand, and losses are read once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from sslrec_core.errors import TrainingError
from sslrec_core.loop import Loop, precision
from sslrec_core.model import Model
from sslrec_core.settings import OptimConfig, TrainConfig


class Line(Model):
    """A straight line through the origin, with a second part that another optimiser may move."""

    def __init__(self) -> None:
        super().__init__(self.Config(), None)
        self.slope = nn.Parameter(torch.tensor([2.0, -1.0]))
        self.other = nn.Parameter(torch.tensor([1.0]))

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        return {"square": (self.slope * batch).square().sum(), "size": self.slope.abs().sum() * 0.1}


def loop_of(model: Model, **train: Any) -> Loop:
    return Loop(model, TrainConfig(**train), OptimConfig(learning_rate=0.1), torch.device("cpu"))


def test_minimise_is_one_step_of_adam_on_the_sum() -> None:
    ours, theirs = Line(), Line()
    loop = loop_of(ours)
    reference = Adam(theirs.parameters(), 0.1)
    for batch in torch.tensor([[1.0, 2.0], [0.5, -1.0], [3.0, 0.1]]):
        loop.minimise(ours.losses(batch))
        reference.zero_grad()
        sum(theirs.losses(batch).values(), torch.tensor(0.0)).backward()
        reference.step()
    torch.testing.assert_close(ours.slope, theirs.slope)
    assert loop.step == 3


def test_each_step_in_half_precision_sees_the_weights_of_the_one_before() -> None:
    """Autocast remembers halved weights for as long as its block lasts, and the block of an epoch has many steps."""
    model = Line()
    model.weight = nn.Parameter(torch.tensor([[2.0, -1.0]]))
    loop, x, seen = loop_of(model), torch.eye(2), []
    with precision("bf16", torch.device("cpu")):
        for _ in range(3):
            seen.append(F.linear(x, model.weight).flatten())
            loop.minimise({"sum": seen[-1].float().sum()})
    assert seen[0].dtype == torch.bfloat16
    steps = torch.stack(seen).float().diff(dim=0)
    torch.testing.assert_close(steps, torch.full_like(steps, -0.1), atol=0.02, rtol=0)


def test_products_are_rounded_while_it_lasts_and_no_longer() -> None:
    rounded = []

    def training() -> None:
        with precision("tf32", torch.device("cuda")):
            rounded.append(torch.backends.cuda.matmul.allow_tf32)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training()
    assert rounded == [True] and not torch.backends.cuda.matmul.allow_tf32


def test_step_sizes_decay_from_epoch_to_epoch() -> None:
    model = Line()
    loop = Loop(model, TrainConfig(), OptimConfig(learning_rate=0.1, decay=0.5), torch.device("cpu"))
    (group,) = loop.optimizers["main"].param_groups
    rates = []
    for epoch in (0, 1, 3, 1):
        loop.begin_epoch(epoch)
        rates.append(group["lr"])
    assert rates == pytest.approx([0.1, 0.05, 0.0125, 0.05])
    assert loop.optimizer("late", [model.other]).param_groups[0]["lr"] == pytest.approx(0.05)
    saved = loop.optimizers["main"].state_dict()
    resumed = Loop(Line(), TrainConfig(), OptimConfig(learning_rate=0.1, decay=0.5), torch.device("cpu"))
    resumed.optimizers["main"].load_state_dict(saved)
    resumed.begin_epoch(3)
    assert resumed.optimizers["main"].param_groups[0]["lr"] == pytest.approx(0.0125)


def test_means_are_means_and_start_afresh() -> None:
    model = Line()
    loop = loop_of(model)
    batch = torch.tensor([1.0, 2.0])
    first = {name: value.item() for name, value in model.losses(batch).items()}
    loop.minimise(model.losses(batch))
    second = {name: value.item() for name, value in model.losses(batch).items()}
    loop.minimise(model.losses(batch))
    loop.log(kept=torch.tensor(0.25))
    means = loop.means()
    assert means == pytest.approx({name: (first[name] + second[name]) / 2 for name in first} | {"kept": 0.25})
    assert loop.means() == {}


def test_terms_that_come_in_turns_are_averaged_over_their_own_steps() -> None:
    model = Line()
    loop = loop_of(model)
    loop.minimise({"a": model.slope.sum() * 0 + 4})
    loop.minimise({"b": model.slope.sum() * 0 + 1})
    loop.minimise({"a": model.slope.sum() * 0 + 2})
    assert loop.means() == pytest.approx({"a": 3.0, "b": 1.0})


def test_a_loss_that_is_not_finite_names_its_term_and_step() -> None:
    model = Line()
    loop = loop_of(model)
    loop.minimise({"good": model.slope.sum(), "bad": model.other.sum()})
    loop.minimise({"good": model.slope.sum(), "bad": model.other.sum() * float("inf")})
    loop.minimise({"good": model.slope.sum(), "bad": model.other.sum()})
    with pytest.raises(TrainingError, match="'bad' became inf at step 1"):
        loop.means()


def test_clip_bounds_the_norm_of_the_gradient() -> None:
    model = Line()
    loop = loop_of(model, clip=0.5)
    loop.minimise({"large": (model.slope * 1000).sum()})
    assert model.slope.grad is not None
    torch.testing.assert_close(model.slope.grad.norm(), torch.tensor(0.5))


def test_only_the_named_optimizers_step() -> None:
    model = Line()
    loop = loop_of(model)
    loop.optimizer("second", [model.other])
    assert loop.optimizer("second", []) is loop.optimizers["second"]
    before = model.slope.detach().clone()
    loop.minimise({"both": model.slope.sum() + model.other.sum()}, by="second")
    assert torch.equal(model.slope, before)
    assert model.other.item() != 1.0


def test_batches_are_counted_for_those_who_listen() -> None:
    loop = loop_of(Line())
    seen: list[tuple[int, int]] = []
    loop.on_batch.append(lambda done, total: seen.append((done, total)))
    assert list(loop.batches([10, 20, 30])) == [10, 20, 30]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_every_is_true_at_each_nth_step() -> None:
    model = Line()
    loop = loop_of(model)
    due = []
    for _ in range(5):
        due.append(loop.every(2))
        loop.minimise({"x": model.slope.sum()})
    assert due == [True, False, True, False, True]
