"""One training epoch of LightGCN and SGL beside a plain implementation, in the same run: seconds, memory, ratios.

The plain one is what the field's frameworks do: a COO product, the edge-dropped graph rebuilt each step, negatives from
a Python loop, a DataLoader that fetches pairs one by one, Adam as it comes, similarities to all nodes as one matrix.
Each part runs in a process of its own, so that peak memory is its own.  Needs ``SSLREC_DATA`` (or ``--data-dir``)
with ``cf/sparse_yelp``.

    python benchmarks/epoch.py --data-dir DATA
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

DIM, LAYERS, BATCH, DROP, TEMPERATURE = 32, 2, 4096, 0.5, 0.5
SETTINGS = (
    f"model.embedding_dim={DIM}",
    f"train.batch_size={BATCH}",
    f"model.encoder.layers={LAYERS}",
)
MODELS = {
    "lightgcn": (f"model.augmenter={{name='edge-drop', rate={DROP}}}",),
    "sgl": (f"model.augmenter={{name='edge-drop', rate={DROP}}}", "model.views='step'", "model.negatives='all'"),
}


def main() -> None:
    """Time every part in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("SSLREC_DATA"), help="default: SSLREC_DATA")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each LightGCN, after one to warm up")
    parser.add_argument("--steps", type=int, default=8, help="steps timed of each SGL, after two to warm up")
    parser.add_argument("--part", help="internal: run one part and print its figures as JSON")
    given = parser.parse_args()
    if given.data_dir is None:
        parser.error("name the data with --data-dir or SSLREC_DATA")
    if given.part:
        kind, name = given.part.split(":")
        seconds = PARTS[kind](name, Path(given.data_dir), given.epochs, given.steps)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"seconds": seconds, "memory": memory}))
        return
    print(f"sparse_yelp, d={DIM}, {LAYERS} layers, batch {BATCH}, edge drop {DROP}, {torch.get_num_threads()} threads")
    print(f"{'model':10}{'plain s':>10}{'ours s':>10}{'ratio':>8}{'plain GiB':>12}{'ours GiB':>10}")
    for name in MODELS:
        plain, ours = (measured(f"{kind}:{name}", given) for kind in ("plain", "ours"))
        ratio = plain["seconds"] / ours["seconds"]
        memory = f"{plain['memory']:12.2f}{ours['memory']:10.2f}"
        print(f"{name:10}{plain['seconds']:10.2f}{ours['seconds']:10.2f}{ratio:8.1f}{memory}", flush=True)


def measured(part: str, given: argparse.Namespace) -> dict[str, float]:
    """The figures of one part, from a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--data-dir", str(given.data_dir)]
    command += ["--epochs", str(given.epochs), "--steps", str(given.steps)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return figures


def timed(step: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


# ---- ours ---------------------------------------------------------------------------------------


def ours(name: str, root: Path, epochs: int, steps: int) -> float:
    """Median seconds of an epoch through the product's own loop, sampling included."""
    from sslrec_core.data import load_data
    from sslrec_core.loop import Loop
    from sslrec_core.memory import steady_memory
    from sslrec_core.settings import resolve

    config = resolve(f"cf/{name}", "cf/sparse_yelp", assignments=[*SETTINGS, *MODELS[name]]).config
    steady_memory()  # as a run does
    torch.manual_seed(0)
    data = load_data(config.data.build(), config.scenario.build(), name=config.data.name, root=root)
    model = config.model.build(data)
    loop = Loop(model, config.train, config.optim, torch.device("cpu"))

    def epoch() -> None:
        model.epoch(loop)
        loop.means()

    epoch()
    return statistics.median(timed(epoch) for _ in range(epochs))


# ---- plain --------------------------------------------------------------------------------------


class Pairs(Dataset[tuple[int, int, int]]):
    """Training pairs, each with a negative drawn before the epoch."""

    def __init__(self, pairs: list[tuple[int, int]], n_items: int) -> None:
        self.pairs, self.n_items = pairs, n_items
        self.known = set(pairs)
        self.draw()

    def draw(self) -> None:
        """One negative for each pair, tried until it is unknown."""
        self.negatives: list[int] = torch.randint(self.n_items, (len(self.pairs),)).tolist()
        for place, (user, _) in enumerate(self.pairs):
            while (user, self.negatives[place]) in self.known:
                self.negatives[place] = int(torch.randint(self.n_items, ()))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[int, int, int]:
        user, item = self.pairs[index]
        return user, item, self.negatives[index]


class Plain(nn.Module):
    """LightGCN or SGL as the papers' formulas are usually typed."""

    def __init__(self, name: str, users: Tensor, items: Tensor, n_users: int, n_items: int) -> None:
        super().__init__()
        self.name, self.sizes = name, [n_users, n_items]
        self.users, self.items = (nn.Parameter(nn.init.xavier_uniform_(torch.empty(n, DIM))) for n in self.sizes)
        edges = torch.stack([torch.cat([users, items + n_users]), torch.cat([items + n_users, users])])
        degree = torch.bincount(edges[0], minlength=n_users + n_items).float()
        values = (degree[edges[0]] * degree[edges[1]]).rsqrt()
        self.graph = torch.sparse_coo_tensor(edges, values, (n_users + n_items,) * 2).coalesce()

    def dropped(self) -> Tensor:
        """The graph without half of its edges, put together anew."""
        kept = torch.rand(self.graph._nnz()) >= DROP
        return torch.sparse_coo_tensor(self.graph.indices()[:, kept], self.graph.values()[kept], self.graph.shape)

    def encode(self, graph: Tensor) -> list[Tensor]:
        """Sum over the layers."""
        layers = [torch.cat([self.users, self.items])]
        for _ in range(LAYERS):
            layers.append(torch.sparse.mm(graph, layers[-1]))
        return list(torch.stack(layers).sum(0).split(self.sizes))

    def loss(self, batch: list[Tensor]) -> Tensor:
        """Ranking, contrast with everything for SGL, and the penalty on all parameters."""
        u, p, n = batch
        users, items = self.encode(self.dropped() if self.name == "lightgcn" else self.graph)
        total = F.softplus((users[u] * items[n]).sum(1) - (users[u] * items[p]).sum(1)).mean()
        if self.name == "sgl":
            one, other = self.encode(self.dropped()), self.encode(self.dropped())
            total = total + contrast(one[0][u], other[0][u], other[0])
            total = total + contrast(one[1][p], other[1][p], other[1]) + contrast(one[1][n], other[1][n], other[1])
        return total + 1e-8 * sum(parameter.square().sum() for parameter in self.parameters())


def contrast(anchors: Tensor, positives: Tensor, everything: Tensor) -> Tensor:
    """InfoNCE against all, as one matrix."""
    anchors, positives, everything = (F.normalize(x, dim=1) for x in (anchors, positives, everything))
    together = (anchors * positives).sum(1) / TEMPERATURE
    apart = (anchors @ everything.T / TEMPERATURE).exp().sum(1).log()
    return (apart - together).mean()


def plain(name: str, root: Path, epochs: int, steps: int) -> float:
    """Median seconds of a LightGCN epoch; of SGL, some steps and the sampling, as an epoch."""
    lists = [[int(x) for x in line.split()] for line in (root / "cf/sparse_yelp/train.txt").read_text().splitlines()]
    pairs = [(line[0], item) for line in lists for item in line[1:]]
    users, items = torch.tensor(pairs).T
    n_users, n_items = 42_712, 26_822
    data = Pairs(pairs, n_items)
    model = Plain(name, users, items, n_users, n_items)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loader = DataLoader(data, BATCH, shuffle=True)

    def step(batch: list[Tensor]) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(model.loss(batch))
        optimizer.step()

    def epoch() -> None:
        data.draw()
        for batch in loader:
            step(batch)

    if name == "lightgcn":
        epoch()
        return statistics.median(timed(epoch) for _ in range(epochs))
    sampling = timed(data.draw)
    batches: Iterator[list[Tensor]] = iter(loader)
    one = statistics.median([timed(lambda: step(next(batches))) for _ in range(steps + 2)][2:])
    return sampling + one * len(loader)


PARTS = {"ours": ours, "plain": plain}


if __name__ == "__main__":
    main()
