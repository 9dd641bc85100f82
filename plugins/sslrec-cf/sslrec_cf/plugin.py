"""What sslrec-cf offers.  Import strings only: this module is read when names are listed."""

from __future__ import annotations

from sslrec_core import hookimpl
from sslrec_core.hooks import Offer


@hookimpl
def sslrec_scenarios() -> Offer:
    """The scenario that this package owns."""
    return {"cf": "sslrec_cf.data:CF"}


@hookimpl
def sslrec_datasets() -> Offer:
    """Named datasets of interactions."""
    return {
        "cf/amazon-book-kgat": "sslrec_cf.datasets:AmazonBookKGAT",
        "cf/demo": "sslrec_cf.datasets:Demo",
        "cf/douban-book": "sslrec_cf.datasets:DoubanBook",
        "cf/douban-book-simgcl": "sslrec_cf.datasets:DoubanBookSimGCL",
        "cf/gowalla": "sslrec_cf.datasets:Gowalla",
        "cf/gte-beauty": "sslrec_cf.datasets:GTEBeauty",
        "cf/lastfm": "sslrec_cf.datasets:LastFM",
        "cf/lastfm-lightgcnpp": "sslrec_cf.datasets:LastFMLightGCNpp",
        "cf/ml-1m": "sslrec_cf.datasets:ML1M",
        "cf/ml-1m-rgcf": "sslrec_cf.datasets:ML1MRGCF",
        "cf/sparse_gowalla": "sslrec_cf.datasets:SparseGowalla",
        "cf/sparse_yelp": "sslrec_cf.datasets:SparseYelp",
        "cf/yelp2018": "sslrec_cf.datasets:Yelp2018",
    }


@hookimpl
def sslrec_models() -> Offer:
    """Recommenders that read interactions and nothing else."""
    return {
        "cf/lightgcn": "sslrec_cf.models.lightgcn:LightGCN",
        "cf/sgl": "sslrec_cf.models.sgl:SGL",
        "cf/xsimgcl": "sslrec_cf.models.xsimgcl:XSimGCL",
    }


@hookimpl
def sslrec_presets() -> str:
    """The package that holds the presets."""
    return "sslrec_cf.presets"
