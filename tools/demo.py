"""The demonstration behind `make demo`: plain sslrec commands, one after the other, and a table of what they found.

python tools/demo.py [--epochs N] [--output DIR]
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

MODEL, DATASET = "kgcl", "kg/demo"
BASELINES = ("ease", "rp3beta", "itemknn", "popularity")
METRICS = ("recall@20", "ndcg@20", "coverage@20")
USERS = 5


def sslrec(*arguments: str | Path, answer: bool = False) -> str:
    """Show a command, run it, and give what it prints if ``answer``; fail with it."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ sslrec {shlex.join(words)}", flush=True)
    command = [sys.executable, "-m", "sslrec_core.cli", *words]
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE if answer else None)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout or ""


def known_users(run: Path, count: int) -> list[str]:
    """Raw ids of some users who have something to find, spread over all of them."""
    from sslrec_core.running import Run  # imports torch, which the table does not need

    data = Run.open(run).data
    users = next(iter(data.queries("test", data.n_users))).users
    chosen = users[:: max(1, len(users) // count)][:count]
    return [str(raw) for raw in data.users.raw(chosen).tolist()]


def show(results: dict[str, dict[str, Any]]) -> None:
    """The table of all models, best first."""
    table = Table(title=f"{DATASET}, test part", title_justify="left", box=None)
    table.add_column("model")
    for name in (*METRICS, "seconds"):
        table.add_column(name, justify="right")
    for model, result in sorted(results.items(), key=lambda row: -row[1]["metrics"][METRICS[0]]):
        figures = [f"{result['metrics'][name]:.4f}" for name in METRICS]
        table.add_row(model, *figures, f"{result['seconds']:.1f}", style="bold" if model == MODEL else None)
    print()
    Console(highlight=False).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, help="a smaller budget for the model; default: its preset's")
    parser.add_argument("--output", type=Path, help="folder of the runs; default: runs/demo-<time>")
    options = parser.parse_args()
    began = time.monotonic()
    folder = options.output or Path("runs") / time.strftime("demo-%Y%m%d-%H%M%S")
    budget = [] if options.epochs is None else ["--set", f"train.epochs={options.epochs}"]

    sslrec("train", MODEL, "--dataset", DATASET, "-o", folder / MODEL, *budget)
    results = {MODEL: json.loads((folder / MODEL / "result.json").read_text())}
    for name in BASELINES:
        answer = sslrec("train", name, "--dataset", DATASET, "-o", folder / name, "--json", answer=True)
        results[name] = json.loads(answer)
    show(results)
    users = [word for user in known_users(folder / MODEL, USERS) for word in ("--user", user)]
    sslrec("recommend", folder / MODEL, *users, "-k", "5")
    print(f"\n{time.monotonic() - began:.0f} s in all; the runs are in {folder}")


if __name__ == "__main__":
    main()
