"""A knob has one name, whichever component it belongs to; the conventions page lists the shared ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from sslrec_core.registry import KINDS, registry
from sslrec_core.settings import RunConfig

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conventions.md"
NAMES = {
    "embedding_dim": {"dim", "emb_dim", "emb_size", "embedding_size", "hidden_size", "latent_dim"},
    "layers": {"n_layers", "num_layers", "layer_num", "gnn_layers", "hops"},
    "dropout": {"drop_rate", "dropout_rate", "drop_prob"},
    "temperature": {"tau", "temp"},
    "weight": {"reg_weight", "loss_weight", "lambda_", "coefficient"},
    "learning_rate": {"lr", "step_size"},
    "batch_size": {"bs", "train_batch_size"},
    "epochs": {"n_epochs", "num_epochs", "max_epochs"},
    "negatives": {"n_negatives", "num_negatives", "neg_num"},
    "keep": {"keep_rate", "keep_prob", "keep_ratio"},
}
"""The field's own word for each knob, and other words for the same one that are not used here."""


def options(schema: type[BaseModel]) -> Iterator[str]:
    """Names of all options of a config and of the configs inside it."""
    for name, field in schema.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from options(field.annotation)


def in_use() -> dict[str, set[str]]:
    """Every option name, and the components that have it."""
    found: dict[str, set[str]] = {name: {"run"} for name in options(RunConfig)}
    for kind in KINDS:
        for entry in registry().entries(kind):
            if kind != "backend" and entry.plugin.startswith("sslrec-"):
                for name in options(entry.load().Config):
                    found.setdefault(name, set()).add(entry.full_name)
    return found


def test_no_knob_has_a_second_name() -> None:
    used = in_use()
    assert len(used) > 60
    wrong = {other: used[other] for others in NAMES.values() for other in others if other in used}
    assert not wrong


def test_the_page_lists_the_shared_names() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == set(NAMES)
    assert listed <= set(in_use())
