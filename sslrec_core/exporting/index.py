"""An index of item vectors that finds the best ones without looking at all, and how often it finds them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sslrec_core.errors import ConfigError
from sslrec_core.exporting.embeddings import vectors_of
from sslrec_core.exporting.folder import new_folder, write_about, write_ids
from sslrec_core.exporting.recommendations import check_length
from sslrec_core.recommending import askable
from sslrec_core.running import Run

try:
    import faiss
except ImportError as error:
    raise ConfigError("an index needs faiss", fix="pip install 'sslrec-core[export]'") from error

EFFORT = {"IVF": ("nprobe", 1), "HNSW": ("efSearch", 16)}
"""What decides how far an index of each kind looks, and the least of it that is tried."""


@dataclass(frozen=True)
class Measured:
    """An index beside exact search."""

    recall: float
    """Share of the exact best ``k`` items that the index finds."""
    k: int
    users: int
    """How many users were asked about."""
    effort: dict[str, int]
    """How far the index looks, as it was chosen; empty where it cannot be chosen."""
    milliseconds: float
    """For one query, one at a time, on one thread; also the next."""
    exact_milliseconds: float

    def __str__(self) -> str:
        effort = "".join(f", {name} {value}" for name, value in self.effort.items())
        return (
            f"recall@{self.k} {self.recall:.4f} of exact search, {self.users:,} users{effort}\n"
            f"{self.milliseconds:.3f} ms a query, exact search {self.exact_milliseconds:.3f} ms "
            "(one at a time, one thread)"
        )


def export_index(
    run: Run,
    target: Path,
    factory: str = "HNSW32",
    k: int = 20,
    users: int = 1000,
    goal: float = 0.95,
    *,
    force: bool = False,
) -> Measured:
    """Write an index of the item vectors to the new folder ``target``: ``index.faiss`` and ``items.parquet``.

    Queries are users' vectors as they are.  The index compares by inner product; items made comparable by distance,
    with one dimension more (Bachrach et al., RecSys'14), were found less often by HNSW on every run that was tried.

    Args:
        run: A run whose model has vectors.
        target: A folder that does not exist.
        factory: What faiss calls the index, such as ``HNSW32``, ``IVF256,Flat``, ``Flat``.
        k: Length of the lists that are compared with those of exact search.
        users: How many users, drawn at random, are asked about; at most as many as there are.
        goal: Recall up to which the index is told to look further; see :attr:`Measured.recall` for what it reached.
        force: Replace an earlier export.

    Raises:
        ConfigError: the model has no vectors, or faiss cannot make such an index of them.
        StorageError: the folder exists or cannot be written.
    """
    check_length(run, k)
    known = askable(run.data)
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[:users]
    with new_folder(target, force) as folder:
        queries, items = vectors_of(run, known[order.to(known.device)])
        index = _built(factory, items)
        exact = faiss.IndexFlatIP(items.shape[1])
        exact.add(items)
        with _one_thread():
            truth = exact.search(queries, k)[1]
            effort, recall = _far_enough(index, factory, queries, truth, goal)
            found = Measured(recall, k, len(queries), effort, _milliseconds(index, queries, k),
                             _milliseconds(exact, queries, k))  # fmt: skip
        _write(index, folder / "index.faiss")
        write_ids(folder / "items.parquet", "item", run.data.items)
        write_about(
            folder, run, "faiss", index=factory, metric="inner product", dimensions=items.shape[1], items=len(items),
            **{name: round(value, 6) if isinstance(value, float) else value for name, value in vars(found).items()},
            query="a user's vector, as --to embeddings writes it; the answer's numbers are those of items.parquet",
            met="items that a user has met are found too: ask for more than are shown, and leave them out",
        )  # fmt: skip
    return found


def _built(factory: str, items: NDArray[np.float32]) -> Any:
    try:
        index = faiss.index_factory(items.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        index.train(items)
        index.add(items)
    except RuntimeError as error:
        raise ConfigError(
            f"faiss cannot make an index '{factory}' of {len(items):,} items", _reason(error),
            fix="--index HNSW32, 'IVF256,Flat' or another string of faiss.index_factory",
        ) from error  # fmt: skip
    return index


def _far_enough(
    index: Any, factory: str, queries: NDArray[np.float32], truth: NDArray[np.int64], goal: float
) -> tuple[dict[str, int], float]:
    """Let the index look twice as far until it finds ``goal`` of ``truth`` ``[queries, k]``: how far, and recall."""
    k = truth.shape[1]
    kind = next((kind for kind in EFFORT if kind in factory), None)
    if kind is None:
        return {}, _recall(index.search(queries, k)[1], truth)
    name, value = EFFORT[kind]
    limit = faiss.extract_index_ivf(index).nlist if kind == "IVF" else index.ntotal
    while True:
        faiss.ParameterSpace().set_index_parameter(index, name, value)
        recall = _recall(index.search(queries, k)[1], truth)
        if recall >= goal or value >= limit:
            return {name: value}, recall
        value = min(2 * value, limit)


def _recall(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    return float((truth[:, :, None] == found[:, None, :]).any(2).mean())


def _milliseconds(index: Any, queries: NDArray[np.float32], k: int) -> float:
    """For one query: they are asked one by one, as they come where an index is used."""
    began = time.perf_counter()
    for query in queries:
        index.search(query[None], k)
    return (time.perf_counter() - began) * 1000 / len(queries)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _write(index: Any, path: Path) -> None:
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        # The library wraps the operating system's refusal; give it back its type so that it is explained.
        raise OSError(_reason(error)) from error


def _reason(error: RuntimeError) -> str:
    """What faiss says, without where in its source it says so."""
    return re.sub(r"^Error in .*?\.cpp:\d+: ", "", str(error), flags=re.DOTALL).splitlines()[0]
