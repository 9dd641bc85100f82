"""The board on a server: the same page, which asks for what changed while runs train."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import quote

from sslrec_core.errors import ConfigError
from sslrec_core.overview.board import Json, board, curves
from sslrec_core.overview.page import html
from sslrec_core.overview.scan import Scanner, Seen
from sslrec_core.pages.charts import library
from sslrec_core.records import REPORT

try:
    import uvicorn
    from fastapi import FastAPI, HTTPException, Query
    from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
    from starlette.middleware.trustedhost import TrustedHostMiddleware
except ImportError as error:
    raise ConfigError(
        "serving needs the libraries FastAPI and uvicorn", f"{error.name} is not installed",
        fix="pip install 'sslrec-core[serve]'",
    ) from error  # fmt: skip

FRESH = 1.0
"""Seconds for which a look at the runs is good enough for everybody who asks."""


class Live:
    """The board as it is now, and what of it changed since a version that a page has."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._runs: dict[str, Seen] = {}
        self._content: Json = {}
        self._version = 0
        self._since: dict[str, int] = {}

    def changes(self, since: int) -> Json:
        """The board with those groups alone that are newer than the version ``since``; 0 gives all."""
        with self._lock:
            self._look()
            groups = {name: group for name, group in self._content["groups"].items() if self._since[name] > since}
            return {**self._content, "groups": groups, "version": self._version}

    def run(self, path: str) -> Seen | None:
        """The run at ``path`` below the folder, written as the board writes it; None for anything else."""
        with self._lock:
            self._look()
            return self._runs.get(path)

    def _look(self) -> None:
        if time.monotonic() - self._looked < FRESH:
            return
        root = self._scanner.root
        runs = self._scanner.scan()
        content = board(runs, root, lambda seen: f"runs/{quote(seen.place(root))}/{REPORT}")
        if content != self._content:
            self._version += 1
            old = self._content.get("groups", {})
            self._since = {
                name: self._since[name] if old.get(name) == group else self._version
                for name, group in content["groups"].items()
            }
        self._content, self._looked = content, time.monotonic()
        self._runs = {seen.place(root): seen for seen in runs}


def application(scanner: Scanner, names: Sequence[str]) -> FastAPI:
    """The server's answers; it gives to read and takes nothing.

    Args:
        scanner: Looks at the runs.
        names: Names of this server that are answered to, so that no page from elsewhere can ask by another.
    """
    live, script = Live(scanner), library()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(names))

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(html(live.changes(0), None, script))

    @app.get("/changes")
    def changes(since: int) -> JSONResponse:
        return JSONResponse(live.changes(since))

    @app.get("/curves")
    def drawn(path: Annotated[list[str], Query()]) -> JSONResponse:
        known = [seen for name in path if (seen := live.run(name)) is not None]
        return JSONResponse(curves(known, scanner.root))

    @app.get("/runs/{path:path}/" + REPORT)
    def report(path: str) -> FileResponse:
        # Looked up among the runs that were found, never joined to a folder: no path leads anywhere else.
        seen = live.run(path)
        if seen is None or not (seen.directory / REPORT).is_file():
            raise HTTPException(404, "this run has no report")
        return FileResponse(seen.directory / REPORT, media_type="text/html")

    return app


def run(scanner: Scanner, host: str, port: int) -> None:
    """Serve the board until Ctrl-C.

    Raises:
        ConfigError: the extra ``report`` is not installed, or the port cannot be had.
    """
    listening = _listen(host, port)
    address = f"{host}:{listening.getsockname()[1]}"
    everywhere = host in ("0.0.0.0", "::", "")
    app = application(scanner, ["*"] if everywhere else [host, "localhost", "127.0.0.1"])
    print(f"board of {scanner.root} on http://{address}/  (Ctrl-C ends it)", flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        return
    finally:
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()  # from now on whoever asks waits instead of being refused
    except OSError as error:
        raise ConfigError(
            f"cannot serve on {host}:{port}", error.strerror or str(error), fix="--port 0 takes any that is free"
        ) from error
    return listening
