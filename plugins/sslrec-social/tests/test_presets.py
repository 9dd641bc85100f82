"""Every preset is for what exists, and builds a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

import sslrec_social.presets
from sslrec_core.presets import SPACE
from sslrec_core.settings import resolve

FOLDER = Path(sslrec_social.presets.__file__).parent
PRESETS = sorted(path for path in FOLDER.glob("*/*.toml") if path.name != SPACE)


def test_all_presets_are_here() -> None:
    assert [path.relative_to(FOLDER).as_posix() for path in PRESETS] == [
        "diffnet/default.toml",
        "diffnet/demo.toml",
        "diffnet/dianping.toml",
        "diffnet/douban-book.toml",
        "diffnet/epinions.toml",
        "diffnet/lastfm.toml",
        "diffnet/lastfm.tuned.toml",
        "diffnet/yelp.toml",
        "dsl/ciao.toml",
        "dsl/default.toml",
        "dsl/demo.toml",
        "dsl/douban-book.toml",
        "dsl/epinions.toml",
        "dsl/lastfm.toml",
        "dsl/yelp.toml",
        "mhcn/default.toml",
        "mhcn/demo.toml",
        "mhcn/dianping.toml",
        "mhcn/douban-book.toml",
        "mhcn/douban-book.tuned.toml",
        "mhcn/lastfm.toml",
    ]


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_preset_resolves_and_every_value_counts(path: Path) -> None:
    name, _, variant = path.stem.partition(".")
    dataset = "./interactions.csv" if name == "default" else f"social/{name}"
    resolved = resolve(f"social/{path.parent.name}", dataset, preset=variant or None)
    assert any(origin == f"preset {path.stem}" for origin in resolved.origins.values())
