"""One version everywhere: every pyproject.toml, the plugins' range of the core, and the changelog.

python tools/bump.py 0.2.0
"""

from __future__ import annotations

import argparse
import datetime
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MENTIONS = ("sslrec_core/cli/templates/plugin/pyproject.toml.tmpl", "docs/write-a-plugin.md")
"""Other files that show the range of the core which a plugin asks for."""
KINDS = ("added", "changed", "deprecated", "removed", "fixed")


def replace(path: Path, pattern: str, text: str) -> None:
    """Substitute ``pattern``, which must occur, in ``path``."""
    new, found = re.subn(pattern, text, path.read_text(), flags=re.MULTILINE)
    if not found:
        raise SystemExit(f"{path.relative_to(ROOT)}: nothing matches {pattern!r}")
    path.write_text(new)


def entry(path: Path) -> str:
    """A fragment as an entry of a list."""
    return "- " + path.read_text().strip().replace("\n", "\n  ")


def fragments() -> str:
    """The changes since the last version, by kind, from ``changelog.d``."""
    parts = []
    for kind in KINDS:
        files = sorted((ROOT / "changelog.d").glob(f"*.{kind}.md"))
        if files:
            parts.append(f"### {kind.capitalize()}\n\n" + "\n".join(map(entry, files)))
        for path in files:
            path.unlink()
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", help="such as 0.2.0")
    version = parser.parse_args().version
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", version)
    if not found:
        parser.error(f"not a version of three numbers: {version}")
    major, minor = int(found[1]), int(found[2])
    plugins = sorted((ROOT / "plugins").glob("*/pyproject.toml"))
    for path in (ROOT / "pyproject.toml", *plugins):
        replace(path, r'^version = "[^"]+"', f'version = "{version}"')
    for path in (ROOT / "pyproject.toml", *plugins, *(ROOT / name for name in MENTIONS)):
        replace(path, r"(sslrec-[a-z]+)>=[\d.]+,<[\d.]+", rf"\1>={major}.{minor},<{major}.{minor + 1}")
    heading = f"## {version} ({datetime.date.today().isoformat()})"
    replace(
        ROOT / "CHANGELOG.md", r"^<!-- next -->$", f"<!-- next -->\n\n{heading}\n\n" + fragments().replace("\\", r"\\")
    )
    print(f"version {version}; now: make test && git commit -am 'release: {version}' && git tag v{version}")


if __name__ == "__main__":
    main()
