"""Exports: read back without sslrec they say what the model says, and nothing of a failed one is left."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from sslrec_core.cli import main
from sslrec_core.errors import ConfigError, StorageError
from sslrec_core.exporting.embeddings import export_embeddings
from sslrec_core.exporting.folder import new_folder
from sslrec_core.exporting.recommendations import export_recommendations
from sslrec_core.model import Towers
from sslrec_core.recommending import askable
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig

Configure = Callable[..., RunConfig]


@pytest.fixture
def run(factors: Configure, tmp_path: Path) -> Run:
    Run.create(factors("data.size=400", "data.known=20", "train.epochs=2"), tmp_path / "run").execute()
    return Run.open(tmp_path / "run")


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file may grow beyond ``room`` bytes: the system refuses to write more, as a full disk does."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def scores(run: Run, users: torch.Tensor) -> torch.Tensor:
    (queries,) = run.data.queries("test", 10**6, users=users)
    with torch.no_grad():
        return run.model.eval().scorer()(queries)


# ---- vectors ------------------------------------------------------------------------------------


def test_the_dot_products_of_exported_vectors_are_the_scores(run: Run, tmp_path: Path) -> None:
    export_embeddings(run, tmp_path / "parquet")
    export_embeddings(run, tmp_path / "npz", "npz")
    users, items = (pl.read_parquet(tmp_path / "parquet" / f"{name}.parquet") for name in ("users", "items"))
    known = askable(run.data)
    assert users["user"].to_list() == known.tolist() and items["item"].to_list() == list(range(run.data.n_items))
    found = users["vector"].to_numpy() @ items["vector"].to_numpy().T
    np.testing.assert_allclose(found, scores(run, known).numpy(), atol=1e-5)
    plain = np.load(tmp_path / "npz" / "embeddings.npz")
    np.testing.assert_array_equal(plain["user_vectors"] @ plain["item_vectors"].T, found)
    assert plain["users"].tolist() == users["user"].to_list()
    about = json.loads((tmp_path / "parquet" / "export.json").read_text())
    assert (about["model"], about["dimensions"], about["run"]) == ("factors", 8, "run")


def test_a_model_without_vectors_says_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(run.model), "embeddings", lambda self: None)
    with pytest.raises(ConfigError, match="factors has no vectors"):
        export_embeddings(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- lists --------------------------------------------------------------------------------------


def test_exported_lists_are_those_that_are_recommended(run: Run, tmp_path: Path) -> None:
    export_recommendations(run, tmp_path / "out", 5)
    table = pl.read_parquet(tmp_path / "out" / "recommendations.parquet")
    assert table.columns == ["user", "rank", "item", "score"] and table["user"].n_unique() == len(askable(run.data))
    users = [str(user) for user in askable(run.data).tolist()]
    for user, ranked in run.recommend(users, 5).items():
        mine = table.filter(pl.col("user") == int(user))
        assert mine["rank"].to_list() == list(range(1, len(ranked) + 1))
        assert mine["item"].to_list() == [item for item, _ in ranked]
        assert mine["score"].to_list() == pytest.approx([score for _, score in ranked], abs=1e-6)


def test_lists_are_made_in_portions(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_recommendations(run, tmp_path / "whole", 5)
    monkeypatch.setattr("sslrec_core.recommending.AT_ONCE", 7)
    export_recommendations(run, tmp_path / "parts", 5)
    whole, parts = (pl.read_parquet(tmp_path / name / "recommendations.parquet") for name in ("whole", "parts"))
    assert whole.drop("score").equals(parts.drop("score"))


# ---- an index -----------------------------------------------------------------------------------


def test_an_index_finds_what_exact_search_finds(run: Run, tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    from sslrec_core.exporting.index import export_index

    found = export_index(run, tmp_path / "out", k=10, users=200, goal=0.99)
    assert found.recall >= 0.99 and found.users == 200 and min(found.milliseconds, found.exact_milliseconds) > 0
    index = faiss.read_index(str(tmp_path / "out" / "index.faiss"))
    assert faiss.downcast_index(index).hnsw.efSearch == found.effort["efSearch"], "it looks as far as was measured"
    users = askable(run.data)
    best = scores(run, users).topk(10).indices
    numbers = torch.from_numpy(index.search(run.model.embeddings().users[users].detach().numpy(), 10)[1])
    assert float((best[:, :, None] == numbers[:, None]).any(2).double().mean()) >= 0.98
    ids = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert ids["number"].to_list() == list(range(run.data.n_items)) and "item" in ids.columns
    assert json.loads((tmp_path / "out" / "export.json").read_text())["recall"] == round(found.recall, 6)


def test_an_index_that_falls_short_is_kept_and_told(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss")
    words = ["export", str(run.directory), "--to", "faiss", "--index", "PQ4x4", "--recall", "1", "-o", "out"]
    words[-1] = str(tmp_path / "out")
    with pytest.raises(SystemExit) as end:
        main(words)
    out = capsys.readouterr()
    assert end.value.code == 1 and "less than --recall 1" in out.err and "recall@20" in out.out
    assert (tmp_path / "out" / "index.faiss").is_file()


# ---- a program ----------------------------------------------------------------------------------


def test_a_model_of_users_has_no_program(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from sslrec_core.exporting.onnx import export_onnx

    with pytest.raises(ConfigError, match="factors has no form") as refused:
        export_onnx(run, tmp_path / "out")
    assert refused.value.fix == "--to embeddings" and not (tmp_path / "out").exists()


# ---- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["embeddings", "npz", "recommendations", "faiss"])
def test_a_full_disk_leaves_what_was_there(
    kind: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    export_recommendations(run, target, 5)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    if kind == "faiss":
        pytest.importorskip("faiss")
    form = ("--format", "npz") if kind == "npz" else ()
    words = ["export", str(run.directory), "--to", "embeddings" if form else kind, *form, "-k", "50"]
    with full_disk(2000), pytest.raises(SystemExit) as end:
        main([*words, "-o", str(target), "--force"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and f"cannot write {target} while exporting" in said and "free some space" in said
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_another_export_is_replaced_when_told_to_and_nothing_else_is(run: Run, tmp_path: Path) -> None:
    export_embeddings(run, tmp_path / "out")
    with pytest.raises(StorageError, match="exists already") as refused:
        export_embeddings(run, tmp_path / "out")
    assert refused.value.fix is not None and "--force" in refused.value.fix
    export_embeddings(run, tmp_path / "out", "npz", force=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"embeddings.npz", "export.json"}
    with pytest.raises(StorageError, match="is not an export"):
        export_embeddings(run, run.directory, force=True)
    assert (run.directory / "best.safetensors").is_file()


def test_an_export_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_vectors_that_are_no_numbers_are_not_exported(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = torch.full((400, 8), float("nan"))
    monkeypatch.setattr(type(run.model), "towers", lambda self: Towers(lambda queries: lost[queries.users], lost))
    with pytest.raises(Exception, match="not numbers"):
        export_embeddings(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "csv"), "there is no export 'csv'"),
        (("--to", "embeddings", "--format", "csv"), "there is no format 'csv'"),
        (("--to", "recommendations", "-k", "401"), "-k 401 is more than the catalogue has: 400 items"),
        (("--to", "faiss", "--index", "Tree"), "faiss cannot make an index 'Tree' of 400 items"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: tuple[str, ...], message: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    if "faiss" in words:
        pytest.importorskip("faiss")
    before = sorted(run.directory.iterdir())
    with pytest.raises(SystemExit) as end:
        main(["export", str(run.directory), *words])
    assert end.value.code == 2 and message in capsys.readouterr().err.splitlines()[0]
    assert sorted(run.directory.iterdir()) == before


def test_a_run_without_weights_is_refused(
    factors: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run.create(factors(), tmp_path / "begun")
    with pytest.raises(SystemExit) as end:
        main(["export", str(tmp_path / "begun"), "--to", "embeddings"])
    assert end.value.code == 2 and "there is no checkpoint" in capsys.readouterr().err


def test_the_command_writes_into_the_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("embeddings", "recommendations"):
        with pytest.raises(SystemExit) as end:
            main(["export", str(run.directory), "--to", kind])
        assert not end.value.code
        assert f"export {run.directory / kind}" in capsys.readouterr().out
        assert (run.directory / kind / "export.json").is_file()
