"""Losses that are compiled: the real compiler where there is one, and what is said where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sslrec_core.errors import ConfigError
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig

Configure = Callable[..., RunConfig]
# Of torch's own modules, which the compiler imports.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@pytest.fixture(autouse=True)
def nothing_compiled_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    torch.compiler.reset()


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_losses_train_alike(factors: Configure, tmp_path: Path) -> None:
    # The last batch is smaller, so that sizes vary.
    plain, compiled = (
        Run.create(factors(f"train.compile={on}", "train.epochs=2"), tmp_path / on).execute()
        for on in ("false", "true")
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
