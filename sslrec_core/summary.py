"""First lines of docstrings, read from the source so that listing a component does not import it."""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path


def summary_of(target: str | type) -> str:
    """First line of the docstring of ``"module:name"`` or of a class; empty if there is none to be found."""
    if isinstance(target, type):
        text = inspect.cleandoc(target.__doc__ or "")
    else:
        module, _, name = target.partition(":")
        text = _docstring(module, name)
    return text.strip().partition("\n")[0]


def module_summary(module: str) -> str:
    """First line of a module's docstring, without importing it."""
    tree = _tree(module)
    return (ast.get_docstring(tree) or "").partition("\n")[0] if tree else ""


def forget() -> None:
    """Read sources again the next time."""
    _tree.cache_clear()


def _docstring(module: str, name: str, hops: int = 3) -> str:
    tree = _tree(module)
    for node in tree.body if tree else ():
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return ast.get_docstring(node) or ""
        if isinstance(node, ast.ImportFrom) and hops:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _docstring(_absolute(node, module), alias.name, hops - 1)
    return ""


def _absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    spec = _spec(module)
    is_package = spec is not None and spec.submodule_search_locations is not None
    parts = module.split(".")
    parents = parts[: len(parts) - node.level + is_package]
    return ".".join([*parents, *([node.module] if node.module else [])])


@cache
def _tree(module: str) -> ast.Module | None:
    spec = _spec(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    try:
        return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        # Whoever uses the component is told; a listing goes on without its summary.
        return None


def _spec(module: str) -> ModuleSpec | None:
    """Where ``module`` is, found without importing its parent packages as :func:`importlib.util.find_spec` would."""
    spec = None
    path = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = _find(name, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations) if spec.submodule_search_locations is not None else None
    return spec


def _find(name: str, path: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        if (spec := finder.find_spec(name, path)) is not None:
            return spec
    return None
