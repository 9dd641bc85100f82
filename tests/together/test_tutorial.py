"""The tutorial's cells print what stands below them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tutorial() -> ModuleType:
    found = importlib.util.spec_from_file_location("tutorial", ROOT / "tools/tutorial.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.timeout(600)
# Optuna's journal closes its file when its reader is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_page_is_what_its_cells_print(tutorial: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna", reason="the page tunes")
    monkeypatch.setenv("COLUMNS", "100")
    page = tutorial.PAGE.read_text()
    assert len(tutorial.CELL.findall(page)) >= 8
    now = tutorial.executed(page)
    assert tutorial.alike(page, now), f"{now}\nfix: python tools/tutorial.py"


def test_pages_are_alike_but_for_decimals(tutorial: ModuleType) -> None:
    assert tutorial.alike("recall 0.512, 3 seeds", "recall 0.520, 3 seeds")
    assert not tutorial.alike("recall 0.512, 3 seeds", "recall 0.612, 3 seeds")
    assert not tutorial.alike("recall 0.512, 3 seeds", "recall 0.512, 4 seeds")
    assert not tutorial.alike("recall 0.512", "ndcg 0.512")
