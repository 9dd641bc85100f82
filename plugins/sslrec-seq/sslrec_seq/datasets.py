"""Named datasets of sequences: where their files come from, how to know them, what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from sslrec_core.data import Array, Column, Dataset, File, Raw
from sslrec_core.errors import DataError
from sslrec_core.ingest.lists import read_columns, read_lists
from sslrec_core.ingest.packed import read_bytes
from sslrec_seq.sessions import read_sessions
from sslrec_seq.worlds import listening_world

_S3REC = "https://raw.githubusercontent.com/RUCAIBox/CIKM2020-S3Rec/2a81540ae18615d88ef88227b0c066e5b74781e5/data"
_RECSYS23 = (
    "https://raw.githubusercontent.com/antklen/sasrec-bert4rec-recsys23/29c272e155cad52c8958b04e9e98557526a646e5/data"
)
_SSLREC = "https://raw.githubusercontent.com/HKUDS/SSLRec/7597c31ce3f78c7497918d886b90df6d4d02cad5/datasets/sequential"
_UNLICENSED = "no licence stated for the files; research use only, by the terms of"
AMAZON = "McAuley et al., Image-Based Recommendations on Styles and Substitutes, SIGIR 2015"
S3REC = "Zhou et al., S3-Rec: Self-Supervised Learning for Sequential Recommendation, CIKM 2020"
BERT4REC = "Sun et al., BERT4Rec: Sequential Recommendation with BERT, CIKM 2019"
MOVIELENS = "Harper and Konstan, The MovieLens Datasets: History and Context, TiiS 2015"
GSASREC = "Petrov and Macdonald, gSASRec: Reducing Overconfidence in Sequential Recommendation, RecSys 2023"
SSLREC = "Ren et al., SSLRec: A Self-Supervised Learning Framework for Recommendation, WSDM 2024"
TRAIN, VALID, TEST = 0, 1, 2


class Declared(Dataset):
    """Files whose contents are known: so many users, items and interactions; ids are numbers from 1 on."""

    users: ClassVar[int]
    items: ClassVar[int]
    interactions: ClassVar[int]

    def check(self, path: Path, users: Array, items: Array) -> None:
        """Compare what was read from ``path`` with what is declared.

        Raises:
            DataError: an item 0, which means padding in such files, or other numbers than declared.
        """
        if (items == 0).any():
            line = _line_with_item_zero(path)
            raise DataError(f"{path}:{line}: item 0 stands for padding in such files, and is no item")
        found = {"users": len(np.unique(users)), "items": len(np.unique(items)), "interactions": len(items)}
        for what, number in found.items():
            if number != (declared := getattr(self, what)):
                raise DataError(
                    f"{path} is not what {type(self).__name__} declares",
                    f"expected: {declared:,} {what}", f"found: {number:,}",
                    fix="to use your own files: --dataset ./your-file",
                )  # fmt: skip


def _line_with_item_zero(path: Path) -> int:
    """The first line with an item 0 after its user.  Slow, and only used to explain a failure."""
    lines = read_bytes(path).decode("utf-8", "replace").splitlines()
    return next(n for n, line in enumerate(lines, 1) if any(word.strip("0") == "" for word in line.split()[1:]))


class ItemSequences(Declared):
    """``sequences.txt`` with a line ``user item item ...`` in time order for each user."""

    def read(self, root: Path) -> Raw:
        """The table ``interactions``, and ``attributes`` (``item``, ``attribute``) where the file is there.

        Raises:
            DataError: a malformed line, an item 0 (which means padding in such files), or not as many users, items and
                interactions as declared.
        """
        users, items, _ = read_lists(path := root / "sequences.txt")
        self.check(path, users, items)
        tables: dict[str, dict[str, Column]] = {"interactions": {"user": users, "item": items}}
        if (root / "item2attributes.json").is_file():
            tables["attributes"] = {**read_attributes(root / "item2attributes.json")}
        return Raw(tables)


def read_attributes(path: Path) -> dict[str, Array]:
    """Read ``{"item": [attribute, ...]}``: columns ``item`` and ``attribute``, both numbers.

    Raises:
        DataError: the file is not of that form.
    """
    try:
        found = json.loads(read_bytes(path))
        items = np.array([int(item) for item in found], np.int64)
        attributes = [np.asarray(values, np.int64) for values in found.values()]
        counts = np.array([len(values) for values in attributes], np.int64)
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f'{path} is not of the form {{"item": [attribute, ...]}}', str(error)) from error
    return {"item": np.repeat(items, counts), "attribute": np.concatenate([*attributes, np.empty(0, np.int64)])}


def _files(sequences: tuple[str, int], attributes: tuple[str, int], name: str) -> tuple[File, ...]:
    return (
        File("sequences.txt", *sequences, f"{_S3REC}/{name}.txt"),
        File("item2attributes.json", *attributes, f"{_S3REC}/{name}_item2attributes.json"),
    )


class AmazonReviews(ItemSequences):
    """Reviews on Amazon, as S3-Rec has them."""

    licence = f"{_UNLICENSED} Amazon"
    citation = f"{AMAZON}; {S3REC}"
    homepage = "https://github.com/RUCAIBox/CIKM2020-S3Rec"


class Toys(AmazonReviews):
    """Reviews of toys and games on Amazon, 5-core (19,412 users, 11,924 items, 167,597 interactions)."""

    users, items, interactions = 19_412, 11_924, 167_597
    files = _files(
        ("176c680c688d497598c4a89a03b402c0fe78d795e5db335c2e78dd5f2d778a3f", 922_166),
        ("d371acd25101eedac04afc727626464b7acec770c4eda708705d51eb76eb1ad0", 327_536),
        "Toys_and_Games",
    )


class Beauty(AmazonReviews):
    """Reviews of cosmetics on Amazon, 5-core (22,363 users, 12,101 items, 198,502 interactions)."""

    users, items, interactions = 22_363, 12_101, 198_502
    files = _files(
        ("226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8", 1_090_094),
        ("129e40f67486f6877eff0f5318cfa8530ee8ac23d8b0d1de04e1bb7a2ba0b2d4", 305_674),
        "Beauty",
    )


class Sports(AmazonReviews):
    """Reviews of sports and outdoor goods on Amazon, 5-core (35,598 users, 18,357 items, 296,337 interactions)."""

    users, items, interactions = 35_598, 18_357, 296_337
    files = _files(
        ("2a095e0648872beb9982408958290f5d655db5be2911c3756b5446de9f0b8de2", 1_707_483),
        ("7fb10733ac4f1811384a52144cdefa7fcc7536fa80a7232c5da9bd789155c34b", 653_780),
        "Sports_and_Outdoors",
    )


class Yelp(ItemSequences):
    """Reviews of businesses on Yelp, 5-core, repeats included (30,431 users, 20,033 items, 316,354 interactions)."""

    licence = f"{_UNLICENSED} Yelp (academic use only)"
    citation = S3REC
    homepage = "https://github.com/RUCAIBox/CIKM2020-S3Rec"
    users, items, interactions = 30_431, 20_033, 316_354
    files = _files(
        ("724b219106b81dd2349027da997334ddb6da9fe2f152ad6e0d97a93170f7caed", 1_814_224),
        ("f25acd5e1e680e0b22fd4e3f4fb6be4b2a7461e9222610616e3e1ee6702dd58d", 600_360),
        "Yelp",
    )


class BeautyBERT4Rec(Declared):
    """Reviews of cosmetics on Amazon as BERT4Rec has them (40,226 users, 54,542 items, 353,962 interactions)."""

    licence = f"{_UNLICENSED} Amazon"
    citation = f"{AMAZON}; {BERT4REC}"
    homepage = "https://github.com/antklen/sasrec-bert4rec-recsys23"
    users, items, interactions = 40_226, 54_542, 353_962
    files = (
        File(
            "interactions.txt", "f480b7a7403852342ffd8f9809bb30697dd669be31813d0e204b698fec86ef49", 3_912_093,
            f"{_RECSYS23}/beauty.txt",
        ),
    )  # fmt: skip

    def read(self, root: Path) -> Raw:
        """The table ``interactions`` from lines ``user item``, in time order for each user.

        Raises:
            DataError: as :meth:`Declared.check`, or a malformed line.
        """
        found = read_columns(path := root / "interactions.txt", ("user", "item"))
        self.check(path, found["user"], found["item"])
        return Raw({"interactions": {**found}})


class ML1MPartial(Declared):
    """Films on MovieLens, gaps before the last one of most (6,040 users, 3,416 items, 994,083 of 999,611 interactions).

    Most users lack the film before their last: they are trained on all but the last, and tested on that.  Users
    whose sequence is whole, in ``complete_users.txt``, validate on the film before their last.
    """

    licence = f"{_UNLICENSED} GroupLens (no redistribution, no commercial use without permission)"
    citation = f"{MOVIELENS}; {GSASREC}"
    homepage = "https://github.com/asash/gSASRec-pytorch"
    users, items, interactions = 6_040, 3_416, 994_083
    files = (
        File("sequences.txt", "a9a364154e5f39f87a9a263932da149cf9152011217ef218584dbb07b3f66cfb", 4_236_522),
        File("complete_users.txt", "66372fdcadbf0fa97d2e9aaf6cf497b43de0957af3d67be4ac33fc4e80961119", 2_457),
    )

    def read(self, root: Path) -> Raw:
        """The table ``interactions`` with parts.

        Raises:
            DataError: as :meth:`Declared.check`, or a malformed line.
        """
        users, items, _ = read_lists(path := root / "sequences.txt")
        self.check(path, users, items)
        complete = read_columns(root / "complete_users.txt", ("user",))["user"]
        from_end = _from_end(users)
        part = np.where(from_end == 0, TEST, TRAIN).astype(np.int8)
        part[(from_end == 1) & np.isin(users, complete)] = VALID
        gaps = len(np.setdiff1d(users, complete))
        note = f"{gaps:,} users lack the interaction before their last one: they do not validate"
        return Raw({"interactions": {"user": users, "item": items, "part": part}}, [note])


class SportsSSLRec(Declared):
    """Reviews of sports goods on Amazon as SSLRec has them (85,226 users, 56,974 items, 400,331 interactions).

    The files hold rows, of which a user may have two: a test row that goes on where the training row of the same
    session ends is one sequence with it, as are all here.
    """

    licence = "Apache-2.0 (repository); the data by Amazon's terms, research use only"
    citation = f"{AMAZON}; {SSLREC}"
    homepage = "https://github.com/HKUDS/SSLRec"
    users, items, interactions = 85_226, 56_974, 400_331
    files = (
        File("train.tsv", "69fd981de193bb3a92ef07c6adcd33473a2a4856f642747c66b846ee8ab604a2", 2_328_926,
             f"{_SSLREC}/sports_seq/train.tsv"),
        File("test.tsv", "f6d5967dfc6b88292f2fae6e97281a07781f9ccdb5acf9ef048e4c4bc2a63990", 2_823_542,
             f"{_SSLREC}/sports_seq/test.tsv"),
    )  # fmt: skip

    def read(self, root: Path) -> Raw:
        """The table ``interactions`` with parts, see :func:`sslrec_seq.sessions.read_sessions`.

        Raises:
            DataError: as :meth:`Declared.check`, or a malformed line.
        """
        raw = read_sessions(root / "train.tsv", root / "test.tsv")
        table = raw.tables["interactions"]
        self.check(root / "test.tsv", np.asarray(table["user"]), np.asarray(table["item"]))
        return raw


class Demo(Dataset):
    """A generated world of listeners who hear albums track by track, with a popularity tail and tastes."""

    class Config(Dataset.Config):
        seed: NonNegativeInt = 0
        """Decides everything."""
        users: PositiveInt = 2000
        """Number of listeners."""
        items: int = Field(default=1000, ge=2)
        """Number of pieces of music; those that nobody heard do not occur."""

    config: Config
    licence = "Apache-2.0 (generated)"

    def read(self, root: Path) -> Raw:
        """The tables ``interactions`` and ``attributes``; no file is read."""
        return listening_world(self.config.seed, self.config.users, self.config.items)


def _from_end(users: Array) -> Array:
    """How many interactions of the same user follow each, users together."""
    last = np.flatnonzero(np.append(users[1:] != users[:-1], True))
    return last[np.searchsorted(last, np.arange(len(users)))] - np.arange(len(users))
