"""Take one training step by the code of gSASRec's authors and by ours: the same loss, and how far gradients differ.

Usage: python tools/authors_step_gsasrec.py gSASRec-pytorch --dataset seq/toys

Both get the same weights, with a standard deviation of 0.3, the same histories and negatives, and no dropout.  Our map
behind the attention, which theirs lacks, changes nothing here.  Their loss is part of a script, and said again by its
formula.  Prints the loss as theirs and ours have it, and the greatest relative distance of a gradient.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

import torch
from authors_step import DIM, LENGTH, ROWS, STILL, fresh, padded, tell_apart
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS = 2
PARTS = {"wide": "dense1", "narrow": "dense2", "attention_norm": "first_norm", "feed_forward_norm": "second_norm"}
"""What a block of ours calls its parts, and what theirs does."""


def named_as_ours(theirs: dict[str, Tensor], rows: Tensor, mixed: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their weights under our names; ``rows`` holds the row of each item of ours, and ``mixed`` what they have not."""
    found = {
        "items.weight": theirs["item_embedding.weight"][rows],
        "looked_for.weight": theirs["output_embedding.weight"][rows[:-1]],
        "encoder.positions.weight": theirs["position_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        found[f"encoder.output_norm.{kind}"] = theirs[f"seq_norm.{kind}"]
        for number in range(BLOCKS):
            block, layer = f"encoder.blocks.{number}", f"transformer_blocks.{number}"
            three = [theirs[f"{layer}.multihead_attention.{name}_proj.{kind}"] for name in ("query", "key", "val")]
            found[f"{block}.projections.{kind}"] = torch.cat(three)
            found |= {f"{block}.{own}.{kind}": theirs[f"{layer}.{name}.{kind}"] for own, name in PARTS.items()}
    return found | mixed


def main() -> None:
    """Read the arguments, take both steps, print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--dataset", required=True)
    given = parser.parse_args()
    torch.manual_seed(0)
    run, model = fresh("gsasrec", given.dataset, [*STILL, "model.encoder.inner_dropout=0"])
    n_items, negatives = model.data.n_items, model.loss.config.negatives
    numbers = torch.tensor([*map(int, run.data.items.raw(range(n_items))), n_items + 1])

    sys.path.insert(0, str(given.source))
    network = import_module("gsasrec").GSASRec(n_items, LENGTH, DIM, model.encoder.config.heads, BLOCKS, 0.0)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.3)
    for part in network.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = model.encoder.output_norm.eps
    maps = {name: weight for name, weight in model.named_parameters() if ".mixed." in name}
    same = {name: torch.eye(DIM) if name.endswith("weight") else torch.zeros(DIM) for name in maps}
    model.load_state_dict(named_as_ours(network.state_dict(), numbers, same))

    users, stops = model.data.asked_in_training("all")
    some = torch.randperm(len(users))[:ROWS]
    batch = model.data.batch(users[some], stops[some], "all")
    torch.manual_seed(1)
    drawn = torch.randint(n_items, (len(batch.targets), negatives))
    torch.manual_seed(1)
    found = model.losses(batch)

    lengths = batch.histories.lengths.tolist()
    rows = padded([row.tolist() for row in torch.split(numbers[batch.histories.items], lengths)])
    rows[rows == 0] = n_items + 1
    vectors, _ = network(rows)
    asked = torch.cat([batch.targets[:, None], drawn], dim=1)
    logits = (network.output_embedding(numbers[asked]) @ vectors[rows <= n_items][:, :, None]).squeeze(2).double()
    share = negatives / (n_items - 1)
    beta = share * ((1 - 1 / share) * model.loss.config.calibration + 1 / share)
    chance = logits[:, :1].sigmoid().clamp(1e-10, 1 - 1e-10)
    tempered = (1 / (chance.pow(-beta) - 1)).log()
    wanted = torch.zeros_like(logits).index_fill(1, torch.tensor([0]), 1)
    theirs = {"next": F.binary_cross_entropy_with_logits(torch.cat([tempered, logits[:, 1:]], dim=1), wanted).float()}

    def with_ours(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return named_as_ours(weights, numbers, {name: weight.grad for name, weight in maps.items()})

    tell_apart(model, found, network, theirs, with_ours)


if __name__ == "__main__":
    main()
