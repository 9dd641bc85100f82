"""Sequence models outside of sslrec: as programs of plain tensors, and for people who are not in the data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sslrec_core.cli import main
from sslrec_core.errors import ConfigError, SslrecError
from sslrec_core.evaluate import judging
from sslrec_core.exporting.embeddings import export_embeddings
from sslrec_core.model import Portable
from sslrec_core.recommending import Terms, for_newcomers, for_users
from sslrec_core.running import Run
from sslrec_core.testing.bench import Bench, separate_cache
from sslrec_core.testing.runs import finished_run
from sslrec_seq.histories import GridHistories, Histories

SMALL = ("train.epochs=1", "data.size=48")
MODELS = ("seq/sasrec", "seq/gru4rec", "seq/bert4rec", "seq/caser", "seq/cl4srec")
rows_of_items = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=6)


@pytest.fixture(scope="module", autouse=True)
def cache() -> Iterator[None]:
    with separate_cache():
        yield


def finished(model: str, folder: Path, *settings: str) -> Run:
    """A short run, away from where its parameters start."""
    run = finished_run(Bench.of(model, "seq/checkerboard", (*SMALL, *settings)), folder / model.replace("/", "-"))
    return Run.open(run.directory)


# ---- histories as a grid ------------------------------------------------------------------------


@given(rows_of_items, st.integers(0, 2))
def test_a_grid_answers_what_packed_rows_answer(rows: list[list[int]], spare: int) -> None:
    lengths = torch.tensor([len(row) for row in rows])
    packed = Histories(torch.tensor([item for row in rows for item in row]), lengths, int(lengths.max()) + spare)
    grid = GridHistories.of_grid(packed.grid(packed.items, 7), lengths)
    for one, other in ((packed, grid), (packed.appended(lengths), grid.appended(lengths))):
        used = other.used
        assert torch.equal(other.items[used], one.items)
        assert torch.equal(other.rows[used], one.rows) and torch.equal(other.places[used], one.places)
        assert torch.equal(other.items[other.last], one.items[one.last])
        assert torch.equal(other.grid(other.items, -1), one.grid(one.items, -1))
        assert torch.equal(other.grid_at_end(other.items, 9, -1), one.grid_at_end(one.items, 9, -1))
        assert torch.equal(other.packed(one.grid(one.items))[used], one.items)
        doubled = one.over_grids(one.items, lambda part, values: values * 2)
        assert torch.equal(other.over_grids(other.items, lambda part, values: values * 2)[used], doubled)
        padded = [each.padded(9, 10) for each in (one, other)]
        assert torch.equal(padded[0].items, padded[1].items)


# ---- programs -----------------------------------------------------------------------------------


@pytest.mark.timeout(400)  # the translation takes seconds for each, and several times that on a busy machine
@pytest.mark.parametrize("model", MODELS)
def test_a_program_scores_as_the_model(model: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from sslrec_core.exporting.onnx import export_onnx

    run = finished(model, tmp_path)
    said = export_onnx(run, tmp_path / "out")
    about = json.loads((tmp_path / "out" / "export.json").read_text())
    assert about["largest_difference"] <= 1e-4 and about["checked"] == 48 and "model.onnx" in said
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    # Written by hand from the facts beside the program, histories of other lengths than any that was tried.
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")["item"].to_list()
    told = [[3, 5, 7], [2], list(range(20))]
    grid = np.full((3, 23), 9)
    for row, history in enumerate(told):
        grid[row, : len(history)] = [items.index(item) for item in history]
    inputs = {"items": grid, "lengths": np.array([len(history) for history in told]), "users": np.array([1, 5, 9])}
    (found,) = session.run(None, {name: inputs[name] for name in about["inputs"] if name in inputs})
    met = torch.tensor([items.index(item) for history in told for item in history])
    histories = Histories.latest(met, torch.tensor(inputs["lengths"]), 50)
    with judging(run.model):
        asking = run.model.asking(histories, torch.tensor(inputs["users"]))
        wanted = run.model.compared(asking) @ run.model.compared(run.model.catalogue).T
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)


@pytest.mark.timeout(400)
def test_a_program_with_other_scores_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript")
    run = finished("seq/gru4rec", tmp_path)
    honest = type(run.model).portable

    class Other(torch.nn.Module):
        def forward(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return items.sum(1, keepdim=True) + lengths[:, None] + torch.zeros(run.data.n_items)

    def other(model: torch.nn.Module) -> Portable:
        found = honest(model)
        return Portable(Other(), found.inputs, found.axes, found.facts)

    monkeypatch.setattr(type(run.model), "portable", other)
    with pytest.raises(SystemExit) as end:
        main(["export", str(run.directory), "--to", "onnx", "-o", str(tmp_path / "out")])
    assert end.value.code == SslrecError.exit_code == 1
    assert "they differ by up to" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_vectors_of_histories_give_the_scores_too(tmp_path: Path) -> None:
    run = finished("seq/bert4rec", tmp_path)
    export_embeddings(run, tmp_path / "out")
    users, items = (pl.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in ("users", "items"))
    best = np.argmax(users["vector"].to_numpy() @ items["vector"].to_numpy().T, axis=1)
    everybody = torch.arange(run.data.n_users)
    lists = for_users(run, everybody, 1, Terms(again=True))
    assert items["item"].to_numpy()[best].tolist() == run.data.items.raw(lists.items[:, 0]).tolist()


# ---- newcomers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["seq/sasrec", "seq/gru4rec", "seq/bert4rec", "seq/markov", "seq/neighbours"])
def test_a_newcomer_with_a_user_s_history_gets_the_user_s_list(model: str, tmp_path: Path) -> None:
    run = finished(model, tmp_path)
    everybody = torch.arange(run.data.n_users)
    sequences = run.data.sequences
    asked = sequences.before(everybody, sequences.asked[1], 10**6)
    newcomers = for_newcomers(run, asked.items, asked.lengths, 5)
    users = for_users(run, everybody, 5)
    assert torch.equal(newcomers.items, users.items)
    torch.testing.assert_close(newcomers.scores, users.scores)


def test_order_matters_to_a_newcomer_s_list(tmp_path: Path) -> None:
    run = finished("seq/gru4rec", tmp_path)
    both = for_newcomers(run, torch.tensor([1, 2, 3, 3, 2, 1]), torch.tensor([3, 3]), 5)
    assert not torch.equal(both.scores[0], both.scores[1])


def test_a_personal_model_refuses_newcomers(tmp_path: Path) -> None:
    run = finished("seq/caser", tmp_path)
    with pytest.raises(ConfigError, match="seq/caser knows the users that it was trained on") as refused:
        for_newcomers(run, torch.tensor([1]), torch.tensor([1]), 5)
    assert "seq/sasrec" in refused.value.facts[0] and "seq/caser" not in refused.value.facts[0]
