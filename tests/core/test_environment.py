"""What a run asks of the system around it."""

from __future__ import annotations

import os

import pytest

from sslrec_core.environment import steady_memory

KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


@pytest.mark.parametrize(("before", "after"), [(None, "16"), ("512", "512")])
def test_few_kernels_are_kept_unless_the_user_says_otherwise(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KERNELS, before or "")  # so that the old state comes back afterwards
    if before is None:
        monkeypatch.delenv(KERNELS)
    steady_memory()
    assert os.environ[KERNELS] == after
