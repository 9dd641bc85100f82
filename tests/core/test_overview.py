"""Runs at a glance: every state that a directory can be in, and events that are still being written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sslrec_core.errors import ConfigError
from sslrec_core.files import is_held, only_process
from sslrec_core.overview.board import board, curves
from sslrec_core.overview.events import Events, thinned
from sslrec_core.overview.scan import Scanner, Seen
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig

Configure = Callable[..., RunConfig]


@pytest.fixture
def run(factors: Configure, tmp_path: Path) -> Path:
    """A complete run of four epochs, in a folder of its own."""
    Run.create(factors("run.seed=1"), tmp_path / "runs" / "one").execute()
    return tmp_path / "runs" / "one"


def unfinished(run: Path, name: str) -> Path:
    copy = Path(shutil.copytree(run, run.with_name(name)))
    (copy / "result.json").unlink()
    return copy


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Another process is at work in ``directory``."""
    script = "import sys; from pathlib import Path; from sslrec_core.files import only_process\n"
    script += "with only_process(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.kill()


def nowhere(seen: Seen) -> str:
    """The address of a report that nobody follows."""
    return "report"


def scan(root: Path) -> dict[str, Seen]:
    return {seen.directory.relative_to(root).as_posix(): seen for seen in Scanner(root).scan()}


# ---- states -----------------------------------------------------------------------------------------------------


def test_a_complete_run_says_what_it_found(run: Path) -> None:
    seen = scan(run.parent)["one"]
    result = json.loads((run / "result.json").read_text())
    assert (seen.state, seen.model, seen.dataset, seen.seed) == ("complete", "factors", "checkerboard", 1)
    assert seen.best == result["selection"][seen.judge] and seen.best_epoch == result["best_epoch"]
    assert (seen.protocol, seen.label, seen.report) == ("standard", None, False)
    (run / "report.html").write_text("")
    assert scan(run.parent)["one"].report


def test_a_run_that_a_living_process_holds_is_running(run: Path) -> None:
    copy = unfinished(run, "two")
    scanner = Scanner(run.parent)
    assert [seen.state for seen in scanner.scan()] == ["complete", "interrupted"]
    with held(copy):
        assert is_held(copy)
        assert [seen.state for seen in scanner.scan()] == ["complete", "running"]
    assert [seen.state for seen in scanner.scan()] == ["complete", "interrupted"]


def test_looking_at_a_lock_neither_takes_nor_makes_it(run: Path) -> None:
    (run / ".lock").unlink(missing_ok=True)
    assert not is_held(run) and not (run / ".lock").exists()
    with only_process(run):
        assert is_held(run) and is_held(run)
    assert not is_held(run)


def test_the_best_of_an_unfinished_run_is_that_of_its_result(run: Path) -> None:
    whole, part = scan(run.parent)["one"], scan(unfinished(run, "two").parent)["two"]
    assert (part.best, part.best_epoch) == (whole.best, whole.best_epoch)
    assert part.events is not None and part.events.epoch == 3 and part.limit == 4 and part.left == 0
    assert part.selection == whole.selection


def test_selecting_on_test_is_seen(factors: Configure, tmp_path: Path) -> None:
    Run.create(factors("train.epochs=1", protocol="published"), tmp_path / "runs" / "p").execute()
    Run.create(factors("train.epochs=1", "train.select_on=test"), tmp_path / "runs" / "q").execute()
    found = scan(tmp_path / "runs")
    assert (found["p"].protocol, found["p"].label) == ("published", "selected on test")
    assert (found["q"].protocol, found["q"].label) == ("standard", "selected on test")
    tables = board(list(found.values()), tmp_path / "runs", nowhere)["tables"]
    assert [(table["protocol"], table["label"]) for table in tables] == [
        ("published", "selected on test"), ("standard", "selected on test"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("config.toml", "[model\n", "Expected"),
        ("config.toml", "[model]\n", "'name' is missing"),
        ("config.toml", 'model = "x"\n[data]\nname = "y"\n', "string indices"),
        ("environment.json", '{"comm', "Unterminated"),
        ("environment.json", "[]", "environment.json: not a table"),
        ("result.json", '{"metrics": {"recall@10"', "Expecting"),
        ("result.json", "[]", ""),
        ("result.json", '{"metrics": {}, "selection": {}, "best_epoch": 1, "label": null, "seconds": "x"}', "float"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_listed_with_the_reason(run: Path, name: str, text: str, why: str) -> None:
    (unfinished(run, "two") / name).write_text(text)
    found = scan(run.parent)
    assert (found["one"].state, found["two"].state) == ("complete", "unreadable")
    said = found["two"].why
    assert why in said and "\n" not in said


def test_a_run_of_an_earlier_version_is_shown_as_far_as_it_goes(run: Path) -> None:
    (run / "config.toml").write_text('[model]\nname = "old"\n[data]\nname = "set"\n[run]\nseed = 3\n')
    result = json.loads((run / "result.json").read_text())
    del result["memory"]
    (run / "result.json").write_text(json.dumps(result))
    (run / "environment.json").unlink()
    seen = scan(run.parent)["one"]
    assert (seen.state, seen.model, seen.seed, seen.judge, seen.best) == ("complete", "old", 3, None, None)
    content = board([seen], run.parent, nowhere)
    assert next(iter(content["groups"].values()))["runs"][0]["test"]


def test_a_run_that_is_deleted_while_it_is_read_is_left_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished(run, "two")
    scanner = Scanner(run.parent)
    assert len(scanner.scan()) == 2
    read = Path.read_text

    def gone(path: Path, *args: object, **words: object) -> str:
        shutil.rmtree(path.parent, ignore_errors=True)
        return read(path, *args, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", gone)
    os.utime(run / "config.toml", ns=(1, 1))
    assert [seen.directory.name for seen in scanner.scan()] == ["two"]


def test_trials_are_found_and_what_is_inside_a_run_is_not(run: Path) -> None:
    study = run.parent / "study"
    shutil.copytree(run, study / "trials" / "0000")
    shutil.copy(run / "config.toml", study / "config.toml")
    shutil.copytree(run, run / "copy")
    (run.parent / ".hidden.new").mkdir()
    shutil.copy(run / "config.toml", run.parent / ".hidden.new")
    (run.parent / "circle").symlink_to(run.parent)
    (run.parent / "alone").mkdir()
    shutil.copy(run / "config.toml", run.parent / "alone")
    assert sorted(scan(run.parent)) == ["alone", "one", "study/trials/0000"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing is not a folder"):
        Scanner(tmp_path / "nothing")


def test_only_what_changed_is_read_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = unfinished(run, "two")
    scanner = Scanner(run.parent)
    first = scanner.scan()
    with (two / "metrics.jsonl").open("a") as handle:
        handle.write('{"event": "epoch", "stage": "train", "epoch": 4, "losses": {"ranking": 0.5}, "seconds": 1}\n')
    second = scanner.scan()
    assert second[0] is first[0] and second[1] is not first[1]
    assert second[1].events is not None and second[1].events.epoch == 4


# ---- events -----------------------------------------------------------------------------------------------------


def epoch(number: int, stage: str = "train", **losses: float) -> str:
    event = {"event": "epoch", "stage": stage, "epoch": number, "losses": losses or {"a": 1.0}, "seconds": 2.0}
    return json.dumps(event) + "\n"


def judged(number: int, value: float) -> str:
    event = {"event": "valid", "stage": "train", "epoch": number, "metrics": {"ndcg@10": value}, "seconds": 1.0}
    return json.dumps(event) + "\n"


def test_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    events = Events(path, "valid", "ndcg@10").refresh()
    assert events.epoch is None
    line = epoch(1)
    path.write_text(epoch(0) + line[:20])
    events = events.refresh()
    assert (events.epoch, events.skipped) == (0, 0)
    path.write_text(epoch(0) + line + judged(1, 0.5))
    events = events.refresh()
    assert (events.epoch, events.best, events.best_epoch, events.pace) == (1, 0.5, 1, 2.5)
    assert events.refresh() is events and events.seconds == 5.0


def test_a_file_that_was_cut_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(epoch(0) + judged(0, 0.9) + epoch(1) + judged(1, 0.1))
    events = Events(path, "valid", "ndcg@10").refresh()
    assert events.best == 0.9
    path.write_text(epoch(0) + judged(0, 0.2))
    events = events.refresh()
    assert (events.epoch, events.best, events.judged) == (0, 0.2, [(0, 0.2)])
    path.write_text(epoch(0) + judged(0, 0.2) + epoch(1) + judged(1, 0.3) + epoch(2))
    assert events.refresh().judged == [(0, 0.2), (1, 0.3)]


def test_lines_that_are_no_events_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(epoch(0) + "\x00\x00\n[]\nnull\n{}\n" + '{"event": "other"}\n' + judged(0, 0.4))
    events = Events(path, "valid", "ndcg@10").refresh()
    assert (events.epoch, events.best, events.skipped) == (0, 0.4, 4)


def test_stages_count_on_and_their_times_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(epoch(0, "pretrain") + epoch(1, "pretrain") + epoch(0) + judged(0, 0.4))
    events = Events(path, "valid", "ndcg@10").refresh()
    assert (events.stage, events.epoch, events.epochs, events.pace) == ("train", 0, 3, 3.0)
    assert [place for place, _ in events.lost] == [0, 1, 2] and events.judged == [(2, 0.4)]


def test_a_thinned_curve_keeps_its_ends_and_its_top() -> None:
    curve = [(place, 1.0 if place == 617 else 0.0) for place in range(1000)]
    thin = thinned(curve, 50)
    assert len(thin) <= 50 and thin[0] == curve[0] and thin[-1] == curve[-1] and (617, 1.0) in thin
    assert thinned(curve[:50], 50) == curve[:50]


# ---- the board's figures ----------------------------------------------------------------------------------------


def test_seeds_fold_and_settings_tell_apart(factors: Configure, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    for dim in (2, 4):
        for seed in (2, 1):
            config = factors(f"model.embedding_dim={dim}", f"run.seed={seed}", "train.epochs=1")
            Run.create(config, root / f"{dim}-{seed}").execute()
    Run.create(factors("eval.hide=train", "train.epochs=1"), root / "other").execute()
    content = board(list(scan(root).values()), root, nowhere)
    (table,) = content["tables"]
    groups = {tuple(run["path"] for run in group["runs"]): group for group in content["groups"].values()}
    assert sorted(groups) == [("2-1", "2-2"), ("4-1", "4-2"), ("other",)]
    assert groups["2-1", "2-2"]["options"]["model.embedding_dim"] == 2 and not groups["2-1", "2-2"]["other"]
    assert groups["other",]["other"] == ["eval.hide"]
    assert table["keys"] == ["model.embedding_dim", "eval.hide"]
    assert groups["4-1", "4-2"]["values"] == [4, "train+valid"]
    place = table["metrics"].index("ndcg@10")
    result = json.loads((root / "4-1" / "result.json").read_text())
    assert groups["4-1", "4-2"]["runs"][0]["test"][place] == pytest.approx(result["metrics"]["ndcg@10"], rel=1e-4)


def test_curves_are_of_readable_runs(run: Path) -> None:
    unfinished(run, "two")
    (Path(shutil.copytree(run, run.with_name("three"))) / "config.toml").write_text("[")
    (run / "metrics.jsonl").unlink()
    drawn = curves(list(scan(run.parent).values()), run.parent)
    assert drawn["one"] == {"judged": [], "lost": []} and sorted(drawn) == ["one", "two"]
    assert [place for place, _ in drawn["two"]["judged"]] == [0, 1, 2, 3]


def test_a_name_that_is_no_text_is_shown_all_the_same(run: Path) -> None:
    odd = run.with_name(os.fsdecode(b"odd-\xff"))
    try:
        shutil.copytree(run, odd)
    except OSError:
        pytest.skip("this file system wants names that are text")
    content = board(Scanner(run.parent).scan(), run.parent, lambda seen: seen.place(run.parent))
    text = json.dumps(content, ensure_ascii=False).encode("utf-8")
    assert b'"odd-?"' in text


def test_what_is_not_a_number_is_no_figure(run: Path) -> None:
    copy = unfinished(run, "two")
    (copy / "metrics.jsonl").write_text(epoch(0, a=float("nan")) + judged(0, float("nan")))
    content = board([scan(run.parent)["two"]], run.parent, nowhere)
    assert json.dumps(content, allow_nan=False)
    assert next(iter(content["groups"].values()))["runs"][0]["best"] is None
