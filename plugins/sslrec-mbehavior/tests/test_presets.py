"""Every preset is for what exists, and builds a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

import sslrec_mbehavior.presets
from sslrec_core.presets import SPACE
from sslrec_core.settings import resolve

FOLDER = Path(sslrec_mbehavior.presets.__file__).parent
PRESETS = sorted(path for path in FOLDER.glob("*/*.toml") if path.name != SPACE)


def test_all_presets_are_here() -> None:
    assert [path.relative_to(FOLDER).as_posix() for path in PRESETS] == [
        "any-itemknn/retail_rocket.toml",
        *(f"{model}/{dataset}.toml" for model in ("cml", "crgcn", "mbgmn")
          for dataset in ("default", "demo", "retail_rocket", "retail_rocket.tuned", "tmall")),
        "seen-not-bought/retail_rocket.toml",
        "seen-not-bought/tmall.toml",
    ]  # fmt: skip


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_preset_resolves_and_every_value_counts(path: Path) -> None:
    name, _, variant = path.stem.partition(".")
    dataset = "./interactions.csv" if name == "default" else f"mbehavior/{name}"
    resolved = resolve(f"mbehavior/{path.parent.name}", dataset, preset=variant or None)
    assert any(origin == f"preset {path.stem}" for origin in resolved.origins.values())
