"""The plugin that offers the toy worlds; the contracts add it while they run, so that no list ever shows it."""

from __future__ import annotations

from sslrec_core.hooks import Offer, hookimpl


@hookimpl
def sslrec_datasets() -> Offer:
    """The worlds, for every scenario."""
    return {"checkerboard": "sslrec_core.testing.worlds:Checkerboard"}


@hookimpl
def sslrec_scenarios() -> Offer:
    """A scenario that is there where only the core is."""
    return {"plain": "sslrec_core.testing.worlds:Plain"}
