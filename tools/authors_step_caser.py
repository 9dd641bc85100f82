"""Take one training step by the code of Caser's authors and by ours: the same loss, and how far gradients differ.

Usage: python tools/authors_step_caser.py caser_pytorch --dataset seq/toys

Both get the same weights, with a standard deviation of 0.15, the same windows, targets and negatives, and no dropout.
Padding, which learns there, is zero, as are their biases of vertical filters, since the next layer has some too.
Prints the loss as theirs and ours have it, and the greatest relative distance of a gradient.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import torch
from authors_step import DIM, ROWS, fresh, tell_apart
from torch import Tensor, nn

from sslrec_seq.models.caser import next_few


def named_as_ours(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their weights under our names, for items that are numbered alike after their padding."""
    vectors, down, output = (theirs[f"{name}.weight"] for name in ("item_embeddings", "conv_v", "fc1"))
    filters, window = down.shape[0], down.shape[2]
    vertical, horizontal = output[:, : filters * DIM], output[:, filters * DIM :]
    found = {
        "users.weight": theirs["user_embeddings.weight"],
        "items.weight": torch.cat([vectors[1:], torch.zeros_like(vectors[:1])]),
        "output.weight": theirs["W2.weight"][1:],
        "bias": theirs["b2.weight"][1:, 0],
        "encoder.along_dims.weight": down.view(filters, window),
        # There what filters find goes filter by filter to the next layer, and dimension by dimension here.
        "encoder.output.weight": torch.cat([horizontal, vertical.view(-1, filters, DIM).mT.flatten(1)], dim=1),
        "encoder.output.bias": theirs["fc1.bias"],
    }
    for number in range(window):
        found[f"encoder.along_time.{number}.weight"] = theirs[f"conv_h.{number}.weight"].flatten(1)
        found[f"encoder.along_time.{number}.bias"] = theirs[f"conv_h.{number}.bias"]
    return found


def main() -> None:
    """Read the arguments, take both steps, print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--dataset", required=True)
    given = parser.parse_args()
    torch.manual_seed(0)
    _, model = fresh("caser", given.dataset, ["model.encoder.dropout=0"])
    known, config = model.data.interactions.parts["train"], model.encoder.config

    sys.path.insert(0, str(given.source))
    args = SimpleNamespace(
        L=config.window, d=DIM, nh=config.horizontal, nv=config.vertical, drop=0.0, ac_conv="relu", ac_fc="relu"
    )
    network = import_module("caser").Caser(model.data.n_users, model.data.n_items + 1, args)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.15)
    nn.init.zeros_(network.item_embeddings.weight.data[0])
    nn.init.zeros_(network.conv_v.bias)
    model.load_state_dict(named_as_ours(network.state_dict()))

    users, stops = model.data.asked_in_training("all")
    some = torch.randperm(len(users))[:ROWS]
    batch = model.data.batch(users[some], stops[some], "all")
    asking, found, _ = next_few(batch, model.config.ahead)
    negatives = known.draw_absent(batch.owners[asking], model.loss.config.negatives)
    # Frozen, since nothing but this comparison says what is drawn.
    object.__setattr__(known, "draw_absent", lambda owners, draws: negatives)

    slots = batch.at[asking][:, None]
    ago = torch.arange(config.window - 1, -1, -1)
    items = batch.histories.items[(slots - ago).clamp(min=0)]
    windows = torch.where(batch.histories.places[slots] >= ago, 1 + items, 0)
    asked = 1 + torch.cat([batch.targets[found][:, None], negatives], dim=1)
    scores = network(windows, batch.owners[asking][:, None], asked)
    yes, no = scores[:, :1].sigmoid().log().mean(), (1 - scores[:, 1:].sigmoid()).log().mean()
    tell_apart(model, model.losses(batch), network, {"next": -yes - no}, named_as_ours)


if __name__ == "__main__":
    main()
