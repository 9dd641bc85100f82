"""Writing interactions, filtered and split, as a folder that is itself a dataset."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from sslrec_core.data import PARTS, Array, Column, Interactions, Raw, Scenario
from sslrec_core.errors import DataError, StorageError
from sslrec_core.ingest.ids import all_ids
from sslrec_core.ingest.prepare import prepare_interactions
from sslrec_core.ingest.tables import joined

Form = Literal["parquet", "lists"]


def combine(raws: Sequence[Raw]) -> Raw:
    """The interactions of several files as one table.

    Raises:
        DataError: some have parts of their own and others do not.
    """
    parted = ["part" in raw.tables["interactions"] for raw in raws]
    if any(parted) and not all(parted):
        raise DataError("some of the files say which part they belong to, and some do not", fix="--set data.part=none")
    table: dict[str, Column] = joined([raw.tables["interactions"] for raw in raws])
    sizes = {key: max(raw.sizes.get(key, 0) for raw in raws) for key in ("user", "item")}
    identity = all(raw.identity_ids for raw in raws)
    return Raw({"interactions": table}, [note for raw in raws for note in raw.notes], identity, sizes)


def export(raw: Raw, config: Scenario.Config, target: Path, form: Form) -> dict[str, object]:
    """Prepare the interactions of ``raw`` as ``config`` says and write them to the new folder ``target``.

    ``parquet``: ``train.parquet``, ``valid.parquet``, ``test.parquet`` with the columns ``user`` and ``item``, raw
    ids. ``lists``: ``train.txt`` and so on, ``user item item ...`` with numbers, and what they stand for in
    ``user_list.txt`` and ``item_list.txt``.  Parts without interactions have no file.

    Returns:
        ``counts`` and ``notes`` of the preparation.

    Raises:
        StorageError: ``target`` exists or cannot be written; nothing half-written is left.
    """
    if target.exists():
        raise StorageError(f"{target} exists already", fix="choose another folder for --to, or remove it")
    prepared = prepare_interactions(raw, config)
    interactions = Interactions.of(prepared)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        temporary.mkdir(parents=True)
        (_write_parquet if form == "parquet" else _write_lists)(interactions, temporary)
        temporary.rename(target)
    except OSError as error:
        why = error.strerror or str(error)
        raise StorageError(f"cannot write {target}", why, fix="choose another folder for --to") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return prepared.meta


def _write_parquet(interactions: Interactions, folder: Path) -> None:
    for name in PARTS:
        users, items = _pairs(interactions, name)
        if len(users):
            frame = pl.DataFrame({"user": interactions.users.raw(users), "item": interactions.items.raw(items)})
            frame.write_parquet(folder / f"{name}.parquet")


def _write_lists(interactions: Interactions, folder: Path) -> None:
    for name in PARTS:
        users, items = _pairs(interactions, name)
        if len(users):
            frame = pl.DataFrame({"user": users, "item": items}).with_columns(pl.all().cast(pl.String))
            lines = frame.group_by("user", maintain_order=True).agg(pl.col("item").str.join(" "))
            lines = lines.select(pl.concat_str("user", "item", separator=" "))
            (folder / f"{name}.txt").write_text("\n".join(lines.to_series().to_list()) + "\n", encoding="utf-8")
    for name, vocabulary in (("user", interactions.users), ("item", interactions.items)):
        ids = pl.DataFrame({"org_id": all_ids(vocabulary), "remap_id": np.arange(len(vocabulary))})
        ids.write_csv(folder / f"{name}_list.txt", separator=" ")


def _pairs(interactions: Interactions, name: str) -> tuple[Array, Array]:
    rows = interactions.parts[name]
    return rows.row_index.numpy(), rows.columns.numpy()
