"""Reports: what a page says, what it says of runs that are not whole, and how large it is."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
import torch

from sslrec_core.cli import main
from sslrec_core.errors import CheckpointError, ConfigError
from sslrec_core.reporting.page import report, save
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig, resolve
from sslrec_core.testing.bench import QUIET
from sslrec_core.toml import remarks, to_toml

pytest.importorskip("vl_convert", reason="the extra report is not installed")

Configure = Callable[..., RunConfig]
SECTIONS = (
    "Summary", "Learning curves", "Losses", "Metrics by slice", "Popularity of what is recommended", "Embeddings",
    "Example recommendations", "Configuration", "Data and environment",
)  # fmt: skip
OF_THE_MODEL = SECTIONS[3:7]


class Page(HTMLParser):
    """A page as a reader meets it: the text of each section, its remarks, the elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[str] = []
        self.sections: dict[str, str] = {}
        self._heading = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._heading = tag == "h2"

    def handle_data(self, data: str) -> None:
        if self._heading:
            self.sections[data] = ""
            self._heading = False
        elif self.sections and data.strip():
            self.sections[list(self.sections)[-1]] += data.strip() + "|"


@pytest.fixture
def run(factors: Configure, tmp_path: Path) -> Path:
    """A complete run."""
    Run.create(factors("model.embedding_dim=4"), tmp_path / "run").execute()
    return tmp_path / "run"


def page(*runs: Path, **options: object) -> Page:
    return Page(report(runs, **options))


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["report", *arguments])
    return int(end.value.code or 0)


# ---- what it says -------------------------------------------------------------------------------


def test_every_section_has_something_to_say(run: Path) -> None:
    found = page(run)
    assert tuple(found.sections) == SECTIONS
    result = json.loads((run / "result.json").read_text())
    assert (
        f"{result['metrics']['ndcg@20']:.4f}" in found.sections["Summary"]
        and f"best epoch|{result['best_epoch']}|" in found.sections["Summary"]
    )
    assert found.sections["Losses"].startswith("ranking.")
    assert "tail|" in found.sections["Metrics by slice"] and "coverage|" in found.sections[OF_THE_MODEL[1]]
    assert "vectors without structure" in found.sections["Embeddings"]
    assert "User " in found.sections["Example recommendations"]
    assert "model.embedding_dim|4|" in found.sections["Configuration"]
    assert "torch|" in found.sections["Data and environment"]
    assert found.html.count("<figure") == found.html.count('role="img"') >= 7
    assert "http-equiv" in found.html and not re.search(r"(?:src|href)=\"(?!#|data:)", found.html)


def test_the_lists_of_the_page_are_those_of_recommend(run: Path) -> None:
    text = page(run).sections["Example recommendations"]
    user = re.search(r"User (\S+)\|", text)
    assert user is not None
    lists = Run.open(run).recommend([user[1]], 10)[user[1]]
    shown = re.findall(r"(\d+)\|(\S+?)\|(-?[\d.]+)\|(\d+)\|", text.partition("popularity|test|")[2])
    assert [(item, score) for _, item, score, _ in shown][:10] == [(str(i), f"{s:.4f}") for i, s in lists]


def test_two_reports_of_a_run_are_one(run: Path) -> None:
    assert report([run]) == report([run])


def test_seeds_stand_together(factors: Configure, tmp_path: Path) -> None:
    for dim in (2, 8):
        for seed in (1, 2):
            config = factors(f"model.embedding_dim={dim}", f"run.seed={seed}", "train.epochs=2")
            Run.create(config, tmp_path / "runs" / f"{dim}-{seed}").execute()
    found = page(*sorted((tmp_path / "runs").iterdir()))
    results = [json.loads((tmp_path / f"runs/8-{seed}/result.json").read_text()) for seed in (1, 2)]
    values = torch.tensor([result["metrics"]["ndcg@20"] for result in results], dtype=torch.float64)
    assert f"factors embedding_dim=8|1, 2|{values.mean():.4f} ± {values.std():.4f}|" in found.sections["Summary"]
    assert "model.embedding_dim|" in found.sections["Configuration"].partition("Options of")[0]
    assert "Map of factors embedding_dim=2" in found.sections["Embeddings"]


def test_runs_of_one_name_are_told_apart(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "other" / "run")
    text = page(run, tmp_path / "other" / "run", model=False).sections["Summary"]
    assert str(run) in text and str(tmp_path / "other" / "run") in text


def test_a_run_that_was_selected_on_test_says_so(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors(protocol="published"), tmp_path / "run").execute()
    assert page(tmp_path / "run", model=False).sections["Summary"].startswith("Selected on test")


def test_a_model_without_vectors_is_reported_too(factors: Configure, tmp_path: Path) -> None:
    scenario = {"scenario": {"name": "plain"}}
    config = resolve("popularity", "checkerboard", assignments=[*QUIET], options=scenario).config
    Run.create(config, tmp_path / "run").execute()
    text = page(tmp_path / "run").sections["Embeddings"]
    assert "by the scores that" in text and "Alignment and uniformity are not defined for popularity" in text


def test_curves_are_those_that_are_asked_for(run: Path) -> None:
    text = page(run, metrics=["mrr@10"], model=False).sections["Learning curves"]
    assert "mrr@10 by epoch" in text and "ndcg@10 by epoch" not in text
    with pytest.raises(ConfigError, match="no run measured mrr@11"):
        report([run], metrics=["mrr@11"], model=False)


def test_origins_are_those_of_the_file() -> None:
    values = {"model": {"name": "a", "path": "x  # y", "odd": "x  # y", "inner": {"rate": 0.5}}, "top": 1}
    comments = {"model.path": "--set", "model.inner.rate": "preset toys", "top": "command line"}
    assert remarks(to_toml(values, comments)) == comments


# ---- names --------------------------------------------------------------------------------------

HOSTILE = '<img src="x" onerror="alert(1)">'


def test_a_name_is_text_however_it_is_written(run: Path, tmp_path: Path) -> None:
    items = Run.open(run).data.n_items
    names = tmp_path / "names.csv"
    pl.DataFrame({"item": range(items), "name": [f"{HOSTILE} \u202e{'x' * 400}"] * items}).write_csv(names)
    found = page(run, names=names)
    assert "img" not in found.tags and found.tags.count("script") == 1
    assert HOSTILE in found.sections["Example recommendations"]
    assert "x" * 161 not in found.html


def test_a_directory_may_be_called_anything(run: Path, tmp_path: Path) -> None:
    odd, other = tmp_path / '<b>"run"\x0b\udcff', tmp_path / "other"
    shutil.copytree(run, odd)
    shutil.copytree(run, other)
    found = page(odd, other, model=False)
    assert "b" not in found.tags and '<b>"run"' in found.sections["Summary"]
    save(found.html, other / "report.html")


# ---- runs that are not whole --------------------------------------------------------------------


def test_what_cannot_be_made_is_said(run: Path) -> None:
    (run / "best.safetensors").unlink()
    found = page(run)
    for title in OF_THE_MODEL:
        assert "run cannot be opened:" in found.sections[title]
    assert "ranking." in found.sections["Losses"]
    for title in OF_THE_MODEL:
        assert "--no-model" in page(run, model=False).sections[title]


def test_a_run_that_breaks_off_is_reported_as_far_as_it_goes(run: Path) -> None:
    (run / "result.json").unlink()
    text = (run / "metrics.jsonl").read_text()
    lines = text.splitlines()
    (run / "metrics.jsonl").write_text("\n".join([lines[0], "[1]", *lines[1:4], lines[4][:20]]))
    (run / "environment.json").write_text("{")
    found = page(run, model=False)
    summary = found.sections["Summary"]
    assert "is not complete" in summary and "sslrec train --resume" in summary
    assert "The last line of metrics.jsonl is cut off" in summary and "1 lines of metrics.jsonl are damaged" in summary
    assert "environment.json cannot be read" in summary
    assert "ndcg@20 by epoch" in found.sections["Learning curves"]
    (run / "metrics.jsonl").unlink()
    found = page(run)
    assert "No epoch was judged" in found.sections["Learning curves"] and "No loss" in found.sections["Losses"]


def test_an_older_version_did_not_write_everything(run: Path) -> None:
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(re.sub(r"(?m)^(select_on|judge|hide|slices).*\n", "", config))
    result = json.loads((run / "result.json").read_text())
    del result["memory"]
    (run / "result.json").write_text(json.dumps(result))
    (run / "environment.json").write_text('{"torch": "2.4", "data_root": null}')
    found = page(run)
    assert "recall" in found.sections["Summary"] and "torch|2.4" in found.sections["Data and environment"]
    (run / "config.toml").write_text(config.replace("[train]", "[train]\nfrom_the_future = 1"))
    assert "run cannot be opened" in page(run).sections["Embeddings"]


def test_a_run_that_vanishes_while_it_is_read(run: Path) -> None:
    def vanish(text: str) -> None:
        shutil.rmtree(run, ignore_errors=True)

    found = page(run, say=vanish)
    assert "cannot be opened" in found.sections["Embeddings"] and "ranking." in found.sections["Losses"]
    with pytest.raises(CheckpointError, match="cannot be read"):
        report([run])


@pytest.mark.parametrize("content", ["[model\n", "", 'model = "factors"\n'])
def test_a_run_that_says_nothing_is_an_error(
    run: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "config.toml").write_text(content)
    assert command(str(run), "-o", str(tmp_path / "page.html")) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists() and not (run / "report.html").exists()


# ---- the command --------------------------------------------------------------------------------


def test_the_page_goes_where_it_is_wanted(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(str(run), "--no-model", "-q") == 0
    assert capsys.readouterr().out == f"report {run / 'report.html'}\n"
    assert command(str(run), "--no-model", "-o", str(tmp_path / "new" / "page.html")) == 0
    assert (tmp_path / "new" / "page.html").read_text() == (run / "report.html").read_text()
    shutil.copytree(run, tmp_path / "second")
    assert command(str(run), str(tmp_path / "second"), "--no-model") == 2
    assert "-o FILE.html" in capsys.readouterr().err
    assert command(str(run), "-o", str(tmp_path)) == 2
    assert "is a folder" in capsys.readouterr().err
    assert command(str(tmp_path / "nothing")) == 2


def test_a_disk_that_fills_loses_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "report.html").write_text("the report of yesterday")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert command(str(run), "--no-model") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert (run / "report.html").read_text() == "the report of yesterday"
    assert not [path for path in run.iterdir() if path.suffix == ".tmp"]


def test_a_missing_library_is_named(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert command(str(run), "--no-model") == 2
    assert "pip install 'sslrec-core[report]'" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["factors", "popularity"])
def test_a_hundred_thousand_items_fit_in_five_megabytes(factors: Configure, tmp_path: Path, model: str) -> None:
    users, items, rows = 100, 100_000, 120_000
    generator = torch.Generator().manual_seed(0)
    extra = torch.randint(items, (rows - items,), generator=generator)
    item = torch.cat([torch.arange(items), extra])
    user = torch.randint(users, (rows,), generator=generator)
    table = tmp_path / "likes.csv"
    pl.DataFrame({"user": user.numpy(), "item": item.numpy()}).write_csv(table)
    names = tmp_path / "names.csv"
    pl.DataFrame({"item": range(items), "name": [f"Item number {n}" for n in range(items)]}).write_csv(names)
    settings = [*QUIET, "train.epochs=1", "train.batch_size=8192", f"data.names={names}"]
    scenario = {"scenario": {"name": "plain"}}
    Run.create(resolve(model, str(table), assignments=settings, options=scenario).config, tmp_path / "run").execute()
    found = page(tmp_path / "run")
    assert "cannot be opened" not in found.html and "Item number" in found.sections["Example recommendations"]
    assert len(found.html.encode()) < 5 * 2**20
