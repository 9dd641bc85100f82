"""Ranked lists for all users, made and written in portions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from sslrec_core.errors import ConfigError
from sslrec_core.exporting.folder import new_folder, write_about, write_parquet
from sslrec_core.recommending import Terms, askable, portions
from sslrec_core.running import Run


def export_recommendations(
    run: Run, target: Path, k: int = 20, terms: Terms | None = None, *, force: bool = False
) -> str:
    """Write the ``k`` best items of every user to the new folder ``target``, as ``recommendations.parquet``.

    A row is ``user``, ``rank`` (from 1), ``item`` and ``score``, with raw ids.  What a user has met in the training and
    validation part is left out.  Memory does not grow with the number of users.

    Returns:
        What was written, in words.

    Raises:
        ConfigError: the catalogue has fewer than ``k`` items.
        StorageError: the folder exists or cannot be written.
        TrainingError: a score is not a number.
    """
    check_length(run, k)
    users, rows = askable(run.data), 0
    kinds = {"user": run.data.users, "item": run.data.items}
    ids = {name: pl.String if vocabulary.is_text else pl.Int64 for name, vocabulary in kinds.items()}
    schema = {"user": ids["user"], "rank": pl.Int32, "item": ids["item"], "score": pl.Float32}

    # polars says which columns and rows it wants; it wants all.
    def frames(*wanted: object) -> Iterator[pl.DataFrame]:
        nonlocal rows
        for asked, items, scores in portions(run, users, k, terms):
            kept = (items >= 0).cpu()
            who, place = (found.numpy() for found in kept.nonzero(as_tuple=True))
            rows += len(who)
            yield pl.DataFrame(
                {
                    "user": run.data.users.raw(asked.cpu().numpy())[who],
                    "rank": place.astype(np.int32) + 1,
                    "item": run.data.items.raw(items.cpu()[kept].numpy()),
                    "score": scores.float().cpu()[kept].numpy(),
                },
                schema=schema,
            )

    with new_folder(target, force) as folder:
        write_parquet(register_io_source(frames, schema=schema), folder / "recommendations.parquet")
        write_about(
            folder, run, "recommendations", k=k, users=len(users), rows=rows,
            left_out="items of the user's training and validation part",
        )  # fmt: skip
    return f"{rows:,} rows: the {k} best items of each of {len(users):,} users"


def check_length(run: Run, k: int) -> None:
    """Refuse lists that are longer than the catalogue.

    Raises:
        ConfigError: they are.
    """
    if k > run.data.n_items:
        raise ConfigError(f"-k {k} is more than the catalogue has: {run.data.n_items:,} items", fix="a smaller -k")
