"""Pages of results: what they ask for can be run, and what they print is what was recorded."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from sslrec_core.sweeping import Sweep

ROOT = Path(__file__).resolve().parents[2]
SPECIFICATIONS = sorted((ROOT / "docs/results").glob("*.toml"))


@pytest.fixture(scope="module")
def record() -> ModuleType:
    found = importlib.util.spec_from_file_location("record", ROOT / "tools/record.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", SPECIFICATIONS, ids=lambda path: path.stem)
def test_every_run_that_a_page_asks_for_can_be_configured(path: Path) -> None:
    for job in Sweep.read(path).jobs():
        job.configured()


@pytest.mark.parametrize("path", SPECIFICATIONS, ids=lambda path: path.stem)
def test_a_page_prints_what_was_recorded(path: Path, record: ModuleType) -> None:
    sweep = Sweep.read(path)
    written = path.with_suffix(".md").read_text()
    assert written == record.page(sweep, path.with_suffix("")), f"python tools/record.py {path} --page-only"
    for picture in (path.with_suffix(".svg"), path.with_name(f"{path.stem}-curves.svg")):
        assert (picture.name in written) == picture.exists(), f"python tools/plot.py {path}"


def test_a_record_names_no_place_of_the_machine_it_was_made_on() -> None:
    records = sorted((ROOT / "docs/results").glob("*/*/environment.json"))
    assert records
    for path in records:
        environment = json.loads(path.read_text())
        assert environment["command"][0] == "sslrec", path
        assert "data_root" not in environment, path
