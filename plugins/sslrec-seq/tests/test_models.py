"""Every model keeps the contract."""

from __future__ import annotations

from sslrec_core.testing import ModelContract


class TestSASRec(ModelContract):
    model = "seq/sasrec"
    world = "seq/checkerboard"
    settings = ("model.embedding_dim=32", "model.encoder.dropout=0.1", "model.encoder.attention_dropout=0.1")
