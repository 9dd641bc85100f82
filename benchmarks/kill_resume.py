"""Kill trainings at random moments, resume them, and compare what they end with to one that was left alone.

    python benchmarks/kill_resume.py                        ten trainings, each killed once
    python benchmarks/kill_resume.py --runs 1 --kills 10    one training, killed ten times

Everything goes through the command line, and the process gets SIGKILL: nothing is saved on the way out.  The exit
code is 1 if a single bit of the metrics, the recorded losses or the best weights differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

COMMAND = [sys.executable, "-m", "sslrec_core.cli", "train"]
MEASURED = ("metrics", "selection", "best_epoch")


@dataclass
class Kill:
    """One SIGKILL: what had been recorded, and what was there to go on from."""

    epochs: int
    """Epochs that had been recorded."""
    checkpoint: int | None
    """Epochs that the checkpoint had seen, or None if there was no checkpoint."""


def first(options: Sequence[str], directory: Path) -> list[str]:
    """The command that starts a training in ``directory``."""
    return [*COMMAND, *options, "-o", str(directory), "--quiet"]


def next_command(options: Sequence[str], directory: Path) -> list[str]:
    """The command that goes on with it, or starts it if it was killed before it had a directory."""
    return [*COMMAND, "--resume", str(directory), "--quiet"] if directory.exists() else first(options, directory)


def run(command: Sequence[str]) -> None:
    """Run a command to its end."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def kill_in(command: Sequence[str], directory: Path, epoch: int, share: float) -> Kill | None:
    """Start a command and kill it when about ``share`` of an epoch has passed; None if it was done before that."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None and not (directory.exists() and recorded(directory) >= epoch):
        time.sleep(0.002)
    seconds = [row["seconds"] for row in rows(directory) if row["event"] == "epoch"]
    try:
        code = process.wait(timeout=share * (sum(seconds) / len(seconds) if seconds else 0.05))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return Kill(recorded(directory), checkpointed(directory))
    if code:
        sys.exit(f"{' '.join(command)}\nended with {code} before it could be killed")
    return None


def recorded(directory: Path) -> int:
    """Epochs in the record of a run."""
    return sum(row["event"] == "epoch" for row in rows(directory))


def checkpointed(directory: Path) -> int | None:
    """Epochs that a run's checkpoint has seen."""
    path = directory / "last.safetensors"
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as handle:
        epochs: int = json.loads(handle.metadata()["sslrec"])["progress"]["epoch"]
    return epochs


def rows(directory: Path) -> list[dict[str, Any]]:
    """What a run has recorded; a line cut short by a kill is left out."""
    path = directory / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def events(directory: Path) -> list[dict[str, Any]]:
    """What a run has recorded, without the seconds that it took."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows(directory)]


def differences(one: Path, other: Path) -> list[str]:
    """What two finished runs disagree about."""
    found = []
    mine, its = (json.loads((path / "result.json").read_text()) for path in (one, other))
    found += [name for name in MEASURED if mine[name] != its[name]]
    if events(one) != events(other):
        found.append("metrics.jsonl")
    weights, others = (load_file(path / "best.safetensors") for path in (one, other))
    if weights.keys() != others.keys():
        found.append("names of weights")
    found += [name for name in weights.keys() & others.keys() if not torch.equal(weights[name], others[name])]
    return found


def trial(options: Sequence[str], directory: Path, kills: int, epochs: int) -> list[Kill]:
    """One training, killed ``kills`` times at moments drawn over what is left of its epochs, and then finished."""
    done: list[Kill] = []
    while len(done) < kills and not (directory / "result.json").exists():
        begun = done[-1].epochs + 1 if done else 0
        epoch = begun + int(torch.rand(()) * max(1, (epochs - 1 - begun) / (kills - len(done))))
        kill = kill_in(next_command(options, directory), directory, epoch, float(torch.rand(())))
        done += [kill] if kill is not None else []
    if not (directory / "result.json").exists():
        run(next_command(options, directory))
    return done


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lightgcn")
    parser.add_argument("--dataset", default="cf/demo")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--runs", type=int, default=10, help="trainings to kill")
    parser.add_argument("--kills", type=int, default=1, help="how often each is killed")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    parser.add_argument("--set", action="append", default=[], help="further settings of the training")
    given = parser.parse_args()
    settings = [f"train.epochs={given.epochs}", "train.patience=none", "run.checkpoint_seconds=0", *given.set]
    options = [given.model, "--dataset", given.dataset, *(word for value in settings for word in ("--set", value))]
    torch.manual_seed(given.seed)

    with tempfile.TemporaryDirectory(prefix="kill-resume-") as folder:
        whole = Path(folder) / "whole"
        run(first(options, whole))
        result = json.loads((whole / "result.json").read_text())
        judged = {name: value for name, value in result["metrics"].items() if name.startswith(("recall", "ndcg"))}
        print(f"{given.model} on {given.dataset}, {given.epochs} epochs, {result['seconds']:.1f} s")
        print(f"left alone: {judged}\n")
        print("| run | kill | epochs recorded | epochs in the checkpoint | differs from the one left alone |")
        print("|---|---|---|---|---|", flush=True)
        wrong = landed = 0
        for number in range(1, given.runs + 1):
            directory = Path(folder) / str(number)
            kills = trial(options, directory, given.kills, given.epochs)
            found = differences(whole, directory)
            wrong += bool(found)
            landed += len(kills)
            for place, kill in enumerate(kills, 1):
                verdict = (", ".join(found) or "nothing") if place == len(kills) else ""
                saved = "none" if kill.checkpoint is None else kill.checkpoint
                print(f"| {number} | {place} | {kill.epochs} | {saved} | {verdict} |", flush=True)
    print(f"\n{landed} kills, {given.runs} runs, {wrong} that differ in any bit")
    sys.exit(1 if wrong or not landed else 0)


if __name__ == "__main__":
    main()
