"""Vectors of users and items, whose dot product is the score."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslrec_core.errors import ConfigError
from sslrec_core.evaluate import check_numbers, judging
from sslrec_core.exporting.folder import new_folder, raw_ids, write_about, write_parquet
from sslrec_core.recommending import AT_ONCE, askable
from sslrec_core.running import Run


class Vectors(NamedTuple):
    """Two tables of float32 vectors."""

    users: NDArray[np.float32]
    """``[users, dim]``"""
    items: NDArray[np.float32]
    """``[items, dim]``"""


def vectors_of(run: Run, users: Tensor) -> Vectors:
    """The vectors of ``users`` (numbers) and of all items.

    A model that reads histories has no vector of a user, but one of what the user has met so far.

    Raises:
        ConfigError: the model's scores are no dot products.
        TrainingError: a vector is not made of numbers.
    """
    with judging(run.model):
        towers = run.model.towers()
        if towers is None:
            raise ConfigError(
                f"{run.config.model.name} has no vectors: its scores are not dot products",
                fix="--to recommendations, which every model has",
            )
        asked = [towers.queries(queries).float() for queries in run.data.queries("test", AT_ONCE, users=users)]
    found = torch.cat(asked), towers.items.detach().float()
    check_numbers(torch.stack([part.isnan().any() for part in found]).any(), run.config.model.name)
    return Vectors(*(np.ascontiguousarray(part.cpu().numpy()) for part in found))


def export_embeddings(run: Run, target: Path, form: str = "parquet", *, force: bool = False) -> str:
    """Write the vectors of users and items with their raw ids to the new folder ``target``.

    ``parquet``: ``users.parquet`` and ``items.parquet``, columns ``user`` or ``item`` and ``vector``.  ``npz``:
    ``embeddings.npz`` with ``users``, ``user_vectors``, ``items``, ``item_vectors``.  Users without anything in the
    training and validation part are left out: nothing is known of them.

    Returns:
        What was written, in words.

    Raises:
        ConfigError: the model has no vectors.
        StorageError: the folder exists or cannot be written.
    """
    data, known = run.data, askable(run.data)
    with new_folder(target, force) as folder:
        vectors = vectors_of(run, known)
        users, items = data.users.raw(known.cpu().numpy()), raw_ids(data.items)
        if form == "npz":
            np.savez(
                folder / "embeddings.npz",
                users=users, user_vectors=vectors.users, items=items, item_vectors=vectors.items,
            )  # fmt: skip
        else:
            for name, ids, values in (("user", users, vectors.users), ("item", items, vectors.items)):
                write_parquet(pl.DataFrame({name: ids, "vector": values}), folder / f"{name}s.parquet")
        size = vectors.items.shape[1]
        write_about(
            folder, run, "embeddings", format=form, dimensions=size, users=len(users), items=len(items),
            score="the dot product of a user's vector and an item's",
        )  # fmt: skip
    return f"{len(users):,} users and {len(items):,} items, vectors of {size} dimensions; a score is their dot product"
