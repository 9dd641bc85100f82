"""Models that look for the next item: the shipped contract, what rows may ask for, and formulas beside each model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.errors import ConfigError
from sslrec_core.settings import TrainConfig
from sslrec_core.testing import ModelContract
from sslrec_core.testing.bench import Bench, separate_cache
from sslrec_seq.data import SeqBatch, SeqData
from sslrec_seq.histories import Histories
from sslrec_seq.models.caser import Caser, next_few
from sslrec_seq.models.gru4rec import GRU4Rec
from sslrec_seq.models.gsasrec import GSASRec
from sslrec_seq.models.sasrec import SASRec

SMALL = ("model.embedding_dim=32",)
CALM = (*SMALL, "model.encoder.dropout=0.1", "model.encoder.attention_dropout=0.1")
REGIMES = ["all", "prefix", "last"]


class TestSASRec(ModelContract):
    model = "seq/sasrec"
    world = "seq/checkerboard"
    settings = CALM


class TestSASRecOfItsAuthors(ModelContract):
    model = "seq/sasrec"
    world = "seq/checkerboard"
    settings = (
        *CALM, "model.encoder.norm=query", "model.encoder.scale=true", "model.encoder.input_norm=false",
        "model.encoder.feed_forward=1", "model.encoder.activation=relu", "model.encoder.heads=1",
        "model.encoder.inner_dropout=0.1",
    )  # fmt: skip


# Draws from all items, or of the batch, teach what comes next alone.  Draws from those that a user did not meet teach
# the user's kind too, which the contract asks for; as do more items after a window.


class TestGRU4Rec(ModelContract):
    model = "seq/gru4rec"
    world = "seq/checkerboard"
    settings = (*SMALL, "model.loss.draw=absent", "model.loss.negatives=2", "optim.learning_rate=0.01")


class TestCaser(ModelContract):
    model = "seq/caser"
    world = "seq/checkerboard"
    settings = (*SMALL, "model.ahead=6")


class TestGSASRec(ModelContract):
    model = "seq/gsasrec"
    world = "seq/checkerboard"
    # So many negatives as in the paper are eight times the items of this world.
    settings = (
        *CALM, "model.encoder.inner_dropout=0.1", "model.encoder.layers=1", "model.loss.negatives=16",
        "model.loss.draw=absent", "train.batch_size=8", "optim.learning_rate=0.01",
    )  # fmt: skip


@pytest.fixture(scope="module")
def data() -> SeqData:
    with separate_cache():
        return Bench.of("seq/sasrec", "seq/checkerboard").data


def built(kind: type[Any], data: SeqData, **options: Any) -> Any:
    """A model that computes in double precision and draws no dropout, away from where its parameters start."""
    torch.manual_seed(0)
    model = kind(kind.Config(embedding_dim=8, **options), data).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def batch_of(data: SeqData, targets: str = "all", size: int = 12) -> SeqBatch:
    torch.manual_seed(1)
    return next(iter(data.batches(TrainConfig(batch_size=size), targets=targets)))


def assert_same(mine: Tensor, true: Tensor, model: nn.Module) -> None:
    """In value, and in the gradient of each parameter."""
    torch.testing.assert_close(mine, true)
    learning = list(model.parameters())
    gradients = (torch.autograd.grad(y, learning, retain_graph=True, allow_unused=True) for y in (mine, true))
    torch.testing.assert_close(*gradients)


# ---- what rows may ask for ----------------------------------------------------------------------


@pytest.mark.parametrize("targets", REGIMES)
def test_a_target_never_stands_in_its_own_input(data: SeqData, targets: str) -> None:
    """Histories are the items just before the target's place.  No user of this world meets an item twice."""
    pointers, items, ends = data.sequences.pointers, data.sequences.items, data.sequences.ends
    asked: list[tuple[int, int]] = []
    torch.manual_seed(2)
    for batch in data.batches(TrainConfig(batch_size=7), targets=targets):
        rows, places = batch.histories.rows, batch.histories.places
        starts = batch.stops - batch.histories.lengths
        for slot, target in zip(batch.at.tolist(), batch.targets.tolist(), strict=True):
            row = int(rows[slot])
            user, begin = int(batch.users[row]), int(starts[row])
            seen = batch.histories.items[slot - int(places[slot]) : slot + 1].tolist()
            place = begin + len(seen)
            assert seen == items[begin:place].tolist()
            assert target == int(items[place])
            assert target not in seen
            assert pointers[user] <= begin < place < ends[user]
            asked.append((user, place))
        assert batch.owners.tolist() == batch.users[rows[batch.at]].tolist()
    everything = {(user, place) for user in range(data.n_users) for place in range(pointers[user] + 1, ends[user])}
    if targets == "last":
        everything = {(user, int(ends[user]) - 1) for user in range(data.n_users)}
    assert len(asked) == len(set(asked))
    assert set(asked) == everything


def test_an_encoder_that_sees_what_is_to_be_predicted_is_refused(data: SeqData) -> None:
    both_ways = {"name": "transformer", "causal": False}
    for encoder in (both_ways, {"name": "weighted-mean", "weights": both_ways}):
        with pytest.raises(ConfigError, match=f"predict the item after them, which '{encoder['name']}' sees"):
            built(SASRec, data, encoder=encoder)
        assert built(SASRec, data, encoder=encoder, targets="prefix").encoder is not None


@pytest.mark.parametrize("targets", REGIMES)
@pytest.mark.parametrize(("kind", "options"), [(SASRec, {}), (GRU4Rec, {}), (GSASRec, {}), (Caser, {"ahead": 1})])
def test_what_comes_at_or_after_a_target_changes_nothing(
    data: SeqData, kind: type[Any], options: dict[str, Any], targets: str
) -> None:
    model, batch = built(kind, data, targets=targets, **options), batch_of(data, targets)
    vectors = model.vectors(batch.histories)
    items = batch.histories.items
    for slot in batch.at[:: max(1, len(batch.at) // 9)].tolist():
        changed = torch.where(torch.arange(len(items)) > slot, (items + 5) % data.n_items, items)
        other = Histories(changed, batch.histories.lengths, batch.histories.longest)
        torch.testing.assert_close(model.vectors(other)[slot], vectors[slot], rtol=0, atol=1e-12)


def test_the_loss_and_its_targets_can_be_chosen(data: SeqData) -> None:
    for targets in REGIMES:
        for loss in ("softmax", "sampled-softmax", "bce", "gbce", "pairwise", "bpr", "infonce"):
            options = {"similarity": "cosine"} if loss == "infonce" else {}
            model = built(SASRec, data, targets=targets, loss=loss, **options)
            value = model.losses(batch_of(data, targets))["next"]
            assert value.isfinite()
            assert torch.autograd.grad(value, model.items.weight)[0].count_nonzero()


def test_a_loss_of_cosines_wants_cosines_for_ranking(data: SeqData) -> None:
    with pytest.raises(ConfigError, match="'infonce' would learn cosines, and items would be ranked by dot products"):
        built(SASRec, data, loss="infonce")
    built(SASRec, data, loss={"name": "infonce", "normalise": False})


def test_a_loss_that_is_none_is_refused(data: SeqData) -> None:
    with pytest.raises(ConfigError, match="the objective 'l2' is no loss of the next item"):
        built(SASRec, data, loss="l2")


# ---- beside the formulas ------------------------------------------------------------------------


def test_sasrec_minimises_equation_9(data: SeqData) -> None:
    model, batch = built(SASRec, data), batch_of(data)
    torch.manual_seed(3)
    loss = model.losses(batch)["next"]
    torch.manual_seed(3)
    drawn = data.interactions.parts["train"].draw_absent(batch.owners, 1)[:, 0]
    vectors = model.encoder(batch.histories, model.items.weight[batch.histories.items])
    yes, no = ((vectors * model.items.weight[items]).sum(1) for items in (batch.targets, drawn))
    assert_same(loss, -(yes.sigmoid().log() + (1 - no.sigmoid()).log()).mean(), model)


def test_gru4rec_ranks_targets_above_those_of_the_batch(data: SeqData) -> None:
    model, batch = built(GRU4Rec, data), batch_of(data)
    torch.manual_seed(3)
    loss = model.losses(batch)["next"]
    torch.manual_seed(3)
    others = batch.targets[torch.randint(len(batch.targets), (100,))]
    scores = model.vectors(batch.histories) @ model.items.weight.T
    yes, no = scores.gather(1, batch.targets[:, None]), scores[:, others]
    assert_same(loss, ((no - yes).sigmoid() + (no**2).sigmoid()).mean(), model)


def test_vectors_are_compared_by_cosine_if_asked(data: SeqData) -> None:
    options = {"similarity": "cosine", "loss": {"name": "softmax", "temperature": 0.2}}
    model, batch = built(SASRec, data, **options), batch_of(data)

    def cosines(vectors: Tensor) -> Tensor:
        return F.cosine_similarity(vectors[:, None], model.items.weight[None, : data.n_items], dim=2)

    expected = F.cross_entropy(cosines(model.vectors(batch.histories)) / 0.2, batch.targets)
    assert_same(model.losses(batch)["next"], expected, model)
    queries = next(iter(data.queries("test", 5)))
    torch.testing.assert_close(model.scorer()(queries), cosines(model.summary(queries.histories)))


@pytest.mark.parametrize("tied", [True, False])
def test_gsasrec_looks_for_items_by_other_vectors_if_asked(data: SeqData, tied: bool) -> None:
    model, batch = built(GSASRec, data, tied=tied, loss="softmax"), batch_of(data)
    table = model.items.weight[: data.n_items] if tied else model.looked_for.weight
    assert_same(
        model.losses(batch)["next"], F.cross_entropy(model.vectors(batch.histories) @ table.T, batch.targets), model
    )
    queries = next(iter(data.queries("test", 5)))
    torch.testing.assert_close(model.scorer()(queries), model.summary(queries.histories) @ table.T)


@pytest.mark.parametrize("ahead", [1, 2, 40])
def test_predictions_are_for_the_next_few_of_the_row(
    data: SeqData, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_of(data, size=5)
    rows = batch.histories.rows.tolist()
    expected = [
        (place, found)
        for place in range(len(rows))
        for found in range(place, min(place + ahead, len(rows)))
        if rows[place] == rows[found]
    ]
    asking, found, weights = next_few(batch, ahead)
    assert list(zip(asking.tolist(), found.tolist(), strict=True)) == expected
    assert weights is None
    monkeypatch.setattr(Tensor, "is_cpu", property(lambda self: False))
    asking, found, weights = next_few(batch, ahead)
    assert len(asking) == ahead * len(rows)
    there = weights.bool()
    assert list(zip(asking[there].tolist(), found[there].tolist(), strict=True)) == expected


def test_caser_minimises_equation_12(data: SeqData, monkeypatch: pytest.MonkeyPatch) -> None:
    """By softmax here, which draws nothing; windows with fewer than three items to come have those."""
    model, batch = built(Caser, data, loss="softmax"), batch_of(data)
    vectors, rows = model.vectors(batch.histories), batch.histories.rows
    terms = []
    for place in range(len(rows)):
        user = model.users.weight[batch.users[rows[place]]]
        scores = model.output.weight @ torch.cat([vectors[place], user]) + model.bias
        for found in range(place, min(place + 3, len(rows))):
            if rows[found] == rows[place]:
                terms.append(F.cross_entropy(scores, batch.targets[found]))
    assert_same(model.losses(batch)["next"], torch.stack(terms).mean(), model)
    monkeypatch.setattr(Tensor, "is_cpu", property(lambda self: False))
    assert_same(model.losses(batch)["next"], torch.stack(terms).mean(), model)


def test_caser_scores_for_the_user(data: SeqData) -> None:
    model = built(Caser, data)
    queries = next(iter(data.queries("test", 5)))
    last = model.vectors(queries.histories)[queries.histories.last]
    expected = torch.cat([last, model.users.weight[queries.users]], 1) @ model.output.weight.T + model.bias
    torch.testing.assert_close(model.scorer()(queries), expected)


def test_caser_asks_for_several_items_of_whole_sequences_alone() -> None:
    with pytest.raises(ValidationError, match="ahead=2 needs targets=all"):
        Caser.Config(ahead=2, targets="prefix")
    assert Caser.Config(ahead=1, targets="prefix").ahead == 1
