"""Print ranked lists for users and newcomers, in the identifiers of the raw files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslrec_core.errors import ConfigError

if TYPE_CHECKING:
    from sslrec_core.recommending import Lists
    from sslrec_core.running import Run


def command(
    run: Annotated[Path, typer.Argument(help="Run directory.", show_default=False)],
    user: Annotated[list[str] | None, typer.Option("--user", "-u", help="Raw id of a user; may repeat.")] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(help="Items of somebody who is not in the data, oldest first: A,B,C; may repeat."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Length of the lists.")] = 20,
    items: Annotated[
        str | None, typer.Option(help="Rank these alone: A,B,C, or a file of ids, one a line.", metavar="ITEMS")
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="none: also what was met. popularity<=N (>=, <, >): by users in training. "
            "FILE: never these ids, one a line. May repeat.",
        ),
    ] = None,
    explain: Annotated[
        str | None, typer.Option(help="neighbours: which of the person's own items are most like each.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table or jsonl.")] = "table",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of datasets; default: the one given to train, else $SSLREC_DATA.")
    ] = None,
) -> None:
    """Recommend items to users, best first.

    Items of a user's training and validation part, or of a newcomer's history, are not recommended again.

    Example: sslrec recommend runs/kgcl-demo-… --user u0042 -k 5 --explain neighbours
    """
    if form not in ("table", "jsonl"):
        raise ConfigError(f"there is no format '{form}'", fix="--format table or --format jsonl")
    if explain not in (None, "neighbours"):
        raise ConfigError(f"there is no explanation '{explain}'", fix="--explain neighbours")
    if not user and not history:
        raise ConfigError("no user is named", fix="--user ID or --history A,B,C; both may repeat")

    import torch

    from sslrec_core.recommending import Terms, for_newcomers, for_users, numbers_of
    from sslrec_core.running import Run

    opened = Run.open(run, device=device, data_root=data_dir)
    data = opened.data
    terms = Terms.of(data, items, filters or ())
    people: list[dict[str, Any]] = []
    measure = None
    if user:
        numbers = numbers_of(data.users, user, "--user").to(opened.device)
        lists = for_users(opened, numbers, k, terms)
        measure, found = _rows(opened, lists, explain)
        people += [{"user": who, "items": ranked} for who, ranked in zip(user, found, strict=True)]
    if history:
        told = [[item.strip() for item in text.split(",") if item.strip()] for text in history]
        if not all(told):
            raise ConfigError("a history has no item", fix="--history A,B,C with raw ids of items")
        met = numbers_of(data.items, [item for each in told for item in each], "--history").to(opened.device)
        lengths = torch.tensor([len(each) for each in told], device=opened.device)
        lists = for_newcomers(opened, met, lengths, k, terms)
        measure, found = _rows(opened, lists, explain)
        people += [{"history": each, "items": ranked} for each, ranked in zip(told, found, strict=True)]
    if form == "jsonl":
        for person in people:
            print(json.dumps(person | ({"similarity": measure} if measure else {})))
        return
    _print(people, measure)


def _rows(run: Run, lists: Lists, explain: str | None) -> tuple[str | None, list[list[dict[str, Any]]]]:
    """What the reasons are, and each person's list; of each item its id, score, name and reasons as far as known."""
    from sslrec_core.recommending import in_raw_ids, reasons

    kept = lists.items >= 0
    names = iter(run.names(lists.items[kept]))
    rows = [
        [{"item": item, **_named(next(names)), "score": score} for item, score in ranked]
        for ranked in in_raw_ids(run, lists)
    ]
    if explain is None:
        return None, rows
    found = reasons(run, lists)
    chosen = found.items[kept]
    raw = run.data.items.raw(chosen.clamp(min=0).cpu().numpy()).tolist()
    called = run.names(chosen.clamp(min=0).flatten())
    width = chosen.shape[1]
    entries = [entry for ranked in rows for entry in ranked]
    for place, (entry, own, likeness) in enumerate(zip(entries, raw, found.similarities[kept].tolist(), strict=True)):
        entry["because"] = [
            {"item": item, **_named(name), "similarity": value}
            for item, name, value in zip(own, called[place * width :], likeness, strict=False)
            if value > 0
        ]
    return found.measure, rows


def _named(name: str | None) -> dict[str, str]:
    return {} if name is None else {"name": name}


def _print(people: Sequence[dict[str, Any]], measure: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    named = any("name" in entry for person in people for entry in person["items"])
    table = Table(box=None)
    table.add_column("user", overflow="fold")
    table.add_column("rank", justify="right")
    table.add_column("item", overflow="fold")
    if named:
        table.add_column("name", overflow="fold")
    table.add_column("score", justify="right")
    if measure:
        table.add_column("because of", overflow="fold")
    for person in people:
        who = person["user"] if "user" in person else "after " + ", ".join(person["history"])
        if not person["items"]:
            table.add_row(who, "", "nothing is left to recommend")
        for rank, entry in enumerate(person["items"], 1):
            cells = [who if rank == 1 else "", str(rank), str(entry["item"])]
            cells += [entry.get("name", "")] if named else []
            cells.append(f"{entry['score']:.4f}")
            cells += [_because(entry["because"])] if measure else []
            table.add_row(*cells)
    console = Console(highlight=False, markup=False)
    console.print(table)
    if measure:
        console.print(f"because of: items of the user's own that are most like it, by the {measure}", soft_wrap=True)


def _because(reasons: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{each.get('name') or each['item']} {each['similarity']:.2f}" for each in reasons)
