"""Take one training step by the code of DuoRec's authors and by ours: the same losses, and how far gradients differ.

Usage: python tools/authors_step_duorec.py DuoRec --dataset seq/toys

Both get the same weights, as their code draws them, the same histories and the same others with their targets, and have
no dropout.  There padding is one more item to predict; for this comparison it is left out.  Prints each loss as theirs
and ours have it, and the greatest relative distance of a gradient.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import torch
from authors_step import DIM, LENGTH, ROWS, STILL, fresh, tell_apart
from authors_weights import ours
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_seq.histories import Histories

SETTINGS: dict[str, Any] = {
    "ITEM_ID_FIELD": "item", "USER_ID_FIELD": "user", "NEG_PREFIX": "neg_", "LIST_SUFFIX": "_list",
    "ITEM_LIST_LENGTH_FIELD": "item_length", "MAX_ITEM_LIST_LENGTH": LENGTH, "n_layers": 2, "n_heads": 2,
    "hidden_size": DIM, "inner_size": 4 * DIM, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0,
    "hidden_act": "gelu", "layer_norm_eps": 1e-12, "initializer_range": 0.02, "loss_type": "CE", "lmd": 0.1,
    "lmd_sem": 0.1, "contrast": "us_x", "tau": 1.0, "sim": "dot", "train_batch_size": ROWS, "device": "cpu",
}  # fmt: skip
"""What their seq.yaml and DuoRec.yaml say, without dropout."""
AS_S3REC = {
    "item_embedding.": "item_embeddings.",
    "position_embedding.": "position_embeddings.",
    "trm_encoder": "item_encoder",
    "multi_head_attention": "attention",
    "feed_forward": "intermediate",
}
"""What their framework calls parts of the network that the code of S3-Rec has too, and what that does."""


class WithoutPadding(nn.Module):
    """Their loss among items alone, which begin behind padding."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """``[rows, items + 1], Long[rows]`` to a scalar."""
        return F.cross_entropy(logits[:, 1:], targets - 1)


def their_network(source: Path, n_items: int) -> Any:
    """Their network, without all that their framework imports beside it."""
    for name in ("recbole", "recbole.model", "recbole.model.sequential_recommender"):
        package = ModuleType(name)
        package.__path__ = [str(source.joinpath(*name.split(".")))]
        sys.modules[name] = package
    for name in ("recbole.utils", "recbole.utils.utils"):
        sys.modules[name] = MagicMock()
    module = import_module("recbole.model.sequential_recommender.duorec")
    return module.DuoRec(SETTINGS, SimpleNamespace(num=lambda field: n_items + 1))


def named_as_ours(theirs: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """:func:`authors_weights.ours` of what their framework has named."""

    def renamed(name: str) -> str:
        for their_name, known in AS_S3REC.items():
            name = name.replace(their_name, known)
        return name

    return ours({renamed(name): weight for name, weight in theirs.items()}, rows)


def main() -> None:
    """Read the arguments, take both steps, print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--dataset", required=True)
    given = parser.parse_args()
    torch.manual_seed(0)
    run, model = fresh("duorec", given.dataset, STILL)
    network = their_network(given.source, model.data.n_items)
    numbers = torch.tensor([*map(int, run.data.items.raw(range(len(run.data.items)))), 0])
    model.load_state_dict(named_as_ours(network.state_dict(), numbers), strict=False)

    users, stops = model.data.asked_in_training("prefix")
    some = torch.randperm(len(users))[:ROWS]
    batch = model.data.batch(users[some], stops[some], "prefix")
    others = model.same_target.draw(batch.stops)
    model.same_target.draw = lambda stops: others

    def padded(histories: Histories) -> Tensor:
        rows = torch.split(
            numbers[histories.grid(histories.items)] * histories.grid(torch.ones_like(histories.items)), 1
        )
        return F.pad(torch.cat(rows), (0, LENGTH - histories.longest))

    interaction = {
        network.ITEM_SEQ: padded(batch.histories), network.ITEM_SEQ_LEN: batch.histories.lengths,
        network.POS_ITEM_ID: numbers[batch.targets], "sem_aug": padded(others), "sem_aug_lengths": others.lengths,
    }  # fmt: skip
    network.loss_fct = WithoutPadding()
    network.ssl = "none"
    theirs = {"next": network.calculate_loss(interaction)}
    network.ssl = SETTINGS["contrast"]
    theirs["contrast"] = network.calculate_loss(interaction) - theirs["next"]
    tell_apart(model, model.losses(batch), network, theirs, lambda weights: named_as_ours(weights, numbers))


if __name__ == "__main__":
    main()
