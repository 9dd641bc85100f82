"""SRMA: the contract, every row of the paper's variants, and its losses by a plain reference."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sslrec_core.testing import ModelContract
from sslrec_core.testing.bench import Bench, scores
from sslrec_seq.data import SeqBatch
from sslrec_seq.histories import Histories, outside, shown
from sslrec_seq.models.srma import SRMA
from sslrec_seq.views import pooled

SMALL = (
    "model.embedding_dim=32",
    "model.encoder.dropout=0.1",
    "model.encoder.attention_dropout=0.1",
    "model.layer_drop.dropout=0.1",
    "scenario.max_length=16",
)
STILL = ("model.encoder.dropout=0", "model.encoder.attention_dropout=0", "model.layer_drop.dropout=0")
COMPLEMENT = ("model.complement.epochs=2", "model.complement.encoder=gru")


class TestSRMA(ModelContract):
    model = "seq/srma"
    world = "seq/checkerboard"
    # In a world of two kinds of users most rows of a batch are alike: the contrast must not outweigh the next item.
    settings = (*SMALL, "model.pool=last", "model.neuron_mask.rate=0.2")


class TestSRMAWithComplement(ModelContract):
    model = "seq/srma"
    world = "seq/checkerboard"
    settings = (*SMALL, *COMPLEMENT, "model.pool=last", "model.padding=false")


def bench(*assignments: str) -> Bench:
    return Bench.of("seq/srma", "seq/checkerboard", (*SMALL, *assignments))


def first_batch(model: SRMA) -> SeqBatch:
    users, stops = model.data.asked_in_training("all")
    return model.data.batch(users, stops, "all")


def nce(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Both directions, a view at a time."""
    views, n, terms = torch.cat([one, other]), len(one), []
    for row in range(2 * n):
        logits = torch.stack([views[row] @ views[k] for k in range(2 * n) if k != row])
        counterpart = (row + n) % (2 * n)
        terms.append(-F.log_softmax(logits, 0)[counterpart - (counterpart > row)])
    return torch.stack(terms).mean()


VARIANTS = {
    # Table 2, CL4SRec: without data augmentation, and with p = 0.
    "CL4SRec without D": ("model.augmenter=dropout", "model.layer_drop=none"),
    "CL4SRec, p=0": ("model.layer_drop=none", "model.encoder.dropout=0", "model.encoder.attention_dropout=0"),
    # Table 2, SRMA: without data augmentation, without model augmentation, with both.
    "SRMA without D": ("model.augmenter=dropout",),
    "SRMA without M": ("model.layer_drop=none", "model.encoder.dropout=0"),
    "SRMA": (),
    "SRMA, neurons masked in views": ("model.neuron_mask.rate=0.5",),
    # Table 3: without a complement, with a transformer of one layer, with a GRU; and as in the authors' code.
    "no complement": ("model.complement=none",),
    "transformer": ("model.complement.encoder=transformer", "model.complement.epochs=1"),
    "gru": ("model.complement.encoder=gru", "model.complement.epochs=1"),
    "anchor": ("model.complement_as=anchor", "model.complement.epochs=1"),
}


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=list(VARIANTS))
def test_every_row_of_the_tables_is_a_config(settings: tuple[str, ...]) -> None:
    plain = [each for each in SMALL if "layer_drop" not in each or "model.layer_drop=none" not in settings]
    made = Bench.of("seq/srma", "seq/checkerboard", (*plain, "model.pool=mean", *settings))
    curve = made.train(made.build(), 3)
    assert set(curve[0]) == {"next", "contrast"}
    assert curve[-1]["next"] < curve[0]["next"]


def full(model: SRMA, histories: Histories) -> Histories:
    return histories.padded(model.data.length, model.data.masked) if model.config.padding else histories


def vectors(model: SRMA, histories: Histories) -> torch.Tensor:
    """What the encoder alone makes of histories."""
    return model.encoder(histories, shown(histories, model.items(histories.items)))


@pytest.mark.parametrize("padding", ["true", "false"])
@pytest.mark.parametrize("pool", ["last", "mean", "places"])
def test_losses_are_those_of_a_plain_reference(pool: str, padding: str) -> None:
    settings = (*STILL, *COMPLEMENT, f"model.pool={pool}", "model.loss=softmax", "model.contrast.weight=0.3")
    model = bench(*settings, "model.layer_drop.layers=3", f"model.padding={padding}").build()
    batch, length = first_batch(model), model.data.length
    torch.manual_seed(7)
    losses = model.losses(batch)
    torch.manual_seed(7)
    one, other = (full(model, view) for view in model.augmenter.pair(batch.histories))
    kept = (torch.rand(3).argsort() >= 1).tolist()

    def encoded(histories):
        x = vectors(model, histories)
        return x, through(x, kept)

    def through(x, stays):
        for layer, stay in zip(model.layer_drop.layers, stays, strict=True):
            x = layer(x) if stay else x
        return x

    with torch.no_grad():
        complement = model.complement.other.eval()
        first = encoded(one)[1] + 0.5 * complement.vectors(one)
        second = encoded(other)[1]
        expected = 0.3 * nce(pooled(one, first, pool, length), pooled(other, second, pool, length))
        torch.testing.assert_close(losses["contrast"], expected, rtol=1e-4, atol=1e-4)
        # The pass that recommends drops layers on its own.
        stays = (torch.rand(3).argsort() >= 1).tolist()
        found = through(encoded(batch.histories)[0], stays)[batch.at]
        torch.testing.assert_close(losses["next"], F.cross_entropy(found @ model.catalogue.T, batch.targets))


def test_as_an_anchor_the_complement_is_what_views_are_contrasted_with() -> None:
    model = bench(*STILL, *COMPLEMENT, "model.complement_as=anchor", "model.layer_drop.drop=0").build()
    batch, length = first_batch(model), model.data.length
    torch.manual_seed(7)
    found = model.losses(batch)["contrast"]
    torch.manual_seed(7)
    views = [model.layer_drop.whole(full(model, view)) for view in model.augmenter.pair(batch.histories)]
    whole = full(model, batch.histories)
    with torch.no_grad():
        x, y = (pooled(view, vectors(model, view), "places", length) for view in views)
        z = pooled(whole, model.complement.other.eval().vectors(whole), "places", length)
        torch.testing.assert_close(found, 0.1 * (nce(x, y) + 0.5 * (nce(x, z) + nce(y, z))), rtol=1e-4, atol=1e-3)


def test_scores_come_through_all_layers() -> None:
    for through in (True, False):
        made = bench(f"model.recommend_through={str(through).lower()}")
        model = made.build()
        made.train(model, 1)
        queries = made.queries()
        found = scores(model, queries)
        with torch.no_grad():
            x = model.eval().encoder(queries.histories, model.items(queries.histories.items))
            last = outside(model.layer_drop.whole(queries.histories), x) if through else x
            expected = last.index_select(0, queries.histories.last) @ model.catalogue.T
        torch.testing.assert_close(found, expected)


def test_views_without_any_augmentation_are_one_and_the_same() -> None:
    model = bench(*STILL, "model.augmenter=dropout", "model.layer_drop.drop=0").build()
    batch = first_batch(model)
    one, other = (model.view(view) for view in model.views(batch.histories))
    assert torch.equal(one, other)
