"""The board as a page: one file that opens anywhere, or the same page on a server that keeps it up to date."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from sslrec_core.errors import ConfigError
from sslrec_core.files import storage, write_text
from sslrec_core.overview.board import Json, board, curves
from sslrec_core.overview.scan import Seen
from sslrec_core.pages.charts import THEME, library
from sslrec_core.pages.shell import render
from sslrec_core.records import REPORT

INDEX = "index.html"


def html(content: Json, drawn: Json | None, script: str) -> str:
    """The page.

    Args:
        content: What :func:`~sslrec_core.overview.board.board` gave.
        drawn: The curves of all runs; None where a server gives them when they are asked for.
        script: The charts' library.
    """
    live = drawn is None
    values = {
        "title": f"Runs in {content['root']}",
        "made": None if live else time.strftime("%Y-%m-%d %H:%M"),
        "board": {**content, "live": live, "theme": THEME},
        "curves": drawn or {},
    }
    return render(
        "board.html", values, package="sslrec_core.overview", styles=["board.css"], scripts=["board.js"],
        dormant={"vega": script}, connect=live,
    )  # fmt: skip


def write_board(runs: Sequence[Seen], root: Path, folder: Path) -> Path:
    """Write the page about ``runs`` below ``root`` into ``folder``; its path.

    Raises:
        ConfigError: there are no runs, or the extra ``report`` is not installed.
        StorageError: the folder cannot be written.
    """
    if not runs:
        raise ConfigError(f"there are no runs in {root}", fix="sslrec train … -o DIR makes one")
    script = library()
    with storage(folder, "writing the board"):
        folder.mkdir(parents=True, exist_ok=True)
    base = folder.resolve()

    def link(seen: Seen) -> str:
        path = Path(os.path.relpath(seen.directory.resolve(), base), REPORT)
        return quote(os.fsencode(path.as_posix()))

    path = folder / INDEX
    write_text(path, html(board(runs, root, link), curves(runs, root), script), "writing the board")
    return path
