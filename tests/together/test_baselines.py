"""The baselines keep the contract of a model, in the scenario of another distribution."""

from __future__ import annotations

from sslrec_core.testing import ModelContract


class TestPopularity(ModelContract):
    model = "popularity"
    world = "cf/checkerboard"
    personal = False
    side_information = False


class TestItemKNN(ModelContract):
    model = "itemknn"
    world = "cf/checkerboard"
    side_information = False


class TestRP3beta(ModelContract):
    model = "rp3beta"
    world = "cf/checkerboard"
    side_information = False


class TestEASE(ModelContract):
    model = "ease"
    world = "cf/checkerboard"
    settings = ("model.l2=1.0",)
    side_information = False
