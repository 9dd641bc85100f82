"""List what the installed plugins offer, without importing any of it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sslrec_core.cli.text import columns
from sslrec_core.errors import UnknownName, closest
from sslrec_core.registry import KINDS, Entry, registry

PRESETS = "preset"


def command(
    kind: Annotated[
        str | None,
        typer.Argument(help=f"One of: {', '.join(f'{kind}s' for kind in (*KINDS, PRESETS))}.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each line.")] = False,
) -> None:
    """List models, datasets and everything else that can be named.

    Example: sslrec list models
    """
    kinds = (*KINDS, PRESETS) if kind is None else (_kind(kind),)
    if as_json:
        for one in kinds:
            for row in _presets() if one == PRESETS else map(_row, registry().entries(one)):
                print(json.dumps(row))
        return
    sections = []
    for one in kinds:
        rows = [tuple(row.values())[1:] for row in _presets()] if one == PRESETS else _rows(registry().entries(one))
        lines = list(columns(rows))
        if lines or kind is not None:
            sections.append("\n".join([f"{one}s", *(lines or ["  none is installed"])]))
    notes = registry().notes()
    print("\n\n".join([*sections, *(["\n".join(notes)] if notes else [])]))


def _kind(word: str) -> str:
    known = {spelling: kind for kind in (*KINDS, PRESETS) for spelling in (kind, f"{kind}s")}
    if word.lower() not in known:
        similar = closest(word, known)
        facts = [f"closest: {', '.join(dict.fromkeys(f'{known[one]}s' for one in similar))}"] if similar else []
        raise UnknownName(f"there is no kind of component called '{word}'", *facts, fix="sslrec list")
    return known[word.lower()]


def _row(entry: Entry) -> dict[str, str]:
    return {"kind": entry.kind, "name": registry().written(entry), "plugin": entry.plugin, "summary": entry.summary}


def _rows(entries: list[Entry]) -> list[tuple[str, str, str]]:
    return [(row["name"], row["plugin"], row["summary"]) for row in map(_row, entries)]


def _presets() -> list[dict[str, str]]:
    return [
        {
            "kind": PRESETS,
            "model": preset.model,
            "dataset": preset.dataset,
            "variant": preset.variant or "",
            "plugin": preset.plugin,
        }
        for preset in registry().presets()
    ]
