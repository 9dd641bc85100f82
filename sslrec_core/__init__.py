"""Self-supervised learning for recommendation: the core that plugins build on."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sslrec_core.hooks import API, hookimpl

if TYPE_CHECKING:
    from sslrec_core.comparing.table import compare
    from sslrec_core.experiments import board, export, open_run, report, run, sweep, tune

    __version__: str

__all__ = [
    "API", "__version__", "board", "compare", "export", "hookimpl", "open_run", "report", "run", "sweep", "tune",
]  # fmt: skip

_HOMES = {
    "compare": "comparing.table",
    **dict.fromkeys(("board", "export", "open_run", "report", "run", "sweep", "tune"), "experiments"),
}
"""Where each function for use from Python lives; it is imported when it is asked for, because torch takes a second."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"sslrec_core.{_HOMES[name]}"), name)
    if name == "__version__":
        # Read on demand: importing the metadata machinery is most of the price of `sslrec --help`.
        from importlib.metadata import version

        return version("sslrec-core")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
