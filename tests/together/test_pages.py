"""The generated pages say what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in ROOT.glob("docs/*.md") if "[[[cog" in path.read_text())


def test_there_are_generated_pages() -> None:
    assert {"catalogue.md", "cli.md", "hooks.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_generated_page_is_fresh(page: Path) -> None:
    pytest.importorskip("cogapp", reason="cogapp makes the pages, and comes with the dev extra")
    done = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "--diff", "-PI", ".", page.relative_to(ROOT)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nfix: make docs"
