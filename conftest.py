"""Surroundings of all tests: one thread, a cache of their own, and no settings from the outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before torch is imported: several workers share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache for processed data that lives as long as the session; switches of plugins are off."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("SSLREC_CACHE", str(cache))
        for name in ("SSLREC_PLUGINS", "SSLREC_NO_PLUGINS"):
            patch.delenv(name, raising=False)
        yield cache
