"""Show the installed plugins: version, load time, what they offer, and what is wrong with them."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from sslrec_core.cli.text import columns
from sslrec_core.registry import KINDS, Registry, registry


def command(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show the installed plugins and their problems.

    Exits with 3 if one of them has a problem.

    Example: sslrec plugins
    """
    rows = _plugins(registry())
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print("\n".join(_lines(rows)))
    if any(row["problems"] for row in rows):
        raise typer.Exit(3)


def _plugins(known: Registry) -> list[dict[str, Any]]:
    # Asking for everything first: an offer can be malformed, too.
    offered = {kind: known.entries(kind) for kind in KINDS}
    presets = known.presets()
    rows = []
    for plugin in known.plugins.values():
        counts = {f"{kind}s": sum(entry.plugin == plugin.name for entry in offered[kind]) for kind in KINDS}
        counts["presets"] = sum(preset.plugin == plugin.name for preset in presets)
        rows.append(
            {
                "name": plugin.name,
                "version": plugin.version,
                "module": plugin.module,
                "milliseconds": round(plugin.seconds * 1000, 1),
                "offers": {kind: count for kind, count in counts.items() if count},
                "off": plugin.off,
                "problems": plugin.problems,
            }
        )
    return rows


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    table = columns(
        [
            (
                row["name"],
                row["version"] or "–",
                f"{row['milliseconds']:.0f} ms",
                ", ".join(_counted(kind, count) for kind, count in row["offers"].items()) or "nothing",
            )
            for row in rows
        ],
        indent="",
    )
    lines = []
    for line, row in zip(table, rows, strict=True):
        lines.append(line)
        lines += [f"  off: {row['off']}"] if row["off"] else []
        lines += [f"  problem: {problem}" for problem in row["problems"]]
    return lines


def _counted(kinds: str, count: int) -> str:
    return f"{count} {kinds.removesuffix('s') if count == 1 else kinds}"
