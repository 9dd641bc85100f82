"""Take one training step by the code of a model's authors and by ours: the same losses, and how far gradients differ.

Usage: python tools/authors_step.py SRMA/src --model srma --dataset seq/toys
       python tools/authors_step.py ICLRec/src --model iclrec --dataset seq/toys \\
           --weights ICLRec/src/output/ICLRec-Toys_and_Games-1.pt

Both get the same weights (published ones, or as their code draws them), histories, views, negatives and intents, drop
the same layer, and have no other dropout.  The views are made by their augmentation.  Prints each loss as theirs and
ours have it, and the greatest relative distance of a gradient.
"""

from __future__ import annotations

import argparse
import random  # noqa: TID251 - their augmentation and their layer dropping draw from it
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TypeAlias

import torch
from authors_weights import ours
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.running import Run
from sslrec_core.settings import resolve
from sslrec_seq.histories import Histories

ROWS, LENGTH, INTENTS, DIM = 256, 50, 256, 64
ABSENT = ("gensim", "faiss", "tqdm")
"""What their modules import and a step does not use."""
STILL = ("model.encoder.dropout=0", "model.encoder.attention_dropout=0")


@dataclass(frozen=True)
class Step:
    """What a step is given, in their numbers of items: 0 is padding, and stands before a history."""

    rows: Tensor
    """Histories.  ``Long[rows, LENGTH]``"""
    targets: Tensor
    """The next item at each place.  ``Long[rows, LENGTH]``"""
    negatives: Tensor
    """``Long[rows, LENGTH]``"""
    views: list[Tensor]
    """Two of each history.  ``Long[rows, LENGTH]`` each"""
    intents: Tensor
    """``[INTENTS, DIM]``"""


Losses: TypeAlias = dict[str, Tensor]


def coserec(trainer: Any, step: Step) -> Losses:
    """The losses of CoSeRecTrainer.iteration."""
    vectors = trainer.model.transformer_encoder(step.rows)
    return {
        "next": trainer.cross_entropy(vectors, step.targets, step.negatives),
        "contrast": 0.1 * trainer._one_pair_contrastive_learning(step.views),
    }


def srma(trainer: Any, step: Step) -> Losses:
    """The losses of SRMATrainer.iteration, with --rec_model_aug."""
    vectors = trainer.model.transformer_encoder(step.rows, model_aug=True, isTrain=True)
    return {
        "next": trainer.cross_entropy(vectors, step.targets, step.negatives),
        "contrast": 0.1 * trainer._one_pair_contrastive_learning(step.views),
    }


def iclrec(trainer: Any, step: Step) -> Losses:
    """The losses of ICLRecTrainer.iteration."""
    vectors = trainer.model(step.rows)
    nearest = torch.cdist(vectors.mean(1).detach(), step.intents).argmin(1)
    own = F.normalize(step.intents, dim=1)[nearest]
    return {
        "next": trainer.cross_entropy(vectors, step.targets, step.negatives),
        "contrast": 0.1 * trainer._instance_cl_one_pair_contrastive_learning(step.views),
        "intent": 0.1 * trainer._pcl_one_pair_contrastive_learning(step.views, [own], [nearest]),
    }


@dataclass(frozen=True)
class Code:
    """Where a model is in its authors' code, and what ours is like it with."""

    losses: Callable[[Any, Step], Losses]
    trainer: str
    network: str = "SASRecModel"
    settings: tuple[str, ...] = ()


CODE = {
    "coserec": Code(coserec, "CoSeRecTrainer"),
    "iclrec": Code(iclrec, "ICLRecTrainer"),
    "srma": Code(
        srma,
        "SRMATrainer",
        "SASRecModelAugment",
        ("model.padding=true", "model.contrast.temperature=1", "model.layer_drop.dropout=0"),
    ),
}


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


def their_trainer(modules: SimpleNamespace, code: Code, n_items: int, weights: dict[str, Tensor] | None) -> Any:
    """Their trainer with their network, which has ``weights`` or draws them; nothing is read or written."""
    blocks = 2 if weights is None else sum(name.endswith("attention.query.bias") for name in weights)
    args = SimpleNamespace(
        item_size=n_items + 2, hidden_size=DIM, max_seq_length=LENGTH, num_hidden_layers=blocks, num_attention_heads=2,
        hidden_act="gelu", initializer_range=0.02, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        cuda_condition=False, de_noise=False, seq_representation_type="mean",
        seq_representation_instancecl_type="concatenate", model_augmentation=True, aug_layer_type="single",
        num_augmented_layers=2, layer_drop_num=1, layer_drop_thres=-1,
    )  # fmt: skip
    trainer_class = getattr(modules.trainers, code.trainer)
    trainer = trainer_class.__new__(trainer_class)
    trainer.args, trainer.device = args, torch.device("cpu")
    trainer.model = getattr(modules.models, code.network)(args)
    if weights is not None:
        trainer.model.load_state_dict(weights)
    trainer.cf_criterion = modules.modules.NCELoss(1.0, "cpu")
    if hasattr(modules.modules, "PCLoss"):
        trainer.pcl_criterion = modules.modules.PCLoss(1.0, "cpu")
    return trainer


def named_as_ours(theirs: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """:func:`authors_weights.ours`, and the layers that SRMA puts behind the encoder."""
    added = sum("augment_layers" in name and name.endswith("dense.bias") for name in theirs)
    names = {"wide": "dense", "norm": "LayerNorm"}
    return ours(theirs, rows) | {
        f"layer_drop.layers.{n}.{own}.{kind}": theirs[f"item_encoder.aug_layer.augment_layers.{n}.{name}.{kind}"]
        for n in range(added)
        for own, name in names.items()
        for kind in ("weight", "bias")
    }


def padded(rows: list[list[int]]) -> Tensor:
    """Rows of their item numbers, zeros before them.  ``Long[rows, LENGTH]``"""
    return torch.tensor([([0] * LENGTH + row)[-LENGTH:] for row in rows])


def fresh(model: str, dataset: str, assignments: Sequence[str]) -> tuple[Run, Any]:
    """A run of ours that has not begun, and its model, ready to learn; no file of it stays."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(resolve(model, dataset, assignments=assignments), Path(folder) / "run")
    return run, run.model.train()


def main() -> None:
    """Read the arguments, take both steps, print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--model", required=True, choices=CODE)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--weights", type=Path, help="a state dict of theirs; default: as their code draws them")
    given = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    code, modules = CODE[given.model], their_modules(given.source)
    run, model = fresh(given.model, given.dataset, [*STILL, *code.settings])
    published = torch.load(given.weights, map_location="cpu", weights_only=True) if given.weights else None
    trainer = their_trainer(modules, code, model.data.n_items, published)
    numbers = torch.tensor([*map(int, run.data.items.raw(range(len(run.data.items)))), 0])
    model.load_state_dict(named_as_ours(trainer.model.state_dict(), numbers), strict=False)

    users, stops = model.data.asked_in_training("all")
    some = torch.randperm(len(users))[:ROWS]
    batch = model.data.batch(users[some], stops[some], "all")
    lengths = batch.histories.lengths.tolist()
    rows = [row.tolist() for row in torch.split(numbers[batch.histories.items], lengths)]
    ways = [
        modules.data_augmentation.Crop(0.2),
        modules.data_augmentation.Mask(0.7),
        modules.data_augmentation.Reorder(0.2),
    ]
    views = [[random.choice(ways)(row) for row in rows] for _ in range(2)]
    negatives = torch.randint(model.data.n_items, (len(batch.targets), 1))
    intents = torch.randn(INTENTS, DIM)

    def at_places(values: Tensor) -> Tensor:
        flat = torch.zeros_like(batch.histories.items).index_copy(0, batch.at, values)
        return padded([row.tolist() for row in torch.split(flat, lengths)])

    targets, drawn = at_places(numbers[batch.targets]), at_places(numbers[negatives[:, 0]])
    step = Step(padded(rows), targets, drawn, [padded(view) for view in views], intents)
    vars(modules.modules)["random"] = SimpleNamespace(sample=lambda layers, n: [0])
    theirs = code.losses(trainer, step)

    own_number = {number: own for own, number in enumerate(numbers.tolist())}
    model.augmenter.pair = lambda _: tuple(
        Histories(
            torch.tensor([own_number[item] for row in view for item in row]), torch.tensor([*map(len, view)]), LENGTH
        )
        for view in views
    )
    # Frozen, since nothing but this comparison says what is drawn.
    object.__setattr__(model.data.interactions.parts["train"], "draw_absent", lambda owners, draws: negatives)
    if given.model == "iclrec":
        model.centroids = intents
    if given.model == "srma":
        model.layer_drop._kept = lambda histories: torch.tensor([False, True])
    tell_apart(model, model.losses(batch), trainer.model, theirs, lambda weights: named_as_ours(weights, numbers))


def tell_apart(
    model: nn.Module, found: Losses, network: nn.Module, theirs: Losses,
    as_ours: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> None:  # fmt: skip
    """Print the losses of both, and which gradient of ``model`` is furthest from theirs, as a share of its length."""
    for name, loss in theirs.items():
        print(f"{name:10} theirs {loss.item():.6f}  ours {found[name].item():.6f}")
    for losses in (found, theirs):
        total: Any = torch.stack([*losses.values()]).sum()
        total.backward()
    slopes = as_ours({name: _slope(weight) for name, weight in network.named_parameters()})
    own = {name: _slope(weight) for name, weight in model.named_parameters()}
    # What a step leaves alone, such as a dropped layer, has no gradient in either code.
    moved = [name for name in own if own[name].any() or slopes[name].any()]
    apart = {name: float((own[name] - slopes[name]).norm() / slopes[name].norm()) for name in moved}
    name = max(apart, key=apart.__getitem__)
    print(f"gradients  of {len(apart)} weights, at most {apart[name]:.1e} apart ({name})")


def _slope(weight: Tensor) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


if __name__ == "__main__":
    main()
