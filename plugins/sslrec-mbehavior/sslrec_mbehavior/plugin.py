"""What sslrec-mbehavior offers.  Import strings only: this module is read when names are listed."""

from __future__ import annotations

from sslrec_core import hookimpl
from sslrec_core.hooks import Offer


@hookimpl
def sslrec_scenarios() -> Offer:
    """The scenario that this package owns."""
    return {"mbehavior": "sslrec_mbehavior.data:MultiBehavior"}


@hookimpl
def sslrec_datasets() -> Offer:
    """Named datasets of several behaviours, and a reader of own files."""
    return {
        "mbehavior/demo": "sslrec_mbehavior.datasets:Demo",
        "mbehavior/files": "sslrec_mbehavior.datasets:Files",
        "mbehavior/retail_rocket": "sslrec_mbehavior.datasets:RetailRocket",
        "mbehavior/tmall": "sslrec_mbehavior.datasets:Tmall",
    }


@hookimpl
def sslrec_models() -> Offer:
    """Recommenders that read several behaviours."""
    return {
        "mbehavior/any-itemknn": "sslrec_mbehavior.baselines:AnyItemKNN",
        "mbehavior/cml": "sslrec_mbehavior.models.cml:CML",
        "mbehavior/crgcn": "sslrec_mbehavior.models.crgcn:CRGCN",
        "mbehavior/mbgmn": "sslrec_mbehavior.models.mbgmn:MBGMN",
        "mbehavior/seen-not-bought": "sslrec_mbehavior.baselines:SeenNotBought",
    }


@hookimpl
def sslrec_presets() -> str:
    """The package that holds the presets."""
    return "sslrec_mbehavior.presets"
