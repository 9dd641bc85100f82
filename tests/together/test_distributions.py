"""What only the union of all distributions can show: one version, names that are unique, imports in one direction."""

from __future__ import annotations

import ast
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from sslrec_core.discovery import BUILTIN
from sslrec_core.registry import KINDS, registry

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
PROJECTS = {folder: tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in FOLDERS}
PACKAGES = {PROJECTS[folder]["name"].replace("-", "_"): folder for folder in FOLDERS}


def installed() -> list[str]:
    """Distributions of this repository that this Python has."""
    return [PROJECTS[folder]["name"] for folder in FOLDERS if PROJECTS[folder]["name"] in registry().plugins]


def test_all_distributions_are_here() -> None:
    everywhere = {"sslrec-core", "sslrec-cf", "sslrec-kg", "sslrec-mbehavior", "sslrec-seq", "sslrec-social"}
    assert {project["name"] for project in PROJECTS.values()} >= everywhere | {"sslrec-dgl"}
    assert set(installed()) >= everywhere


def test_versions_agree() -> None:
    versions = {project["name"]: project["version"] for project in PROJECTS.values()}
    assert len(set(versions.values())) == 1, versions
    assert {name: version(name) for name in installed()} == {name: versions[name] for name in installed()}
    major, minor, _ = versions["sslrec-core"].split(".")
    wanted = f"sslrec-core>={major}.{minor},<{major}.{int(minor) + 1}"
    for folder, project in PROJECTS.items():
        if folder != ROOT:
            assert wanted in project["dependencies"], f"{project['name']} must depend on {wanted}"


def test_no_plugin_has_a_problem() -> None:
    for kind in KINDS:
        registry().entries(kind)
    for name in installed():
        assert registry().plugins[name].problem is None, registry().plugins[name].problems


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_unique_and_importable(kind: str) -> None:
    entries = [entry for entry in registry().entries(kind) if entry.plugin in installed()]
    assert entries, f"no {kind} at all"
    names = [entry.name for entry in entries]
    assert sorted(set(names)) == sorted(names)
    for entry in entries:
        assert entry.load()
        assert entry.summary.endswith("."), f"{entry.full_name}: {entry.summary!r} is not a sentence"


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_plugins_import_the_core_alone(package: str) -> None:
    files = sorted((PACKAGES[package] / package).rglob("*.py"))
    assert len(files) >= 3, f"only {len(files)} files in {package}"
    siblings = set(PACKAGES) - {package, "sslrec_core"}
    for path in files:
        assert not imported(path) & siblings, f"{path} imports {imported(path) & siblings}"
        if package != "sslrec_core":
            continue
        assert not imported(path) & set(PACKAGES) - {"sslrec_core"}, f"{path} imports a plugin"


def test_the_core_names_no_plugin() -> None:
    files = sorted((ROOT / "sslrec_core").rglob("*.py"))
    assert len(files) > 30
    others = [name for name in PACKAGES if name != "sslrec_core"]
    naming = [(path.name, name) for path in files for name in others if name in path.read_text()]
    # The contract of plugins explains itself by an example.
    assert [row for row in naming if row[0] != "hooks.py"] == []


def test_bare_names_belong_to_the_core() -> None:
    bare = [entry for entry in registry().entries("model") if "/" not in entry.name and entry.plugin in installed()]
    assert len(bare) >= 4
    assert {entry.plugin for entry in bare} == {BUILTIN}
