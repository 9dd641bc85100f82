"""Named datasets with ties between users: where their files come from, how to know them, how to read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt

from sslrec_core.data import Dataset, File, Raw
from sslrec_core.errors import DataError
from sslrec_core.ingest.lists import read_parts
from sslrec_core.ingest.packed import read_bytes
from sslrec_core.ingest.ties import read_ties
from sslrec_social.worlds import friends_world

TRUST = "trust.txt"
UNLICENSED = "no licence stated for the files; research use only"
CIAO = "Tang et al., mTrust: Discerning Multi-Faceted Trust in a Connected World, WSDM 2012"
DIFFNETPP = "Wu et al., DiffNet++: A Neural Influence and Interest Diffusion Network, TKDE 2020"
GBSR = "Yang et al., Graph Bottlenecked Social Recommendation, KDD 2024"
HGSR = "Yang et al., Hyperbolic Graph Learning for Social Recommendation, TKDE 2023"


class ListsAndTrust(Dataset):
    """Item lists in ``train.txt`` and ``test.txt``, ties in ``trust.txt``.

    Lines are ``user item item ...`` and ``user user`` or ``user user weight``.  Ids are numbers from 0.  The files are
    put together from the origin's binary ones, so they are placed by hand.
    """

    sizes: ClassVar[Mapping[str, int]] = {}
    """How many users and items there are."""

    def read(self, root: Path) -> Raw:
        """Both tables.

        Raises:
            DataError: a malformed line, or a tie with a user that does not exist; file and line are named.
        """
        raw = read_parts(root, {"train": "train.txt", "valid": "valid.txt", "test": "test.txt"})
        raw.tables["trust"] = ties = read_ties(root / TRUST)
        raw.sizes |= self.sizes
        for name in ("source", "target"):
            outside = np.flatnonzero(np.asarray(ties[name]) >= self.sizes["user"])
            if len(outside):
                raise _no_such(root / TRUST, int(outside[0]), name, self.sizes["user"])
        return raw


def _no_such(path: Path, row: int, column: str, size: int) -> DataError:
    lines = read_bytes(path).decode().splitlines()
    number, line = [(number, line) for number, line in enumerate(lines, 1) if line.strip()][row]
    return DataError(f"{path}:{number}: the {column} is no user, the last one is {size - 1}", repr(line))


class LastFM(ListsAndTrust):
    """HetRec's Last.fm with its friendships, split as by LightGCN's code (1,892 users, 4,489 items, 25,434 ties)."""

    licence = "no licence stated for the files; the data are HetRec 2011's, for non-commercial use"
    citation = "Cantador et al., HetRec 2011; He et al., LightGCN, SIGIR 2020"
    homepage = "https://github.com/gusye1234/LightGCN-PyTorch"
    sizes = {"user": 1_892, "item": 4_489}
    files = (
        File("train.txt", "2f6bacd967ec3340a3c4f6e82ba22947a6a5e99b7c70c977697a4b31c3261e05", 196_248),
        File("test.txt", "25ee341c3cb6056760ce7344da1bc48056216dcb60e91059bcceaa5b396e0e3c", 55_332),
        File("trust.txt", "225e9cda62cba64851ac4257d70abdb9792d5a9e5b3e84a620703ef762fc2211", 223_700),
    )


class Ciao(ListsAndTrust):
    """Ratings and trust on Ciao, in the version of HGSR (7,375 users, 91,091 items, 111,781 one-sided ties)."""

    licence = UNLICENSED
    citation = f"{CIAO}; {HGSR}"
    homepage = "https://github.com/yimutianyang/HGSR"
    sizes = {"user": 7_375, "item": 91_091}
    files = (
        File("train.txt", "022365b27f269b4f795b6c63fd6615ad9133f94b72835c744163b3b2e06e985c", 1_086_943),
        File("test.txt", "52b004dca24ef7b5caf78bd3a068e46d2919af2077c91aee3bfb51e64ede5ea0", 279_485),
        File("trust.txt", "8614a565bba59189fb1695786cca50e8b6379df8501113a4ec636d42b5f64f32", 1_021_054),
    )


class Epinions(ListsAndTrust):
    """Ratings and trust on Epinions, in the version of DiffNet++ and GBSR (18,202 users, 47,449 items, 595,104 ties).

    A few users are tied to themselves in the file; those ties are dropped and counted.
    """

    licence = UNLICENSED
    citation = f"{CIAO}; {GBSR}"
    homepage = "https://github.com/yimutianyang/KDD24-GBSR"
    sizes = {"user": 18_202, "item": 47_449}
    files = (
        File("train.txt", "030a42927fcb7b6cefbcfa46d06deb7f8c88fb2d38963d3bbf858a9fd28742a0", 1_590_645),
        File("test.txt", "fc0339477f68c01bf4d58e505d9bc89f6840e108e549c910c1d7bc3d98214271", 449_663),
        File("trust.txt", "498b546de354ca59a92a76ca46869c4160adaaec7a6bdf9622d2ebe4509903f7", 5_726_284),
    )


class Yelp(ListsAndTrust):
    """Reviews and friends on Yelp, in the version of GBSR (19,539 users, 22,228 items, 727,384 ties)."""

    licence = "no licence stated for the files; the data are Yelp's, for academic use"
    citation = GBSR
    homepage = "https://github.com/yimutianyang/KDD24-GBSR"
    sizes = {"user": 19_539, "item": 22_228}
    files = (
        File("train.txt", "01be8b5996078157349e1a6551e493c1789b98120a1873a2065be3af7235ecf3", 1_866_543),
        File("test.txt", "754e9681f17958c32b1e457721e39bebbd117ac5cfef43b627064f0c6f65a57c", 504_673),
        File("trust.txt", "eb2d02aad1acc823b017cc17ebab7a0cf5c9a0436cf61946810aaa3aa5ca1870", 7_896_570),
    )


class DoubanBook(ListsAndTrust):
    """Readers and friends on Douban, in the version of SELFRec and GBSR (13,024 users, 22,347 items, 169,142 ties).

    Some ids never occur; a few users are tied to themselves in the file, and those ties are dropped and counted.
    """

    licence = UNLICENSED
    citation = f"Yu et al., MHCN, WWW 2021; {GBSR}"
    homepage = "https://github.com/yimutianyang/KDD24-GBSR"
    sizes = {"user": 13_024, "item": 22_347}
    files = (
        File("train.txt", "e22d3e12b57aff145aa3987b88fa889cfb3e2b5557e83372084da62e88122932", 2_252_293),
        File("test.txt", "3a976b6c1e77c8b0cc7d2df6aa30389491b7a8a57e7943a1a44d0f642aafe62e", 603_052),
        File("trust.txt", "6500f4d8b15c049967e3537f7d6b1b5a8f61f8c2ee59c4053806f62bae4e05c1", 1_743_672),
    )


class Dianping(ListsAndTrust):
    """Reviews and friends on Dianping, in the version of DiffNet++ and HGSR (59,426 users, 10,224 items, 813,330 ties).

    4,257 users of the test part have nothing in training.
    """

    licence = UNLICENSED
    citation = f"{DIFFNETPP}; {HGSR}"
    homepage = "https://github.com/yimutianyang/HGSR"
    sizes = {"user": 59_426, "item": 10_224}
    files = (
        File("train.txt", "5d31990a99538f0767108814606a194add340f7db7dac0f0e20e594ad8faefb4", 4_110_262),
        File("test.txt", "00ccd5b8b258242584538bfa3c56adb97ac75d94de8ee7f0f62637b2f2ff7ea3", 1_424_756),
        File("trust.txt", "5d3189e8d1eef3567d9774225d7c48886b701279c7111b3dc5f2952c8cc925dd", 8_352_016),
    )


class Demo(Dataset):
    """A generated world of listeners who have chosen little and whose friends have the same taste; made in a second."""

    class Config(Dataset.Config):
        seed: NonNegativeInt = 0
        """Decides everything; equal seeds give equal worlds."""
        users: Annotated[int, Field(ge=2)] = 2000
        """Listeners."""
        items: Annotated[int, Field(ge=2)] = 2000
        """Pieces of music."""
        shuffled: bool = False
        """Give every listener the place of another one among friends: the same ties, knowing nothing."""

    config: Config
    licence = "generated; do with it what you like"

    def read(self, root: Path) -> Raw:
        """The world, without any file."""
        config = self.config
        return friends_world(config.seed, config.users, config.items, shuffled=config.shuffled)
