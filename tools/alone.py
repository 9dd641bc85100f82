"""Test each distribution alone: a fresh environment with the core and that one only, then its tests.

    python tools/alone.py                       from the source tree
    python tools/alone.py --wheels dist         from wheels, which catches files that were left out
    python tools/alone.py --select preset       only the tests that pytest -k would choose
    python tools/alone.py --smoke sslrec-kg     one of them, without its tests

The tests run on a copy outside the repository, so that what is imported is what was installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORE = "sslrec-core"


def distributions() -> dict[str, Path]:
    """Name of each distribution of this repository and its folder, the core first."""
    folders = [ROOT, *sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))]
    return {project(folder)["name"]: folder for folder in folders}


def project(folder: Path) -> dict[str, str]:
    """The ``[project]`` table of ``folder``."""
    table: dict[str, str] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return table


def fits(folder: Path) -> bool:
    """Whether this Python is one that the distribution in ``folder`` accepts."""
    upper = [part for part in project(folder).get("requires-python", "").split(",") if part.strip().startswith("<")]
    return all(sys.version_info[:2] < tuple(int(n) for n in part.strip(" <").split(".")) for part in upper)


def source(name: str, folder: Path, wheels: Path | None) -> str:
    """What pip is given for a distribution: its folder or its wheel."""
    if wheels is None:
        return str(folder)
    found = list(wheels.glob(f"{name.replace('-', '_')}-*.whl"))
    if len(found) != 1:
        sys.exit(f"expected one wheel of {name} in {wheels}, found {len(found)}\n  fix: make wheels")
    return str(found[0].resolve())


def call(command: Sequence[str | Path], cwd: Path) -> None:
    """Run a command and fail with it."""
    print("$", *command, flush=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONPATH", "SSLREC_"))}
    done = subprocess.run([str(part) for part in command], cwd=cwd, check=False, env=clean)
    if done.returncode:
        sys.exit(f"failed with {done.returncode}: {' '.join(map(str, command))}")


def check(name: str, folder: Path, wheels: Path | None, smoke: bool, select: str) -> None:
    """Install the core and ``name`` into a fresh environment and test it there."""
    with tempfile.TemporaryDirectory(prefix=f"alone-{name}-") as temporary:
        home = Path(temporary)
        call([sys.executable, "-m", "venv", home / "venv"], home)
        python = home / "venv" / "bin" / "python"
        wanted = [f"{source(CORE, ROOT, wheels)}[test]", "pytest-xdist"]
        if name != CORE:
            wanted.append(source(name, folder, wheels))
        call([python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", *wanted], home)
        call([python, "-m", "pip", "check"], home)
        sslrec = python.with_name("sslrec")
        for arguments in (["--help"], ["plugins"], ["list"]):
            call([sslrec, *arguments], home)
        if smoke:
            return
        tests = ROOT / "tests" / "core" if name == CORE else folder / "tests"
        copied = home / tests.relative_to(ROOT)
        shutil.copytree(tests, copied, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("conftest.py", "pyproject.toml"):
            shutil.copy(ROOT / file, home / file)
        if name != CORE:
            shutil.copy(folder / "pyproject.toml", copied.parent / "pyproject.toml")
        options: list[str | Path] = ["-c", home / "pyproject.toml", "--rootdir", home, "-p", "no:cacheprovider", "-q"]
        options += ["-n", "2", "--dist", "loadscope", "-k", select]
        call([python, "-m", "pytest", *options, copied], home)
        if name == CORE:
            third_party(python, home)


def third_party(python: Path, home: Path) -> None:
    """Write a plugin from the template, install it beside the core alone as a stranger would, and run its tests."""
    name = "sslrec-stranger"
    call([python.with_name("sslrec"), "new", "plugin", name], home)
    call([python, "-m", "pip", "install", "--quiet", f"./{name}"], home)
    call([python, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--rootdir", name, name], home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="distributions; all of them where none is named")
    parser.add_argument("--wheels", type=Path, help="folder of built wheels to install from")
    parser.add_argument("--select", default="", help="an expression as of pytest -k; default: all tests")
    parser.add_argument("--smoke", action="store_true", help="install and start the command, without the tests")
    options = parser.parse_args()
    known = distributions()
    unknown = set(options.names) - set(known)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    for name in options.names or known:
        if not fits(known[name]):
            print(f"{name}: not for Python {sys.version_info.major}.{sys.version_info.minor}, left out", flush=True)
            continue
        print(f"--- {name} alone", flush=True)
        check(name, known[name], options.wheels, options.smoke, options.select)


if __name__ == "__main__":
    main()
