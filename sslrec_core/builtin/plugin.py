"""What the core itself offers.  Import strings only: this module is read when components are listed."""

from __future__ import annotations

from sslrec_core.hooks import Offer, hookimpl


@hookimpl
def sslrec_datasets() -> Offer:
    return {"table": "sslrec_core.builtin.datasets:Table"}


@hookimpl
def sslrec_models() -> Offer:
    return {
        "ease": "sslrec_core.builtin.baselines:EASE",
        "itemknn": "sslrec_core.builtin.baselines:ItemKNN",
        "popularity": "sslrec_core.builtin.baselines:Popularity",
        "rp3beta": "sslrec_core.builtin.baselines:RP3beta",
    }


@hookimpl
def sslrec_encoders() -> Offer:
    return {"lightgcn": "sslrec_core.builtin.encoders:LightGCNEncoder"}


@hookimpl
def sslrec_augmenters() -> Offer:
    return {
        "edge-drop": "sslrec_core.builtin.augmenters:EdgeDrop",
        "embedding-noise": "sslrec_core.builtin.augmenters:EmbeddingNoise",
        "node-drop": "sslrec_core.builtin.augmenters:NodeDrop",
        "random-walk": "sslrec_core.builtin.augmenters:RandomWalk",
    }


@hookimpl
def sslrec_objectives() -> Offer:
    return {
        "alignment-uniformity": "sslrec_core.builtin.objectives:AlignmentUniformity",
        "bpr": "sslrec_core.builtin.objectives:BPR",
        "infonce": "sslrec_core.builtin.objectives:InfoNCE",
        "l2": "sslrec_core.builtin.objectives:L2",
    }


@hookimpl
def sslrec_evaluators() -> Offer:
    return {"full-ranking": "sslrec_core.builtin.evaluators:FullRanking"}


@hookimpl
def sslrec_callbacks() -> Offer:
    return {
        "ema": "sslrec_core.builtin.callbacks:Ema",
        "mlflow": "sslrec_core.builtin.tracking:MLflow",
        "profile": "sslrec_core.builtin.callbacks:Profile",
        "progress": "sslrec_core.builtin.callbacks:Progress",
        "tensorboard": "sslrec_core.builtin.tracking:TensorBoard",
        "time-limit": "sslrec_core.builtin.callbacks:TimeLimit",
        "wandb": "sslrec_core.builtin.tracking:WandB",
    }


@hookimpl
def sslrec_backends() -> Offer:
    return {"torch": "sslrec_core.graph:TorchBackend"}


@hookimpl
def sslrec_presets() -> str:
    return "sslrec_core.builtin.presets"
