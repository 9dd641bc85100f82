"""`sslrec board`: what it writes, what it refuses, and what a page is told that has an older version."""

from __future__ import annotations

import html
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sslrec_core.cli import main
from sslrec_core.overview.scan import Scanner
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig

Configure = Callable[..., RunConfig]


@pytest.fixture
def runs(factors: Configure, tmp_path: Path) -> Path:
    """A complete run, and one that is not, with another setting."""
    root = tmp_path / "runs"
    Run.create(factors("run.seed=1"), root / "whole").execute()
    Run.create(factors("train.epochs=2", "model.embedding_dim=4"), root / "study" / "trials" / "0000").execute()
    (root / "study" / "trials" / "0000" / "result.json").unlink()
    return root


def board(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as end:
        main(["board", *map(str, words)])
    return int(end.value.code or 0)


def embedded(page: str, name: str) -> Any:
    """What a page holds for its script under ``name``."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def test_a_page_holds_all_runs_and_asks_for_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vl_convert", reason="the charts' library comes with the report extra")
    (runs / "whole" / "report.html").write_text("")
    assert board(runs) == 0 and "2 runs" in capsys.readouterr().out
    page = (runs / "board" / "index.html").read_text()
    own = html.unescape(page.partition('id="vega"')[0])
    assert "connect-src 'none'" in own and not re.search(r'<(script|link|img)[^>]+(src|href)="(?!data:)', own)
    content = embedded(page, "board")
    found = {run["path"]: run for group in content["groups"].values() for run in group["runs"]}
    assert {path: run["state"] for path, run in found.items()} == {
        "whole": "complete", "study/trials/0000": "interrupted",
    }  # fmt: skip
    assert found["whole"]["report"] == "../whole/report.html" and found["study/trials/0000"]["report"] is None
    assert sorted(embedded(page, "curves")) == ["study/trials/0000", "whole"]
    before = page
    assert board(runs) == 0
    assert embedded((runs / "board" / "index.html").read_text(), "board") == embedded(before, "board")


def test_names_cannot_leave_their_place(runs: Path) -> None:
    pytest.importorskip("vl_convert", reason="the charts' library comes with the report extra")
    evil = "</script><script>alert(1)</script><!--"
    path = runs / "whole" / "config.toml"
    path.write_text(path.read_text().replace('"checkerboard"', json.dumps(evil)))
    shutil.copytree(runs / "whole", runs / "a <b> &amp; 100%")
    assert board(runs, "-o", runs / "page") == 0
    page = (runs / "page" / "index.html").read_text()
    assert "alert(1)</script>" not in page
    assert evil in {table["dataset"] for table in embedded(page, "board")["tables"]}


def test_what_cannot_be_done_is_said(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert board(tmp_path / "none") == 2 and "is not a folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert board(tmp_path / "empty") == 2 and "there are no runs" in capsys.readouterr().err
    assert board(runs, "--serve", "-o", tmp_path / "x") == 2 and "--serve writes no files" in capsys.readouterr().err
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "vl_convert", None)
        assert board(runs) == 2 and "sslrec-core[report]" in capsys.readouterr().err
        assert not (runs / "board").exists()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "uvicorn", None)
        without.delitem(sys.modules, "sslrec_core.overview.server", raising=False)
        assert board(runs, "--serve") == 2 and "sslrec-core[serve]" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_loses_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vl_convert", reason="the charts' library comes with the report extra")
    taken = runs.with_name("taken")
    taken.write_text("mine")
    assert board(runs, "-o", taken) == 2 and str(taken) in capsys.readouterr().err
    assert taken.read_text() == "mine"


def test_a_page_is_told_what_changed_and_no_more(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="the server comes with the serve extra")
    from sslrec_core.overview import server

    monkeypatch.setattr(server, "FRESH", 0.0)
    live = server.Live(Scanner(runs))
    first = live.changes(0)
    assert len(first["groups"]) == 2
    again = live.changes(first["version"])
    assert again["groups"] == {} and again["version"] == first["version"]
    with (runs / "study" / "trials" / "0000" / "metrics.jsonl").open("a") as handle:
        handle.write('{"event": "epoch", "stage": "train", "epoch": 2, "losses": {"ranking": 0.5}, "seconds": 1}\n')
    news = live.changes(first["version"])
    assert [group["runs"][0]["epoch"] for group in news["groups"].values()] == [2]
    assert live.run("whole") is not None and live.run("../runs/whole") is None and live.run("") is None
    shutil.rmtree(runs / "study")
    assert [len(table["groups"]) for table in live.changes(news["version"])["tables"]] == [1]
    assert live.run("study/trials/0000") is None
