"""The pytest plugin: markers, the fixture ``make_plugin``, and readable failures of the contracts."""

from __future__ import annotations

import pytest

from sslrec_core.testing.plugins import make_plugin

__all__ = ["make_plugin"]

pytest.register_assert_rewrite(
    "sslrec_core.testing.backend",
    "sslrec_core.testing.components",
    "sslrec_core.testing.contract",
    "sslrec_core.testing.devices",
    "sslrec_core.testing.distributions",
    "sslrec_core.testing.models",
    "sslrec_core.testing.scenarios",
)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers of the contracts."""
    config.addinivalue_line("markers", "gpu: needs a CUDA device, and is skipped where there is none")
    config.addinivalue_line("markers", "slow: takes minutes; left out with -m 'not slow'")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a CUDA device where there is none."""
    wanting = [item for item in items if item.get_closest_marker("gpu") is not None]
    if not wanting:
        return
    import torch  # here, because importing it takes a second that most test sessions can do without

    if not torch.cuda.is_available():
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and torch finds none"))
