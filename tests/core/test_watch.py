"""`sslrec watch`: what runs now, in a terminal and in a pipe."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sslrec_core.cli import main
from sslrec_core.files import only_process
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig

Configure = Callable[..., RunConfig]


@pytest.fixture
def runs(factors: Configure, tmp_path: Path) -> Path:
    """One complete run, one unfinished, one that cannot be read."""
    root = tmp_path / "runs"
    Run.create(factors("run.seed=1"), root / "whole").execute()
    shutil.copytree(root / "whole", root / "part")
    (root / "part" / "result.json").unlink()
    shutil.copytree(root / "whole", root / "broken")
    (root / "broken" / "config.toml").write_text("[model\n")
    return root


def watch(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["watch", *words])
    assert not end.value.code
    return capsys.readouterr().out


def test_what_runs_says_how_far_it_is(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with only_process(runs / "part"):
        out = watch(capsys, str(runs))
    assert "1 running, 1 complete, 1 unreadable" in out
    title, first, second, *_ = out.splitlines()[1:]
    assert title.startswith("factors on checkerboard  seed 1") and title.endswith("part")
    assert "train 3/4" in first and "s an epoch" in first and "at most 0:00:00 left" in first
    assert "ranking " in second and "ndcg@" in second and "best 0." in second


def test_what_ended_and_what_cannot_be_read_is_listed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = watch(capsys, str(runs), "--once")
    assert {line.split()[0] for line in out.splitlines()[2:]} == {"interrupted", "complete", "unreadable"}
    assert "broken: config.toml: Expected" in out


def test_a_run_without_an_epoch_says_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "part" / "metrics.jsonl").unlink()
    with only_process(runs / "part"):
        assert "no epoch yet" in watch(capsys, str(runs))


def test_selecting_on_test_is_said(
    factors: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    Run.create(factors("train.epochs=1", protocol="published"), tmp_path / "runs" / "p").execute()
    assert "(selected on test)" in watch(capsys, str(tmp_path / "runs"))


def test_names_are_shown_as_they_are(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = (runs / "part" / "config.toml").read_text()
    (runs / "part" / "config.toml").write_text(config.replace('"checkerboard"', '"[red]a[/]"'))
    assert "on [red]a[/]" in watch(capsys, str(runs))


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["watch", str(tmp_path / "none")])
    assert end.value.code == 2 and "none is not a folder" in capsys.readouterr().err


def test_a_terminal_is_redrawn_until_ctrl_c(runs: Path) -> None:
    """In 80 columns, without torch, and with code 0 at the end."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    # Tests that a shell runs in the background inherit that SIGINT is ignored.
    script = "import signal, sys; from sslrec_core.cli import main\n"
    script += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script += "try: main(['watch', sys.argv[1], '--every', '0.2'])\nfinally: assert 'torch' not in sys.modules"
    with only_process(runs / "part"):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(runs)], stdout=theirs, stderr=subprocess.PIPE, env=environment
        )
        os.close(theirs)
        seen, until = b"", time.monotonic() + 60
        while seen.count(b"1 running") < 3 and time.monotonic() < until:
            seen += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    os.close(ours)
    assert seen.count(b"1 running") >= 3 and (process.returncode, said) == (0, b"")
