"""The contract of models, and what is each model's own."""

from __future__ import annotations

from sslrec_core.testing import ModelContract


class TestCRGCN(ModelContract):
    model = "mbehavior/crgcn"
    world = "mbehavior/checkerboard"
    settings = ("train.batch_size=32",)


class TestCML(ModelContract):
    model = "mbehavior/cml"
    world = "mbehavior/checkerboard"
    settings = (
        "train.batch_size=256", "optim.learning_rate=0.05", "model.embedding_dim=8", "model.encoder.layers=2",
        "model.contrast_share=0.5", "model.contrast_block=1",
    )  # fmt: skip
    epochs = 15


class TestMBGMN(ModelContract):
    """A network for each pair needs more pairs than two training items of each user to learn from other behaviours."""

    model = "mbehavior/mbgmn"
    world = "mbehavior/checkerboard"
    settings = (
        "train.batch_size=16", "train.negatives=4", "optim.learning_rate=0.01", "optim.decay=1.0",
        "model.draws=16", "model.rank=2", "model.embedding_dim=16", "model.scale=0.003", "model.l2=0.003",
    )  # fmt: skip
    side_information = False


class TestMBGMNDot(ModelContract):
    model = "mbehavior/mbgmn"
    world = "mbehavior/checkerboard"
    settings = ("train.batch_size=16", "optim.decay=1.0", "model.draws=8", "model.predictor=dot")


class TestAnyItemKNN(ModelContract):
    model = "mbehavior/any-itemknn"
    world = "mbehavior/checkerboard"


class TestSeenNotBought(ModelContract):
    model = "mbehavior/seen-not-bought"
    world = "mbehavior/checkerboard"
    personal = False
