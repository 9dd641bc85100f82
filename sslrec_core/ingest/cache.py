"""Prepared data on disk: found by what it was made of, memory-mapped, never half there.

An entry is a folder of ``.npy`` files and ``meta.json``, written under a temporary name and renamed when it is whole.
When two processes make the same entry at once, the second to finish throws its copy away.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sslrec_core.config import Configured
from sslrec_core.data import Array, Dataset, Prepared, Scenario
from sslrec_core.errors import DataError, StorageError
from sslrec_core.files import write_text
from sslrec_core.ingest.places import cache_root

FORMAT = 1
"""Grows when the code in ``sslrec_core.ingest`` would prepare other arrays from the same files and options."""
SETTLED = 2.0
"""Seconds after which a file's time stamp can be trusted to change with its content."""
ABANDONED = 86_400.0
"""Seconds after which a temporary folder is taken for a dead process's."""


class Cache:
    """Prepared datasets and remembered checksums under one folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_root()

    def digest(self, path: Path) -> str:
        """SHA-256 of the file at ``path``, remembered until its size or time of change differs.

        Raises:
            DataError: the file cannot be read.
            StorageError: the cache folder cannot be written.
        """
        path = path.resolve()
        try:
            stat = path.stat()
            note = self.folder / "checksums" / f"{_short(path)}.json"
            now = [str(path), stat.st_size, stat.st_mtime_ns]
            if note.is_file() and (known := _json(note)) is not None and known[:3] == now:
                return str(known[3])
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"cannot read {path}", error.strerror or str(error)) from error
        if time.time() - stat.st_mtime > SETTLED:
            self._make(note.parent)
            write_text(note, json.dumps([*now, digest]), "remembering a checksum")
        return digest

    def lock(self, path: Path) -> Path:
        """The lock file for writing ``path``.

        Raises:
            StorageError: the cache folder cannot be written.
        """
        self._make(self.folder / "locks")
        return self.folder / "locks" / f"{_short(path.absolute())}.lock"

    def key(self, name: str, dataset: Dataset, scenario: Scenario, paths: Sequence[Path]) -> str:
        """What prepared data is found by: the contents of ``paths``, both configurations and revisions, the format."""
        made_of = {
            "format": FORMAT,
            "name": name,
            "dataset": _identity(dataset, dataset.unread),
            "scenario": _identity(scenario),
            "files": [[path.name, self.digest(path)] for path in paths],
        }
        return hashlib.blake2b(json.dumps(made_of, sort_keys=True).encode(), digest_size=20).hexdigest()

    def entry(self, name: str, key: str) -> Path:
        """The folder of an entry, whether or not it exists."""
        return self.folder / "prepared" / f"{name.replace('/', '-')}-{key[:16]}"

    def fetch(self, name: str, key: str, build: Callable[[], Prepared]) -> Prepared:
        """The entry for ``key``, made by ``build`` if it is not there; its arrays are copy-on-write maps of files.

        Raises:
            StorageError: the folder is read-only or the disk is full; nothing half-written is left.
        """
        final = self.entry(name, key)
        found = _opened(final, key)
        if found is not None:
            return found
        self._make(final.parent)
        _sweep(final.parent)
        temporary = final.with_name(f".{final.name}.{os.getpid()}.{secrets.token_hex(4)}")
        prepared = build()
        try:
            try:
                _write(temporary, key, prepared)
                _publish(temporary, final, key)
            except OSError as error:
                raise self._refused(final.parent, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        opened = _opened(final, key)
        if opened is None:
            raise StorageError(
                f"{final} was written but cannot be read back", fix="check the disk, or set SSLREC_CACHE"
            )
        return opened

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(folder, error) from error

    def _refused(self, folder: Path, error: OSError) -> StorageError:
        return StorageError(
            f"cannot write prepared data into {folder}",
            error.strerror or str(error),
            fix="free some space, or set SSLREC_CACHE to a folder that can be written",
        )


def _short(path: Path) -> str:
    return hashlib.blake2b(str(path).encode(), digest_size=16).hexdigest()


def _identity(component: Configured, unread: Collection[str] = ()) -> list[Any]:
    kind = type(component)
    options = component.config.model_dump(mode="json", exclude=set(unread))
    return [f"{kind.__module__}:{kind.__qualname__}", kind.revision, options]


def _write(folder: Path, key: str, prepared: Prepared) -> None:
    folder.mkdir()
    for name, array in prepared.arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    shapes = {name: [array.dtype.str, list(array.shape)] for name, array in prepared.arrays.items()}
    (folder / "meta.json").write_text(
        json.dumps({"key": key, "arrays": shapes, "meta": prepared.meta}), encoding="utf-8"
    )


def _publish(temporary: Path, final: Path, key: str) -> None:
    """Rename a whole folder to its place, unless another process's is there; a damaged one makes way."""
    for _ in range(2):
        try:
            temporary.rename(final)
            return
        except OSError:
            if not final.exists():
                raise
            if _opened(final, key) is not None:
                return
            shutil.rmtree(final)
    temporary.rename(final)


def _opened(folder: Path, key: str) -> Prepared | None:
    """The entry in ``folder``; None if there is none, or if it is not what its own record says."""
    record = _json(folder / "meta.json")
    if record is None or record.get("key") != key:
        return None
    arrays: dict[str, Array] = {}
    for name, (dtype, shape) in record["arrays"].items():
        try:
            array = np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if array.dtype.str != dtype or list(array.shape) != shape:
            return None
        arrays[name] = array
    return Prepared(arrays, record["meta"])


def _json(path: Path) -> Any:
    """The content of a JSON file, or None if it is absent or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed long ago left behind."""
    for left in folder.glob(".*"):
        if left.is_dir() and time.time() - left.stat().st_mtime > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
