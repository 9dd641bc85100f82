"""Full-ranking evaluation beside a plain implementation, in the same run: seconds, memory, ratio.

The plain one is what the field's frameworks do: a DataLoader that hands over a dense row of the training matrix for
each user, the model's forward pass for every batch, scores times mask, and a Python loop over each user's list.
Both rank the same LightGCN for the same test users with the same items hidden, and must agree on recall and ndcg.
Each runs in a process of its own, so that peak memory is its own.  Needs ``SSLREC_DATA`` (or ``--data-dir``) with
``cf/sparse_yelp``.

    python benchmarks/evaluation.py --data-dir DATA
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

DIM, LAYERS, KS, BATCH = 32, 2, (10, 20), 1024
N_USERS, N_ITEMS = 42_712, 26_822


def main() -> None:
    """Time both in processes of their own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("SSLREC_DATA"), help="default: SSLREC_DATA")
    parser.add_argument("--repeat", type=int, default=3, help="evaluations timed of each, after one of ours to warm up")
    parser.add_argument("--part", choices=["plain", "ours"], help="internal: one part, its figures as JSON")
    given = parser.parse_args()
    if given.data_dir is None:
        parser.error("name the data with --data-dir or SSLREC_DATA")
    if given.part:
        figures = PARTS[given.part](Path(given.data_dir), given.repeat)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({**figures, "memory": memory}))
        return
    print(f"sparse_yelp, test users, LightGCN d={DIM}, {LAYERS} layers, {torch.get_num_threads()} threads")
    plain, ours = (measured(part, given) for part in PARTS)
    for name in ("recall@20", "ndcg@20"):
        if not math.isclose(plain[name], ours[name], abs_tol=1e-5):
            raise SystemExit(f"the two disagree: {name} {plain[name]:.6f} and {ours[name]:.6f}")
    print(f"{'':10}{'seconds':>10}{'cpu s':>10}{'peak GiB':>10}")
    for part, figures in (("plain", plain), ("ours", ours)):
        print(f"{part:10}{figures['seconds']:10.2f}{figures['processor']:10.2f}{figures['memory']:10.2f}")
    ratios = (plain[name] / ours[name] for name in ("seconds", "processor", "memory"))
    print(f"{'ratio':10}" + "".join(f"{ratio:10.1f}" for ratio in ratios))


def measured(part: str, given: argparse.Namespace) -> dict[str, float]:
    """The figures of one part, from a process of its own."""
    command = [sys.executable, __file__, "--part", part]
    command += ["--data-dir", str(given.data_dir), "--repeat", str(given.repeat)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return figures


def timed(repeat: int, evaluate: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Median seconds of ``evaluate``, by the clock and of the processor, and what it answered."""
    seconds, processor = [], []
    for _ in range(repeat):
        began, worked = time.perf_counter(), time.process_time()
        answer = evaluate()
        seconds.append(time.perf_counter() - began)
        processor.append(time.process_time() - worked)
    return {"seconds": statistics.median(seconds), "processor": statistics.median(processor), **answer}


def tables() -> tuple[Tensor, Tensor]:
    """The embeddings before propagation: the same for both."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N_USERS, DIM, generator=generator), torch.randn(N_ITEMS, DIM, generator=generator)


# ---- ours ---------------------------------------------------------------------------------------


def ours(root: Path, repeat: int) -> dict[str, float]:
    """The product's evaluator with the metrics that the plain one has."""
    from sslrec_core.builtin.evaluators import FullRanking
    from sslrec_core.data import load_data
    from sslrec_core.model import Embeddings, Losses, Model
    from sslrec_core.settings import resolve

    class LightGCN(Model):
        """Mean of the layers of two fixed tables."""

        def losses(self, batch: Any) -> Losses:
            return {}

        def embeddings(self) -> Embeddings:
            x = total = torch.cat(tables())
            for _ in range(LAYERS):
                x = self.data.interactions.graph @ x
                total = total + x
            mean = total / (LAYERS + 1)
            return Embeddings(mean[:N_USERS], mean[N_USERS:])

    config = resolve("popularity", "cf/sparse_yelp").config
    data = load_data(config.data.build(), config.scenario.build(), name=config.data.name, root=root)
    model = LightGCN(LightGCN.Config(), data)
    accuracy: Any = ("recall", "ndcg", "precision", "mrr")
    evaluator = FullRanking(FullRanking.Config(metrics=accuracy, at=KS, hide="train"))
    evaluator.evaluate(model, data, "test")
    return timed(repeat, lambda: evaluator.evaluate(model, data, "test"))


# ---- plain --------------------------------------------------------------------------------------


class Rows(Dataset[tuple[int, np.ndarray[Any, Any]]]):
    """Test users, each with the dense row of what to hide."""

    def __init__(self, train: csr_array, users: list[int]) -> None:
        self.train, self.users = train, users

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, index: int) -> tuple[int, np.ndarray[Any, Any]]:
        user = self.users[index]
        return user, np.reshape(self.train[[user]].toarray(), [-1])


def plain(root: Path, repeat: int) -> dict[str, float]:
    """Dense rows, a forward pass for each batch, a loop over lists."""
    folder = root / "cf/sparse_yelp"
    pairs = {part: read(folder / f"{part}.txt") for part in ("train", "test")}
    rows, columns = np.array(pairs["train"]).T
    train = csr_array((np.ones(len(rows)), (rows, columns)), shape=(N_USERS, N_ITEMS))
    wanted: dict[int, list[int]] = {}
    for user, item in pairs["test"]:
        wanted.setdefault(user, []).append(item)
    edges = torch.tensor(
        np.stack([np.concatenate([rows, columns + N_USERS]), np.concatenate([columns + N_USERS, rows])])
    )
    degree = torch.bincount(edges[0], minlength=N_USERS + N_ITEMS).float()
    weight = (degree[edges[0]] * degree[edges[1]]).rsqrt()
    size = (N_USERS + N_ITEMS,) * 2
    graph = torch.sparse_coo_tensor(edges, weight, size, check_invariants=True).coalesce()
    x = torch.cat(tables())

    def forward() -> tuple[Tensor, Tensor]:
        layers = [x]
        for _ in range(LAYERS):
            layers.append(torch.sparse.mm(graph, layers[-1]))
        mean = torch.stack(layers).mean(0)
        return mean[:N_USERS], mean[N_USERS:]

    def evaluate() -> dict[str, float]:
        loader = DataLoader(Rows(train, list(wanted)), BATCH)
        sums = {f"{name}@{k}": 0.0 for k in KS for name in ("recall", "ndcg", "precision", "mrr")}
        for users, seen in loader:
            user_vectors, item_vectors = forward()
            mask = seen.long()
            scores = user_vectors[users] @ item_vectors.T * (1 - mask) - 1e8 * mask
            lists = scores.topk(max(KS)).indices.cpu().numpy()
            for user, ranked in zip(users.tolist(), lists, strict=True):
                hits = np.array([item in wanted[user] for item in ranked], dtype=float)
                for k in KS:
                    add(sums, hits[:k], len(wanted[user]), k)
        return {name: float(value / len(wanted)) for name, value in sums.items()}

    return timed(repeat, evaluate)


def add(sums: dict[str, float], hits: np.ndarray[Any, Any], relevant: int, k: int) -> None:
    """Add one user's measures."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    sums[f"recall@{k}"] += hits.sum() / relevant
    sums[f"precision@{k}"] += hits.sum() / k
    sums[f"ndcg@{k}"] += (hits * discount).sum() / discount[: min(k, relevant)].sum()
    sums[f"mrr@{k}"] += 1 / (hits.argmax() + 1) if hits.any() else 0.0


def read(path: Path) -> list[tuple[int, int]]:
    """Pairs of a file of item lists."""
    lists = [[int(x) for x in line.split()] for line in path.read_text().splitlines()]
    return [(line[0], item) for line in lists for item in line[1:]]


PARTS = {"plain": plain, "ours": ours}


if __name__ == "__main__":
    main()
