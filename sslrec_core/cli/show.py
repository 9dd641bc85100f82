"""Show one component: what it does, its options, and where it comes from."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from textwrap import wrap
from typing import Annotated, Any

import typer

from sslrec_core.cli.options import options
from sslrec_core.cli.text import columns
from sslrec_core.config import Configured
from sslrec_core.errors import UnknownName, closest
from sslrec_core.registry import KINDS, Entry, registry

_WIDTH = 100


def command(
    name: Annotated[str, typer.Argument(help="A name, with or without scenario and plugin.", show_default=False)],
    kind: Annotated[str | None, typer.Option("--kind", "-k", help=f"One of: {', '.join(KINDS)}.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each component.")] = False,
) -> None:
    """Show what a component does and which options it has.

    Example: sslrec show kg/kgcl
    """
    for number, entry in enumerate(_found(name, kind)):
        facts = _facts(entry)
        if as_json:
            print(json.dumps(facts))
        else:
            print(("\n" if number else "") + "\n".join(_lines(facts)))


def _found(name: str, kind: str | None) -> list[Entry]:
    if kind is not None and kind not in KINDS:
        raise UnknownName(f"there is no kind of component called '{kind}'", fix=f"--kind {', '.join(KINDS)}")
    if kind is not None:
        return [registry().find(kind, name)]
    found = []
    for one in KINDS:
        try:
            found.append(registry().find(one, name))
        except UnknownName:
            continue
    if found:
        return found
    names = {spelling for one in KINDS for e in registry().entries(one) for spelling in (e.name, e.short_name)}
    similar = closest(name, sorted(names))
    facts = [f"closest: {', '.join(similar)}"] if similar else []
    raise UnknownName(f"nothing is called '{name}'", *facts, *registry().notes(), fix="sslrec list")


def _facts(entry: Entry) -> dict[str, Any]:
    component = entry.load()
    configured = issubclass(component, Configured)
    return {
        "kind": entry.kind,
        "name": registry().written(entry),
        "doc": inspect.getdoc(component) or "",
        "plugin": entry.plugin,
        "version": registry().plugins[entry.plugin].version,
        "class": entry.where,
        "file": _place(component),
        "revision": component.revision if configured else None,
        "presets": [
            preset.dataset + (f" ({preset.variant})" if preset.variant else "")
            for preset in registry().presets()
            if (preset.plugin, entry.kind) == (entry.plugin, "model") and preset.model in (entry.name, entry.short_name)
        ],
        "options": list(options(component.Config)) if configured else [],
    }


def _place(component: type) -> str:
    return f"{inspect.getsourcefile(component)}:{inspect.getsourcelines(component)[1]}"


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"{facts['kind']} {facts['name']}"
    yield from (f"  {line}".rstrip() for line in facts["doc"].splitlines())
    yield ""
    version = f" {facts['version']}" if facts["version"] else ""
    rows = [("plugin", f"{facts['plugin']}{version}"), ("class", facts["class"]), ("file", facts["file"])]
    if facts["revision"] is not None:
        rows.append(("revision", str(facts["revision"])))
    if facts["presets"]:
        rows.append(("presets", ", ".join(facts["presets"])))
    yield from columns(rows)
    for option in facts["options"]:
        yield ""
        yield f"  {option['key']} = {option['default']}    ({option['type']})"
        yield from wrap(option["doc"], _WIDTH, initial_indent="      ", subsequent_indent="      ")
