"""What the plugin offers, and that offering it costs no torch."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sslrec_core.registry import registry
from sslrec_mbehavior import plugin

OFFERS = {"scenario": plugin.sslrec_scenarios, "dataset": plugin.sslrec_datasets, "model": plugin.sslrec_models}
NAMES = [(kind, name) for kind, offer in OFFERS.items() for name in offer()]


def test_there_is_something_to_check() -> None:
    assert len(NAMES) >= 9


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_every_name_is_found_and_can_be_imported(kind: str, name: str) -> None:
    entry = registry().find(kind, name)
    assert entry.plugin == "sslrec-mbehavior"
    assert entry.load().__doc__.strip()
    assert entry.summary.endswith(".")


def test_the_entry_point_names_the_plugin() -> None:
    (found,) = [point for point in entry_points(group="sslrec.plugins") if point.name == "mbehavior"]
    assert found.value == plugin.__name__


def test_offering_imports_neither_torch_nor_polars() -> None:
    code = "import sys, sslrec_mbehavior.plugin; print([m for m in ('torch', 'numpy', 'polars') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_distribution_needs_the_core_and_no_sibling() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["name"] == "sslrec-mbehavior"
    assert [Requirement(needed).name for needed in project["dependencies"]] == ["sslrec-core"]
