"""The nouns of data: files, raw tables, datasets, scenarios, interactions, queries.

A :class:`Dataset` reads files into a :class:`Raw`; a :class:`Scenario` turns that into :class:`Prepared` arrays (ids,
filters, split), which are cached, and those into :class:`Data`: tensors that draw batches and queries on their
device.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeInt, field_validator
from torch import Tensor

from sslrec_core.config import Configured, Rate
from sslrec_core.rows import Rows
from sslrec_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    from sslrec_core.graph import SparseGraph
    from sslrec_core.settings import TrainConfig

__all__ = [
    "PARTS", "Coded", "Data", "Dataset", "File", "Interactions", "PairBatch", "Prepared", "Queries", "Raw", "Rows",
    "Scenario", "Vocabulary", "load_data", "load_prepared",
]  # fmt: skip

Array: TypeAlias = NDArray[Any]
PARTS = ("train", "valid", "test")
"""Names of the parts; their places are the codes in a ``part`` column."""
DRAW_AT_ONCE = 2**22


# ---- raw: what a dataset reads ------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """One file of a named dataset: what it is called, how to know it, where to have it from."""

    name: str
    """Name inside the dataset's folder."""
    sha256: str | None = None
    """Checksum of the file; None where only that of the archive around it is known."""
    size: int | None = None
    """Bytes."""
    url: str | None = None
    """Where to download it, or the archive that holds it; None: it can only be placed by hand."""
    member: str | None = None
    """The file's name inside the archive at ``url`` (zip); for a single gzip file, its name without the ending."""
    archive_sha256: str | None = None
    """Checksum of the archive."""
    optional: bool = False
    """Whether the dataset can be read without it."""


@dataclass(frozen=True)
class Coded:
    """A column of raw ids that its reader has numbered already: ``labels.raw(codes)`` are the ids."""

    codes: Array
    labels: Vocabulary

    def __len__(self) -> int:
        return len(self.codes)


Column: TypeAlias = "Array | Coded"


@dataclass
class Raw:
    """Tables as they stand in the files, with raw ids.

    ``interactions`` has ``user`` and ``item`` and may have ``time`` (numbers), ``rating`` and ``part`` (0 train, 1
    valid, 2 test). ``triples`` has ``head``, ``relation``, ``tail``; ``links`` has ``item`` and ``entity`` where the
    two have ids of their own; ``trust`` has ``source`` and ``target``, both users.
    """

    tables: dict[str, dict[str, Column]]
    notes: list[str] = field(default_factory=list)
    """Choices that were made while reading, with their counts."""
    identity_ids: bool = False
    """Ids are numbers 0 .. max already; matrices are as large as the range, whether or not each id occurs."""
    sizes: dict[str, int] = field(default_factory=dict)
    """With ``identity_ids``: least sizes of the ranges, by ``user``, ``item``, ``entity``, ``relation``."""


class Dataset(Configured):
    """Where raw tables come from: files, their checksums, a licence, a source.

    The dataset's folder is named like the dataset, ``<root>/<scenario>/<name>``.  Declared files are verified, and
    downloaded where they are missing, before :meth:`read` is called.

    Stability: stable for implementers from API 1.
    """

    files: ClassVar[tuple[File, ...]] = ()
    licence: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    homepage: ClassVar[str] = ""

    @abstractmethod
    def read(self, root: Path) -> Raw:
        """Read the files in the dataset's own folder ``root``."""

    def paths(self, root: Path) -> list[Path]:
        """The files that :meth:`read` would read; what is prepared from them is kept until their contents change."""
        return [path for file in self.files if (path := root / file.name).is_file()]


# ---- prepared: what a scenario makes of it ------------------------------------------------------


@dataclass(frozen=True)
class Prepared:
    """What a scenario keeps of a dataset: plain arrays, and facts that JSON can hold."""

    arrays: dict[str, Array]
    meta: dict[str, Any]
    """``notes`` (sentences), ``counts``, ``dataset``, ``fingerprint``, and what the scenario adds."""


class Scenario(Configured):
    """What kind of problem this is: how raw tables become data; its config holds filtering and splitting.

    Stability: stable for implementers from API 1.
    """

    class Config(Configured.Config):
        holdout: Rate = 0.1
        """Share of each user's training interactions kept for validation where the files bring no validation part; 0:
        none. With leave-one-out any value above 0 holds out the last but one, with time the latest share."""
        split: Literal["auto", "own", "ratio", "leave-one-out", "time"] = "auto"
        """How to split: the files' own parts, at random per user, each user's last interaction, or at one moment for
        all. ``auto``: own parts where there are any, else ratio."""
        ratios: tuple[float, ...] = (0.8, 0.2)
        """Shares of training and test, or of training, validation and test, for the splits ratio and time."""
        k_core: NonNegativeInt = 0
        """Drop users and items with fewer interactions than this, until none is left; 0: keep all."""
        min_rating: float | None = None
        """Drop interactions rated below this; none: keep all."""
        seed: NonNegativeInt = 0
        """Decides which interactions a random split picks; the same on every machine."""

        @field_validator("ratios")
        @classmethod
        def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
            if len(value) not in (2, 3) or min(value) < 0 or value[0] <= 0 or value[-1] <= 0:
                raise ValueError(
                    "must be two or three shares (train, test or train, valid, test), the outer ones above 0"
                )
            if abs(sum(value) - 1) > 1e-6:
                raise ValueError(f"must add up to 1, these add up to {sum(value):g}")
            return value

    config: Config

    @abstractmethod
    def process(self, raw: Raw) -> Prepared:
        """Number the ids, filter, split.  The result is cached."""

    @abstractmethod
    def data(self, prepared: Prepared) -> Data:
        """Data from prepared arrays, which may be memory-mapped.  Cheap."""


# ---- data: what a run uses ----------------------------------------------------------------------


@dataclass(frozen=True)
class PairBatch:
    """Known interactions, each beside items the user has not met."""

    users: Tensor
    """``Long[pairs]``"""
    positives: Tensor
    """``Long[pairs]``"""
    negatives: Tensor
    """``Long[pairs, negatives]``"""

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Queries:
    """Users to rank items for, what to hide from them and what they should find."""

    users: Tensor
    """``Long[queries]``"""
    seen: Rows
    """Per query: items that may not be recommended."""
    truth: Rows
    """Per query: items to find."""

    def __len__(self) -> int:
        return len(self.users)


@runtime_checkable
class Data(Protocol):
    """What every scenario's data can do, whatever else it holds."""

    @property
    def interactions(self) -> Interactions: ...
    @property
    def n_users(self) -> int: ...
    @property
    def n_items(self) -> int: ...
    @property
    def users(self) -> Vocabulary: ...
    @property
    def items(self) -> Vocabulary: ...
    def to(self, device: torch.device | str) -> Self:
        """The same data on ``device``."""
        ...

    def batches(
        self, train: TrainConfig, generator: torch.Generator | None = None, rank: int = 0, world: int = 1
    ) -> Iterator[Any]:
        """One epoch, drawn on the data's device."""
        ...

    def queries(
        self, split: str, size: int, hide: str = "train+valid", users: Tensor | None = None
    ) -> Iterator[Queries]:
        """Users with something to find in ``split``, or the given ``users``, ``size`` at a time."""
        ...


class Interactions:
    """Who interacted with what, in the parts train, valid and test: tensors on one device.

    ``parts`` is a plain dictionary of :class:`Rows` (users by items); every scenario's data contains one of these.

    Stability: stable for callers from API 1.
    """

    def __init__(self, parts: Mapping[str, Rows], users: Vocabulary, items: Vocabulary) -> None:
        train = parts["train"]
        self.users = users
        self.items = items
        self.parts = {name: parts.get(name, Rows.empty(len(users), len(items), train.columns.device)) for name in PARTS}

    @classmethod
    def of(cls, prepared: Prepared) -> Interactions:
        """The interactions in arrays made by :func:`sslrec_core.ingest.prepare.prepare_interactions`."""
        arrays = prepared.arrays
        users, items = (vocabulary_from(arrays, name) for name in ("users", "items"))
        parts = {
            name: Rows(tensor(arrays[f"{name}.pointers"]), tensor(arrays[f"{name}.columns"]), len(items))
            for name in PARTS
        }
        return cls(parts, users, items)

    @property
    def n_users(self) -> int:
        return len(self.users)

    @property
    def n_items(self) -> int:
        return len(self.items)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.parts["train"].columns.device

    @cached_property
    def graph(self) -> SparseGraph:
        """Training interactions as a symmetrically normalised graph of ``n_users + n_items`` nodes, users first.

        ``graph.edge_of`` maps each directed edge to its interaction, in the order of ``parts["train"]``.
        """
        from sslrec_core.graph import SparseGraph

        train = self.parts["train"]
        return SparseGraph.bipartite(train.row_index, train.columns, self.n_users, self.n_items).normalised("sym")

    @cached_property
    def item_counts(self) -> Tensor:
        """How often each item occurs in training.  ``Long[items]``"""
        return torch.bincount(self.parts["train"].columns, minlength=self.n_items)

    @cached_property
    def _pairs(self) -> tuple[Tensor, Tensor]:
        """Users and items of the training pairs that a negative can be drawn for."""
        train = self.parts["train"]
        drawable = (train.counts < self.n_items)[train.row_index]
        return train.row_index[drawable], train.columns[drawable]

    @cached_property
    def n_saturated(self) -> int:
        """Users who own every item: no item is a negative for them, so no batch holds their pairs."""
        return int((self.parts["train"].counts >= self.n_items).sum()) if self.n_items else 0

    def together(self, *names: str) -> Rows:
        """The union of parts, such as ``together("train", "valid")``."""
        union = self.parts[names[0]]
        for name in names[1:]:
            union = union.union(self.parts[name])
        return union

    def to(self, device: torch.device | str) -> Interactions:
        """The same interactions on ``device``."""
        return Interactions({name: rows.to(device) for name, rows in self.parts.items()}, self.users, self.items)

    def batches(
        self, train: TrainConfig, generator: torch.Generator | None = None, rank: int = 0, world: int = 1
    ) -> Iterator[PairBatch]:
        """One epoch: every training pair once in random order, with ``train.negatives`` exact uniform negatives each.

        Batches are slices of one permutation, drawn on the device without synchronisation.  ``last_batch`` decides
        about a tail shorter than ``train.batch_size``: ``partial`` gives it, ``wrap`` fills it from the start of the
        permutation, ``drop`` leaves it out.  Of ``world`` processes with equal generators each gets every
        ``world``-th pair; a few pairs are repeated so that all take the same number of steps.
        """
        users, positives = self._pairs
        order = torch.randperm(len(users), generator=generator, device=self.device)
        order = wrapped(order, -(-len(order) // world) * world)[rank::world]
        size = train.batch_size
        if train.last_batch == "wrap":
            order = wrapped(order, -(-len(order) // size) * size)
        elif train.last_batch == "drop":
            order = order[: len(order) // size * size]
        # Several batches at once where they are small: fewer, larger draws; bounded, so that memory is.
        stretch = max(1, DRAW_AT_ONCE // (size * train.negatives)) * size
        for start in range(0, len(order), stretch):
            chosen = order[start : start + stretch]
            u, p = users[chosen], positives[chosen]
            n = self.parts["train"].draw_absent(u, train.negatives, generator)
            for at in range(0, len(chosen), size):
                yield PairBatch(u[at : at + size], p[at : at + size], n[at : at + size])

    def queries(
        self, split: str, size: int, hide: str = "train+valid", users: Tensor | None = None
    ) -> Iterator[Queries]:
        """Users with something to find in ``split``, in order, or the given ``users``; at most ``size`` at a time.

        ``hide`` says which parts' items are not to be recommended: ``train`` or ``train+valid``.  What is asked for
        is never hidden, so that on the validation part only training items are.
        """
        truth = self.parts[split]
        seen = self.together(*(name for name in hide.split("+") if name != split))
        asking = truth.counts.nonzero().squeeze(1) if users is None else users
        for start in range(0, len(asking), size):
            some = asking[start : start + size]
            yield Queries(some, seen.select(some), truth.select(some))


def wrapped(order: Tensor, length: int) -> Tensor:
    """``order`` continued from its own start up to ``length``."""
    if length == len(order):
        return order
    return order.repeat(-(-length // len(order)))[:length]


def tensor(array: Array) -> Tensor:
    """A tensor over ``array``, sharing its memory where that may be written (copy-on-write maps may)."""
    array = np.asarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def vocabulary_from(arrays: Mapping[str, Array], name: str) -> Vocabulary:
    """The vocabulary kept in ``arrays`` under ``<name>.*``."""
    prefix = f"{name}."
    return Vocabulary.from_arrays(
        {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    )


# ---- from a name to data ------------------------------------------------------------------------


def load_prepared(
    dataset: Dataset,
    scenario: Scenario,
    *,
    name: str,
    root: Path | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Prepared:
    """Prepared arrays of the dataset called ``name``: from the cache, or read, processed and cached now.

    Args:
        root: the folder of all datasets; None: ``SSLREC_DATA``, else the user's data folder.
        cache: the folder for prepared data; None: ``SSLREC_CACHE``, else the user's cache folder.
        say: told what takes time, such as "reading train.txt".

    Raises:
        DataError: a file is missing, damaged or malformed.
        StorageError: a folder cannot be written.
    """
    from sslrec_core.ingest.cache import Cache
    from sslrec_core.ingest.download import provide
    from sslrec_core.ingest.places import data_root

    say = say or (lambda _: None)
    store = Cache(cache)
    folder = (root or data_root()) / name
    provide(dataset, folder, name=name, store=store, say=say)
    key = store.key(name, dataset, scenario, dataset.paths(folder))

    def build() -> Prepared:
        say(f"reading {name}")
        raw = dataset.read(folder)
        say(f"preparing {name}")
        prepared = scenario.process(raw)
        return Prepared(prepared.arrays, {**prepared.meta, "dataset": name, "fingerprint": key})

    return store.fetch(name, key, build)


def load_data(dataset: Dataset, scenario: Scenario, **where: Any) -> Data:
    """Data of a dataset in a scenario; arguments and errors as :func:`load_prepared`."""
    return scenario.data(load_prepared(dataset, scenario, **where))
