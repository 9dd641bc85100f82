"""Take one training step by the authors' code of ICLRec and by ours: the same losses, and how far gradients differ.

Usage: python tools/authors_step.py ICLRec/src ICLRec/src/output/ICLRec-Toys_and_Games-1.pt --dataset seq/toys

Both get the published weights, the same histories, views, negatives and intents, and no dropout.  The views are made by
their augmentation.  Prints each loss as theirs and ours have it, and the greatest relative distance of a gradient.
"""

from __future__ import annotations

import argparse
import random  # noqa: TID251 - their augmentation draws from it
import sys
import tempfile
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from authors_weights import ours
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.running import Run
from sslrec_core.settings import resolve
from sslrec_seq.histories import Histories

ROWS, LENGTH, INTENTS = 256, 50, 256
ABSENT = ("gensim", "faiss", "tqdm")
"""What their modules import and a step does not use."""


def their_modules(source: Path) -> SimpleNamespace:
    """Their code, with empty modules in place of libraries that a step does not need."""
    for name in ABSENT:
        empty = ModuleType(name)
        empty.__spec__ = ModuleSpec(name, None)
        vars(empty)["tqdm"] = iter
        sys.modules.setdefault(name, empty)
    sys.path.insert(0, str(source))
    names = ("models", "modules", "trainers", "data_augmentation")
    return SimpleNamespace(**{name: import_module(name) for name in names})


def padded(rows: list[list[int]]) -> Tensor:
    """Rows of their item numbers, zeros before them.  ``Long[rows, LENGTH]``"""
    return torch.tensor([([0] * LENGTH + row)[-LENGTH:] for row in rows])


def main() -> None:
    """Read the arguments, take both steps, print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--dataset", required=True)
    given = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    still = ["model.encoder.dropout=0", "model.encoder.attention_dropout=0"]
    resolved = resolve("iclrec", given.dataset, assignments=still)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(resolved, Path(folder) / "run")
    model: Any = run.model.train()
    published = torch.load(given.file, map_location="cpu", weights_only=True)
    numbers = torch.tensor([*map(int, run.data.items.raw(range(len(run.data.items)))), 0])
    model.load_state_dict(ours(published, numbers), strict=False)

    users, stops = model.data.asked_in_training("all")
    some = torch.randperm(len(users))[:ROWS]
    batch = model.data.batch(users[some], stops[some], "all")
    histories = batch.histories
    rows = [row.tolist() for row in torch.split(numbers[histories.items], histories.lengths.tolist())]
    negatives = torch.randint(model.data.n_items, (len(batch.targets), 1))
    intents = torch.randn(INTENTS, model.config.embedding_dim)

    code = their_modules(given.source)
    augment = code.data_augmentation.Random()
    views = [[augment(row) for row in rows] for _ in range(2)]
    theirs = losses_of_theirs(code, published, rows, views, batch, numbers, negatives, intents)
    own_number = {number: own for own, number in enumerate(numbers.tolist())}
    model.augmenter.pair = lambda _: tuple(
        Histories(
            torch.tensor([own_number[item] for row in view for item in row]), torch.tensor([*map(len, view)]), LENGTH
        )
        for view in views
    )
    # Frozen, since nothing but this comparison says what is drawn.
    object.__setattr__(model.data.interactions.parts["train"], "draw_absent", lambda owners, draws: negatives)
    model.centroids = intents
    found = model.losses(batch)
    for name, loss in theirs["losses"].items():
        print(f"{name:10} theirs {loss.item():.6f}  ours {found[name].item():.6f}")
    sum(found.values()).backward()
    sum(theirs["losses"].values()).backward()
    network = theirs["network"]
    gradients = ours({name: weight.grad for name, weight in network.named_parameters()}, numbers)
    apart = {name: relative(weight.grad, gradients[name]) for name, weight in model.named_parameters()}
    furthest = max(apart, key=apart.__getitem__)
    print(f"gradients  at most {apart[furthest]:.1e} apart ({furthest})")


def losses_of_theirs(
    code: SimpleNamespace, published: dict[str, Tensor], rows: list[list[int]], views: list[list[list[int]]],
    batch: Any, numbers: Tensor, negatives: Tensor, intents: Tensor,
) -> dict[str, Any]:  # fmt: skip
    """Their network with the published weights, and its losses under the names of ours."""
    layers = sum(name.endswith("attention.query.bias") for name in published)
    args = SimpleNamespace(
        item_size=len(published["item_embeddings.weight"]), hidden_size=intents.shape[1], max_seq_length=LENGTH,
        num_hidden_layers=layers, num_attention_heads=2, hidden_act="gelu", initializer_range=0.02,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, cuda_condition=False, de_noise=False,
        seq_representation_type="mean", seq_representation_instancecl_type="concatenate",
    )  # fmt: skip
    network = code.models.SASRecModel(args)
    network.load_state_dict(published)
    trainer = code.trainers.ICLRecTrainer.__new__(code.trainers.ICLRecTrainer)
    trainer.args, trainer.model, trainer.device = args, network, torch.device("cpu")
    trainer.cf_criterion = code.modules.NCELoss(1.0, "cpu")
    trainer.pcl_criterion = code.modules.PCLoss(1.0, "cpu")

    def at_places(values: Tensor) -> Tensor:
        flat = torch.zeros_like(batch.histories.items).index_copy(0, batch.at, values)
        return padded([row.tolist() for row in torch.split(flat, batch.histories.lengths.tolist())])

    vectors = network(padded(rows))
    pair = [padded(view) for view in views]
    nearest = torch.cdist(vectors.mean(1).detach(), intents).argmin(1)
    targets, drawn = at_places(numbers[batch.targets]), at_places(numbers[negatives[:, 0]])
    own_intents = F.normalize(intents, dim=1)[nearest]
    losses = {
        "next": trainer.cross_entropy(vectors, targets, drawn),
        "contrast": 0.1 * trainer._instance_cl_one_pair_contrastive_learning(pair),
        "intent": 0.1 * trainer._pcl_one_pair_contrastive_learning(pair, [own_intents], [nearest]),
    }
    return {"network": network, "losses": losses}


def relative(x: Tensor, y: Tensor) -> float:
    """How far ``x`` is from ``y``, as a share of the length of ``y``."""
    return float((x - y).norm() / y.norm())


if __name__ == "__main__":
    main()
