"""What `sslrec new plugin` writes is installed with pip beside the core alone, trains, and passes the contracts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sslrec_core.testing import toys

NAME = "sslrec-noisy"
OFFERED = {"models": "noisy", "augmenters": "noisy-noise", "objectives": "noisy-margin"}


class Place:
    """A folder with the plugin's source, and an environment in which it and the core are the only plugins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / NAME
        self.site = folder / "site"

    def run(self, *command: str | Path) -> str:
        """What a command prints; it must succeed."""
        path = os.pathsep.join(filter(None, [str(self.site), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "SSLREC_PLUGINS": NAME, "COLUMNS": "200"}
        words = [sys.executable, "-m", *map(str, command)]
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The template, rendered and installed as a user would, but without downloading what is here already."""
    place = Place(tmp_path_factory.mktemp("new-plugin"))
    place.run("sslrec_core.cli", "new", "plugin", NAME)
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--quiet")
    place.run("pip", "install", *offline, "--target", place.site, place.source)
    return place


def test_it_is_an_installed_plugin_beside_the_core_alone(installed: Place) -> None:
    lines = installed.run("sslrec_core.cli", "plugins").splitlines()
    offering = [line.split()[0] for line in lines if re.search(r"\d+ models?\b", line)]
    assert offering == ["sslrec-core", NAME], lines


@pytest.mark.parametrize("kind", OFFERED)
def test_it_offers_a_model_an_augmenter_and_an_objective(installed: Place, kind: str) -> None:
    listed = installed.run("sslrec_core.cli", "list", kind)
    assert re.search(rf"^\s*{OFFERED[kind]}\s+{NAME}\s", listed, flags=re.MULTILINE), listed


def test_it_trains_and_recommends(installed: Place) -> None:
    world = ("-p", str(Path(toys.__file__)))
    settings = ("--set", "scenario.name=plain", "--set", "train.epochs=3", "--set", "model.noise.distance=0.2")
    where = ("--dataset", "checkerboard", "-o", installed.folder / "run", "--json")
    result = json.loads(installed.run("sslrec_core.cli", *world, "train", "noisy", *where, *settings))
    assert 0 < result["metrics"]["recall@20"] <= 1
    asked = ("recommend", installed.folder / "run", "--user", "3", "-k", "4", "--format", "jsonl")
    ranked = json.loads(installed.run("sslrec_core.cli", *world, *asked))
    assert len(ranked["items"]) == 4


@pytest.mark.timeout(300)
def test_it_passes_the_contracts(installed: Place) -> None:
    printed = installed.run("pytest", installed.source, "-q", "-p", "no:cacheprovider", "--rootdir", installed.source)
    found = re.search(r"(\d+) passed", printed)
    assert found is not None, printed
    assert int(found[1]) >= 30, printed
