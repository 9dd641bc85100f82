"""ICLRec: the contract, when intents are found, and its losses by a plain reference."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sslrec_core.testing import ModelContract
from sslrec_core.testing.bench import Bench
from sslrec_seq.clusters import k_means
from sslrec_seq.data import SeqBatch
from sslrec_seq.histories import Histories
from sslrec_seq.models.iclrec import ICLRec
from sslrec_seq.views import pooled

SMALL = (
    "model.embedding_dim=32",
    "model.encoder.dropout=0.1",
    "model.encoder.attention_dropout=0.1",
    "model.intents=4",
    "model.iterations=5",
    "model.clustering=torch",
    "scenario.max_length=16",
)


class TestICLRec(ModelContract):
    model = "seq/iclrec"
    world = "seq/checkerboard"
    # In a world of two kinds of users most rows of a batch are alike: the contrast must not outweigh the next item.
    settings = (*SMALL, "model.pool=last")
    variants = (("model.false_negatives=mask",),)


class TestICLRecWithoutPadding(TestICLRec):
    settings = (*TestICLRec.settings, "model.padding=false")


def bench(*assignments: str) -> Bench:
    return Bench.of("seq/iclrec", "seq/checkerboard", (*SMALL, *assignments))


def first_batch(model: ICLRec) -> SeqBatch:
    users, stops = model.data.asked_in_training("all")
    return model.data.batch(users, stops, "all")


def built(*assignments: str) -> ICLRec:
    """A model without dropout that knows some intents."""
    model = bench("model.encoder.dropout=0", "model.encoder.attention_dropout=0", *assignments).build()
    torch.manual_seed(3)
    model.find_intents()
    return model


def nce(one: torch.Tensor, other: torch.Tensor, numbers: list[int]) -> torch.Tensor:
    """Both directions, a view and a negative at a time; rows with the same number are no negatives."""
    sides, terms = (one, other), []
    for side, rows in enumerate(sides):
        for row, x in enumerate(rows):
            rivals = [
                x @ y
                for number, views in ((n, (one[n], other[n])) for n in range(len(one)))
                if numbers[number] != numbers[row]
                for y in views
            ]
            logits = torch.stack([x @ sides[1 - side][row], *rivals])
            terms.append(-F.log_softmax(logits, 0)[0])
    return torch.stack(terms).mean()


def full(model: ICLRec, histories: Histories) -> Histories:
    return histories.padded(model.data.length, model.data.masked) if model.config.padding else histories


@pytest.mark.parametrize("padding", ["true", "false"])
@pytest.mark.parametrize("false_negatives", ["keep", "mask"])
def test_losses_are_those_of_a_plain_reference(false_negatives: str, padding: str) -> None:
    settings = (f"model.false_negatives={false_negatives}", f"model.padding={padding}")
    model = built(*settings, "model.loss=softmax", "model.intent.weight=0.3")
    batch, length = first_batch(model), model.data.length
    torch.manual_seed(7)
    losses = model.losses(batch)
    torch.manual_seed(7)
    views = [(full(model, view), model.vectors(full(model, view))) for view in model.augmenter.pair(batch.histories)]
    histories = full(model, batch.histories)
    whole = pooled(histories, model.vectors(histories), "mean", length)
    number = torch.cdist(whole, model.centroids).argmin(1)
    assert len(set(number.tolist())) > 1
    intents = F.normalize(model.centroids, dim=1)[number]
    everyone = list(range(len(batch)))
    groups = number.tolist() if false_negatives == "mask" else everyone
    apart = sum(nce(pooled(*view, "mean", length), intents, groups) for view in views) / 2
    torch.testing.assert_close(losses["intent"], 0.3 * apart)
    one, other = (pooled(*view, "places", length) for view in views)
    torch.testing.assert_close(losses["contrast"], 0.1 * nce(one, other, everyone), rtol=1e-4, atol=1e-4)
    scores = model.vectors(batch.histories)[batch.at] @ model.catalogue.T
    torch.testing.assert_close(losses["next"], F.cross_entropy(scores, batch.targets))


@pytest.mark.parametrize("padding", ["true", "false"])
def test_intents_are_clusters_of_the_means_of_all_training_histories(padding: str) -> None:
    model = built(f"model.padding={padding}")
    batch = first_batch(model)
    rows = [full(model, batch.histories.select(torch.tensor([row]))) for row in range(len(batch))]
    with torch.no_grad():
        means = torch.stack([model.vectors(row).mean(0) for row in rows])
    torch.manual_seed(3)
    torch.testing.assert_close(model.centroids, k_means(means, 4, 5, restarts=5))
    assert not model.centroids.requires_grad


def test_intents_are_found_without_dropout_and_without_an_end_to_training() -> None:
    model = bench("model.encoder.dropout=0.5").build()
    model.train()
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        model.remember("centroids", model.centroids[:0])
        model.find_intents()
        found.append(model.centroids)
    assert torch.equal(*found)
    assert model.training and model.encoder.training


def test_intents_go_on_from_the_epoch_before() -> None:
    for warm in ("true", "false"):
        model = built(f"model.warm_start={warm}")
        before = model.centroids.clone()
        found = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            model.remember("centroids", before)
            model.find_intents()
            found.append(model.centroids)
        assert torch.equal(*found) == (warm == "true")


def test_there_are_no_intents_before_the_warm_up_is_over() -> None:
    made = bench("model.warm_up=2")
    model = made.build()
    curve = made.train(model, 3)
    assert ["intent" in terms for terms in curve] == [False, False, True]
    assert len(model.centroids) == 4


def test_each_contrast_can_be_left_out() -> None:
    terms = {}
    for left_out in ("contrast", "intent"):
        made = bench(f"model.{left_out}=none")
        terms[left_out] = set(made.train(made.build(), 1)[0])
    assert terms == {"contrast": {"next", "intent"}, "intent": {"next", "contrast"}}


def test_a_row_for_each_beginning_works_too() -> None:
    made = bench("model.targets=prefix", "model.pool=last")
    curve = made.train(made.build(), 3)
    assert curve[-1]["next"] < curve[0]["next"]


def test_a_restored_model_goes_on_with_its_intents() -> None:
    model = built()
    fresh = bench().build(seed=1)
    fresh.load_weights(model.state_dict())
    assert torch.equal(fresh.centroids, model.centroids)
