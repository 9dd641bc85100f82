"""The contract of a plugin as it is installed: what it offers can be used, and installing it is inert."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points, requires
from typing import ClassVar

import pytest
from packaging.requirements import Requirement

from sslrec_core.discovery import BUILTIN, Plugin, offers
from sslrec_core.hooks import GROUP
from sslrec_core.registry import KINDS, Entry, registry

HEAVY = ("torch", "numpy", "polars", "scipy")
"""What listing names must not import."""


class PluginContract:
    """What every installed plugin keeps::

    class TestPlugin(PluginContract):
        distribution = "sslrec-noisy"
        at_least = 3
    """

    distribution: ClassVar[str]
    """Name of the distribution, which sslrec knows the plugin by."""
    at_least: ClassVar[int] = 1
    """How many names it offers at least: a check of nothing would pass."""
    light: ClassVar[bool] = True
    """Whether its module imports nothing heavy; False for a plugin of one file, which offers classes themselves."""

    # ---- what the checks are made of ------------------------------------------------------------

    def found(self) -> Plugin:
        """The plugin as the registry found it."""
        known = registry().plugins
        if self.distribution not in known:
            pytest.fail(f"{self.distribution} is not installed; there are {', '.join(known)}")
        return known[self.distribution]

    def entries(self) -> list[Entry]:
        """All that it offers."""
        return [entry for kind in KINDS for entry in registry().entries(kind) if entry.plugin == self.distribution]

    # ---- checks ---------------------------------------------------------------------------------

    def test_it_is_installed_without_a_problem(self) -> None:
        """Its hooks exist, take arguments that exist, and answer what they should."""
        entries, found = self.entries(), self.found()
        assert found.problem is None, found.problem
        assert len(entries) >= self.at_least, f"{len(entries)} names are offered, {self.at_least} are expected"

    def test_every_name_means_what_it_offers(self) -> None:
        """No name is another's: whoever writes it gets this plugin's component."""
        known = registry()
        others = [entry.name for entry in self.entries() if known.find(entry.kind, entry.name) != entry]
        assert not others, f"these names mean another plugin's component: {', '.join(others)}"

    def test_every_component_can_be_imported(self) -> None:
        """It is there, is of its kind, and the first line of its docstring is a sentence for a list."""
        for entry in self.entries():
            loaded = entry.load()
            assert (loaded.__doc__ or "").strip(), f"{entry.name} has no docstring"
            assert entry.summary.endswith((".", "!", "?")), f"{entry.name} is listed with: {entry.summary!r}"

    def test_names_stand_in_order(self) -> None:
        """Offers are sorted, so that a name is found and two people add theirs in two places."""
        for kind in KINDS:
            names = list(offers(self.found(), kind))
            assert names == sorted(names), f"the {kind}s are not in order: {', '.join(names)}"

    def test_listing_it_imports_nothing_heavy(self) -> None:
        """`sslrec list` asks every plugin, and must not pay for torch."""
        if not self.light:
            pytest.skip("a plugin of one file imports what its components need")
        code = f"import sys, {self.found().module}; print(*(name for name in {HEAVY} if name in sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert not done.stdout.strip(), f"{self.found().module} imports {done.stdout.strip()}"

    def test_it_needs_the_core_and_no_sibling(self) -> None:
        """It says which core it was made for, and works beside the core alone."""
        needed = {one.name: one for one in map(Requirement, requires(self.distribution) or ()) if one.marker is None}
        assert BUILTIN in needed, f"it does not require {BUILTIN}"
        assert len(needed[BUILTIN].specifier), f"it does not say which {BUILTIN} it was made for"
        plugins = {point.dist.name for point in entry_points(group=GROUP) if point.dist} - {BUILTIN}
        assert not plugins & needed.keys(), f"it requires another plugin: {', '.join(plugins & needed.keys())}"
