"""Contrast of views, and CL4SRec beside its formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.errors import ConfigError
from sslrec_core.testing import ComponentContract, ModelContract
from sslrec_core.testing.bench import Bench
from sslrec_seq.contrast import BLOCK, FAINT, NTXent, gram
from sslrec_seq.data import SeqBatch
from sslrec_seq.histories import Histories
from sslrec_seq.views import Momentum, TwoViews, pooled


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


def test_products_of_rows_that_begin_with_zeros_are_the_plain_ones() -> None:
    torch.manual_seed(0)
    x = torch.randn(9, 2 * BLOCK + 40, dtype=torch.float64)
    begins = torch.tensor([0, 600, 300, 520, 255, 256, 0, 530, x.shape[1]])  # the last has nothing but zeros
    x = (x * (torch.arange(x.shape[1]) >= begins[:, None])).requires_grad_()
    weights = torch.randn(9, 9, dtype=torch.float64)
    found, plain = gram(x), x @ x.T
    torch.testing.assert_close(found, plain)
    # Zeros have gradients too: which rows they are in must not matter.
    (given,) = torch.autograd.grad((found * weights).sum(), x)
    (wanted,) = torch.autograd.grad((plain * weights).sum(), x)
    torch.testing.assert_close(given, wanted)


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


def test_nt_xent_leaves_out_what_has_gradients_too_small_to_be_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    one, other = (torch.randn(40, 8).mul(7).requires_grad_() for _ in range(2))
    products: list[Tensor] = []

    def observed(x: Tensor) -> Tensor:
        products.append(x @ x.T)
        products[-1].retain_grad()
        return products[-1]

    monkeypatch.setattr("sslrec_seq.contrast.gram", observed)
    found = NTXent(NTXent.Config())(one, other)
    found.backward()
    logits = observed(torch.cat([one, other])).masked_fill(torch.eye(80, dtype=torch.bool), -torch.inf)
    counterparts = torch.arange(80).roll(40)
    # Counterparts that are as far below count nevertheless.
    assert (logits.amax(1) - logits[torch.arange(80), counterparts] > FAINT).any()
    expected = F.cross_entropy(logits, counterparts)
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(expected, (one, other, products[1]))
    for mine, plain in zip((one.grad, other.grad), wanted[:2], strict=True):
        torch.testing.assert_close(mine, plain)

    tiny = torch.finfo(torch.float32).tiny
    gradient = products[0].grad
    assert gradient is not None and not ((gradient != 0) & (gradient.abs() < tiny)).any()
    assert ((wanted[2] != 0) & (wanted[2].abs() < tiny)).any()


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


# ---- the model ----------------------------------------------------------------------------------

SMALL = ("model.embedding_dim=32", "model.encoder.dropout=0.1", "model.encoder.attention_dropout=0.1")
MOMENTUM = ("model.momentum.decay=0.9", "model.momentum.queue=100")


class TestCL4SRec(ModelContract):
    model = "seq/cl4srec"
    world = "seq/checkerboard"
    settings = SMALL


class TestCL4SRecWithMomentum(ModelContract):
    model = "seq/cl4srec"
    world = "seq/checkerboard"
    settings = (*SMALL, *MOMENTUM, "model.pool=mean")


def bench(*assignments: str) -> Bench:
    return Bench.of("seq/cl4srec", "seq/checkerboard", (*SMALL, "train.batch_size=8", *assignments))


def first_batch(model: TwoViews) -> SeqBatch:
    train = bench().config.train
    return next(model.data.batches(train, targets=model.config.targets))


ROWS = Histories(torch.tensor([0, 1, 2, 3, 4, 5]), torch.tensor([2, 1, 3]), 3)
VECTORS = torch.arange(1.0, 13.0).view(6, 2)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("last", [[3, 4], [5, 6], [11, 12]]),
        ("mean", [[2, 3], [5, 6], [9, 10]]),
        ("places", [[0, 0, 0, 0, 1, 2, 3, 4], [0, 0, 0, 0, 0, 0, 5, 6], [0, 0, 7, 8, 9, 10, 11, 12]]),
    ],
)
def test_a_view_has_one_vector(pool: str, expected: list[list[float]]) -> None:
    assert pooled(ROWS, VECTORS, pool, 4).tolist() == expected
    unused = Histories(torch.cat([ROWS.items, torch.tensor([9, 9])]), ROWS.lengths, 3)
    assert pooled(unused, torch.cat([VECTORS, torch.ones(2, 2)]), pool, 4).tolist() == expected


@pytest.mark.parametrize("pool", ["last", "mean", "places"])
def test_views_are_contrasted_beside_the_loss_of_the_next_item(pool: str) -> None:
    model = bench(f"model.pool={pool}", "model.loss=softmax", "model.contrast.temperature=0.5").build()
    model.eval()
    batch = first_batch(model)
    torch.manual_seed(4)
    found = model.losses(batch)
    torch.manual_seed(4)
    views = model.augmenter.pair(batch.histories)
    one, other = (pooled(view, model.vectors(view), pool, model.data.length).double() for view in views)
    expected = 0.1 * by_hand(one, other, list(range(len(batch))), 0.5)
    torch.testing.assert_close(found["contrast"].double(), expected, rtol=1e-4, atol=1e-6)
    scores = model.vectors(batch.histories)[batch.at] @ model.catalogue.T
    torch.testing.assert_close(found["next"], F.cross_entropy(scores, batch.targets))


def test_with_momentum_the_second_view_is_encoded_by_a_slow_copy() -> None:
    model = bench(*MOMENTUM, "model.loss=softmax", "model.augmenter=dropout").build()
    model.eval()
    batch = first_batch(model)
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    queue = model.momentum.queue.clone()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    found = model.losses(batch)["contrast"]
    view = model.view(batch.histories)
    with torch.no_grad():
        moved = {name: value.clone() for name, value in model.named_parameters()}
        for name, value in model.named_parameters():
            value.copy_(0.9 * start[name] + 0.1 * moved[name])
        keys = model.view(batch.histories)
        for name, value in model.named_parameters():
            value.copy_(moved[name])
    expected = 0.1 * F.cross_entropy(view @ torch.cat([keys, queue]).T, torch.arange(len(batch)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.momentum.queue[: len(batch)], keys)
    assert torch.equal(model.momentum.queue[len(batch) :], queue[len(batch) :])


def test_the_queue_holds_the_latest_vectors() -> None:
    part = torch.nn.Linear(2, 1)
    momentum = Momentum(Momentum.Config(queue=5), (part,), 1)
    for batch in ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0]):
        momentum.candidates(torch.tensor(batch)[:, None])
    assert sorted(momentum.queue.flatten().tolist()) == [3, 4, 5, 6, 7]
    momentum.candidates(torch.arange(10.0, 18.0)[:, None])
    assert sorted(momentum.queue.flatten().tolist()) == [13, 14, 15, 16, 17]


@pytest.mark.parametrize("contrast", ["infonce", "nt-xent"])
@pytest.mark.parametrize("encoder", ["gru", "caser", "mean-pooling", "transformer", "weighted-mean"])
def test_momentum_works_with_any_encoder(encoder: str, contrast: str) -> None:
    settings = (f"model.encoder={encoder}", f"model.contrast={contrast}", *MOMENTUM)
    made = Bench.of("seq/cl4srec", "seq/checkerboard", settings)
    model = made.build()
    assert all(torch.tensor(list(terms.values())).isfinite().all() for terms in made.train(model, 2))


def test_momentum_needs_an_objective_that_takes_candidates() -> None:
    with pytest.raises(ConfigError, match=r"'alignment-uniformity' does not take candidates"):
        bench(*MOMENTUM, "model.contrast=alignment-uniformity").build()


@pytest.mark.parametrize("contrast", ["bce", "bpr"])
def test_what_compares_no_views_is_refused(contrast: str) -> None:
    with pytest.raises(ConfigError, match=f"'{contrast}' compares no views"):
        bench(f"model.contrast={contrast}").build()


@pytest.mark.parametrize(
    ("model", "objective"), [("duorec", "supervised"), ("duorec", "unsupervised"), ("iclrec", "intent")]
)
def test_masking_false_negatives_needs_an_objective_that_takes_groups(model: str, objective: str) -> None:
    settings = ("model.false_negatives=mask", f"model.{objective}=infonce")
    with pytest.raises(ConfigError, match="'infonce' does not take groups"):
        Bench.of(f"seq/{model}", "seq/checkerboard", settings).build()


@pytest.mark.parametrize("augmenter", ["crop", "mask", "reorder", "substitute", "insert", "dropout", "one-of"])
@pytest.mark.parametrize("targets", ["all", "prefix"])
def test_every_augmenter_can_be_named(augmenter: str, targets: str) -> None:
    settings = (f"model.augmenter.name={augmenter}", "model.encoder.name=gru", f"model.targets={targets}")
    made = Bench.of("seq/cl4srec", "seq/checkerboard", settings)
    model = made.build()
    curve = made.train(model, 3)
    assert all(0 < terms["contrast"] < 5 for terms in curve)
    assert curve[-1]["next"] < curve[0]["next"]


def test_an_augmenter_of_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'edge-drop' does not change histories"):
        bench("model.augmenter=edge-drop").build()
