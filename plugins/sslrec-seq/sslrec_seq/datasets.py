"""Named datasets of sequences: where their files come from, how to know them, what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np

from sslrec_core.data import Array, Column, Dataset, File, Raw
from sslrec_core.errors import DataError
from sslrec_core.ingest.lists import read_lists
from sslrec_core.ingest.packed import read_bytes

_S3REC = "https://raw.githubusercontent.com/RUCAIBox/CIKM2020-S3Rec/2a81540ae18615d88ef88227b0c066e5b74781e5/data"
_UNLICENSED = "no licence stated for the files; research use only, by the terms of"
AMAZON = "McAuley et al., Image-Based Recommendations on Styles and Substitutes, SIGIR 2015"
S3REC = "Zhou et al., S3-Rec: Self-Supervised Learning for Sequential Recommendation, CIKM 2020"
BERT4REC = "Sun et al., BERT4Rec: Sequential Recommendation with BERT, CIKM 2019"
MOVIELENS = "Harper and Konstan, The MovieLens Datasets: History and Context, TiiS 2015"
GSASREC = "Petrov and Macdonald, gSASRec: Reducing Overconfidence in Sequential Recommendation, RecSys 2023"
SSLREC = "Ren et al., SSLRec: A Self-Supervised Learning Framework for Recommendation, WSDM 2024"
TRAIN, VALID, TEST = 0, 1, 2


class ItemSequences(Dataset):
    """``sequences.txt`` with a line ``user item item ...`` in time order for each user; ids are numbers from 1 on."""

    users: ClassVar[int]
    items: ClassVar[int]
    interactions: ClassVar[int]

    def read(self, root: Path) -> Raw:
        """The table ``interactions``, and ``attributes`` (``item``, ``attribute``) where the file is there.

        Raises:
            DataError: a malformed line, an item 0 (which means padding in such files), or not as many users, items and
                interactions as declared.
        """
        users, items, _ = read_lists(root / "sequences.txt")
        if (items == 0).any():
            line = int(np.unique(users[: int((items == 0).argmax()) + 1]).size)
            raise DataError(f"{root / 'sequences.txt'}:{line}: item 0 stands for padding in such files, and is no item")
        found = {"users": len(np.unique(users)), "items": len(np.unique(items)), "interactions": len(items)}
        for what, number in found.items():
            if number != (declared := getattr(self, what)):
                raise DataError(
                    f"{root / 'sequences.txt'} is not what {type(self).__name__} declares",
                    f"expected: {declared:,} {what}", f"found: {number:,}",
                    fix="to use your own files: --dataset ./your-file",
                )  # fmt: skip
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
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f'{path} is not of the form {{"item": [attribute, ...]}}', str(error)) from error
    counts = np.array([len(values) for values in attributes], np.int64)
    return {"item": np.repeat(items, counts), "attribute": np.concatenate([*attributes, np.empty(0, np.int64)])}


def _files(sequences: tuple[str, int], attributes: tuple[str, int], name: str) -> tuple[File, ...]:
    return (
        File("sequences.txt", *sequences, f"{_S3REC}/{name}.txt"),
        File("item2attributes.json", *attributes, f"{_S3REC}/{name}_item2attributes.json"),
    )


class Toys(ItemSequences):
    """Reviews of toys and games on Amazon, 5-core (19,412 users, 11,924 items, 167,597 interactions)."""

    licence = f"{_UNLICENSED} Amazon"
    citation = f"{AMAZON}; {S3REC}"
    homepage = "https://github.com/RUCAIBox/CIKM2020-S3Rec"
    users, items, interactions = 19_412, 11_924, 167_597
    files = _files(
        ("176c680c688d497598c4a89a03b402c0fe78d795e5db335c2e78dd5f2d778a3f", 922_166),
        ("d371acd25101eedac04afc727626464b7acec770c4eda708705d51eb76eb1ad0", 327_536),
        "Toys_and_Games",
    )


class Beauty(ItemSequences):
    """Reviews of cosmetics on Amazon, 5-core (22,363 users, 12,101 items, 198,502 interactions)."""

    licence = f"{_UNLICENSED} Amazon"
    citation = f"{AMAZON}; {S3REC}"
    homepage = "https://github.com/RUCAIBox/CIKM2020-S3Rec"
    users, items, interactions = 22_363, 12_101, 198_502
    files = _files(
        ("226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8", 1_090_094),
        ("129e40f67486f6877eff0f5318cfa8530ee8ac23d8b0d1de04e1bb7a2ba0b2d4", 305_674),
        "Beauty",
    )


class Sports(ItemSequences):
    """Reviews of sports and outdoor goods on Amazon, 5-core (35,598 users, 18,357 items, 296,337 interactions)."""

    licence = f"{_UNLICENSED} Amazon"
    citation = f"{AMAZON}; {S3REC}"
    homepage = "https://github.com/RUCAIBox/CIKM2020-S3Rec"
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
