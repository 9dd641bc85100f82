"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sslrec_core.errors import StorageError

LOCK = ".lock"


@contextmanager
def storage(path: Path, doing: str) -> Iterator[None]:
    """Turn the operating system's refusal to write ``path`` into a :class:`StorageError` that says what to do."""
    try:
        yield
    except FileExistsError as error:
        raise StorageError(f"{path} exists already", fix="choose another folder, or remove it") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write {path} while {doing}", reason, fix="free some space or choose a folder that can be written"
        ) from error


@contextmanager
def only_process(directory: Path) -> Iterator[None]:
    """Hold ``directory`` for this process; the system lets go of it however the process ends.

    Raises:
        StorageError: another process holds it.
    """
    lock = FileLock(directory / LOCK)
    try:
        # Not at once: somebody who looks whether it is held holds it for an instant.
        lock.acquire(timeout=0.2, poll_interval=0.02)
    except Timeout as error:
        raise StorageError(
            f"another process is at work in {directory}", fix="wait for it, or choose another folder with -o"
        ) from error
    except OSError as error:
        raise StorageError(f"cannot write in {directory}", str(error), fix="check its permissions") from error
    try:
        yield
    finally:
        lock.release()


def is_held(directory: Path) -> bool:
    """Whether a living process holds ``directory`` by :func:`only_process`; nothing is written there to find out."""
    try:
        with (directory / LOCK).open("rb") as handle:
            return _is_locked(handle.fileno())
    except OSError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _is_locked(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return True
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        return False

else:
    import fcntl

    def _is_locked(descriptor: int) -> bool:
        try:
            # Shared, so that two who look do not take one another for its holder; closing the file lets go.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def write_atomically(path: Path, write: Callable[[Path], None], doing: str = "saving") -> None:
    """Let ``write`` fill a temporary neighbour of ``path``, flush it to the disk, then rename it to ``path``.

    Raises:
        StorageError: the folder is read-only or full; nothing of the attempt is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage(path, doing):
        try:
            write(temporary)
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, doing: str = "saving") -> None:
    """Write ``text`` to ``path`` atomically."""
    write_atomically(path, lambda temporary: _write_utf8(temporary, text), doing)


def _write_utf8(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
