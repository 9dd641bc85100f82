"""Comparing: statistics beside independent ones, runs that belong together and runs that do not."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from sslrec_core.cli import main
from sslrec_core.comparing.runs import Record
from sslrec_core.comparing.statistics import bootstrap, holm, paired
from sslrec_core.comparing.table import as_csv, as_json, as_latex, compare
from sslrec_core.errors import CheckpointError, ConfigError, SslrecError
from sslrec_core.records import FINGERPRINT, INTERACTIONS, unlike
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig

Configure = Callable[..., RunConfig]

# ---- statistics ---------------------------------------------------------------------------------


def two(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    one = torch.rand(n, generator=generator, dtype=torch.float64)
    other = one + 0.1 * torch.randn(n, generator=generator, dtype=torch.float64) - 0.02
    return one.numpy(), other.numpy()


def test_the_t_test_is_that_of_the_textbook() -> None:
    one, other = two()
    found = paired(one, other)
    difference = one - other
    t = difference.mean() / (difference.std(ddof=1) / np.sqrt(len(one)))
    assert found.t_test == pytest.approx(2 * stats.t.sf(abs(t), len(one) - 1), rel=1e-9)
    assert found.difference == pytest.approx(one.mean() - other.mean())
    assert found.effect == pytest.approx(t / np.sqrt(len(one)))


def test_the_interval_is_the_bootstrap_s_of_scipy() -> None:
    one, other = two()
    low, high = bootstrap(one - other)
    wanted = stats.bootstrap((one - other,), np.mean, method="percentile", n_resamples=10_000, rng=1)
    width = wanted.confidence_interval.high - wanted.confidence_interval.low
    assert low == pytest.approx(wanted.confidence_interval.low, abs=0.05 * width)
    assert high == pytest.approx(wanted.confidence_interval.high, abs=0.05 * width)


def test_equal_values_differ_in_nothing() -> None:
    one, _ = two()
    found = paired(one, one.copy())
    assert (found.difference, found.effect, found.t_test, found.low, found.high) == (0, 0, 1, 0, 0)


def test_holm_s_correction_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


# ---- runs ---------------------------------------------------------------------------------------


@pytest.fixture
def runs(factors: Configure, tmp_path: Path) -> Path:
    """Two sizes of a model, two seeds each."""
    for dim in (2, 8):
        for seed in (1, 2):
            config = factors(f"model.embedding_dim={dim}", f"run.seed={seed}", "train.epochs=3")
            Run.create(config, tmp_path / "runs" / f"{dim}-{seed}").execute()
    return tmp_path / "runs"


def test_seeds_stand_together_and_the_best_comes_first(runs: Path) -> None:
    found = compare([f"{runs}/*"], metrics=["ndcg@10", "recall@10"])
    assert sorted(row.name for row in found.rows) == ["factors embedding_dim=2", "factors embedding_dim=8"]
    assert all(row.seeds == (1, 2) for row in found.rows)
    assert found.differences == {"model.embedding_dim": [int(row.name[-1]) for row in found.rows]}
    means = [row.cells["ndcg@10"].mean for row in found.rows]
    assert means[0] >= means[1]
    assert found.baseline == found.rows[0].name
    for row in found.rows:
        size = row.name[-1]
        values = [Record.read(runs / f"{size}-{seed}").result.metrics["ndcg@10"] for seed in (1, 2)]
        assert row.cells["ndcg@10"].mean == pytest.approx(np.mean(values))
        assert row.cells["ndcg@10"].spread == pytest.approx(np.std(values, ddof=1))
        assert row.memory is not None and row.memory > 0
    last = found.rows[1].cells["ndcg@10"]
    assert last.versus is not None and last.p is not None and last.p >= last.versus.t_test
    assert last.versus.difference == pytest.approx(means[1] - means[0], abs=1e-6)


def test_users_are_measured_once(runs: Path) -> None:
    first = compare([f"{runs}/*"])
    kept = sorted(runs.glob("*/users-test-*.safetensors"))
    assert len(kept) == 4
    for path in runs.glob("*/best.safetensors"):
        path.unlink()
    assert compare([f"{runs}/*"]) == first


def test_what_is_written_can_be_read(runs: Path) -> None:
    found = compare([f"{runs}/*"], baseline="=2")
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [row["group"] for row in rows] == [row.name for row in found.rows]
    assert json.loads(as_json(found))["baseline"] == "factors embedding_dim=2"
    latex = as_latex(found)
    assert r"factors embedding\_dim=2" in latex and latex.count(r"\textbf{") >= 1


def test_runs_on_other_data_or_by_another_protocol_are_refused(runs: Path, factors: Configure, tmp_path: Path) -> None:
    for name, setting, said in (
        ("smaller", "data.size=16", "data.size: 32 and 16"),
        ("on-test", "train.select_on=test", "train.select_on: 'valid' and 'test'"),
    ):
        Run.create(factors(setting, "train.epochs=1"), tmp_path / name).execute()
        with pytest.raises(ConfigError, match="cannot be compared") as refused:
            compare([str(runs / "2-1"), str(tmp_path / name)])
        assert said in refused.value.facts


def test_what_is_not_there_is_named(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="recal@10 is not measured on test") as refused:
        compare([f"{runs}/*"], metrics=["recal@10"])
    assert "recall@10" in refused.value.facts[0]
    with pytest.raises(ConfigError, match="0 groups are called 'best'"):
        compare([f"{runs}/*"], baseline="best")
    with pytest.raises(ConfigError, match="no run directory is called"):
        compare([str(tmp_path / "nothing*")])
    shutil.copytree(runs / "2-1", tmp_path / "half")
    (tmp_path / "half" / "result.json").unlink()
    with pytest.raises(CheckpointError, match="is not complete"):
        compare([str(tmp_path / "half")])
    (tmp_path / "half" / "config.toml").write_text("[model\n")
    with pytest.raises(SystemExit) as end:
        main(["compare", str(tmp_path / "half")])
    assert end.value.code == 2
    assert "cannot be read" in capsys.readouterr().err


def rewritten(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def without(beginning: str) -> Callable[[str], str]:
    return lambda text: "\n".join(line for line in text.splitlines() if not line.startswith(beginning))


def test_a_run_of_an_older_version_is_compared_where_that_is_sure(runs: Path) -> None:
    names = [str(runs / name) for name in ("2-1", "8-1")]
    whole = compare(names)
    rewritten(runs / "2-1" / "config.toml", without("negatives"))
    rewritten(runs / "2-1" / "result.json", lambda text: json.dumps(json.loads(text) | {"memory": None}))
    older = compare(names)
    assert [row.cells for row in older.rows] == [row.cells for row in whole.rows]
    rewritten(runs / "2-1" / "config.toml", without("hide"))
    with pytest.raises(ConfigError, match="cannot be compared") as refused:
        compare(names)
    assert refused.value.facts == ("eval.hide: nothing (another scenario or version made the run) and 'train+valid'",)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.toml", without("judge"), "cannot be read\n  it has no 'judge'"),
        ("config.toml", without("[model]"), "cannot be read"),
        ("result.json", lambda text: text[:30], "cannot be read"),
        ("result.json", lambda text: "{}", "cannot be read\n  it has no 'metrics'"),
        ("environment.json", lambda text: "", "cannot be read"),
        ("config.toml", lambda text: text.replace("break_at", "brake_at"), "brake_at: no such key, closest: break_at"),
        ("best.safetensors", lambda text: "half", "cannot be read as a checkpoint"),
    ],
)
def test_a_run_that_cannot_be_read_is_named(runs: Path, file: str, change: Callable[[str], str], message: str) -> None:
    broken = runs / "2-1" / file
    broken.write_text(change(broken.read_text(errors="replace")))
    with pytest.raises(SslrecError) as refused:
        compare([f"{runs}/*-1"])
    assert message in str(refused.value) and "2-1" in str(refused.value) and refused.value.exit_code == 2


def test_a_run_that_is_taken_away_while_it_is_read_is_named(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Record.read

    def take_away(directory: Path) -> Record:
        found = read(directory)
        shutil.rmtree(directory)
        return found

    monkeypatch.setattr(Record, "read", staticmethod(take_away))
    with pytest.raises(CheckpointError, match=r"-1 is not a run directory"):
        compare([str(runs / "2-1"), str(runs / "8-1")])


def test_kept_values_of_users_that_are_damaged_say_what_to_do(runs: Path) -> None:
    compare([f"{runs}/*-1"])
    (kept,) = (runs / "8-1").glob("users-*")
    kept.write_bytes(b"half")
    with pytest.raises(CheckpointError, match="remove it; it is made again"):
        compare([f"{runs}/*-1"])


def test_a_table_for_python(runs: Path) -> None:
    table = compare([f"{runs}/*"], metrics=["ndcg@10", "recall@10"]).to_polars()
    assert table["seeds"].to_list() == [2] * 4 and table["metric"].to_list() == ["ndcg@10", "recall@10"] * 2
    assert table["difference"].null_count() == 2, "the baseline's own"


def test_the_table_fits_a_terminal(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        main(["compare", f"{runs}/*"])
    assert not end.value.code
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "baseline" in out and "model.embedding_dim: " in out


def test_scenarios_are_compared_on_the_same_interactions() -> None:
    graph = {"scenario.name": "kg", "scenario.seed": 0, "scenario.inverse": True, FINGERPRINT: "a", INTERACTIONS: "x"}
    plain = {"scenario.name": "cf", "scenario.seed": 0, FINGERPRINT: "b", INTERACTIONS: "x"}
    assert unlike(graph, plain) == []
    assert unlike(graph, {**plain, "scenario.seed": 1}) == ["scenario.seed"]
    assert unlike(graph, {**plain, "eval.hide": "train"}) == ["eval.hide"]
    other = [FINGERPRINT, "scenario.inverse", "scenario.name"]
    assert unlike(graph, {**plain, INTERACTIONS: "y"}) == other
    # Runs of earlier versions noted no interactions: for them the whole data has to be the same.
    assert unlike({**graph, INTERACTIONS: None}, plain) == other
    assert unlike({**plain, INTERACTIONS: None}, plain) == []
