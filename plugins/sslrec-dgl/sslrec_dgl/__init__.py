"""DGL for sslrec: a second graph backend, and graphs in DGL's own type."""

from __future__ import annotations

from sslrec_dgl.convert import to_dgl

__all__ = ["to_dgl"]
