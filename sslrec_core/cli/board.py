"""A leaderboard of many runs, as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sslrec_core.errors import ConfigError


def command(
    folder: Annotated[Path, typer.Argument(help="Folder of runs; those of studies and sweeps are found in it.")] = Path(
        "runs"
    ),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the page; default: board in the folder of runs.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the page and keep it up to date instead.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to serve it; 0 for any that is free.")] = 8765,
    host: Annotated[str, typer.Option(help="Who may see it: 127.0.0.1 is this machine alone.")] = "127.0.0.1",
) -> None:
    """Put many runs side by side on one page: sort, filter, compare.

    The page is one file that opens without a server and asks nothing of the network.

    Example: sslrec board runs
    """
    if serve and output is not None:
        raise ConfigError("--serve writes no files", fix="leave out -o, or leave out --serve")

    from sslrec_core.overview.scan import Scanner

    scanner = Scanner(folder)
    if serve:
        from sslrec_core.overview.server import run

        run(scanner, host, port)
        return

    from sslrec_core.overview.page import write_board

    runs = scanner.scan()
    path = write_board(runs, folder, output or folder / "board")
    unreadable = sum(seen.state == "unreadable" for seen in runs)
    print(f"board {path}  {len(runs)} runs{f', {unreadable} unreadable' if unreadable else ''}")
