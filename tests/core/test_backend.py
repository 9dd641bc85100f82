"""The default backend keeps the contract of backends."""

from __future__ import annotations

import pytest

from sslrec_core.testing import BackendContract


class TestTorch(BackendContract):
    backend = "torch"


@pytest.mark.gpu
class TestTorchOnCUDA(BackendContract):
    backend = "torch"
    device = "cuda"
