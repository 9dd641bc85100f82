"""A training that is killed and resumed, on the command line, ends with the same bits as one that was left alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "kill_resume.py"


@pytest.mark.parametrize(("runs", "kills"), [(1, 2)])
def test_resumed_after_sigkill_ends_with_the_same_bits(runs: int, kills: int) -> None:
    options = ["--runs", str(runs), "--kills", str(kills), "--epochs", "20", "--set", "model.embedding_dim=16"]
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) kills, (\d+) runs, (\d+) that differ", done.stdout)
    assert found is not None
    assert int(found[1]) >= 1
    assert (int(found[2]), int(found[3])) == (runs, 0)
