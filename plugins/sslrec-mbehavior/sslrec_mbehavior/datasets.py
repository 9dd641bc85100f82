"""Named datasets of several behaviours, and own files in the same forms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from sslrec_core.data import Array, Column, Dataset, File, Raw
from sslrec_core.errors import DataError, closest
from sslrec_core.ingest.lists import read_columns, read_lists, read_numbers
from sslrec_mbehavior.events import TARGET
from sslrec_mbehavior.worlds import LEAST, shopping_world

COLUMNS = ("user", "item", "time")
HELD_OUT = {"valid": 1, "test": 2}
FROM_MBCGCN = (
    "https://raw.githubusercontent.com/SS-00-SS/MBCGCN/931f9c103817cdfa280353c506f4e3cb08306a1c/Data"  # one commit
)


class Files(Dataset):
    """Your own folder with a file for each behaviour.

    Either ``train_<behaviour>.tsv`` (lines ``user item time``, or without time) and ``test.tsv``, ``valid.tsv``
    (``user item``), or item lists ``<behaviour>_train.txt`` and ``<target>_test.txt``, ``<target>_valid.txt``.  Ids are
    numbers from 0 on; without a test file the scenario splits.
    """

    class Config(Dataset.Config):
        path: str
        """The folder."""
        target: str = TARGET
        """The behaviour to recommend for."""

    config: Config

    def paths(self, root: Path) -> list[Path]:
        """The user's files, whatever ``root`` is."""
        return sorted(path for path in self._folder().iterdir() if path.suffix in (".tsv", ".txt"))

    def read(self, root: Path) -> Raw:
        """Read the user's files, whatever ``root`` is."""
        return read_folder(self._folder(), self.config.target)

    def _folder(self) -> Path:
        folder = Path(self.config.path).expanduser()
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}", fix="check --set data.path=FOLDER")
        return folder


class RetailRocket(Dataset):
    """An online shop's views, carts and purchases with times, by SSLRec (2,174 users, 30,113 items).

    No held-out purchase is among the views and carts of its user.
    """

    licence = "Apache-2.0 (the repository); the data are Retailrocket's, CC BY-NC-SA 4.0"
    citation = "Ren et al., SSLRec, WSDM 2024; Wei et al., CML, WSDM 2022; Retailrocket recommender system dataset"
    homepage = "https://github.com/HKUDS/SSLRec"
    sizes: ClassVar[Mapping[str, int]] = {"user": 2_174, "item": 30_113}
    files = (
        File("train_view.tsv", "2c5215140804cc0131d0b458d69e1ec90c7a05611b59d34903f75624f99e00b1", 1_536_195),
        File("train_cart.tsv", "6c7cb624e223c97eabc3c1db4213b4e1e61a00013fda176227ef50e2208e31f9", 255_733),
        File("train_buy.tsv", "da4f77498ebb9ca28cc7d0a6ebcc46463316358d3e4cb672898e8d7461de09a3", 196_036),
        File("test.tsv", "c998b7ae9c7e2b57455f259d86587bc23e8818028aa22910513c730f552d7a25", 21_475),
    )

    def read(self, root: Path) -> Raw:
        """Purchases in parts, views and carts with their times."""
        raw = read_folder(root, TARGET)
        raw.sizes |= self.sizes
        return raw


class Tmall(Dataset):
    """Tmall's views, carts and purchases in the version of MB-CGCN (15,449 users, 11,953 items).

    Of the 15,449 held-out purchases 12,315 are among the views of their user and 3,024 in the cart: see
    ``scenario.hide_held_out``.  The file of views holds the published pairs, put together from the published
    adjacency matrix.
    """

    licence = "no licence stated; the data are Tmall's (IJCAI 2015 contest), for research"
    citation = "Cheng et al., Multi-Behavior Recommendation with Cascading Graph Convolution Networks, WWW 2023"
    homepage = "https://github.com/SS-00-SS/MBCGCN"
    sizes: ClassVar[Mapping[str, int]] = {"user": 15_449, "item": 11_953}
    files = (
        File("view_train.txt", "ff3bb2da3d5ea90faede153b4287197ee2dc91de67022883d2db526fbbefe3e9", 4_350_466),
        File("cart_train.txt", "481a048118ad3837208534a4367c2f20f290cd2a6f9297a621897655b62f2dbc", 972_161,
             f"{FROM_MBCGCN}/cart/train.txt"),
        File("buy_train.txt", "4d8619e44b5292736daff25b18ff9b295893e7521e3d79faff4a62d48dd80e6e", 531_627,
             f"{FROM_MBCGCN}/buy/train.txt"),
        File("buy_test.txt", "aa643ff3e3f072238740b684277e65ee2eaeecdcd3c5ec1134756d4adfb1672b", 157_169,
             f"{FROM_MBCGCN}/buy/test.txt"),
    )  # fmt: skip

    def read(self, root: Path) -> Raw:
        """Purchases in parts, views and carts."""
        raw = read_folder(root, TARGET)
        raw.sizes |= self.sizes
        return raw


class Demo(Dataset):
    """A generated world of shoppers whose views and carts foretell what they buy; made in a second."""

    class Config(Dataset.Config):
        seed: NonNegativeInt = 0
        """Decides everything; equal seeds give equal worlds."""
        users: PositiveInt = 1500
        """Shoppers."""
        items: Annotated[int, Field(ge=LEAST)] = 1500
        """Products."""
        shuffled: bool = False
        """Give every shopper the views and carts of another one: the same numbers, knowing nothing."""

    config: Config
    licence = "generated; do with it what you like"

    def read(self, root: Path) -> Raw:
        """The world, without any file."""
        config = self.config
        return shopping_world(config.seed, config.users, config.items, shuffled=config.shuffled)


def read_folder(folder: Path, target: str) -> Raw:
    """Read a file for each behaviour, in either form that :class:`Files` describes.

    Raises:
        DataError: no such file, none of the target or of another behaviour, or a malformed or empty one.
    """
    rows = {path.stem.removeprefix("train_"): path for path in sorted(folder.glob("train_*.tsv"))}
    lists = {path.stem.removesuffix("_train"): path for path in sorted(folder.glob("*_train.txt"))}
    found = rows or lists
    if target not in found or len(found) == 1:
        near = closest(target, list(found))
        missing = "another behaviour" if target in found else f"'{target}'"
        raise DataError(
            f"{folder} has no training file of {missing}",
            f"behaviours with one: {', '.join(found) or 'none'}",
            "understood: train_<behaviour>.tsv with lines `user item time`, or <behaviour>_train.txt with lines `user "
            "item item ...`",
            fix=f"--set data.target={near[0]}" if near else f"put train_{target}.tsv or {target}_train.txt there",
        )
    files = [(code, folder / (f"{part}.tsv" if rows else f"{target}_{part}.txt")) for part, code in HELD_OUT.items()]
    read = _read_rows if rows else _read_list
    sizes: dict[str, int] = {}
    others = _joined({name: read(path, sizes) for name, path in found.items() if name != target}, "behaviour")
    parts = {0: read(found[target], sizes), **{code: read(path, sizes) for code, path in files if path.is_file()}}
    interactions = _joined(parts, "part")
    if len(parts) == 1:
        del interactions["part"]
    interactions["behaviour"] = np.full(len(interactions["user"]), target)
    return Raw({"interactions": interactions, "behaviours": others}, identity_ids=True, sizes=sizes)


def _read_rows(path: Path, sizes: dict[str, int]) -> dict[str, Array]:
    """Lines ``user item``, or ``user item time``."""
    width = int(read_numbers(path)[1][0])
    return read_columns(path, COLUMNS if width == len(COLUMNS) else COLUMNS[:2])


def _read_list(path: Path, sizes: dict[str, int]) -> dict[str, Array]:
    """Lines ``user item item ...``; users without items count among ``sizes``."""
    users, items, size = read_lists(path)
    sizes["user"] = max(sizes.get("user", 0), size)
    return {"user": users, "item": items}


def _joined(tables: Mapping[Any, dict[str, Array]], label: str) -> dict[str, Column]:
    """The rows of all tables, in the columns that all of them have, and which table each is of."""
    shared = set.intersection(*(set(table) for table in tables.values()))
    joined: dict[str, Column] = {
        name: np.concatenate([table[name] for table in tables.values()]) for name in COLUMNS if name in shared
    }
    joined[label] = np.repeat(list(tables), [len(table["user"]) for table in tables.values()])
    return joined
