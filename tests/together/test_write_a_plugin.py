"""The tutorial is run from top to bottom, in an environment and a folder of its own."""

from __future__ import annotations

import os
import re
import site
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "write-a-plugin.md"
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block: its language, what is written after that, and its text."""

    language: str
    about: str
    text: str


def blocks() -> list[Block]:
    return [Block(found[1], found[2].strip(), found[3]) for found in BLOCK.finditer(PAGE.read_text())]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment that sees everything installed here, and into which the page installs."""
    root = tmp_path_factory.mktemp("tutorial-env")
    venv.create(root / "venv", with_pip=False, symlinks=True)
    python = root / "venv" / "bin" / "python"
    (target,) = (root / "venv" / "lib").glob("python*/site-packages")
    here = [path for path in map(Path, [*site.getsitepackages(), *sys.path]) if path.name == "site-packages"]
    lines = [f"import site; site.addsitedir({str(path)!r})" for path in dict.fromkeys(here)]
    (target / "parent.pth").write_text("\n".join(lines))
    for name, module in (("sslrec", "sslrec_core.cli"), ("pip", "pip"), ("pytest", "pytest")):
        script = root / "venv" / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{python}" -m {module} "$@"\n')
        script.chmod(0o755)
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV"))},
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one the wrong way round
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "SSLREC_CACHE": str(root / "cache"),
        "COLUMNS": "200",
    }


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a console block with the lines that it must print."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *printed = part.rstrip("\n").split("\n")
        yield command, printed


def matches(printed: list[str], output: str) -> bool:
    """Whether the output has these lines; ``...`` alone stands for any lines, and within a line for anything."""
    pattern = ""
    for line in printed:
        if line == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += r"[^\n]*?".join(re.escape(part.strip(" ")) if n else re.escape(part.rstrip(" "))
                                       for n, part in enumerate(line.split(" ... "))) + r"[ ]*\n"  # fmt: skip
    return re.fullmatch(pattern, output.rstrip("\n") + "\n" if output.strip() else "") is not None


@pytest.mark.skipif(os.name == "nt", reason="the page's commands are for a POSIX shell")
@pytest.mark.timeout(900)
def test_the_page_runs_from_top_to_bottom(environment: dict[str, str], tmp_path: Path) -> None:
    found = blocks()
    assert len(found) >= 12 and sum(block.language == "console" for block in found) >= 6
    for block in found:
        if block.language != "console":
            path = tmp_path / block.about.removesuffix("+").strip()
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if block.about.endswith("+") else "w") as file:
                file.write("\n\n" * block.about.endswith("+") + block.text)
            continue
        for command, printed in commands(block.text):
            done = subprocess.run(
                command, shell=True, cwd=tmp_path, env=environment, check=False, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            wrong = printed[:1] != [] and printed[0].startswith("sslrec: ")
            assert done.returncode == (2 if wrong else 0), f"$ {command}\n{done.stdout}"
            assert matches(printed, done.stdout), f"$ {command}\n{done.stdout}\n--- the page has:\n" + "\n".join(
                printed
            )
