"""Pages of results: what they ask for can be run, and what they print is what was recorded."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from sslrec_core.settings import resolve

ROOT = Path(__file__).resolve().parents[2]
SPECIFICATIONS = sorted((ROOT / "docs/results").glob("*.toml"))


@pytest.fixture(scope="module")
def record() -> ModuleType:
    found = importlib.util.spec_from_file_location("record", ROOT / "tools/record.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["record"] = module  # its dataclasses look their module up
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", SPECIFICATIONS, ids=lambda path: path.stem)
def test_every_run_that_a_page_asks_for_can_be_configured(path: Path, record: ModuleType) -> None:
    specification = tomllib.loads(path.read_text())
    for job in record.jobs(path.stem, specification):
        resolve(job.model, job.dataset, preset=job.preset, assignments=job.assignments)


@pytest.mark.parametrize("path", SPECIFICATIONS, ids=lambda path: path.stem)
def test_a_page_prints_what_was_recorded(path: Path, record: ModuleType) -> None:
    specification = tomllib.loads(path.read_text())
    wanted = record.jobs(path.stem, specification)
    assert len({job.name for job in wanted}) == len(wanted), "two runs would share a folder"
    written = path.with_suffix(".md").read_text()
    assert written == record.page(specification, wanted, path.with_suffix("")), (
        f"python tools/record.py {path} --page-only"
    )
    assert ("plot" in specification) == path.with_suffix(".svg").exists(), f"python tools/plot.py {path}"
