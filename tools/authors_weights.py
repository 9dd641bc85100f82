"""Put weights that a model's authors published into ours, and evaluate: the same figures show the same model.

Usage: python tools/authors_weights.py FILE --model iclrec --dataset seq/toys

FILE is a state dict of the SASRecModel that the code of S3-Rec has and CoSeRec, ICLRec and others took over: item 0 is
padding, item n stands in row n.  Prints a row for docs/results/authors.md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from sslrec_core.running import Run
from sslrec_core.settings import resolve
from sslrec_seq.next_item import NextItem

METRICS = ("hit@5", "hit@10", "ndcg@5", "ndcg@10")
PARTS = {
    "mixed": "attention.dense",
    "attention_norm": "attention.LayerNorm",
    "wide": "intermediate.dense_1",
    "narrow": "intermediate.dense_2",
    "feed_forward_norm": "intermediate.LayerNorm",
}
"""What a block of ours calls its parts, and what theirs does."""


def ours(theirs: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Their weights under our names; ``rows`` holds the row of each item of ours, padding last.  ``Long[items + 1]``"""
    found = {
        "items.weight": theirs["item_embeddings.weight"][rows],
        "encoder.positions.weight": theirs["position_embeddings.weight"],
    }
    blocks = sum(name.endswith("attention.query.bias") for name in theirs)
    for kind in ("weight", "bias"):
        found[f"encoder.input_norm.{kind}"] = theirs[f"LayerNorm.{kind}"]
        for number in range(blocks):
            block, layer = f"encoder.blocks.{number}", f"item_encoder.layer.{number}"
            projections = [theirs[f"{layer}.attention.{name}.{kind}"] for name in ("query", "key", "value")]
            found[f"{block}.projections.{kind}"] = torch.cat(projections)
            found |= {f"{block}.{own}.{kind}": theirs[f"{layer}.{name}.{kind}"] for own, name in PARTS.items()}
    return found


def main() -> None:
    """Read the arguments, evaluate on both parts, print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    given = parser.parse_args()
    resolved = resolve(given.model, given.dataset, assignments=["eval.at=[5,10,20]"])
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(resolved, Path(folder) / "run")
        model = run.model
        if not isinstance(model, NextItem):
            parser.error(f"{given.model} has no encoder of histories; name a sequential model, such as sasrec")
        theirs = torch.load(given.file, map_location="cpu", weights_only=True)
        rows = torch.tensor([*map(int, run.data.items.raw(range(len(run.data.items)))), 0])
        weights = ours(theirs, rows)
        has, wants = ({name: x.shape for name, x in tensors} for tensors in (weights.items(), model.named_parameters()))
        if wants != has:
            differ = sorted({name for name, _ in wants.items() ^ has.items()})
            parser.error(f"{given.file.name} holds other weights than {given.model} on {given.dataset}: {differ[0]}")
        # Not strict: what is no parameter, such as the centres that ICLRec looks for in each epoch, stays as it is.
        model.load_state_dict(weights, strict=False)
        for split in ("valid", "test"):
            metrics = run.evaluate(split)
            figures = " | ".join(f"{metrics[name]:.4f}" for name in METRICS)
            print(f"| {given.file.name} | {given.dataset} | {split} | {figures} |")


if __name__ == "__main__":
    main()
