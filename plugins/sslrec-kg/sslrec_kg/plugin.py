"""What sslrec-kg offers.  Import strings only: this module is read when names are listed."""

from __future__ import annotations

from sslrec_core import hookimpl
from sslrec_core.hooks import Offer


@hookimpl
def sslrec_scenarios() -> Offer:
    """The scenario that this package owns."""
    return {"kg": "sslrec_kg.data:KG"}


@hookimpl
def sslrec_datasets() -> Offer:
    """Named datasets with a knowledge graph."""
    return {
        "kg/alibaba-fashion": "sslrec_kg.datasets:AlibabaFashion",
        "kg/amazon-book": "sslrec_kg.datasets:AmazonBook",
        "kg/demo": "sslrec_kg.datasets:Demo",
        "kg/last-fm-dedup": "sslrec_kg.datasets:LastFMDedup",
        "kg/lastfm-music": "sslrec_kg.datasets:LastFMMusic",
    }


@hookimpl
def sslrec_models() -> Offer:
    """Recommenders that read a knowledge graph."""
    return {
        "kg/kgat": "sslrec_kg.models.kgat:KGAT",
        "kg/kgcl": "sslrec_kg.models.kgcl:KGCL",
        "kg/kgin": "sslrec_kg.models.kgin:KGIN",
    }


@hookimpl
def sslrec_encoders() -> Offer:
    """Encoders of knowledge graphs."""
    return {"neighbour-mix": "sslrec_kg.encoders:NeighbourMix", "rgat": "sslrec_kg.encoders:RGAT"}


@hookimpl
def sslrec_objectives() -> Offer:
    """Objectives over triples."""
    return {
        "independence": "sslrec_kg.objectives:Independence",
        "translation": "sslrec_kg.objectives:Translation",
    }


@hookimpl
def sslrec_evaluators() -> Offer:
    """Measures of what was learnt about the knowledge graph itself."""
    return {"link-prediction": "sslrec_kg.evaluators:LinkPrediction"}


@hookimpl
def sslrec_presets() -> str:
    """The package that holds the presets."""
    return "sslrec_kg.presets"
