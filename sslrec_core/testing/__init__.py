"""Contracts that every component keeps, ours and third parties', as test classes to inherit.

A model's test file::

    from sslrec_core.testing import ModelContract

    class TestNoisy(ModelContract):
        model = "noisy"
        world = "plain/checkerboard"

Installing sslrec-core makes this a pytest plugin; it adds the markers ``gpu`` and ``slow`` and the fixture
``make_plugin``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslrec_core.testing.backend import BackendContract
    from sslrec_core.testing.components import ComponentContract
    from sslrec_core.testing.distributions import PluginContract
    from sslrec_core.testing.models import ModelContract
    from sslrec_core.testing.scenarios import ScenarioContract

__all__ = ["BackendContract", "ComponentContract", "ModelContract", "PluginContract", "ScenarioContract"]

_HOMES = {
    "BackendContract": "backend",
    "ComponentContract": "components",
    "ModelContract": "models",
    "PluginContract": "distributions",
    "ScenarioContract": "scenarios",
}


def __getattr__(name: str) -> Any:
    # Lazy: pytest imports this package at every start, and must not pay for torch.
    if name in _HOMES:
        return getattr(import_module(f"sslrec_core.testing.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
