"""DuoRec: the contract, which rows share a target, and the contrasts by a plain reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from sslrec_core.data import load_data
from sslrec_core.registry import registry
from sslrec_core.testing import ModelContract
from sslrec_core.testing.bench import Bench
from sslrec_seq.models.duorec import SameTarget

SMALL = (
    "model.embedding_dim=32",
    "model.encoder.dropout=0.1",
    "model.encoder.attention_dropout=0.1",
    "scenario.max_length=16",
)
STILL = ("model.encoder.dropout=0", "model.encoder.attention_dropout=0")


class TestDuoRec(ModelContract):
    model = "seq/duorec"
    world = "seq/checkerboard"
    # After many epochs a softmax knows the one next item and no more; this world asks for all of a kind.  Fast steps
    # learn that too, with some seeds.
    settings = (*SMALL, "model.loss=bce", "optim.learning_rate=0.003")
    variants = (("model.crossed=false", "model.false_negatives=mask"), ("model.supervised=none",))


def bench(*assignments: str) -> Bench:
    return Bench.of("seq/duorec", "seq/checkerboard", [*SMALL, *assignments])


def batch_of(model, rows=40):
    users, stops = model.data.asked_in_training("prefix")
    chosen = torch.randperm(len(users))[:rows]
    return model.data.batch(users[chosen], stops[chosen], "prefix")


class TestSameTarget:
    def test_a_partner_is_another_row_with_the_same_target(self) -> None:
        data = bench().data
        users, stops = data.asked_in_training("prefix")
        items, same = data.sequences.items, SameTarget(data, "prefix")
        torch.manual_seed(0)
        for _ in range(20):
            rows = same.partners(stops)
            assert torch.equal(items[same.stops[rows]], items[stops])
            assert not (same.stops[rows] == stops).any(), "every item is a target of several users here"
            assert torch.equal(same.users[rows], users[rows])

    def test_each_other_row_is_drawn_alike(self) -> None:
        data = bench().data
        same = SameTarget(data, "prefix")
        stops = same.stops[same.rows[:1]]  # the first row of the most crowded corner: its rank is 0
        items = data.sequences.items
        rows = (items[same.stops] == items[stops]).nonzero().squeeze(1)
        torch.manual_seed(0)
        drawn = torch.bincount(same.partners(stops.repeat(20_000)), minlength=len(same.stops))[rows]
        others = drawn[same.stops[rows] != stops]
        assert drawn.sum() == 20_000 and others.sum() == 20_000
        expected = 20_000 / len(others)
        assert ((others - expected).abs() < 5 * expected**0.5).all()

    def test_a_row_that_is_alone_is_its_own_partner(self) -> None:
        from sslrec_core.testing.worlds import Checkerboard

        scenario = registry().find("scenario", "seq").load()
        world = Checkerboard(Checkerboard.Config(size=8, known=2))
        data = load_data(world, scenario(scenario.Config()), name="checkerboard")
        same = SameTarget(data, "prefix")
        assert (same.counts[data.sequences.items[same.stops]] == 1).all()
        assert torch.equal(same.partners(same.stops), torch.arange(len(same.stops)))

    def test_the_history_is_the_one_before_the_target(self) -> None:
        data = bench().data
        same = SameTarget(data, "prefix")
        torch.manual_seed(1)
        rows = same.partners(same.stops)
        torch.manual_seed(1)
        drawn = same.draw(same.stops)
        expected = data.sequences.before(same.users[rows], same.stops[rows], data.length)
        assert torch.equal(drawn.items, expected.items) and torch.equal(drawn.lengths, expected.lengths)


def plain_contrast(one, other, labels=None):
    """Row by row: each view against its counterpart and all that is no false negative."""
    views, b, total = torch.cat([one, other]), len(one), 0.0
    for i in range(2 * b):
        counterpart = (i + b) % (2 * b)
        rivals = [
            j
            for j in range(2 * b)
            if j % b != i % b and (labels is None or labels[j % b] != labels[i % b])
        ]  # fmt: skip
        logits = torch.stack([views[i] @ views[j] for j in [counterpart, *rivals]])
        total = total - F.log_softmax(logits, 0)[0]
    return total / (2 * b)


class TestLosses:
    @pytest.mark.parametrize("false_negatives", ["keep", "mask"])
    @pytest.mark.parametrize("crossed", [True, False])
    def test_terms_are_those_of_a_plain_reference(self, crossed: bool, false_negatives: str) -> None:
        settings = (f"model.crossed={str(crossed).lower()}", f"model.false_negatives={false_negatives}", *STILL)
        model = bench(*settings).build()
        batch = batch_of(model)
        torch.manual_seed(2)
        losses = model.losses(batch)
        torch.manual_seed(2)
        drawn = model.same_target.draw(batch.stops)
        with torch.no_grad():
            own = model.summary(batch.histories)
            alike = model.summary(drawn)
        labels = batch.targets.tolist() if false_negatives == "mask" else None
        supervised = 0.1 * plain_contrast(own, alike, labels)
        next_item = F.cross_entropy(own @ model.catalogue.T, batch.targets)
        assert torch.allclose(losses["next"], next_item, rtol=1e-5)
        if crossed:
            assert set(losses) == {"next", "contrast"}
            assert torch.allclose(losses["contrast"], supervised, rtol=1e-5)
        else:
            assert set(losses) == {"next", "unsupervised", "supervised"}
            assert torch.allclose(losses["supervised"], supervised, rtol=1e-5)
            assert torch.allclose(losses["unsupervised"], 0.1 * plain_contrast(own, own, labels), rtol=1e-5)

    def test_each_term_can_be_left_out(self) -> None:
        batch = batch_of(bench().build())
        terms = {
            setting: set(bench(*setting).build().losses(batch))
            for setting in [("model.supervised=none",), ("model.unsupervised=none",)]
        }
        assert terms == {
            ("model.supervised=none",): {"next", "unsupervised"},
            ("model.unsupervised=none",): {"next", "supervised"},
        }
        neither = bench("model.supervised=none", "model.unsupervised=none").build()
        assert set(neither.losses(batch)) == {"next"}

    def test_dropout_makes_the_two_passes_differ(self) -> None:
        model = bench().build().train()
        batch = batch_of(model)
        assert not torch.equal(model.again(batch), model.again(batch))

    def test_with_all_places_the_last_target_counts(self) -> None:
        model = bench("model.targets=all", "model.false_negatives=mask").build()
        users, stops = model.data.asked_in_training("all")
        batch = model.data.batch(users, stops, "all")
        assert torch.equal(model.data.sequences.items[batch.stops], batch.targets[batch.histories.last])
        assert all(loss.isfinite() for loss in model.losses(batch).values())
        assert len(replace(batch)) == len(users)
