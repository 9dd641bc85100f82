"""CoSeRec: the contract, and when its similarity turns to the model's own vectors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sslrec_seq.presets
from sslrec_core.settings import resolve
from sslrec_core.testing import ModelContract
from sslrec_core.testing.bench import Bench, offer_worlds
from sslrec_seq.similarity import Similar, hybrid, nearest

SMALL = ("model.embedding_dim=32", "model.encoder.dropout=0.1", "model.encoder.attention_dropout=0.1")


class TestCoSeRec(ModelContract):
    model = "seq/coserec"
    world = "seq/checkerboard"
    # In a world of two kinds of users most rows of a batch are alike: the contrast must not outweigh the next item.
    settings = (*SMALL, "model.warm_up=2", "model.pool=last")


def relatives(model) -> list[torch.Tensor]:
    return [part.similar[:-1] for part in model.augmenter.parts if hasattr(part, "similar")]


def test_similarity_turns_hybrid_after_the_warm_up() -> None:
    made = Bench.of("seq/coserec", "seq/checkerboard", (*SMALL, "model.warm_up=2"))
    model = made.build()
    loop = made.loop(model)
    memory = model.correlation.items
    # In this world every two items of a kind are met by the same users, so that vectors would never win.
    model.correlation = Similar(memory, torch.zeros(len(memory)))
    assert len(relatives(model)) == 4
    for epoch in range(4):
        loop.epoch = epoch
        expected = memory if epoch < 2 else hybrid(model.correlation, model.catalogue.detach().clone()).items
        model.epoch(loop)
        assert all(torch.equal(found, expected) for found in relatives(model))
    assert not torch.equal(expected, memory)


def test_similarity_stays_without_a_warm_up() -> None:
    made = Bench.of("seq/coserec", "seq/checkerboard", SMALL)
    model = made.build()
    loop = made.loop(model)
    model.correlation = Similar(memory := model.correlation.items, torch.zeros(len(memory)))
    for loop.epoch in (0, 300):
        model.epoch(loop)
        assert all(torch.equal(found, memory) for found in relatives(model))


def test_similarity_has_the_precision_of_the_vectors_under_autocast() -> None:
    vectors = torch.randn(300, 16, generator=torch.Generator().manual_seed(0))
    plain = nearest(vectors)
    with torch.autocast("cpu", torch.bfloat16):
        halved = nearest(vectors)
    assert torch.equal(plain.items, halved.items) and torch.equal(plain.scores, halved.scores)


def test_defaults_draw_other_operators_for_short_histories() -> None:
    config = Bench.of("seq/coserec", "seq/checkerboard").config.model.config.augmenter.config
    assert [choice.name for choice in config.short] == ["substitute", "insert", "mask"]
    assert {choice.name for choice in config.augmenters} == {"substitute", "insert", "mask", "crop", "reorder"}
    assert not config.different


# ---- presets ------------------------------------------------------------------------------------

FOLDER = Path(sslrec_seq.presets.__file__).parent
PRESETS = [path for model in ("cl4srec", "coserec") for path in sorted((FOLDER / model).glob("*.toml"))]


def label(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_all_presets_are_here() -> None:
    names = ("beauty", "default", "sports", "toys", "yelp")
    assert {label(path) for path in PRESETS} == {
        f"{model}/{name}" for model in ("cl4srec", "coserec") for name in names
    }


@pytest.mark.parametrize("path", PRESETS, ids=label)
def test_a_preset_resolves_and_says_where_it_comes_from(path: Path) -> None:
    offer_worlds()
    dataset = "checkerboard" if path.stem == "default" else f"seq/{path.stem}"
    resolved = resolve(f"seq/{path.parent.name}", dataset)
    assert len([key for key, origin in resolved.origins.items() if origin == f"preset {path.stem}"]) >= 8
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    values = [line for line in lines if "=" in line and not line.startswith("#")]
    assert sum("#" in line for line in values) >= 0.6 * len(values)
