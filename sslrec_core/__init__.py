"""Self-supervised learning for recommendation: the core that plugins build on."""

from __future__ import annotations

from typing import Any

from sslrec_core.hooks import API, hookimpl

__all__ = ["API", "__version__", "hookimpl"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Read on demand: importing the metadata machinery is most of the price of `sslrec --help`.
        from importlib.metadata import version

        return version("sslrec-core")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
