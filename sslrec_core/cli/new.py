"""Begin something new from a template."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from sslrec_core.errors import ConfigError, StorageError

app = typer.Typer(help="Begin something new: a plugin of your own.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Begin something new: a plugin of your own."""


@app.command()
def plugin(
    name: Annotated[str, typer.Argument(help="Name of the distribution, such as sslrec-noisy.", show_default=False)],
    folder: Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write; default: ./NAME.")] = None,
) -> None:
    """Write a plugin: one module with a model, an augmenter and an objective, its packaging and its tests.

    Example: sslrec new plugin sslrec-noisy
    """
    words = _words(name)
    target = folder or Path(name)
    if target.exists():
        raise StorageError(f"{target} exists already", fix="choose another name, or -o FOLDER")
    try:
        written = _write(target, words)
    except OSError as error:
        why = error.strerror or str(error)
        raise StorageError(f"cannot write {target}", why, fix="choose another -o FOLDER") from error
    print(f"wrote {target}")
    print("\n".join(f"  {path}" for path in written))
    print(f"next\n  pip install -e {target}\n  sslrec show {words['component']}\n  pytest {target}")


def _words(name: str) -> dict[str, str]:
    """What the template's placeholders stand for."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ConfigError(
            f"a plugin cannot be called '{name}'",
            "a name is lower-case words with '-' between them, and begins with a letter",
            fix="sslrec new plugin sslrec-noisy",
        )
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module in ("sslrec_core", "sslrec", "torch"):
        raise ConfigError(
            f"a plugin cannot be called '{name}'",
            f"its module would be '{module}', which Python has already",
            fix=f"sslrec new plugin sslrec-{name.removeprefix('sslrec-')}",
        )
    component = name.removeprefix("sslrec-")
    title = "".join(word.capitalize() for word in component.split("-"))
    if not title[0].isalpha():
        title = f"Plugin{title}"
    return {"name": name, "module": module, "component": component, "title": title}


def _write(target: Path, words: dict[str, str]) -> list[Path]:
    written = []
    templates = files("sslrec_core.cli").joinpath("templates", "plugin").iterdir()
    for template in sorted(templates, key=lambda one: one.name):
        path = Path(*(Template(template.name.removesuffix(".tmpl")).substitute(words).split("+")))
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(Template(template.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
        written.append(path)
    return written
