"""The plugin that offers the toy worlds; the contracts add it while they run, so that no list ever shows it."""

from __future__ import annotations

from sslrec_core.hooks import Offer, hookimpl


@hookimpl
def sslrec_datasets() -> Offer:
    return {"checkerboard": "sslrec_core.testing.worlds:Checkerboard"}


@hookimpl
def sslrec_scenarios() -> Offer:
    return {"plain": "sslrec_core.testing.worlds:Plain"}
