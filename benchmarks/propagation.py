"""One propagation with its gradient: the graph's own product beside torch's, in the same run.

Prints milliseconds and ratios; machines differ, so compare the ratios.  Reads ``cf/sparse_yelp`` from ``SSLREC_DATA``
(or ``--data-dir``); without it a random graph of the same size is used, and said so.

    python benchmarks/propagation.py --dim 64 --threads 2
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from sslrec_core.builtin.augmenters import EdgeDrop
from sslrec_core.graph import SparseGraph, propagate

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Run: TypeAlias = Callable[[], object]

USERS, ITEMS, PAIRS = 42_712, 26_822, 182_357


def main() -> None:
    """Time everything and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=64, help="columns of the table")
    parser.add_argument("--layers", type=int, default=2, help="layers of the LightGCN rows")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads on the CPU")
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each figure")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with one thread")
    parser.add_argument("--device", default="cpu", help="device to run on")
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("SSLREC_DATA"), help="default: SSLREC_DATA")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="Sparse")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    users, items, origin = pairs(options.data_dir)
    graph = SparseGraph.bipartite(users, items, USERS, ITEMS).normalised().to(options.device)
    x = torch.randn(USERS + ITEMS, options.dim, device=options.device, requires_grad=True)
    gradient = torch.randn(x.shape, device=options.device)
    print(f"{origin}: {USERS} users, {ITEMS} items, {graph.n_edges} edges; d={options.dim}, {graph.device}, ", end="")
    print(f"{torch.get_num_threads()} threads; best {options.clock} time in {options.seconds} s each")

    products = rivals(graph, x)
    for make in products.values():
        torch.testing.assert_close(make(), products["this graph"](), rtol=1e-4, atol=1e-5)
    race = partial(best_of, seconds=options.seconds, clock=CLOCKS[options.clock])
    alone = race({name: without_gradient(make) for name, make in products.items()})
    whole = race({name: with_gradient(make, x, gradient) for name, make in products.items()})
    table("one product", whole, {"forward": alone})

    several = encoders(graph, x, options.layers)
    for make in several.values():
        torch.testing.assert_close(make(), several["propagate"](), rtol=1e-4, atol=1e-5)
    whole = race({name: with_gradient(make, x, gradient) for name, make in several.items()})
    table(f"LightGCN, {options.layers} layers", whole)

    drops = views(graph)
    steps: dict[str, Run] = {
        name: with_gradient(lambda view=view: propagate(view(), x, options.layers), x, gradient)
        for name, view in drops.items()
    }
    table(f"a view, LightGCN, {options.layers} layers", race(steps), {"view": race(drops)})


def without_gradient(make: Callable[[], Tensor]) -> Run:
    """The forward pass alone."""

    def run() -> object:
        with torch.no_grad():
            return make()

    return run


def with_gradient(make: Callable[[], Tensor], x: Tensor, gradient: Tensor) -> Run:
    """The forward pass, and the gradient in ``x``."""
    return lambda: torch.autograd.grad(make(), x, gradient)


def table(title: str, whole: dict[str, float], parts: dict[str, dict[str, float]] | None = None) -> None:
    """Print times beside each other; the ratio is to the first row."""
    parts = parts or {}
    print(f"\n{title:42}{''.join(f'{name:>12}' for name in parts)}{'with gradient':>16}{'ratio':>8}")
    first = next(iter(whole.values()))
    for name, time_taken in whole.items():
        columns = "".join(f"{part[name]:9.2f} ms" for part in parts.values())
        print(f"{name:42}{columns}{time_taken:13.2f} ms{time_taken / first:8.2f}")


def pairs(folder: Path | str | None) -> tuple[Tensor, Tensor, str]:
    """Users and items of the training interactions, and where they are from."""
    path = Path(folder or ".") / "cf" / "sparse_yelp" / "train.txt"
    if folder is None or not path.is_file():
        return torch.randint(USERS, (PAIRS,)), torch.randint(ITEMS, (PAIRS,)), "random graph"
    rows = [[int(field) for field in line.split()] for line in path.read_text(encoding="utf-8").splitlines()]
    lengths = torch.tensor([max(len(row) - 1, 0) for row in rows])
    users = torch.tensor([row[0] for row in rows]).repeat_interleave(lengths)
    return users, torch.tensor([item for row in rows for item in row[1:]]), "cf/sparse_yelp"


def rivals(graph: SparseGraph, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Ways to multiply, ours first."""
    n = graph.shape[0]
    coo = torch.sparse_coo_tensor(torch.stack((graph.target, graph.source)), graph.weight, (n, n)).coalesce()
    pointers, columns = graph.structure.pointers, graph.structure.columns
    csr = torch.sparse_csr_tensor(pointers, columns, graph.weight, (n, n))
    return {
        "this graph": lambda: graph @ x,
        "torch COO, its own gradient": lambda: torch.sparse.mm(coo, x),
        "torch CSR, its own gradient": lambda: torch.sparse.mm(csr, x),
        "torch CSR, transpose reused": lambda: _ReusedCSR.apply(csr, x),
        "bare embedding_bag both ways, no checks": lambda: _Bare.apply(columns, pointers, graph.weight, x),
        "embedding_bag, its own gradient": lambda: functional.embedding_bag(
            columns, x, pointers, mode="sum", per_sample_weights=graph.weight, include_last_offset=True
        ),
        "gather and index_add": lambda: torch.zeros_like(x).index_add(
            0, graph.target, x.index_select(0, graph.source) * graph.weight.unsqueeze(1)
        ),
    }


def encoders(graph: SparseGraph, x: Tensor, layers: int) -> dict[str, Callable[[], Tensor]]:
    """Ways to propagate over several layers."""
    coo = torch.sparse_coo_tensor(torch.stack((graph.target, graph.source)), graph.weight, graph.shape).coalesce()

    def by_layers(multiply: Callable[[Tensor], Tensor]) -> Tensor:
        vectors = [x]
        for _ in range(layers):
            vectors.append(multiply(vectors[-1]))
        return torch.stack(vectors).mean(dim=0)

    return {
        "propagate": lambda: propagate(graph, x, layers),
        "this graph, layer by layer": lambda: by_layers(lambda h: graph @ h),
        "torch COO, layer by layer": lambda: by_layers(lambda h: torch.sparse.mm(coo, h)),
    }


def views(graph: SparseGraph) -> dict[str, Callable[[], SparseGraph]]:
    """Ways to drop edges in every step."""

    def rebuilt(rate: float) -> SparseGraph:
        mask = (torch.rand(graph.n_interactions, device=graph.device) >= rate).index_select(0, graph.edge_of)
        return SparseGraph.of(graph.target[mask], graph.source[mask], graph.weight[mask], shape=graph.shape)

    found: dict[str, Callable[[], SparseGraph]] = {"the whole graph": lambda: graph}
    for rate in (0.1, 0.5):
        renormalised, plain = (EdgeDrop(EdgeDrop.Config(rate=rate, renormalise=again)) for again in (True, False))
        found[f"edge-drop {rate}, renormalised"] = lambda drop=renormalised: drop(graph)
        found[f"edge-drop {rate}, renormalised, compacted"] = lambda drop=renormalised: drop(graph).compacted()
        found[f"edge-drop {rate}"] = lambda drop=plain: drop(graph)
        found[f"edge-drop {rate}, rebuilt by sorting"] = lambda rate=rate: rebuilt(rate)
    return found


class _ReusedCSR(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, csr: Tensor, x: Tensor) -> Tensor:
        ctx.csr = csr
        return torch.sparse.mm(csr, x)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[None, Tensor]:
        return None, torch.sparse.mm(ctx.csr, gradient)


class _Bare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, columns: Tensor, pointers: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        ctx.parts = columns, pointers, weight
        return torch.ops.aten._embedding_bag_forward_only(x, columns, pointers, False, 0, False, weight, True)[0]

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[None, None, None, Tensor]:
        columns, pointers, weight = ctx.parts
        bag = torch.ops.aten._embedding_bag_forward_only
        return None, None, None, bag(gradient, columns, pointers, False, 0, False, weight, True)[0]


def best_of(runs: dict[str, Run], seconds: float, clock: Callable[[], float]) -> dict[str, float]:
    """Milliseconds of the fastest round of each, after a first one that is not counted.

    All take turns, so that other work on the machine slows all of them alike.
    """
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()
    until = time.perf_counter() + seconds * len(runs)
    while time.perf_counter() < until:
        for name, run in runs.items():
            started = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            best[name] = min(best[name], (clock() - started) * 1e3)
    return best


if __name__ == "__main__":
    main()
