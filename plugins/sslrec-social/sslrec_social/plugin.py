"""What sslrec-social offers.  Import strings only: this module is read when names are listed."""

from __future__ import annotations

from sslrec_core import hookimpl
from sslrec_core.hooks import Offer


@hookimpl
def sslrec_scenarios() -> Offer:
    """The scenario that this package owns."""
    return {"social": "sslrec_social.data:Social"}


@hookimpl
def sslrec_datasets() -> Offer:
    """Named datasets with ties between users."""
    return {
        "social/ciao": "sslrec_social.datasets:Ciao",
        "social/demo": "sslrec_social.datasets:Demo",
        "social/dianping": "sslrec_social.datasets:Dianping",
        "social/douban-book": "sslrec_social.datasets:DoubanBook",
        "social/epinions": "sslrec_social.datasets:Epinions",
        "social/lastfm": "sslrec_social.datasets:LastFM",
        "social/yelp": "sslrec_social.datasets:Yelp",
    }


@hookimpl
def sslrec_models() -> Offer:
    """Recommenders that read ties between users."""
    return {
        "social/diffnet": "sslrec_social.models.diffnet:DiffNet",
        "social/dsl": "sslrec_social.models.dsl:DSL",
        "social/mhcn": "sslrec_social.models.mhcn:MHCN",
    }


@hookimpl
def sslrec_objectives() -> Offer:
    """Objectives of these models."""
    return {
        "hierarchical-infomax": "sslrec_social.objectives:HierarchicalInfomax",
        "self-augmented": "sslrec_social.objectives:SelfAugmented",
        "squared-error": "sslrec_social.objectives:SquaredError",
    }


@hookimpl
def sslrec_presets() -> str:
    """The package that holds the presets."""
    return "sslrec_social.presets"
