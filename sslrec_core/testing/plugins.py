"""Throw-away plugins: written, installed into a temporary folder and discovered, as a user's would be."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from textwrap import dedent

import pytest

from sslrec_core import discovery, registry
from sslrec_core.discovery import BUILTIN, Plugin
from sslrec_core.hooks import GROUP


class PluginMaker:
    """Writes plugins into one folder, which is on the import path while the test runs.

    Stability: stable for callers from API 1.
    """

    def __init__(self, site: Path) -> None:
        self.site = site
        """The folder; on ``PYTHONPATH`` a child process finds the plugins too."""
        self._packages: set[str] = set()

    def __call__(
        self,
        name: str,
        source: str = "",
        *,
        files: Mapping[str, str] | None = None,
        version: str = "1.0",
        requires: Sequence[str] = ("sslrec-core>=0.1",),
        commands: Mapping[str, str] | None = None,
    ) -> Plugin:
        """Write a distribution and discover it.

        Args:
            name: Of the distribution: ``"sslrec-noisy"``, whose package is then ``sslrec_noisy``.
            source: Text of the package's ``plugin.py``, which the entry point names; may be indented.
            files: Further files of the package, by path inside it: ``{"presets/noisy/demo.toml": "…"}``.
            version: Of the distribution.
            requires: Its requirements.
            commands: Commands it adds to sslrec, each with ``"module:function"``.

        Returns:
            The plugin as the registry found it, with its problems if there are any.
        """
        package = name.replace("-", "_")
        for path, text in {"__init__.py": "", "plugin.py": source, **(files or {})}.items():
            self._write(f"{package}/{path}", dedent(text))
        points = f"[{GROUP}]\n{package} = {package}.plugin\n"
        if commands:
            points += "[sslrec.commands]\n" + "".join(f"{word} = {target}\n" for word, target in commands.items())
        metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        metadata += [f"Requires-Dist: {one}" for one in requires]
        self._write(f"{package}-{version}.dist-info/METADATA", "\n".join(metadata) + "\n")
        self._write(f"{package}-{version}.dist-info/entry_points.txt", points)
        self._packages.add(package)
        self.forget()
        return registry.registry().plugins[re.sub(r"[-_.]+", "-", name).lower()]

    def forget(self) -> None:
        """Drop what was imported, so that the next look-up reads the folder again."""
        importlib.invalidate_caches()
        for module in [module for module in sys.modules if module.partition(".")[0] in self._packages]:
            del sys.modules[module]
        registry.reset()

    def _write(self, path: str, text: str) -> None:
        target = self.site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


@pytest.fixture
def make_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginMaker]:
    """Write a plugin, install it in a temporary folder and discover it, beside the core's own and no other::

    def test_it(make_plugin):
        plugin = make_plugin("sslrec-noisy", '''
            from sslrec_core import hookimpl

            @hookimpl
            def sslrec_models():
                return {"cf/noisy": "sslrec_noisy.model:Noisy"}
        ''')
        assert plugin.problem is None
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.delenv("SSLREC_PLUGINS", raising=False)
    monkeypatch.delenv("SSLREC_NO_PLUGINS", raising=False)

    def only_these(group: str) -> list[EntryPoint]:
        known = ((point, point.dist) for point in entry_points(group=group))
        return [point for point, dist in known if dist and (dist.name == BUILTIN or _inside(dist, site))]

    monkeypatch.setattr(discovery, "entry_points", only_these)
    maker = PluginMaker(site)
    registry.reset()
    yield maker
    maker.forget()


def _inside(distribution: Distribution, folder: Path) -> bool:
    return Path(str(distribution.locate_file(""))).resolve() == folder.resolve()
