"""The generated parts of the documentation; cog blocks in docs/*.md print what these functions return.

    make docs      writes them
    make check     fails if one is out of date

Everything is read from the source tree, so that the pages do not depend on what is installed.
"""

from __future__ import annotations

import inspect
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sslrec_core import hooks
from sslrec_core.cli import COMMANDS, group
from sslrec_core.discovery import HOOKS, Plugin, adopt_module, offers
from sslrec_core.presets import Preset, presets_in
from sslrec_core.registry import KINDS, Entry

ROOT = Path(__file__).resolve().parents[1]


# ---- hooks -------------------------------------------------------------------------------------------------------


def hook_functions() -> dict[str, Callable[..., Any]]:
    """Every hook by name, in the order of the file: registration hooks, then run hooks."""
    run_hooks = {name: value for name, value in vars(hooks.RunHooks).items() if name.startswith("sslrec_")}
    return {**{name: getattr(hooks, name) for name in HOOKS}, **run_hooks}


def signature(function: Callable[..., Any]) -> str:
    """How an implementer writes it: ``sslrec_step(run: Run, losses: Mapping[str, Tensor]) -> None``."""
    found = inspect.signature(function)
    arguments = ", ".join(f"{one.name}: {one.annotation}" for one in found.parameters.values() if one.name != "self")
    return f"{function.__name__}({arguments}) -> {found.return_annotation}"


def hooks_page(run: bool) -> str:
    """One section for each registration hook, or for each run hook."""
    chosen = [function for name, function in hook_functions().items() if (name not in HOOKS) == run]
    return "\n\n".join(f"### `{signature(one)}`\n\n{_prose(inspect.getdoc(one) or '')}" for one in chosen)


def _prose(docstring: str) -> str:
    """A docstring as Markdown: labelled paragraphs become a list, references lose their role."""
    first, _, rest = docstring.partition("\n\n")
    items: list[str] = []
    for line in rest.splitlines():
        if line.startswith(" ") and items:
            items[-1] += f" {line.strip()}"
        elif line.strip():
            items.append(line.strip())
    lines = [f"- **{label}:** {text.strip()}" for label, _, text in (item.partition(":") for item in items) if text]
    text = "\n".join([" ".join(first.split()), "", *lines])
    return text.replace(":class:`", "`").replace(":mod:`", "`").replace("``", "`").replace("  ", " ")


# ---- command line ------------------------------------------------------------------------------------------------


def cli_page() -> str:
    """The help of sslrec and of each of its commands."""
    os.environ["COLUMNS"] = "80"
    top = group()
    context = top.make_context("sslrec", [], resilient_parsing=True, max_content_width=80, terminal_width=80)
    sections = [("sslrec", _help(top, context))]
    for name in COMMANDS:
        sections += _helps(top.get_command(context, name), context, f"sslrec {name}")
    return "\n\n".join(f"## `{path}`\n\n```text\n{text}\n```" for path, text in sections)


def _helps(command: Any, parent: Any, path: str) -> Iterator[tuple[str, str]]:
    context = command.make_context(
        path.rpartition(" ")[2], [], parent=parent, resilient_parsing=True, max_content_width=80, terminal_width=80
    )
    yield path, _help(command, context)
    for name, inner in getattr(command, "commands", {}).items():
        yield from _helps(inner, context, f"{path} {name}")


def _help(command: Any, context: Any) -> str:
    text: str = command.get_help(context)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


# ---- catalogue ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Catalogue:
    """What the distributions of this repository offer, whether they are installed or not."""

    plugins: list[Plugin]

    def entries(self, kind: str) -> list[Entry]:
        """All names of one kind."""
        found = [
            Entry(kind, name, plugin.name, target)
            for plugin in self.plugins
            for name, target in offers(plugin, kind).items()
        ]
        return sorted(found, key=lambda entry: (entry.name, entry.plugin))

    def presets(self) -> list[Preset]:
        """All presets."""
        return [preset for plugin in self.plugins for preset in presets_in(plugin)]


def catalogue() -> Catalogue:
    """Read the plugin modules named by the pyproject.toml files of this repository."""
    return Catalogue(
        [_plugin(path) for path in [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]]
    )


def _plugin(path: Path) -> Plugin:
    project = tomllib.loads(path.read_text())["project"]
    (target,) = project["entry-points"]["sslrec.plugins"].values()
    if find_spec(target.partition(".")[0]) is None:
        sys.path.append(str(path.parent))
    plugin = adopt_module(import_module(target))
    plugin.name = project["name"]
    return plugin


def models_page() -> str:
    """A table of models, with their presets."""
    known = catalogue()
    presets = known.presets()
    rows = []
    for entry in known.entries("model"):
        own = [p for p in presets if p.plugin == entry.plugin and p.model in (entry.name, entry.short_name)]
        names = ", ".join(f"{p.dataset}{f' ({p.variant})' if p.variant else ''}" for p in own)
        rows.append((f"`{entry.name}`", entry.summary, entry.plugin, names))
    return _table(("model", "what it is", "package", "presets"), rows)


def kinds_page() -> str:
    """A section for each other kind of component."""
    known = catalogue()
    sections = []
    for kind in KINDS:
        if kind != "model":
            rows = [(f"`{entry.name}`", entry.summary, entry.plugin) for entry in known.entries(kind)]
            sections.append(f"## {kind.capitalize()}s\n\n" + _table(("name", "what it is", "package"), rows))
    return "\n\n".join(sections)


def datasets_page() -> str:
    """A table of named datasets, and whose they are."""
    named = {entry.name: (entry, entry.load()) for entry in catalogue().entries("dataset") if "/" in entry.name}
    rows = [(f"`{name}`", entry.summary, _obtained(kind)) for name, (entry, kind) in named.items()]
    terms = []
    for name, (_, kind) in named.items():
        source = f"Source: <{kind.homepage}>." if kind.homepage else ""
        cite = f"Cite: {kind.citation}." if kind.citation else ""
        terms.append(f"- **`{name}`** {' '.join(filter(None, (f'Terms: {kind.licence}.', source, cite)))}")
    return _table(("dataset", "what it is", "files"), rows) + "\n\n## Terms and sources\n\n" + "\n".join(terms)


def _obtained(kind: Any) -> str:
    """How the files of a dataset are had."""
    required = [file for file in kind.files if not file.optional]
    by_hand = [f"`{file.name}`" for file in required if file.url is None]
    if not required:
        return "generated"
    if not by_hand:
        return "downloaded"
    return "placed by hand" if len(by_hand) == len(required) else f"downloaded, but {', '.join(by_hand)} placed by hand"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
