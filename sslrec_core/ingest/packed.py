"""Contents of files that may be compressed."""

from __future__ import annotations

import gzip
import lzma
import zlib
from pathlib import Path

from sslrec_core.errors import DataError

OPENERS = {".gz": gzip.open, ".xz": lzma.open}


def is_packed(path: Path) -> bool:
    """Whether the name says that the file is compressed with gzip or xz."""
    return path.suffix.lower() in OPENERS


def read_bytes(path: Path) -> bytes:
    """The whole content of ``path``, decompressed where its name ends in ``.gz`` or ``.xz``.

    Raises:
        DataError: the file is missing, cannot be read, or its compressed content breaks off or is damaged.
    """
    opener = OPENERS.get(path.suffix.lower())
    try:
        if opener is None:
            return path.read_bytes()
        with opener(path, "rb") as stream:
            return bytes(stream.read())
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged or cut off", str(error), fix="fetch or copy the file again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}", error.strerror or str(error)) from error
