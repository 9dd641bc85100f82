"""What sslrec-dgl offers.  Import strings only: this module is read when names are listed."""

from __future__ import annotations

from sslrec_core.hooks import Offer, hookimpl


@hookimpl
def sslrec_backends() -> Offer:
    """Kernels and samplers of DGL."""
    return {"dgl": "sslrec_dgl.backend:DGLBackend"}
