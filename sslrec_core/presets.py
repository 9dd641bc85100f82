"""Presets: files ``<model>/<dataset>.toml`` in a package that a plugin names, and ``<model>/space.toml`` to tune."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslrec_core.config import parse_toml
from sslrec_core.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from sslrec_core.discovery import Plugin

SPACE = "space.toml"
"""The name of a model's search space, which stands beside its presets."""


@dataclass(frozen=True)
class Preset:
    """Values that a plugin recommends for one model on one dataset."""

    plugin: str
    model: str
    """The folder: a model's short name, or ``scenario/name``."""
    dataset: str
    """The file's first word, or ``default`` for any other dataset."""
    variant: str | None
    """The file's second word: ``tuned`` in ``gowalla.tuned.toml``."""
    file: Traversable

    def origin(self, foreign: bool = False) -> str:
        """How messages call it: ``preset gowalla.tuned``, with the plugin in front if it is not the model's own."""
        name = self.dataset if self.variant is None else f"{self.dataset}.{self.variant}"
        return f"preset {self.plugin}:{name}" if foreign else f"preset {name}"

    def read(self) -> dict[str, Any]:
        """Its values.

        Raises:
            PluginError: the file does not parse.
        """
        try:
            return parse_toml(self.file.read_text(encoding="utf-8"), str(self.file))
        except ConfigError as error:
            raise PluginError(f"a preset of {self.plugin} cannot be read", error.problem, *error.facts) from error


def presets_in(plugin: Plugin) -> Iterator[Preset]:
    """The presets of one plugin, by model, then by dataset; a package that cannot be found is noted as its problem."""
    package = plugin.presets
    if package is None:
        return
    try:
        root = files(package)
    except ModuleNotFoundError as error:
        plugin.note(f"sslrec_presets() names the package '{package}': {error}")
        return
    for folder in _folders(root):
        yield from _in_folder(plugin.name, folder, folder.name)
        for inner in _folders(folder):
            yield from _in_folder(plugin.name, inner, f"{folder.name}/{inner.name}")


def spaces_in(plugin: Plugin) -> dict[str, Path]:
    """The search spaces of one plugin, by model."""
    try:
        root = files(plugin.presets) if plugin.presets else None
    except ModuleNotFoundError:
        return {}  # noted where presets are listed
    found: dict[str, Path] = {}
    for folder in _folders(root) if root else ():
        for model, place in ((folder.name, folder), *((f"{folder.name}/{one.name}", one) for one in _folders(folder))):
            if (file := place / SPACE).is_file():
                found[model] = Path(str(file))
    return found


def _folders(root: Traversable) -> list[Traversable]:
    inside = [one for one in root.iterdir() if one.is_dir() and one.name != "__pycache__"]
    return sorted(inside, key=lambda one: one.name)


def _in_folder(plugin: str, folder: Traversable, model: str) -> Iterator[Preset]:
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".toml") and file.name != SPACE:
            dataset, _, variant = file.name.removesuffix(".toml").partition(".")
            yield Preset(plugin, model, dataset, variant or None, file)
