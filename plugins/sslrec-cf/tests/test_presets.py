"""Every preset is for what exists, and builds a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

import sslrec_cf.presets
from sslrec_core.presets import SPACE
from sslrec_core.registry import registry
from sslrec_core.settings import resolve

FOLDER = Path(sslrec_cf.presets.__file__).parent
PRESETS = sorted(path for path in FOLDER.glob("*/*.toml") if path.name != SPACE)
MODELS = ("lightgcn", "sgl", "xsimgcl")


def label(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_all_presets_are_here() -> None:
    assert len(PRESETS) >= 18
    found = {label(path) for path in PRESETS}
    assert found >= {f"{model}/{name}" for model in MODELS for name in ("default", "lastfm-lightgcnpp", "sparse_yelp")}


def test_presets_are_for_models_and_datasets_that_exist() -> None:
    datasets = {entry.name for entry in registry().entries("dataset")}
    assert all(path.stem == "default" or f"cf/{path.stem}" in datasets for path in PRESETS)
    assert {path.parent.name for path in PRESETS} == set(MODELS)


@pytest.mark.parametrize("path", PRESETS, ids=label)
def test_a_preset_resolves_and_every_value_counts(path: Path) -> None:
    model, dataset = f"cf/{path.parent.name}", "cf/lastfm" if path.stem == "default" else f"cf/{path.stem}"
    resolved = resolve(model, dataset)
    origins = [key for key, origin in resolved.origins.items() if origin == f"preset {path.stem}"]
    assert len(origins) >= 8
    assert resolved.config.model.name == model
