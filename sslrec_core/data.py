"""The nouns of data: files, raw tables, datasets, scenarios, interactions, queries.

A :class:`Dataset` reads files into a :class:`Raw`; a :class:`Scenario` turns that into :class:`Prepared` arrays (ids,
filters, split), which are cached, and those into :class:`Data`: tensors that draw batches and queries on their
device.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeAlias, runtime_checkable

import torch
from pydantic import NonNegativeInt, field_validator
from torch import Tensor

from sslrec_core.config import Configured, Rate
from sslrec_core.errors import DataError
from sslrec_core.interactions import PARTS, Array, Interactions, PairBatch, Queries, tensor, vocabulary_from
from sslrec_core.rows import Rows
from sslrec_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    import polars as pl

    from sslrec_core.graph import SparseGraph
    from sslrec_core.settings import TrainConfig

__all__ = [
    "PARTS", "Array", "Coded", "Column", "Data", "Dataset", "File", "Interactions", "OverInteractions", "PairBatch",
    "Prepared", "Queries", "Raw", "Rows", "Scenario", "Vocabulary", "load_data", "load_names", "load_prepared",
    "tensor", "vocabulary_from",
]  # fmt: skip


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
    two have ids of their own; ``trust`` has ``source`` and ``target``, both users, and may have ``weight``;
    ``behaviours`` has ``user``, ``item``, ``behaviour`` (its name) and may have ``time``: what users did beside
    ``interactions``, such as to view or to put into the cart.
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
    unread: ClassVar[frozenset[str]] = frozenset()
    """Options that :meth:`read` does not look at: what is prepared is the same whatever their value."""

    @abstractmethod
    def read(self, root: Path) -> Raw:
        """Read the files in the dataset's own folder ``root``."""

    def paths(self, root: Path) -> list[Path]:
        """The files that :meth:`read` would read; what is prepared from them is kept until their contents change."""
        return [path for file in self.files if (path := root / file.name).is_file()]

    def names(self, root: Path) -> tuple[Column, pl.Series] | None:
        """Raw item ids and what people call these items (text, may have gaps), or None where that is not known.

        Read only when lists are shown to people; what is prepared does not hold it.
        """
        return None


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

    ranking: ClassVar[frozenset[str]] = frozenset()
    """Switches that decide only which items are ranked: a trained model may be evaluated with them the other way."""

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


class OverInteractions:
    """What data that contains interactions answers by them; a scenario's data inherits it and adds its own.

    Stability: stable for implementers from API 1.
    """

    interactions: Interactions

    @property
    def n_users(self) -> int:
        return self.interactions.n_users

    @property
    def n_items(self) -> int:
        return self.interactions.n_items

    @property
    def users(self) -> Vocabulary:
        return self.interactions.users

    @property
    def items(self) -> Vocabulary:
        return self.interactions.items

    @property
    def graph(self) -> SparseGraph:
        """Users and items, as :attr:`Interactions.graph`."""
        return self.interactions.graph

    def batches(
        self, train: TrainConfig, generator: torch.Generator | None = None, rank: int = 0, world: int = 1
    ) -> Iterator[Any]:
        """One epoch of interactions with sampled negatives, as :meth:`Interactions.batches`."""
        return self.interactions.batches(train, generator, rank, world)

    def queries(
        self, split: str, size: int, hide: str = "train+valid", users: Tensor | None = None
    ) -> Iterator[Queries]:
        """Users with something to find in ``split``, or the given ``users``, as :meth:`Interactions.queries`."""
        return self.interactions.queries(split, size, hide, users)


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


def load_names(dataset: Dataset, items: Vocabulary, *, name: str, root: Path | None = None) -> pl.Series | None:
    """What people call ``items``, in their order, null for those without a name; None where the dataset has no names.

    Raises:
        DataError: the file of the names is missing, damaged or malformed.
    """
    from sslrec_core.ingest.naming import in_order
    from sslrec_core.ingest.places import data_root

    found = dataset.names((root or data_root()) / name)
    return None if found is None else in_order(items, *found)


def load_data(dataset: Dataset, scenario: Scenario, **where: Any) -> Data:
    """Data of a dataset in a scenario; arguments and errors as :func:`load_prepared`."""
    return scenario.data(load_prepared(dataset, scenario, **where))


def nobody(data: Data, split: str) -> DataError:
    """What to say where no user has anything to find in ``split``."""
    part = data.interactions.parts.get(split)
    if part is not None and part.nnz:
        why = f"none of the users of its {part.nnz:,} interactions can be asked about: they have no history before them"
    else:
        why = f"none of the {data.n_users} users has a {split} item"
    return DataError(
        f"nobody has anything to find in the {split} part",
        why,
        fix="another --set scenario.split=…, or for the validation part a larger --set scenario.holdout=…",
    )
