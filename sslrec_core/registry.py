"""From installed plugins to names, and from a name to one component, which is imported when it is used.

A plugin is a module named by an entry point in the group ``sslrec.plugins``; it is known by its distribution's
name.  Names have three spellings, each more exact: ``kgcl``, ``kg/kgcl``, ``sslrec-kg:kg/kgcl``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from sslrec_core.discovery import BUILTIN, Plugin, adopt_module, discover, load_file, offers
from sslrec_core.errors import AmbiguousName, PluginError, UnknownName, closest
from sslrec_core.presets import Preset, presets_in, spaces_in
from sslrec_core.summary import forget, summary_of

BASES = {
    "scenario": "sslrec_core.data:Scenario",
    "dataset": "sslrec_core.data:Dataset",
    "model": "sslrec_core.model:Model",
    "encoder": "sslrec_core.model:Encoder",
    "augmenter": "sslrec_core.model:Augmenter",
    "objective": "sslrec_core.model:Objective",
    "evaluator": "sslrec_core.evaluate:Evaluator",
    "callback": "sslrec_core.loop:Callback",
    "backend": "sslrec_core.graph:GraphBackend",
}
"""Every kind of component, and the class that its members derive from.  Import strings: a base class needs torch."""

KINDS: Sequence[str] = tuple(BASES)


@dataclass(frozen=True)
class Entry:
    """One name that one plugin offers.

    Stability: stable for callers from API 1.
    """

    kind: str
    name: str
    """``scenario/name``, or a word alone for what belongs to no scenario."""
    plugin: str
    target: str | type = field(repr=False)
    """``"module:Class"``, or the class."""

    @property
    def full_name(self) -> str:
        """The name with its plugin: ``sslrec-kg:kg/kgcl``, which can mean nothing else."""
        return f"{self.plugin}:{self.name}"

    @property
    def scenario(self) -> str | None:
        """The part before the slash, or None where the name belongs to no scenario."""
        return self.name.partition("/")[0] if "/" in self.name else None

    @property
    def short_name(self) -> str:
        """The part after the slash."""
        return self.name.rpartition("/")[2]

    @property
    def where(self) -> str:
        """``module:Class``, whichever way it was offered."""
        if isinstance(self.target, str):
            return self.target
        return f"{self.target.__module__}:{self.target.__qualname__}"

    @cached_property
    def summary(self) -> str:
        """First line of the class's docstring, read without importing its module; empty if there is none."""
        return summary_of(self.target)

    def load(self) -> Any:
        """Import the class.

        Raises:
            PluginError: the module cannot be imported, has no such class, or the class is not of this kind.
        """
        return self._class

    @cached_property
    def _class(self) -> type:
        try:
            loaded = _import(self.target) if isinstance(self.target, str) else self.target
        except Exception as error:
            raise PluginError(
                f"{self.kind} '{self.name}' is installed but cannot be imported",
                f"{self.where}, offered by {self.plugin}",
                f"{type(error).__name__}: {error}",
                fix="install what it needs, then: sslrec plugins",
            ) from error
        base = _import(BASES[self.kind])
        if not isinstance(loaded, type) or not _is_a(loaded, base):
            raise PluginError(
                f"{self.kind} '{self.name}' is not a {base.__name__}",
                f"{self.where}, offered by {self.plugin}, is {_described(loaded)}",
                fix=f"derive it from {BASES[self.kind].replace(':', '.')}",
            )
        return loaded


class Registry:
    """Which plugins are installed, and what they offer.

    Stability: stable for callers from API 1.
    """

    def __init__(self) -> None:
        self._entries: dict[str, list[Entry]] = {}
        self._added: list[Plugin] = []

    @cached_property
    def _installed(self) -> list[Plugin]:
        return discover()

    @property
    def plugins(self) -> dict[str, Plugin]:
        """Every plugin by name, those that are off or broken included, the core's own first."""
        return {plugin.name: plugin for plugin in [*self._installed, *self._added]}

    def add_file(self, path: str | Path) -> Plugin:
        """Load a plugin from one file, for ``-p FILE``; it is known by the file's name.

        Raises:
            PluginError: the file is missing, cannot be imported, or implements a hook that does not exist.
        """
        return self._add(load_file(Path(path)))

    @property
    def files(self) -> list[Path]:
        """The plugin files that were added: what a process that works for this one must add too."""
        return [Path(plugin.module).absolute() for plugin in self._added if plugin.module.endswith(".py")]

    def add_module(self, module: ModuleType) -> Plugin:
        """Take an imported module as a plugin, known by the module's name; for tests and notebooks.

        Raises:
            PluginError: it implements a hook that does not exist.
        """
        return self._add(adopt_module(module))

    def _add(self, plugin: Plugin) -> Plugin:
        self._added = [known for known in self._added if known.name != plugin.name] + [plugin]
        self._entries.clear()
        return plugin

    def entries(self, kind: str) -> list[Entry]:
        """What all plugins offer of one kind, by name."""
        if kind not in self._entries:
            found = [
                Entry(kind, name, plugin.name, target)
                for plugin in self.plugins.values()
                for name, target in offers(plugin, kind).items()
            ]
            self._entries[kind] = sorted(found, key=lambda entry: (entry.name, entry.plugin))
        return self._entries[kind]

    def find(self, kind: str, name: str, scenario: str | None = None) -> Entry:
        """The one entry that ``name`` means; a bare name is looked up in ``scenario`` if that is given.

        Raises:
            UnknownName: no plugin offers it.
            AmbiguousName: several do, and none of them owns it.
        """
        plugin, _, rest = name.rpartition(":")
        known = [entry for entry in self.entries(kind) if plugin in ("", entry.plugin)]
        # From the most to the least exact reading; the first that anything matches is the one that counts.
        readings = [
            [entry for entry in known if entry.scenario == scenario and entry.short_name == rest] if scenario else [],
            [entry for entry in known if entry.name == rest],
            [entry for entry in known if entry.short_name == rest and scenario is None],
        ]
        matches = next((reading for reading in readings if reading), [])
        owned = [entry for entry in matches if self._owns(entry)]
        if len(matches) != 1:
            matches = owned or matches
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise self._ambiguous(kind, name, matches)
        raise self._unknown(kind, name, scenario)

    def written(self, entry: Entry) -> str:
        """How to write ``entry`` down so that it is found again: its name, or the full name where that is another's."""
        same = [other for other in self.entries(entry.kind) if other.name == entry.name]
        owned = [other for other in same if self._owns(other)]
        return entry.name if same == [entry] or owned == [entry] else entry.full_name

    def preset(self, model: Entry, dataset: str, name: str | None = None) -> tuple[str, dict[str, Any]] | None:
        """The preset of ``model`` for ``dataset``: where it comes from and its values.

        Args:
            model: A model's entry.
            dataset: Name of the dataset, with or without its scenario.
            name: None for the model's own; ``none`` for no preset; or ``VARIANT``, ``PLUGIN`` or ``PLUGIN:VARIANT``.

        Returns:
            None if the model's own plugin has none for this dataset and no default.

        Raises:
            UnknownName: ``name`` was given and there is no such preset.
            PluginError: the preset's file does not parse.
        """
        if name == "none":
            return None
        plugin, variant = model.plugin, None
        if name is not None:
            head, colon, tail = name.partition(":")
            plugin, variant = (head, tail or None) if colon or head in self.plugins else (model.plugin, head)
        word = dataset.rpartition("/")[2]
        mine = [one for one in self.presets() if one.plugin == plugin and one.model in (model.name, model.short_name)]
        for wanted in (word, "default"):
            for one in mine:
                if (one.dataset, one.variant) == (wanted, variant):
                    return one.origin(foreign=plugin != model.plugin), one.read()
        if name is None:
            return None
        raise self._no_preset(model, word, name)

    def presets(self) -> list[Preset]:
        """Every preset of every plugin."""
        return [preset for plugin in self.plugins.values() for preset in presets_in(plugin)]

    def space(self, model: Entry) -> Path | None:
        """The search space that the plugin of ``model`` ships for it."""
        found = spaces_in(self.plugins[model.plugin])
        return found.get(model.name) or found.get(model.short_name)

    def notes(self) -> list[str]:
        """One line for each plugin that is installed but broken or switched off."""
        return [
            f"note: plugin {plugin.name} is installed but {'off' if plugin.off else 'has a problem'}: {reason}"
            for plugin in self.plugins.values()
            for reason in ([plugin.off] if plugin.off else plugin.problems)
        ]

    def _owns(self, entry: Entry) -> bool:
        if entry.scenario is None:
            return entry.plugin == BUILTIN
        return any(s.plugin == entry.plugin and s.name == entry.scenario for s in self.entries("scenario"))

    def _ambiguous(self, kind: str, name: str, matches: Sequence[Entry]) -> AmbiguousName:
        names = [e.name if self.written(e) == e.name else e.full_name for e in matches]
        return AmbiguousName(
            f"{_a(kind)} called '{name}' is offered by {' and '.join(dict.fromkeys(e.plugin for e in matches))}",
            f"which of: {', '.join(names)}",
            fix=f"write it in full, such as {names[0]}",
        )

    def _unknown(self, kind: str, name: str, scenario: str | None) -> UnknownName:
        word = name.rpartition(":")[2]
        known = self.entries(kind)
        spellings = {spelling: e.name for e in known for spelling in (e.short_name, e.name)}
        similar = list(dict.fromkeys(spellings[one] for one in closest(word, spellings)))
        elsewhere = [e.name for e in known if e.short_name == word and scenario not in (None, e.scenario)]
        facts = []
        if ":" in name and name.partition(":")[0] not in self.plugins:
            facts.append(f"no plugin is called '{name.partition(':')[0]}', installed: {', '.join(self.plugins)}")
        if elsewhere:
            facts.append(f"of another scenario: {', '.join(elsewhere)}")
        elif similar:
            facts.append(f"closest: {', '.join(similar)}")
        others = [k for k in KINDS if k != kind and any(word in (e.name, e.short_name) for e in self.entries(k))]
        facts += [f"'{word}' is {_a(other)}" for other in others]
        where = f" in scenario '{scenario}'" if scenario and elsewhere else ""
        return UnknownName(f"no {kind} is called '{name}'{where}", *facts, *self.notes(), fix=f"sslrec list {kind}s")

    def _no_preset(self, model: Entry, dataset: str, name: str) -> UnknownName:
        known = [one for one in self.presets() if one.model in (model.name, model.short_name)]
        names = ", ".join(f"{one.plugin}:{one.variant or ''} for {one.dataset}" for one in known)
        return UnknownName(
            f"no preset '{name}' of {model.name} for {dataset}",
            f"there are: {names}" if names else "there are no presets of this model",
            *self.notes(),
            fix="leave --preset out, or --preset none for the class defaults",
        )


_current: Registry | None = None


def registry() -> Registry:
    """The registry of this process."""
    global _current
    if _current is None:
        _current = Registry()
    return _current


def reset() -> None:
    """Forget what was discovered, so that the next look-up discovers again; for tests."""
    global _current
    _current = None
    forget()


def _import(target: str) -> Any:
    module, _, names = target.partition(":")
    found: Any = import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    return found


def _is_a(loaded: type, base: type) -> bool:
    if not getattr(base, "_is_protocol", False):
        return issubclass(loaded, base)
    owed = {name for name in (*vars(base), *_annotated([base])) if not name.startswith("_")}
    return owed <= {*dir(loaded), *_annotated(loaded.__mro__)}


def _annotated(classes: Iterable[type]) -> Iterator[str]:
    for one in classes:
        yield from vars(one).get("__annotations__", {})


def _described(loaded: object) -> str:
    if not isinstance(loaded, type):
        return f"a {type(loaded).__name__}"
    return f"derived from {', '.join(base.__name__ for base in loaded.__bases__)}"


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
