"""The commands in the README and in the documentation exist, with their options, models and datasets."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from sslrec_core.cli import group
from sslrec_core.registry import registry

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "docs/data.md", "docs/experiments.md"]


def commands(page: str) -> list[str]:
    """The shell lines of a page, without their comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command that a line means, and its options as the command line reads them."""
    node, path = group(), []
    context = node.make_context("sslrec", list(words))
    while hasattr(node, "commands") or hasattr(node, "list_commands"):
        name, node, rest = node.resolve_command(context, [*context._protected_args, *context.args])
        path.append(name)
        context = node.make_context(name, list(rest), parent=context)
    return " ".join(path), context.params


def test_pages_have_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) >= 15


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    lines = [*commands("README.md"), *commands("CONTRIBUTING.md")]
    named = {shlex.split(line, comments=True)[1] for line in lines if line.startswith("make ")}
    assert {"demo", "test", "check"} <= named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_sslrec_commands_exist(page: str) -> None:
    lines = [line for line in commands(page) if line.startswith("sslrec ")]
    assert lines
    for line in lines:
        path, options = parsed(shlex.split(line, comments=True)[1:])
        model, dataset = options.get("model"), options.get("dataset")
        if path == "train" and model is not None and model != "noisy":
            entry = registry().find("model", model)
            if not dataset.startswith("./"):
                registry().find("dataset", dataset, entry.scenario)
