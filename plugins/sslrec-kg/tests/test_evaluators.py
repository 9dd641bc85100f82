"""Link prediction equals a slow independent implementation, and refuses what cannot be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sslrec_core import evaluate
from sslrec_core.data import Interactions, Rows, Vocabulary
from sslrec_core.errors import ConfigError, DataError, TrainingError
from sslrec_core.running import Run
from sslrec_core.testing.bench import Bench
from sslrec_core.testing.runs import events, finished_run
from sslrec_kg.data import KGData
from sslrec_kg.evaluators import LinkPrediction
from sslrec_kg.models.kgat import KGAT
from sslrec_kg.models.kgcl import KGCL
from sslrec_kg.models.kgin import KGIN
from sslrec_kg.triples import Translating, Triples

USERS, ITEMS, ENTITIES, RELATIONS = 4, 6, 15, 3


def world(held_out: bool = True) -> KGData:
    generator = torch.Generator().manual_seed(0)
    users, items = torch.arange(USERS).repeat_interleave(3), torch.randint(ITEMS, (3 * USERS,), generator=generator)
    vocabularies = Vocabulary.identity(USERS), Vocabulary.identity(ITEMS)
    interactions = Interactions({"train": Rows.of(users, items, USERS, ITEMS)}, *vocabularies)
    heads, relations, tails = (torch.randint(n, (90,), generator=generator) for n in (ENTITIES, RELATIONS, ENTITIES))
    keys = torch.unique((heads * RELATIONS + relations) * ENTITIES + tails)
    rows = keys // ENTITIES // RELATIONS, keys // ENTITIES % RELATIONS, keys % ENTITIES
    asked = torch.arange(len(keys)) % 4 == 0
    known, out = (Triples(*(column[mask] for column in rows), ENTITIES) for mask in (~asked, asked))
    return KGData(interactions, known, RELATIONS, out if held_out else None)


def built(kind: str, data: KGData) -> Any:
    torch.manual_seed(1)
    if kind == "kgat":
        return KGAT(KGAT.Config(embedding_dim=5), data)
    return KGCL(KGCL.Config(embedding_dim=5, kg_phase=kind), data)


def measured_slowly(model: Translating, data: KGData, asked: Triples, hits: tuple[int, ...]) -> dict[str, float]:
    """Triple by triple, entity by entity."""

    def rows(triples: Triples) -> list[tuple[int, int, int]]:
        return list(zip(triples.heads.tolist(), triples.relations.tolist(), triples.tails.tolist(), strict=True))

    known = {*rows(data.triples), *([] if data.held_out is None else rows(data.held_out))}
    found = []
    for h, r, t in rows(asked):
        points, move = (x.detach().double() for x in model.triple_space(r))
        far = {
            e: float((points[h] + move - points[e]).norm())
            for e in range(ENTITIES) if e == t or (h, r, e) not in known
        }  # fmt: skip
        found.append(1 + sum(value < far[t] for value in far.values()))
    n = len(found)
    return {"mrr": sum(1 / x for x in found) / n, **{f"hits@{k}": sum(x <= k for x in found) / n for k in hits}}


@pytest.mark.parametrize("kind", ["transe", "transr", "kgat"])
@pytest.mark.parametrize("triples", ["held-out", "known"])
@pytest.mark.parametrize("memory", [1, 1 << 25])
def test_measures_equal_the_slow_way(kind: str, triples: Any, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(evaluate.MEMORY, "cpu", memory)
    data = world()
    model = built(kind, data)
    evaluator = LinkPrediction(LinkPrediction.Config(triples=triples, hits=(1, 4)))
    asked = data.held_out if triples == "held-out" else data.triples
    assert asked is not None
    measures = evaluator.evaluate(model, data, "test")
    assert list(measures) == evaluator.names() == ["mrr", "hits@1", "hits@4"]
    assert measures == pytest.approx(measured_slowly(model, data, asked, (1, 4)))
    assert 0 < measures["mrr"] < 1


def test_a_sample_is_always_the_same() -> None:
    data = world()
    model = built("transe", data)
    some = [LinkPrediction(LinkPrediction.Config(sample=7)).evaluate(model, data, split) for split in ("valid", "test")]
    assert some[0] == some[1]
    assert some[0]["hits@3"] * 7 == pytest.approx(round(some[0]["hits@3"] * 7))
    whole = LinkPrediction(LinkPrediction.Config(sample=None)).evaluate(model, data, "test")
    assert whole == LinkPrediction(LinkPrediction.Config()).evaluate(model, data, "test") != some[0]


def test_equal_distances_share_a_rank() -> None:
    data = world()
    model = built("transe", data)
    torch.nn.init.zeros_(model.entities.weight)
    measures = LinkPrediction(LinkPrediction.Config(hits=(1,))).evaluate(model, data, "test")
    assert measures["hits@1"] == 0 and measures["mrr"] < 0.3


def test_training_on_triples_makes_them_likelier() -> None:
    data = world()
    model = built("transe", data)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    evaluator = LinkPrediction(LinkPrediction.Config(triples="known"))
    before = evaluator.evaluate(model, data, "test")["mrr"]
    for _ in range(30):
        for batch in data.triple_batches(16, "triples"):
            optimiser.zero_grad()
            model.triple_losses(model.translation, batch)["triples"].backward()
            optimiser.step()
    assert evaluator.evaluate(model, data, "test")["mrr"] > before + 0.2


def test_what_cannot_be_asked_is_refused() -> None:
    data = world(held_out=False)
    evaluator = LinkPrediction(LinkPrediction.Config())
    with pytest.raises(DataError, match="no triple was held out") as caught:
        evaluator.evaluate(built("transe", data), data, "test")
    assert "scenario.kg_holdout=0.1" in str(caught.value) and "eval.triples=known" in str(caught.value)
    with pytest.raises(ConfigError, match="KGIN learns nothing from triples"):
        evaluator.evaluate(KGIN(KGIN.Config(embedding_dim=5), data), data, "test")
    with pytest.raises(ConfigError, match="this KGCL learns nothing from triples alone"):
        LinkPrediction(LinkPrediction.Config(triples="known")).evaluate(built("none", data), data, "test")
    with pytest.raises(ConfigError, match="not users"):
        evaluator.evaluate_users(built("transe", data), data, "test")


def test_numbers_that_are_none_are_refused() -> None:
    data = world()
    model = built("transe", data)
    torch.nn.init.constant_(model.entities.weight, float("nan"))
    with pytest.raises(TrainingError, match="not numbers"):
        LinkPrediction(LinkPrediction.Config()).evaluate(model, data, "test")


# ---- whole runs


@pytest.mark.parametrize("model", ["kgcl", "kgat"])
def test_a_run_can_be_asked_for_its_triples(model: str, tmp_path: Path) -> None:
    settings = ("optim.learning_rate=0.05", "train.epochs=5", "scenario.kg_holdout=0.2")
    run = finished_run(Bench.of(f"kg/{model}", "kg/checkerboard", settings), tmp_path / "run")
    assert "recall@20" in run.hook.sslrec_evaluate(run=run, split="test")
    opened = Run.open(tmp_path / "run", name="link-prediction", hits=[5])
    held_out = opened.hook.sslrec_evaluate(run=opened, split="test")
    fitted = Run.open(tmp_path / "run", name="link-prediction", triples="known")
    known = fitted.hook.sslrec_evaluate(run=fitted, split="test")
    assert list(held_out) == ["mrr", "hits@5"] and list(known) == ["mrr", "hits@1", "hits@3", "hits@10"]
    assert known["mrr"] > 0.2


def test_a_run_can_be_judged_by_its_triples(tmp_path: Path) -> None:
    settings = (
        "train.epochs=2", "train.every=1", "scenario.kg_holdout=0.2", "eval.name=link-prediction", "train.judge=mrr",
    )  # fmt: skip
    finished_run(Bench.of("kg/kgat", "kg/checkerboard", settings), tmp_path / "run")
    judged = [event["metrics"] for event in events(tmp_path / "run") if event["event"] == "valid"]
    assert len(judged) == 2 and all(0 < measures["mrr"] <= 1 for measures in judged)
