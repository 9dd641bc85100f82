"""Print ranked lists for users, in the identifiers of the raw files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sslrec_core.errors import ConfigError


def command(
    run: Annotated[Path, typer.Argument(help="Run directory.", show_default=False)],
    user: Annotated[list[str] | None, typer.Option("--user", "-u", help="Raw id of a user; may repeat.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Length of the lists.")] = 20,
    form: Annotated[str, typer.Option("--format", help="table or jsonl.")] = "table",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of datasets; default: where they were.")] = None,
) -> None:
    """Recommend items to users, best first.

    Items of a user's training and validation part are not recommended again.

    Example: sslrec recommend runs/kgcl-demo-… --user u0042 -k 5
    """
    if form not in ("table", "jsonl"):
        raise ConfigError(f"there is no format '{form}'", fix="--format table or --format jsonl")
    if not user:
        raise ConfigError("no user is named", fix="--user ID, which may repeat")

    from sslrec_core.running import Run

    opened = Run.open(run, device=device, data_root=data_dir)
    lists = opened.recommend(user, k)
    if form == "jsonl":
        for person, ranked in lists.items():
            print(json.dumps({"user": person, "items": [{"item": item, "score": score} for item, score in ranked]}))
        return
    _print(lists)


def _print(lists: dict[str, list[tuple[Any, float]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    table.add_column("user")
    table.add_column("rank", justify="right")
    table.add_column("item")
    table.add_column("score", justify="right")
    for person, ranked in lists.items():
        for rank, (item, score) in enumerate(ranked, 1):
            table.add_row(person if rank == 1 else "", str(rank), str(item), f"{score:.4f}")
    Console(highlight=False).print(table)
