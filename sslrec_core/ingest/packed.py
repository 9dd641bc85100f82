"""Contents of files that may be compressed."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sslrec_core.errors import DataError

HEAD = 65_536
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}


def is_packed(path: Path) -> bool:
    """Whether the name says that the file is compressed with gzip or xz."""
    return path.suffix.lower() in OPENERS


def read_bytes(path: Path) -> bytes:
    """The whole content of ``path``, decompressed where its name ends in ``.gz`` or ``.xz``.

    Raises:
        DataError: the file is missing, cannot be read, or its compressed content breaks off or is damaged.
    """
    opener = OPENERS.get(path.suffix.lower(), open)
    with explained(path), opener(path, "rb") as stream:
        return bytes(stream.read())


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what goes wrong while reading ``path`` into a :class:`DataError` that names it."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged or cut off", str(error), fix="fetch or copy the file again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}", error.strerror or str(error)) from error


def read_head(path: Path, size: int = HEAD) -> str:
    """The first ``size`` bytes of the content as text.

    Raises:
        DataError: as :func:`read_bytes`.
    """
    opener = OPENERS.get(path.suffix.lower(), open)
    with explained(path), opener(path, "rb") as stream:
        return bytes(stream.read(size)).decode("utf-8", "replace")


def trailing_blanks(path: Path, size: int = 65_536) -> int:
    """How many empty lines stand at the end of a text file, as far as its last ``size`` bytes show.

    Raises:
        DataError: as :func:`read_bytes`.
    """
    if is_packed(path):
        tail = read_bytes(path)[-size:]
    else:
        with explained(path), path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - size))
            tail = stream.read()
    ends = tail[len(tail.rstrip(b"\r\n")) :]
    return max(0, ends.count(b"\n") - 1)
