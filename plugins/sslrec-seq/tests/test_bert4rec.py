"""BERT4Rec: the shipped contract, what is hidden, and the loss beside its formula."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.errors import ConfigError
from sslrec_core.settings import TrainConfig
from sslrec_core.testing import ModelContract
from sslrec_core.testing.bench import Bench, separate_cache
from sslrec_seq.data import SeqBatch, SeqData
from sslrec_seq.histories import Histories
from sslrec_seq.masking import Places, last_places, of_rows, share_of_places
from sslrec_seq.models.bert4rec import BERT4Rec

LENGTHS = torch.tensor([3, 1, 9, 5, 12])


class TestBERT4Rec(ModelContract):
    model = "seq/bert4rec"
    world = "seq/checkerboard"
    settings = (
        "model.embedding_dim=32", "model.encoder.dropout=0.1", "model.encoder.attention_dropout=0.1",
        "train.batch_size=8", "optim.learning_rate=0.005",
    )  # fmt: skip


@pytest.fixture(scope="module")
def data() -> SeqData:
    with separate_cache():
        return Bench.of("seq/bert4rec", "seq/checkerboard").data


def built(data: SeqData, **options: Any) -> BERT4Rec:
    """A model that computes in double precision and draws no dropout."""
    torch.manual_seed(0)
    model = BERT4Rec(BERT4Rec.Config(embedding_dim=8, **options), data).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def batch_of(data: SeqData, targets: str = "all") -> SeqBatch:
    torch.manual_seed(1)
    return next(iter(data.batches(TrainConfig(batch_size=12), targets=targets)))


def histories(spare: int = 0) -> Histories:
    items = 100 + torch.arange(int(LENGTHS.sum()) + spare)
    return Histories(items, LENGTHS, 12)


# ---- masking ------------------------------------------------------------------------------------


@pytest.mark.parametrize("spare", [0, 4])
def test_an_item_is_appended_to_each_row(spare: int) -> None:
    before, news = histories(spare), torch.arange(len(LENGTHS))
    longer = before.appended(news)
    assert longer.lengths.tolist() == (LENGTHS + 1).tolist()
    assert longer.longest == 13
    rows = longer.items[: int(longer.lengths.sum())].split(longer.lengths.tolist())
    for row, (mine, old) in enumerate(zip(rows, before.items[: LENGTHS.sum()].split(LENGTHS.tolist()), strict=True)):
        assert mine.tolist() == [*old.tolist(), row]
    assert longer.items[len(longer.items) - spare :].tolist() == before.items[len(before.items) - spare :].tolist()


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.6, 1.0])
def test_a_share_of_each_row_is_chosen(rate: float) -> None:
    rows = histories(spare=4)
    torch.manual_seed(2)
    counts = torch.zeros(len(rows.items))
    for _ in range(400):
        chosen = share_of_places(rows, rate)
        per_row = torch.zeros(6).index_add(0, rows.rows, chosen.float())
        assert per_row.tolist() == [*(max(1, int(rate * n + 0.5)) for n in LENGTHS.tolist()), 0]
        counts += chosen
    expected = of_rows(rows, (rate * LENGTHS + 0.5).long().clamp(min=1) / LENGTHS) * (rows.rows < 5)
    assert ((counts / 400 - expected).abs() < 5 * (expected * (1 - expected) / 400).sqrt() + 1e-6).all()


def test_last_places() -> None:
    rows = histories(spare=3)
    assert last_places(rows).nonzero().squeeze(1).tolist() == rows.last.tolist()


def test_places_without_waiting_are_the_same_with_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = torch.rand(40) < 0.4
    read = Places.of(chosen, 30)
    assert read.weights is None
    assert read.slots.tolist() == chosen.nonzero().squeeze(1).tolist()
    monkeypatch.setattr(Tensor, "is_cpu", property(lambda self: False))
    room = Places.of(chosen, 30)
    assert len(room.slots) == 30
    assert room.slots[room.weights.bool()].tolist() == read.slots.tolist()
    assert room.weights.sum() == chosen.sum()


# ---- what is hidden -----------------------------------------------------------------------------


def test_rows_are_whole_training_sequences(data: SeqData) -> None:
    batch = batch_of(data)
    whole = batch.histories.appended(data.sequences.items[batch.stops])
    begin, end = data.sequences.pointers, data.sequences.ends
    for user, mine in zip(batch.users, whole.items.split(whole.lengths.tolist()), strict=True):
        assert mine.tolist() == data.sequences.items[begin[user] : end[user]].tolist()


@pytest.mark.parametrize("targets", ["all", "prefix"])
def test_what_is_to_be_found_is_not_seen(data: SeqData, targets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch, seen = built(data, targets=targets, mask_rate=0.4), batch_of(data, targets), {}
    encode, ask = model.encoder.forward, model.asked
    monkeypatch.setattr(
        model.items, "forward", lambda items: seen.update(items=items) or F.embedding(items, model.items.weight)
    )
    monkeypatch.setattr(model.encoder, "forward", lambda whole, x: seen.update(whole=whole) or encode(whole, x))
    monkeypatch.setattr(model, "asked", lambda *given: seen.update(targets=given[1], owners=given[2]) or ask(*given))
    model.losses(batch)
    whole, hidden = seen["whole"], seen["items"] == data.masked
    assert seen["targets"].tolist() == whole.items[hidden].tolist()
    assert seen["owners"].tolist() == batch.users[whole.rows[hidden]].tolist()
    assert seen["items"][~hidden].tolist() == whole.items[~hidden].tolist()
    counts = torch.zeros(len(whole)).index_add(0, whole.rows, hidden.float())
    assert (counts >= 1).all()
    # No user of this world meets an item twice: what is hidden in a row is nowhere else in it.
    for row in range(len(whole)):
        mine = whole.rows == row
        assert not set(seen["items"][mine & ~hidden].tolist()) & set(whole.items[mine & hidden].tolist())


def test_some_rows_hide_their_last_item_alone(data: SeqData) -> None:
    rows = histories()
    always, never = built(data, last_alone=1.0), built(data, last_alone=0.0, mask_rate=0.5)
    assert torch.equal(always.hidden(rows), last_places(rows))
    assert never.hidden(rows).sum() == (0.5 * LENGTHS + 0.5).long().sum()
    model = built(data, last_alone=0.3, mask_rate=1.0)
    alone = sum(int(not model.hidden(rows)[0]) for _ in range(600)) / 600
    assert abs(alone - 0.3) < 5 * (0.3 * 0.7 / 600) ** 0.5


def test_hidden_items_show_the_mask_themselves_or_another(data: SeqData) -> None:
    items, hidden = torch.full((30_000,), 5), torch.arange(30_000) % 3 == 0
    shown = built(data, mask_shown=0.8).shown(items, hidden)
    assert (shown[~hidden] == 5).all()
    shares = torch.bincount(shown[hidden], minlength=data.n_items + 1) / hidden.sum()
    assert float(shares[data.masked]) == pytest.approx(0.8, abs=0.02)
    assert float(shares[5]) == pytest.approx(0.1 + 0.1 / data.n_items, abs=0.02)
    others = torch.cat([shares[:5], shares[6 : data.n_items]])
    assert ((others - 0.1 / data.n_items).abs() < 0.004).all()
    assert (built(data, mask_shown=1.0).shown(items, hidden)[hidden] == data.masked).all()


# ---- beside the formula -------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [True, False])
def test_loss_is_that_of_equations_7_and_8(data: SeqData, norm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = built(data, output_norm=norm, mask_rate=0.4), batch_of(data)
    torch.manual_seed(4)
    loss = model.losses(batch)["cloze"]
    torch.manual_seed(4)
    whole = batch.histories.appended(data.sequences.items[batch.stops])
    hidden = model.hidden(whole)
    seen = torch.where(hidden, data.masked, whole.items)
    transformed = F.gelu(
        model.encoder(whole, model.items.weight[seen]) @ model.transform.weight.T + model.transform.bias
    )
    if norm:
        gain, shift = model.output_norm.weight, model.output_norm.bias
        transformed = F.layer_norm(transformed, (8,), gain, shift, 1e-12)
    logits = transformed @ model.items.weight[: data.n_items].T + model.bias
    expected = F.cross_entropy(logits[hidden], whole.items[hidden])
    torch.testing.assert_close(loss, expected)
    learning = list(model.parameters())
    mine, theirs = (torch.autograd.grad(y, learning, retain_graph=True, allow_unused=True) for y in (loss, expected))
    torch.testing.assert_close(mine, theirs)
    # And where nobody may wait for the number of hidden items.
    monkeypatch.setattr(Tensor, "is_cpu", property(lambda self: False))
    torch.manual_seed(4)
    unread = model.losses(batch)["cloze"]
    torch.testing.assert_close(unread, expected)
    torch.testing.assert_close(torch.autograd.grad(unread, learning, allow_unused=True), theirs)


def test_scores_are_those_of_a_mask_at_the_end(data: SeqData) -> None:
    model = built(data)
    queries = next(iter(data.queries("test", 5)))
    scores = model.scorer()(queries)
    for row, items in enumerate(queries.histories.items.split(queries.histories.lengths.tolist())):
        asking = Histories(
            torch.cat([items, torch.tensor([data.masked])]), torch.tensor([len(items) + 1]), len(items) + 1
        )
        last = model.encoder(asking, model.items(asking.items))[-1:]
        expected = model.found(last)[0, :-1] @ model.items.weight[: data.n_items].T + model.bias
        torch.testing.assert_close(scores[row], expected)


def test_a_full_history_has_room_for_the_mask(data: SeqData) -> None:
    model = built(data)
    assert model.encoder.positions.num_embeddings == data.length + 1
    row = Histories(torch.zeros(data.length, dtype=torch.long), torch.tensor([data.length]), data.length)
    assert model.summary(row).isfinite().all()


def test_objectives_that_cannot_weigh_are_refused(data: SeqData) -> None:
    with pytest.raises(ConfigError, match="the objective 'bpr' cannot weigh"):
        built(data, loss="bpr")
    assert built(data, loss="pairwise").losses(batch_of(data))["cloze"].isfinite()
