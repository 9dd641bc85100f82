"""Every preset is for what exists, and builds a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

import sslrec_kg.presets
from sslrec_core.presets import SPACE
from sslrec_core.settings import resolve

FOLDER = Path(sslrec_kg.presets.__file__).parent
PRESETS = sorted(path for path in FOLDER.glob("*/*.toml") if path.name != SPACE)


def test_all_presets_are_here() -> None:
    assert [path.relative_to(FOLDER).as_posix() for path in PRESETS] == [
        f"{model}/{name}.toml"
        for model in ("kgat", "kgcl", "kgin")
        for name in ("alibaba-fashion", "amazon-book", "default", "demo", "last-fm-dedup", "lastfm-music")
    ]


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_preset_resolves_and_every_value_counts(path: Path) -> None:
    dataset = "./interactions.csv" if path.stem == "default" else f"kg/{path.stem}"
    resolved = resolve(f"kg/{path.parent.name}", dataset)
    assert any(origin == f"preset {path.stem}" for origin in resolved.origins.values())
