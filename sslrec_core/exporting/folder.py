"""The folder of an export: filled beside its place and then renamed, so that nobody meets half of one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from sslrec_core import __version__
from sslrec_core.data import Array, Vocabulary
from sslrec_core.errors import StorageError
from sslrec_core.files import storage, write_text
from sslrec_core.running import Run

ABOUT = "export.json"
"""What an export is, in words and numbers; its presence tells an export from any other folder."""


@contextmanager
def new_folder(target: Path, force: bool = False) -> Iterator[Path]:
    """A neighbour of ``target`` to be filled, which becomes ``target`` when all went well.

    With ``force`` an earlier export in ``target`` is replaced; until then it stays as it is.

    Raises:
        StorageError: ``target`` exists, or cannot be written; nothing of the attempt is left behind.
    """
    if target.exists() and not force:
        raise StorageError(f"{target} exists already", fix="--force replaces it, or choose another folder with -o")
    if target.exists() and not (target / ABOUT).is_file():
        raise StorageError(f"{target} is not an export, so it is not replaced", fix="choose another folder with -o")
    new, old = (target.with_name(f".{target.name}.{os.getpid()}.{word}") for word in ("new", "old"))
    with storage(target, "exporting"):
        try:
            new.mkdir(parents=True)
            yield new
            if target.exists():
                target.rename(old)
            try:
                new.rename(target)
            except OSError:
                if old.exists():
                    old.rename(target)
                raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def write_about(folder: Path, run: Run, kind: str, **facts: Any) -> None:
    """Write what the export in ``folder`` is: the run, the versions, and ``facts``."""
    about = {
        "export": kind,
        "model": run.config.model.name,
        "data": run.config.data.name,
        "run": run.directory.resolve().name,
        "sslrec": __version__,
        **facts,
    }
    write_text(folder / ABOUT, json.dumps(about, indent=1) + "\n", "exporting")


def write_ids(path: Path, column: str, ids: Vocabulary) -> None:
    """Raw ids as a table; the place of a row, from 0, is the number that stands for its id."""
    write_parquet(pl.DataFrame({"number": np.arange(len(ids)), column: raw_ids(ids)}), path)


def raw_ids(ids: Vocabulary) -> Array:
    """All raw ids, in the order of their numbers."""
    return ids.raw(np.arange(len(ids)))


def write_parquet(frame: pl.DataFrame | pl.LazyFrame, path: Path) -> None:
    """Write a table; one that is lazy is made and written in portions.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        frame.write_parquet(path) if isinstance(frame, pl.DataFrame) else frame.sink_parquet(path)
    except PolarsError as error:
        # The library wraps the operating system's refusal; give it back its type so that it is explained.
        raise OSError(str(error)) from error
