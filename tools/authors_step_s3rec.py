"""Take one step of pretraining by the code of S3-Rec's authors and by ours: losses, and how far gradients differ.

Usage: python tools/authors_step_s3rec.py CIKM2020-S3Rec --dataset seq/toys \\
           --weights CIKM2020-S3Rec/reproduce/Toys_and_Games-epochs-150.pt

Both get the weights that were published, the same beginnings of sequences, hidden items, stretches and absent items,
and have no dropout.  Their attribute 0, which no item owns, is left out.  Prints each loss as theirs and ours have it,
and the greatest relative distance of a gradient.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from authors_step import DIM, LENGTH, ROWS, STILL, fresh, padded, tell_apart
from authors_weights import ours
from torch import Tensor

from sslrec_seq.histories import Histories

HEADS = {"aap": "aap_norm", "mip": "mip_norm", "map": "map_norm", "sp": "sp_norm"}
"""What each term is told through, there."""


def named_as_ours(theirs: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """:func:`authors_weights.ours`, with what only pretraining has."""
    heads = {
        f"heads.{term}.{kind}": theirs[f"{name}.{kind}"] for term, name in HEADS.items() for kind in ("weight", "bias")
    }
    return ours(theirs, rows) | heads | {"attributes.weight": theirs["attribute_embeddings.weight"]}


def main() -> None:
    """Read the arguments, take both steps, print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--weights", type=Path, required=True, help="a state dict that their pretraining wrote")
    given = parser.parse_args()
    torch.manual_seed(0)
    # A row has what is asked beside what comes before it, and theirs are of LENGTH with that.
    run, model = fresh("s3rec", given.dataset, [*STILL, f"scenario.max_length={LENGTH - 1}"])
    data, owned = model.data, model.data.attributes
    published = torch.load(given.weights, map_location="cpu", weights_only=True)
    published["attribute_embeddings.weight"] = published["attribute_embeddings.weight"][1:]
    mask = len(published["item_embeddings.weight"]) - 1
    numbers = torch.tensor([*map(int, run.data.items.raw(range(data.n_items))), mask])
    model.load_state_dict(named_as_ours(published, numbers))

    users, stops = data.asked_in_training("prefix")
    some = torch.randperm(len(users))[:ROWS]
    drawn: dict[str, Any] = {}
    both_ways, known = model.both_ways, data.interactions.parts["train"]
    draw_absent = known.draw_absent

    def watched(whole: Histories, seen: list[Tensor]) -> Any:
        drawn["whole"], drawn["seen"] = whole, seen
        return both_ways(whole, seen)

    def remembered(owners: Tensor, draws: int) -> Any:
        drawn["absent"] = draw_absent(owners, draws)
        return drawn["absent"]

    model.both_ways = watched
    # Frozen, since nothing but this comparison watches what is drawn.
    object.__setattr__(known, "draw_absent", remembered)
    found = model.pretraining_losses(data.batch(users[some], stops[some], "prefix"), data.training.items)

    whole = drawn["whole"]

    def there(items: Tensor) -> Tensor:
        return padded([row.tolist() for row in torch.split(numbers[items], whole.lengths.tolist())])

    masked, context, own, other = (there(items) for items in drawn["seen"])
    items, absent = there(whole.items), there(drawn["absent"][:, 0])
    table = torch.zeros(mask + 1, owned.n_columns)
    table[numbers[:-1].repeat_interleave(owned.pointers.diff()), owned.columns] = 1

    sys.path.insert(0, str(given.source))
    args = SimpleNamespace(
        item_size=mask + 1, mask_id=mask, attribute_size=owned.n_columns, hidden_size=DIM, max_seq_length=LENGTH,
        num_hidden_layers=2, num_attention_heads=2, hidden_act="gelu", initializer_range=0.02,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    network = import_module("models").S3RecModel(args)
    network.load_state_dict(published)
    sums = network.pretrain(table[items], masked, items, absent, context, own, other)
    config = model.config
    theirs = {
        name: getattr(config, f"{name}_weight") * value / ROWS
        for name, value in zip(("aap", "mip", "map", "sp"), sums, strict=True)
    }
    tell_apart(model, found, network, theirs, lambda weights: named_as_ours(weights, numbers))


if __name__ == "__main__":
    main()
