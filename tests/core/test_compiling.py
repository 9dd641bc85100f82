"""Losses that are compiled: the real compiler where there is one, and what is said where there is none."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sslrec_core.compiling import compiling
from sslrec_core.errors import ConfigError
from sslrec_core.graph import SparseGraph, edge_dot, edge_softmax, propagate
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig

Configure = Callable[..., RunConfig]
CAN_COMPILE = shutil.which("g++") is not None and Path(sysconfig.get_path("include"), "Python.h").is_file()
# Of torch's own modules, which the compiler imports.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@pytest.fixture(autouse=True)
def nothing_compiled_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    torch.compiler.reset()


@pytest.mark.skipif(not CAN_COMPILE, reason="needs a C++ compiler and Python's headers")
def test_compiled_losses_train_alike(factors: Configure, tmp_path: Path) -> None:
    settings = ("train.batch_size=60", "train.epochs=2")  # the last batch is smaller, so that sizes vary
    plain, compiled = (
        Run.create(factors(f"train.compile={on}", *settings), tmp_path / on).execute() for on in ("false", "true")
    )
    assert compiled.metrics == pytest.approx(plain.metrics)


def test_no_compiler_is_an_error_that_names_the_option(
    factors: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch._inductor.config

    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, "no-such-compiler"))
    run = Run.create(factors("train.compile=true"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"train\.compile[\s\S]*No working C\+\+ compiler[\s\S]*train\.compile=false"):
        run.execute()


def test_kernels_of_graphs_can_be_compiled() -> None:
    def loss(x: Tensor, logits: Tensor) -> Tensor:
        attention = edge_softmax(graph, edge_dot(graph, x, x) + logits)
        return propagate(graph, graph.reweighted(attention) @ x, 2).square().sum()

    torch.manual_seed(0)
    target, source = torch.randint(12, (2, 40))
    graph = SparseGraph.of(target, source, shape=(12, 12))
    found = []
    for way in (loss, torch.compile(loss, backend="aot_eager", dynamic=True)):
        torch.manual_seed(1)
        x, logits = torch.randn(12, 4, requires_grad=True), torch.randn(40, requires_grad=True)
        with compiling():
            value = way(x, logits)
            found.append((value, *torch.autograd.grad(value, [x, logits])))
    torch.testing.assert_close(found[1], found[0])
