"""Every preset is for what exists, and builds a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

import sslrec_social.presets
from sslrec_core.settings import resolve

FOLDER = Path(sslrec_social.presets.__file__).parent
PRESETS = sorted(FOLDER.glob("*/*.toml"))


def test_all_presets_are_here() -> None:
    assert [path.relative_to(FOLDER).as_posix() for path in PRESETS] == [
        "kgcl/alibaba-fashion.toml",
        "kgcl/amazon-book.toml",
        "kgcl/default.toml",
        "kgcl/demo.toml",
        "kgcl/last-fm-dedup.toml",
        "kgcl/lastfm-music.toml",
    ]


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_resolves_and_every_value_counts(path: Path) -> None:
    dataset = "./interactions.csv" if path.stem == "default" else f"social/{path.stem}"
    resolved = resolve(f"social/{path.parent.name}", dataset)
    assert any(origin == f"preset {path.stem}" for origin in resolved.origins.values())
