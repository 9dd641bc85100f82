"""Every preset is for what exists, and builds a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

import sslrec_seq.presets
from sslrec_core.presets import SPACE
from sslrec_core.registry import registry
from sslrec_core.settings import resolve

FOLDER = Path(sslrec_seq.presets.__file__).parent
PRESETS = sorted(path for path in FOLDER.glob("*/*.toml") if path.name != SPACE)
DATASETS = ("beauty", "sports", "toys", "yelp")
BASELINES = ("markov", "neighbours", "recent-itemknn")


def label(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_all_presets_are_here() -> None:
    found = {label(path) for path in PRESETS}
    assert found >= {f"{model}/{name}" for model in BASELINES for name in DATASETS}
    # A model's presets are complete: one for each of the datasets that papers share, and one for all else.
    models = {path.parent.name for path in PRESETS} - set(BASELINES)
    assert models and found >= {f"{model}/{name}" for model in models for name in ("default", "sports", "toys")}


def test_presets_are_for_models_and_datasets_that_exist() -> None:
    models = {entry.short_name for entry in registry().entries("model") if entry.plugin == "sslrec-seq"}
    datasets = {entry.name for entry in registry().entries("dataset")}
    assert {path.parent.name for path in PRESETS} <= models
    # What stands behind a dataset's name is a variant, chosen with --preset.
    named = {path.stem.partition(".")[0] for path in PRESETS}
    assert named <= {"default"} | {name.removeprefix("seq/") for name in datasets}


@pytest.mark.parametrize("dataset", ["demo", *DATASETS])
def test_presets_of_gsasrec_have_the_blocks_of_its_authors(dataset: str) -> None:
    encoder = resolve("seq/gsasrec", f"seq/{dataset}").config.model.config.encoder.config
    authors = resolve("seq/gsasrec", f"seq/{dataset}", preset="none").config.model.config.encoder.config
    for option in ("norm", "input_norm", "feed_forward", "activation"):
        assert getattr(encoder, option) == getattr(authors, option)


@pytest.mark.parametrize("path", PRESETS, ids=label)
def test_a_preset_resolves_and_every_value_counts(path: Path) -> None:
    found = [preset for preset in registry().presets() if preset.file == path]
    assert len(found) == 1
    dataset = "seq/demo" if found[0].dataset == "default" else f"seq/{found[0].dataset}"
    resolved = resolve(f"seq/{path.parent.name}", dataset, preset=found[0].variant)
    assert resolved.config.model.name == f"seq/{path.parent.name}"
    assert any("preset" in origin for origin in resolved.origins.values())
