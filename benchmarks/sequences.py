"""Steps of sequence models beside a plain implementation and other frameworks, in one run: seconds, memory, ratios.

The plain one is what is usually typed: histories padded to the full length one at a time, attention with a mask, the
logits of every place as one tensor, augmentations in a Python loop.  Every model learns from the leave-one-out training
parts of ``seq/sports`` with vectors of 64 numbers, 2 layers, 2 heads, length 50, the same number of rows in a batch.
Each part runs in a process of its own, so that peak memory is its own.  An epoch is the mean of the steps timed times
the number of steps.  Needs ``SSLREC_DATA`` (or ``--data-dir``) with ``seq/sports``.

    python benchmarks/sequences.py --data-dir DATA
    python benchmarks/sequences.py --sslrec SSLRec --recbole RecBole --peers-python peers/bin/python

The second form also times clones of https://github.com/HKUDS/SSLRec and https://github.com/RUCAIBox/RecBole, with a
Python that has what they import.
"""

from __future__ import annotations

import argparse
import json
import os
import random  # noqa: TID251 - the plain implementation draws as is usual
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

DIM, LAYERS, HEADS, LENGTH, DROPOUT = 64, 2, 2, 50, 0.5
WARM = 2
"""Steps before the clock starts."""
TEMPERATURE, WEIGHT, MASKED = 1.0, 0.1, 0.2

COMMON = (
    f"model.embedding_dim={DIM}",
    "model.encoder.name=transformer",
    f"model.encoder.layers={LAYERS}",
    f"model.encoder.heads={HEADS}",
    f"model.encoder.dropout={DROPOUT}",
    f"model.encoder.attention_dropout={DROPOUT}",
    f"scenario.max_length={LENGTH}",
    "model.loss.name=softmax",
)
MODELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sasrec": ("sasrec", ("model.targets=all",)),
    "sasrec-prefix": ("sasrec", ("model.targets=prefix",)),
    "bert4rec": ("bert4rec", ()),
    "cl4srec": ("cl4srec", ("model.targets=prefix",)),
    "duorec": ("duorec", ("model.targets=prefix",)),
}
"""What is timed: our name of the model, and what differs from its preset beside COMMON.  ``-prefix``, CL4SRec and
DuoRec have one row for each beginning of a sequence, which predicts one item."""


def main() -> None:
    """Time every part in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("SSLREC_DATA"), help="default: SSLREC_DATA")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS), metavar="MODEL")
    parser.add_argument("--batch", type=int, default=256, help="rows of a batch")
    parser.add_argument("--steps", type=int, default=12, help=f"steps timed of each part, after {WARM} to warm up")
    parser.add_argument("--sslrec", type=Path, help="a clone of SSLRec to time beside")
    parser.add_argument("--recbole", type=Path, help="a clone of RecBole to time beside")
    parser.add_argument("--peers-python", default=sys.executable, help="an interpreter with what the clones import")
    parser.add_argument("--part", help="internal: run one part and print its figures as JSON")
    given = parser.parse_args()
    if given.data_dir is None:
        parser.error("name the data with --data-dir or SSLREC_DATA")
    if given.part:
        kind, name = given.part.split(":")
        steps, epoch = PARTS[kind](name, Path(given.data_dir), given.batch)
        print(json.dumps(timed(steps, epoch, given.steps)))
        return
    print(
        f"seq/sports, d={DIM}, {LAYERS} layers, length {LENGTH}, batch {given.batch}, {torch.get_num_threads()} threads"
    )
    print(f"{'model':15}{'of':9}{'steps':>7}{'ms/step':>9}{'s/epoch':>9}{'GiB':>7}{'slower':>8}{'memory':>8}")
    for name in given.models:
        ours = measured(f"ours:{name}", sys.executable, given)
        row(name, "ours", ours, ours)
        row("", "plain", measured(f"plain:{name}", sys.executable, given), ours)
        for peer in ("recbole", "sslrec"):
            clone = getattr(given, peer)
            if clone and name in PEERS[peer]:
                row("", peer, measured(f"{PEERS[peer][name]}", given.peers_python, given, peer, clone), ours)


def row(name: str, of: str, found: dict[str, float], ours: dict[str, float]) -> None:
    """One line of the table; the last two columns are ratios to ours."""
    ratio, memory = found["epoch"] / ours["epoch"], found["memory"] / ours["memory"]
    print(
        f"{name:15}{of:9}{found['steps']:7.0f}{found['step'] * 1e3:9.0f}{found['epoch']:9.1f}{found['memory']:7.2f}"
        f"{ratio:8.1f}{memory:8.1f}",
        flush=True,
    )


def measured(
    part: str, python: str, given: argparse.Namespace, peer: str = "", clone: Path | None = None
) -> dict[str, float]:
    """The figures of one part, from a process of its own."""
    data = ["--data-dir", str(given.data_dir), "--batch", str(given.batch), "--steps", str(given.steps)]
    if clone is None:
        command = [python, __file__, "--part", part, *data]
    else:
        command = [python, str(Path(__file__).with_name("sequence_peers.py")), peer, part, str(clone.resolve()), *data]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return figures


def timed(steps: Iterator[object], epoch: int, n: int) -> dict[str, float]:
    """Mean seconds of ``n`` steps, of an epoch of ``epoch`` such, and peak GiB; a step is done when it is yielded."""
    for _ in islice(steps, WARM):
        pass
    seconds = []
    for _ in range(n):
        began = time.perf_counter()
        next(steps)
        seconds.append(time.perf_counter() - began)
    mean = statistics.mean(seconds)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"step": mean, "steps": epoch, "epoch": mean * epoch, "memory": memory}


# ---- ours ---------------------------------------------------------------------------------------


def ours(name: str, root: Path, batch: int) -> tuple[Iterator[object], int]:
    """The product's own loop, sampling included, and the steps of an epoch."""
    from sslrec_core.data import load_data
    from sslrec_core.loop import Loop
    from sslrec_core.memory import steady_memory
    from sslrec_core.settings import resolve

    model_name, changes = MODELS[name]
    assignments = [*COMMON, *changes, f"train.batch_size={batch}"]
    config = resolve(f"seq/{model_name}", "seq/sports", assignments=assignments).config
    steady_memory()  # as a run does
    torch.manual_seed(0)
    data: Any = load_data(config.data.build(), config.scenario.build(), name=config.data.name, root=root)
    model: Any = config.model.build(data)
    rows = len(data.asked_in_training(config.model.config.targets)[0])
    loop = Loop(model, config.train, config.optim, torch.device("cpu"))

    def steps() -> Iterator[None]:
        while True:
            for one in loop.batches(model.training_batches(loop)):
                loop.minimise(model.losses(one))
                yield

    return steps(), -(-rows // batch)


# ---- plain --------------------------------------------------------------------------------------


class Padded(nn.Module):
    """A Transformer over histories padded at the front; item 0 is padding, the last one hides an item."""

    def __init__(self, n_items: int, causal: bool) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items + 2, DIM, padding_idx=0)
        self.positions = nn.Embedding(LENGTH, DIM)
        layer = nn.TransformerEncoderLayer(DIM, HEADS, 4 * DIM, DROPOUT, "gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.ahead = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1) if causal else None

    def forward(self, histories: Tensor) -> Tensor:
        """``Long[rows, length] -> [rows, length, dim]``"""
        x = self.items(histories) + self.positions.weight
        mask = (histories == 0)[:, None, :].expand(-1, LENGTH, -1)
        if self.ahead is not None:
            mask = mask | self.ahead
        # Padding may look at itself: a row of the attention with nothing in it is not a number.
        mask = mask & ~torch.eye(LENGTH, dtype=torch.bool)
        vectors: Tensor = self.layers(x, mask=mask.repeat_interleave(HEADS, 0))
        return vectors

    def logits(self, vectors: Tensor) -> Tensor:
        """``[..., dim] -> [..., items + 1]``"""
        return vectors @ self.items.weight[:-1].T


def padded(items: list[int]) -> list[int]:
    """The latest ``LENGTH`` of ``items``, zeros before them."""
    return [0] * (LENGTH - len(items)) + items[-LENGTH:]


def cropped(items: list[int]) -> list[int]:
    """A stretch of ``items``."""
    kept = max(1, int(0.6 * len(items)))
    start = random.randint(0, len(items) - kept)
    return items[start : start + kept]


def hidden(items: list[int], mask: int) -> list[int]:
    """``items`` with some hidden."""
    return [mask if random.random() < 0.3 else item for item in items]


def reordered(items: list[int]) -> list[int]:
    """``items`` with a stretch shuffled."""
    moved = int(0.6 * len(items))
    start = random.randint(0, len(items) - moved)
    stretch = items[start : start + moved]
    random.shuffle(stretch)
    return [*items[:start], *stretch, *items[start + moved :]]


def two_views(items: list[int], mask: int) -> list[list[int]]:
    """Two different augmentations."""
    changes: list[Callable[[], list[int]]] = [
        lambda: cropped(items), lambda: hidden(items, mask), lambda: reordered(items)
    ]  # fmt: skip
    return [change() for change in random.sample(changes, 2)]


def contrast(one: Tensor, other: Tensor) -> Tensor:
    """NT-Xent over both views of a batch."""
    both = torch.cat([one, other])
    similar = both @ both.T / TEMPERATURE
    similar.fill_diagonal_(-torch.inf)
    n = len(one)
    return WEIGHT * F.cross_entropy(similar, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]))


def plain(name: str, root: Path, batch: int) -> tuple[Iterator[object], int]:
    """The same model as it is usually typed."""
    sequences = training_sequences(root)
    n_items = max(max(items) for items in sequences)
    mask = n_items + 1
    model = Padded(n_items, causal=name != "bert4rec")
    if name in {"sasrec", "bert4rec"}:
        rows = [(items, 0) for items in sequences if len(items) > 1]
    else:
        rows = [(items[:stop], items[stop]) for items in sequences for stop in range(1, len(items))]
    same: dict[int, list[list[int]]] = {}
    for items, target in rows:
        same.setdefault(target, []).append(items)

    def all_places(drawn: Rows) -> Tensor:
        before = torch.tensor([padded(items[:-1]) for items, _ in drawn])
        after = torch.tensor([padded(items[1:]) for items, _ in drawn])
        return F.cross_entropy(model.logits(model(before)).flatten(0, 1), after.flatten(), ignore_index=0)

    def hidden_places(drawn: Rows) -> Tensor:
        whole = [padded(items) for items, _ in drawn]
        shown = [[mask if item and random.random() < MASKED else item for item in items] for items in whole]
        asked = [[o if s == mask else 0 for o, s in zip(*pair, strict=True)] for pair in zip(whole, shown, strict=True)]
        logits = model.logits(model(torch.tensor(shown)))
        return F.cross_entropy(logits.flatten(0, 1), torch.tensor(asked).flatten(), ignore_index=0)

    def last_place(drawn: Rows) -> Tensor:
        histories = torch.tensor([padded(items) for items, _ in drawn])
        targets = torch.tensor([target for _, target in drawn])
        loss = F.cross_entropy(model.logits(model(histories)[:, -1]), targets)
        if name == "cl4srec":
            views = list(zip(*(two_views(items, mask) for items, _ in drawn), strict=True))
        elif name == "duorec":
            views = [
                tuple(items for items, _ in drawn),
                tuple(random.choice(same[target]) for _, target in drawn),
            ]
        else:
            return loss
        one, other = (model(torch.tensor([padded(items) for items in view]))[:, -1] for view in views)
        return loss + contrast(one, other)

    loss = {"sasrec": all_places, "bert4rec": hidden_places}.get(name, last_place)
    loader: DataLoader[Any] = DataLoader(rows, batch, shuffle=True, collate_fn=list)  # type: ignore[arg-type]
    return learned(model, loader, loss), len(loader)


Rows = list[tuple[list[int], int]]


def learned(model: nn.Module, loader: Iterable[Any], loss: Callable[[Any], Tensor]) -> Iterator[None]:
    """Steps of Adam as it comes."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    model.train()
    while True:
        for batch in loader:
            optimizer.zero_grad()
            torch.autograd.backward(loss(batch))
            optimizer.step()
            yield


def training_sequences(root: Path) -> list[list[int]]:
    """Each user's items from 1 without the last two, which are for validation and test."""
    lines = (root / "seq/sports/sequences.txt").read_text().splitlines()
    return [[int(item) for item in line.split()[1:-2]] for line in lines]


PARTS = {"ours": ours, "plain": plain}
PEERS = {
    "recbole": {"sasrec-prefix": "SASRec", "bert4rec": "BERT4Rec"},
    "sslrec": {"bert4rec": "bert4rec", "cl4srec": "cl4srec", "duorec": "duorec"},
}
"""What the other frameworks call the models they have."""


if __name__ == "__main__":
    main()
