"""Named datasets with a knowledge graph: where their files come from, how to know them, how to read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from sslrec_core.builtin.worlds import demo_world
from sslrec_core.data import Dataset, File, Raw
from sslrec_core.errors import DataError
from sslrec_core.ingest.lists import read_columns, read_parts
from sslrec_core.ingest.packed import read_bytes
from sslrec_kg.urls import FROM_KGAT, FROM_KGIN, FROM_MCCLK

TRIPLES = "kg_final.txt"
KGAT_TERMS = (
    "research use only: acknowledge the source, do not redistribute without permission, do not deanonymise, "
    "no commercial use without permission"
)
KGAT = "Wang et al., KGAT: Knowledge Graph Attention Network for Recommendation, KDD 2019"
KGIN = "Wang et al., Learning Intents behind Interactions with Knowledge Graph for Recommendation, WWW 2021"


class ListsAndTriples(Dataset):
    """Item lists in ``train.txt`` and ``test.txt``, triples in ``kg_final.txt``.

    Lines are ``user item item ...`` and ``head relation tail``.  Ids are numbers from 0; entities below the number of
    items are the items.
    """

    sizes: ClassVar[Mapping[str, int]] = {}
    """How many users, items, entities (items included) and relations there are."""

    def read(self, root: Path) -> Raw:
        """Both tables.

        Raises:
            DataError: a malformed line, or an entity or relation that does not exist; file and line are named.
        """
        raw = read_parts(root, {"train": "train.txt", "valid": "valid.txt", "test": "test.txt"})
        triples = read_columns(root / TRIPLES, ("head", "relation", "tail"))
        for column, kind in (("head", "entity"), ("relation", "relation"), ("tail", "entity")):
            outside = np.flatnonzero(triples[column] >= self.sizes[kind])
            if len(outside):
                raise _no_such(root / TRIPLES, int(outside[0]), column, kind, self.sizes[kind])
        raw.tables["triples"] = {**triples}
        raw.sizes |= self.sizes
        return raw


def _no_such(path: Path, row: int, column: str, kind: str, size: int) -> DataError:
    lines = read_bytes(path).decode().splitlines()
    number, line = [(number, line) for number, line in enumerate(lines, 1) if line.strip()][row]
    return DataError(f"{path}:{number}: the {column} is no {kind}, the last one is {size - 1}", repr(line))


class AlibabaFashion(ListsAndTriples):
    """Outfits and their parts on Taobao, in the version of KGIN (114,737 users, 30,040 items, 279,155 triples).

    The training file holds the published pairs in another order: it was put together from complementary parts and is
    not to be had as one file.
    """

    licence = KGAT_TERMS
    citation = KGIN
    homepage = "https://github.com/huangtinglin/Knowledge_Graph_based_Intent_Network"
    sizes = {"user": 114_737, "item": 30_040, "entity": 89_196, "relation": 51}
    files = (
        File("train.txt", "de22179cd9c364d73f221bc360fd90bfa2a493b17dffbbc9279a63a27ed8a379", 7_553_273),
        File("test.txt", "2517d969a1e2f812e12b04093252e12ae3d308df77e898f2b17deefe4c0ee15f", 2_682_437,
             f"{FROM_KGIN}/alibaba-fashion/test.txt"),
        File("kg_final.txt", "8a44700fd76efe438ac3d8f6ae9a3ee1e117c70d82c1d8a2d20766fa6686489e", 3_880_789,
             f"{FROM_KGIN}/alibaba-fashion/kg_final.txt"),
    )  # fmt: skip


class LastFMDedup(ListsAndTriples):
    """Last.fm with Freebase triples, no pair twice (23,566 users, 48,123 items, 464,567 triples).

    Derived from KGAT's Last-FM, where 40 % of the test pairs also stand in the training file; here none does, so
    published numbers do not compare.
    """

    licence = KGAT_TERMS
    citation = KGAT
    homepage = "https://github.com/xiangwang1223/knowledge_graph_attention_network"
    sizes = {"user": 23_566, "item": 48_123, "entity": 106_389, "relation": 9}
    files = (
        File("train.txt", "e97d1b0265cc2435a8820d9b456bc1c9d8174e920d26365f58bc1b75bbe77e88", 6_322_101),
        File("test.txt", "230010c375f1da4e4048698da0de6a95a786855b0a63e6a7873b12397bde364b", 2_469_935),
        File("kg_final.txt", "8e3c22a89543f8827fb056044774474f9a9dddd9ff648a264b8ea316807c1f54", 6_450_662,
             f"{FROM_KGAT}/last-fm/kg_final.txt"),
    )  # fmt: skip


class LastFMMusic(ListsAndTriples):
    """HetRec's Last.fm with Microsoft Satori triples (1,872 users, 3,846 items, 15,518 triples).

    The triples of RippleNet, MKR and KGCN as MCCLK ships them, and the split of VRKG4Rec, positive interactions only.
    """

    licence = "no licence stated; the interactions are HetRec 2011's, for non-commercial use"
    citation = "Wang et al., RippleNet, CIKM 2018; Lu et al., VRKG4Rec, WSDM 2023; Cantador et al., HetRec 2011"
    homepage = "https://github.com/lulu0913/VRKG4Rec"
    sizes = {"user": 1_872, "item": 3_846, "entity": 9_366, "relation": 60}
    files = (
        File("train.txt", "f692c014197392e7c3229cf01f3bc424aa870c91e982e5fcbe8bf2687a860716", 77_652),
        File("test.txt", "8c7c265b6f2da8dfd580b46f5d94d669be680940c23913ba34417571353f1de2", 24_625),
        File("kg_final.txt", "ff58147005e774652ebf435e9a8c3f0c3e2ffe9a54087eab00fd9c5413040bc8", 182_617,
             f"{FROM_MCCLK}/music/kg_final.txt"),
    )  # fmt: skip


class AmazonBook(ListsAndTriples):
    """Amazon's books with Freebase triples, in the version of KGAT (70,679 users, 24,915 items, 2,557,746 triples)."""

    licence = KGAT_TERMS
    citation = KGAT
    homepage = "https://github.com/xiangwang1223/knowledge_graph_attention_network"
    sizes = {"user": 70_679, "item": 24_915, "entity": 113_487, "relation": 39}
    files = (
        File("train.txt", "4d10106bb06a77e11df660429903c0067aeb85b86431807836b0d8b7edc30c38", 3_897_477,
             f"{FROM_KGAT}/amazon-book/train.txt"),
        File("test.txt", "f47eff9d35fb95c07d74251a991478a84095ce6c5969b0dafcb4afe99fc716ec", 1_478_039,
             f"{FROM_KGAT}/amazon-book/test.txt"),
        File("kg_final.txt", url=f"{FROM_KGAT}/amazon-book/kg_final.txt.zip", member="kg_final.txt",
             archive_sha256="ae1adad6c59ac2faf46066fb03b680a8a93db60588fcc63fdb0670df0f32161a"),
        File("entity_list.txt", "b03e9cb7eeab38756f0b10c06478a611201a7d42cb16acb8513624dda05270ca", 1_810_815,
             f"{FROM_KGAT}/amazon-book/entity_list.txt", optional=True),
        File("relation_list.txt", "50fe9c6560224b20d8ace78ae8ca0b8dad39248f6dc900f6744b633ba8c33f4b", 2_424,
             f"{FROM_KGAT}/amazon-book/relation_list.txt", optional=True),
    )  # fmt: skip


class Demo(Dataset):
    """A generated world of listeners and music whose knowledge graph tells what listeners like; made in two seconds."""

    class Config(Dataset.Config):
        seed: NonNegativeInt = 0
        """Decides everything; equal seeds give equal worlds."""
        users: PositiveInt = 2000
        """Listeners."""
        items: Annotated[int, Field(ge=2)] = 2000
        """Pieces of music."""
        shuffled: bool = False
        """Give every piece the triples of another one: the same graph, knowing nothing."""

    config: Config
    revision = 2
    licence = "generated; do with it what you like"

    def read(self, root: Path) -> Raw:
        """The world, without any file."""
        config = self.config
        return demo_world(config.seed, config.users, config.items, shuffled=config.shuffled)
