"""S3-Rec: the shipped contract, stretches of rows, and the terms of pretraining beside their formulas."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core import hookimpl
from sslrec_core.data import Raw
from sslrec_core.loop import Loop
from sslrec_core.registry import registry
from sslrec_core.rows import Rows
from sslrec_core.settings import OptimConfig, TrainConfig
from sslrec_core.testing import ModelContract
from sslrec_core.testing.bench import Bench, separate_cache
from sslrec_core.testing.worlds import Checkerboard
from sslrec_seq.data import SeqBatch, SeqData
from sslrec_seq.histories import Histories
from sslrec_seq.masking import last_places, segments
from sslrec_seq.models.s3rec import S3Rec

CALM = ("model.embedding_dim=32", "model.encoder.dropout=0.1", "model.encoder.attention_dropout=0.1")
LENGTHS = torch.tensor([2, 3, 9, 5, 12])


class Coloured(Checkerboard):
    """The checkerboard, with the colour of each item as its attribute."""

    def read(self, root: Path) -> Raw:
        raw = super().read(root)
        triples = raw.tables["triples"]
        colours = triples["relation"] == 0
        told = {"item": triples["head"][colours], "attribute": triples["tail"][colours]}
        return Raw(raw.tables | {"attributes": told})


@hookimpl
def sslrec_datasets() -> dict[str, Any]:
    return {"coloured": Coloured}


@pytest.fixture(autouse=True, scope="module")
def _offered() -> None:
    registry().add_module(sys.modules[__name__])


class TestS3Rec(ModelContract):
    model = "seq/s3rec"
    world = "seq/coloured"
    settings = (*CALM, "model.pretrain_epochs=3", "train.batch_size=8", "optim.learning_rate=0.005")
    # Where this check leaves no more than one training item to a user, no sequence has a next item.
    side_information = False


class TestS3RecWithoutAttributes(ModelContract):
    model = "seq/s3rec"
    world = "seq/checkerboard"
    settings = (*CALM, "model.pretrain_epochs=3", "train.batch_size=8", "optim.learning_rate=0.005")


class TestS3RecWithAnEncoderThatLooksBackAlone(ModelContract):
    model = "seq/s3rec"
    world = "seq/coloured"
    settings = ("model.embedding_dim=32", "model.pretrain_epochs=2", "model.encoder.name=gru")
    side_information = False


@pytest.fixture(scope="module")
def data(_offered: None) -> SeqData:
    with separate_cache():
        return Bench.of("seq/s3rec", "seq/coloured").data


def built(data: SeqData, **options: Any) -> S3Rec:
    """A model that computes in double precision and draws no dropout, away from where its parameters start."""
    torch.manual_seed(0)
    model = S3Rec(S3Rec.Config(embedding_dim=8, **options), data).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def batch_of(data: SeqData) -> SeqBatch:
    torch.manual_seed(1)
    return next(iter(data.batches(TrainConfig(batch_size=12), targets="prefix")))


# ---- stretches ----------------------------------------------------------------------------------


def test_stretches_are_cut_out_and_replaced_by_others() -> None:
    items, stream, mask = 100 + torch.arange(31), 500 + torch.arange(40), -1
    rows, sizes, begins = Histories(items, LENGTHS, 12), set(), set()
    torch.manual_seed(2)
    for _ in range(300):
        views = [view.split(LENGTHS.tolist()) for view in segments(rows, stream, mask)]
        for row, (around, own, other) in enumerate(zip(*views, strict=True)):
            whole, length = items.split(LENGTHS.tolist())[row], int(LENGTHS[row])
            inside = own != mask
            places = inside.nonzero().squeeze(1).tolist()
            assert places == list(range(places[0], places[0] + len(places)))
            assert 1 <= len(places) <= length // 2
            assert torch.equal(around, torch.where(inside, mask, whole))
            assert torch.equal(own, torch.where(inside, whole, mask))
            assert torch.equal(other != mask, inside)
            stretch = other[inside]
            assert torch.equal(stretch, stretch[0] + torch.arange(len(places)))
            assert stream[0] <= stretch[0] <= stretch[-1] <= stream[-1]
            sizes.add((row, len(places)))
            begins.add((row, places[0], len(places)))
    assert sizes == {(row, size) for row, n in enumerate(LENGTHS.tolist()) for size in range(1, n // 2 + 1)}
    short = [(row, n) for row, n in enumerate(LENGTHS.tolist()) if n <= 5]
    every = {(row, at, size) for row, n in short for size in range(1, n // 2 + 1) for at in range(n - size + 1)}
    assert {begin for begin in begins if LENGTHS[begin[0]] <= 5} == every


# ---- beside the formulas ------------------------------------------------------------------------


def terms_by_hand(model: S3Rec, batch: SeqBatch, stream: Tensor) -> dict[str, Tensor]:
    """The sums of the authors' code, row by row and place by place, with the same drawings."""
    data, mask = model.data, model.data.masked
    whole = batch.histories.appended(data.sequences.items[batch.stops])
    hidden = (torch.rand(len(whole.items)) < model.config.mask_rate) | last_places(whole)
    around, own, other = segments(whole, stream, mask)
    absent = data.interactions.parts["train"].draw_absent(batch.users[whole.rows], 1)[:, 0]
    sums = dict.fromkeys(("mip", "sp", "aap", "map"), torch.zeros((), dtype=torch.float64))
    for row in range(len(whole)):
        mine = whole.rows == row

        def encode(items: Tensor, mine: Tensor = mine) -> Tensor:
            alone = Histories(items[mine], mine.sum()[None], int(mine.sum()))
            return model.encoder(alone, model.items.weight[alone.items], causal=False)

        vectors = encode(torch.where(hidden, mask, whole.items))
        context, yes, no = (encode(items)[-1] for items in (around, own, other))
        context = model.heads["sp"](context)
        apart = torch.sigmoid((context @ yes).sigmoid() - (context @ no).sigmoid())
        sums["sp"] = sums["sp"] - apart.log()
        for vector, item, unlike, away in zip(vectors, whole.items[mine], absent[mine], hidden[mine], strict=True):
            owned = torch.zeros(data.attributes.n_columns, dtype=torch.float64)
            begin, end = data.attributes.pointers[item], data.attributes.pointers[item + 1]
            owned[data.attributes.columns[begin:end]] = 1
            name = "map" if away else "aap"
            source = model.items.weight[item] if model.config.aap_from == "items" and name == "aap" else vector
            chance = (model.attributes.weight @ model.heads[name](source)).sigmoid()
            sums[name] = sums[name] + F.binary_cross_entropy(chance, owned, reduction="sum")
            if away:
                found = model.heads["mip"](vector)
                yes, no = ((found @ model.items.weight[i]).sigmoid() for i in (item, unlike))
                sums["mip"] = sums["mip"] - torch.sigmoid(yes - no).log()
    return sums


@pytest.mark.parametrize("source", ["places", "items"])
def test_pretraining_minimises_the_terms_of_the_authors(data: SeqData, source: str) -> None:
    some = torch.tensor([0, 0, 0, 1, 5, 5]), torch.tensor([0, 1, 2, 2, 0, 2])
    data = replace(data, attributes=Rows.of(*some, data.n_items, 3))
    model, batch, stream = built(data, aap_from=source), batch_of(data), data.training.items
    torch.manual_seed(3)
    losses = model.pretraining_losses(batch, stream)
    torch.manual_seed(3)
    sums = terms_by_hand(model, batch, stream)
    weights = {"mip": 1.0, "sp": 0.5, "aap": 0.2, "map": 1.0}
    assert losses.keys() == weights.keys()
    learning = list(model.parameters())
    for name, loss in losses.items():
        expected = weights[name] * sums[name] / len(batch)
        torch.testing.assert_close(loss, expected)
        gradients = (torch.autograd.grad(y, learning, retain_graph=True, allow_unused=True) for y in (loss, expected))
        for mine, theirs in zip(*gradients, strict=True):
            zeros = torch.zeros(1, dtype=torch.float64)
            torch.testing.assert_close(*(zeros if g is None or not g.count_nonzero() else g for g in (mine, theirs)))


def test_a_full_history_and_its_target_have_a_position_each(data: SeqData) -> None:
    model = built(data)
    rows = Histories(torch.zeros(data.length + 1, dtype=torch.long), torch.tensor([data.length + 1]), data.length + 1)
    assert model.encoder.position_of(rows).tolist() == list(range(data.length + 1))


def test_terms_of_no_weight_are_not_there(data: SeqData) -> None:
    without = replace(data, attributes=None)
    stream = data.training.items
    assert built(without).pretraining_losses(batch_of(data), stream).keys() == {"mip", "sp"}
    alone = built(data, sp_weight=0, aap_weight=0, map_weight=0)
    assert alone.pretraining_losses(batch_of(data), stream).keys() == {"mip"}
    assert not any("attributes" in name for name, _ in alone.named_parameters())
    assert [stage.name for stage in alone.stages(5)] == ["pretrain", "train"]
    assert [stage.name for stage in built(data, pretrain_epochs=0).stages(5)] == ["train"]
    assert not built(data, pretrain_epochs=0).heads


def test_stages_have_an_optimiser_each(data: SeqData) -> None:
    model = built(data, pretrain_epochs=2)
    loop = Loop(model, TrainConfig(batch_size=64), OptimConfig(), torch.device("cpu"))
    before, after = model.stages(1)
    assert not before.judged
    assert after.judged
    before.epoch(loop)
    assert loop.optimizers["pretrain"].state
    assert not loop.optimizers["main"].state
    heads = {name: value.clone() for name, value in model.heads.state_dict().items()}
    after.epoch(loop)
    assert loop.optimizers["main"].state
    assert all(torch.equal(heads[name], value) for name, value in model.heads.state_dict().items())


def test_attributes_draw_their_items_together() -> None:
    """Pretrained by attributes alone, an item is nearer to those of its colour than to others."""
    with separate_cache():
        bench = Bench.of(
            "seq/s3rec", "seq/coloured", [*CALM, "data.colours=4", "model.sp_weight=0", "model.mip_weight=0"]
        )
        model = bench.build()
        loop = bench.loop(model)
        for _ in range(6):
            model.stages(1)[0].epoch(loop)
    items = F.normalize(model.items.weight[: bench.data.n_items].detach(), dim=1)
    columns = bench.data.attributes.columns
    alike = columns[:, None] == columns
    near = items @ items.T
    assert near[alike & ~torch.eye(len(items), dtype=torch.bool)].mean() > near[~alike].mean() + 0.3
