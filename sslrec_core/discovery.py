"""Find the installed plugins, load each on its own, and note what is wrong with any of them."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import Distribution, EntryPoint, entry_points, version
from importlib.util import module_from_spec
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import pluggy
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sslrec_core import hooks
from sslrec_core.errors import PluginError, closest

BUILTIN = "sslrec-core"
"""The plugin that ships with the core, by its distribution."""

HOOKS = tuple(name for name in vars(hooks) if name.startswith("sslrec_"))
"""The registration hooks."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DATASET = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass
class Plugin:
    """A module that offers components, and what became of it.

    Stability: stable for callers from API 1.
    """

    name: str
    """Its distribution, or the file's name for ``-p FILE``."""
    version: str | None
    module: str
    """The module that the entry point names."""
    seconds: float = 0.0
    """Time that importing the module took."""
    problems: list[str] = field(default_factory=list)
    """Why it, or a part of it, cannot be used."""
    off: str | None = None
    """The switch that turned it off."""
    manager: pluggy.PluginManager | None = field(default=None, repr=False)
    """Holds its hook implementations; None if it is off or could not be loaded."""

    @property
    def problem(self) -> str | None:
        """All problems in one line, or None."""
        return "; ".join(self.problems) or None

    def note(self, problem: str) -> None:
        """Record a problem once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def answer(self, hook: str) -> Any:
        """What its implementation of a registration hook returns; None if it has none or that one fails."""
        if self.manager is None or not (found := getattr(self.manager.hook, hook).get_hookimpls()):
            return None
        implementation = found[0]
        if implementation.wrapper or implementation.hookwrapper:
            self.note(f"{hook} is a wrapper, and registration hooks have none")
            return None
        try:
            return implementation.function()
        except Exception as error:
            self.note(f"{hook}() failed with {type(error).__name__}: {error}")
            return None

    @cached_property
    def presets(self) -> str | None:
        """The package of its presets, or None."""
        package = self.answer("sslrec_presets")
        if package is not None and not isinstance(package, str):
            self.note(f"sslrec_presets() returns a {type(package).__name__}, not the name of a package")
            return None
        return package


def discover() -> list[Plugin]:
    """Every installed plugin, the core's own first, then by name.  One that is broken stops no other.

    ``SSLREC_PLUGINS=a,b`` leaves only these on, ``SSLREC_NO_PLUGINS=a`` all but these; the core's own is always on.
    """
    found = sorted(
        entry_points(group=hooks.GROUP),
        key=lambda point: (_distribution(point) != BUILTIN, _distribution(point), point.name),
    )
    plugins: dict[str, Plugin] = {}
    for point in found:
        distribution = _distribution(point)
        name = distribution if distribution not in plugins else f"{distribution}.{point.name}"
        plugin = Plugin(name, point.dist.version if point.dist else None, point.value)
        plugin.off = _switch(name, point.name)
        plugins[name] = plugin
        if plugin.off:
            continue
        if unmet := _unmet(point.dist):
            plugin.note(unmet)
            continue
        start = perf_counter()
        try:
            module = point.load()
        except Exception as error:
            plugin.note(f"cannot be imported: {type(error).__name__}: {error}")
            continue
        finally:
            plugin.seconds = perf_counter() - start
        _adopt(plugin, module)
    return list(plugins.values())


def load_file(path: Path) -> Plugin:
    """A plugin from one file.

    Raises:
        PluginError: the file is missing, cannot be imported, or implements a hook that does not exist.
    """
    if not path.is_file() or path.suffix != ".py":
        raise PluginError(f"there is no plugin file {path}", fix="give the path of a Python file after -p")
    name = f"sslrec_file_{path.stem}"
    plugin = Plugin(path.name, None, str(path))
    loader = SourceFileLoader(name, str(path))
    module = sys.modules[name] = module_from_spec(ModuleSpec(name, loader, origin=str(path)))
    module.__file__ = str(path)
    start = perf_counter()
    try:
        loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise PluginError(
            f"the plugin file {path} cannot be imported",
            *_lines_of(error, path),
            f"{type(error).__name__}: {error}",
            fix="correct the file; --traceback shows all",
        ) from error
    plugin.seconds = perf_counter() - start
    return _checked(plugin, module)


def adopt_module(module: ModuleType) -> Plugin:
    """A plugin from a module that is imported already.

    Raises:
        PluginError: it implements a hook that does not exist.
    """
    return _checked(Plugin(module.__name__, None, module.__name__), module)


def _checked(plugin: Plugin, module: ModuleType) -> Plugin:
    _adopt(plugin, module)
    if plugin.problems:
        raise PluginError(f"the plugin {plugin.name} cannot be used", *plugin.problems)
    return plugin


def offers(plugin: Plugin, kind: str) -> dict[str, str | type]:
    """What one plugin offers of one kind; what is malformed is left out and noted as a problem of the plugin."""
    hook = f"sslrec_{kind}s"
    answer = plugin.answer(hook)
    if answer is None:
        return {}
    if not isinstance(answer, Mapping):
        plugin.note(f"{hook}() returns a {type(answer).__name__}, not a mapping from names")
        return {}
    good: dict[str, str | type] = {}
    for name, target in answer.items():
        if wrong := _wrong(kind, name, target):
            plugin.note(f"{hook}() offers {wrong}")
        else:
            good[name] = target
    return good


def _wrong(kind: str, name: object, target: object) -> str | None:
    words = name.split("/") if isinstance(name, str) else []
    # A dataset keeps the spelling of those who publish it, which is that of its folder.
    allowed = _DATASET if kind == "dataset" else _NAME
    if not 1 <= len(words) <= 2 - (kind == "scenario") or not all(allowed.fullmatch(word) for word in words):
        shape = "a word" if kind == "scenario" else "name or scenario/name"
        return f"'{name}', which is not {shape} in lower case with '-' inside words"
    if not isinstance(target, type) and not (isinstance(target, str) and _TARGET.fullmatch(target)):
        return f"'{name}' as {target!r}, which is neither \"module:Class\" nor a class"
    return None


def _adopt(plugin: Plugin, module: Any) -> None:
    """Check the module's hooks and keep them, or note why they cannot be kept."""
    manager = pluggy.PluginManager("sslrec")
    manager.add_hookspecs(hooks)
    for name in HOOKS:
        implementation = vars(module).get(name)
        if callable(implementation) and not hasattr(implementation, "sslrec_impl"):
            plugin.note(f"{name} lacks @hookimpl, so it is never asked")
    try:
        manager.register(module, plugin.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        plugin.note(_explained(str(error), module))
        return
    plugin.manager = manager


def _explained(message: str, module: ModuleType) -> str:
    marked = [name for name, value in vars(module).items() if hasattr(value, "sslrec_impl")]
    for name in marked:
        if name in vars(hooks.RunHooks):
            return f"{name} is a run hook: implement it as a method of a Callback"
        if name not in HOOKS:
            similar = closest(name, HOOKS, 1)
            return f"there is no hook {name}" + (f", closest: {similar[0]}" if similar else "")
    return " ".join(message.split())


def _unmet(distribution: Distribution | None) -> str | None:
    """What a distribution says it needs of the core, if that is not what is installed."""
    for text in (distribution.requires or ()) if distribution else ():
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) != BUILTIN or (requirement.marker and not requirement.marker.evaluate()):
            continue
        installed = version(BUILTIN)
        if not requirement.specifier.contains(installed, prereleases=True):
            return f"needs {BUILTIN}{requirement.specifier}, {installed} is installed"
    return None


def _switch(plugin: str, point: str) -> str | None:
    if plugin == BUILTIN:
        return None
    only, without = os.environ.get("SSLREC_PLUGINS"), os.environ.get("SSLREC_NO_PLUGINS", "")
    if only is not None and not {plugin, point} & set(_listed(only)):
        return f"SSLREC_PLUGINS={only} leaves it out"
    if {plugin, point} & set(_listed(without)):
        return f"SSLREC_NO_PLUGINS={without} names it"
    return None


def _listed(text: str) -> Iterator[str]:
    for word in text.split(","):
        if word := word.strip():
            yield word
            yield canonicalize_name(word)


def _distribution(point: EntryPoint) -> str:
    return canonicalize_name(point.dist.name) if point.dist else point.name


def _lines_of(error: Exception, path: Path) -> Iterator[str]:
    if isinstance(error, SyntaxError) and error.lineno:
        yield f"{error.filename}, line {error.lineno}"
        return
    for frame in traceback.extract_tb(error.__traceback__)[::-1]:
        if Path(frame.filename) == path.absolute() or Path(frame.filename) == path:
            yield f"{path}, line {frame.lineno}: {frame.line}"
            return
