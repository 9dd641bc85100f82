"""Named datasets of interactions: where their files come from, how to know them, what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from sslrec_core.builtin.worlds import demo_world
from sslrec_core.data import PARTS, Dataset, File, Raw
from sslrec_core.errors import DataError
from sslrec_core.ingest.lists import read_parts

_GITHUB = "https://raw.githubusercontent.com"
_LIGHTGCN = f"{_GITHUB}/kuandeng/LightGCN/b067ec05f16a24e0e1efe63cd82385f0c469af20/Data"
_LIGHTGCNPP = f"{_GITHUB}/geon0325/LightGCNpp/a394f79a7aceb8f485f6bcb549b4865fe83f1d49/data"
_KGAT = f"{_GITHUB}/xiangwang1223/knowledge_graph_attention_network/c03737be46ac26a0b5431efe149828e982ffbbfb/Data"
_KGAT_PYTORCH = f"{_GITHUB}/LunaBlack/KGAT-pytorch/5d6ce2fcd5314d3c2bef0254cd6569270ee02105/datasets"

_UNLICENSED = "no licence stated for the files; research use only, by the terms of"
HETREC = "Cantador et al., HetRec workshop, RecSys 2011"
MOVIELENS = "Harper and Konstan, The MovieLens Datasets: History and Context, TiiS 2015"
GOWALLA = "Cho et al., Friendship and Mobility: User Movement in Location-Based Social Networks, KDD 2011"
AMAZON = "McAuley et al., Image-Based Recommendations on Styles and Substitutes, SIGIR 2015"
LIGHTGCN = "He et al., LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation, SIGIR 2020"
LIGHTGCNPP = "Lee et al., Revisiting LightGCN: Unexpected Inflexibility, Inconsistency, and A Remedy, RecSys 2024"
SSLREC = "Ren et al., SSLRec: A Self-Supervised Learning Framework for Recommendation, WSDM 2024"
SIMGCL = "Yu et al., Are Graph Augmentations Necessary? Simple Graph Contrastive Learning, SIGIR 2022"
GBSR = "Yang et al., Graph Bottlenecked Social Recommendation, KDD 2024"
STUDY = "SIGIR 2022 graph recommenders reproduced, arXiv 2503.07823, TOIS 2025"


class ItemLists(Dataset):
    """``train.txt``, ``test.txt`` and a validation file with ``user item item ...`` lines; ids are numbers from 0."""

    sizes: ClassVar[Mapping[str, int]] = {}
    """How many user and item ids there are, whether or not each occurs."""
    pairs: ClassVar[Mapping[str, int]] = {}
    """How many pairs each part's file holds."""

    def read(self, root: Path) -> Raw:
        """The table ``interactions`` with ``user``, ``item`` and ``part``.

        A file ``valid_within_train.txt`` repeats training pairs: they are taken out of training to validate on, and
        stay in training where nothing is held out.

        Raises:
            DataError: a malformed line (file and line are named), or not as many users, items or pairs as declared.
        """
        files = {file.name.removesuffix(".txt").partition("_")[0]: file.name for file in self.files}
        raw = read_parts(root, files)
        table = raw.tables["interactions"]
        found = dict(zip(PARTS, np.bincount(np.asarray(table["part"]), minlength=len(PARTS)).tolist(), strict=True))
        for part, declared in self.pairs.items():
            if found[part] != declared:
                raise self._otherwise(root / files[part], f"{declared:,} pairs", f"{found[part]:,}")
        for kind, declared in self.sizes.items():
            if (largest := int(np.asarray(table[kind]).max())) >= declared:
                raise self._otherwise(root, f"{kind} ids below {declared}", str(largest))
        raw.sizes |= self.sizes
        return raw

    def _otherwise(self, where: Path, declared: str, found: str) -> DataError:
        return DataError(
            f"{where} is not what {type(self).__name__} declares", f"expected: {declared}", f"found: {found}",
            fix="to use your own files: --dataset ./your-folder",
        )  # fmt: skip


class LastFM(ItemLists):
    """Artists that users of Last.fm listen to, 80/20 (1,880 users, 4,489 items, 52,668 pairs)."""

    licence = f"{_UNLICENSED} HetRec 2011 and Last.fm (non-commercial)"
    citation = f"{HETREC}; {LIGHTGCN}"
    homepage = "https://github.com/gusye1234/LightGCN-PyTorch"
    sizes = {"user": 1_892, "item": 4_489}
    pairs = {"train": 42_135, "test": 10_533}
    files = (
        File("train.txt", "2f6bacd967ec3340a3c4f6e82ba22947a6a5e99b7c70c977697a4b31c3261e05", 196_248),
        File("test.txt", "25ee341c3cb6056760ce7344da1bc48056216dcb60e91059bcceaa5b396e0e3c", 55_332),
    )


class LastFMLightGCNpp(ItemLists):
    """Artists that users of Last.fm listen to, 7:1:2 of LightGCN++ (1,885 users, 17,388 items, 91,779 pairs)."""

    licence = f"{_UNLICENSED} HetRec 2011 and Last.fm (non-commercial)"
    citation = f"{HETREC}; {LIGHTGCNPP}"
    homepage = "https://github.com/geon0325/LightGCNpp"
    sizes = {"user": 1_885, "item": 17_388}
    pairs = {"train": 64_315, "valid": 9_143, "test": 18_321}
    files = (
        File("train.txt", "1845769cb1a9834692d3cf884de523d23aa126fa6b58eb5f49e9628e8c317705", 300_863,
             f"{_LIGHTGCNPP}/lastfm/train.txt"),
        File("valid.txt", "9ae3440becfcbba19d5a5a8298b7933126f89424a468de5765bf1c6f08a9e3eb", 50_860,
             f"{_LIGHTGCNPP}/lastfm/valid.txt"),
        File("test.txt", "0f0a15e3de2f868554ee1e32190c51db3e0ad0c4138e1428c66ba6de86102755", 93_806,
             f"{_LIGHTGCNPP}/lastfm/test.txt"),
    )  # fmt: skip


class SparseYelp(ItemLists):
    """Businesses on Yelp, sparse, in the split of AutoCF and SSLRec (42,712 users, 26,822 items, 260,510 pairs)."""

    licence = "Apache-2.0 (repository); the data by Yelp's terms, academic use only"
    citation = f"{SSLREC}; Xia et al., Automated Self-Supervised Learning for Recommendation, WWW 2023"
    homepage = "https://github.com/HKUDS/SSLRec"
    sizes = {"user": 42_712, "item": 26_822}
    pairs = {"train": 182_357, "valid": 13_025, "test": 65_128}
    files = (
        File("train.txt", "37ff581c176868a7bfd73fa2cdbe61f66a7ad3f8b4ef8976279d1a2370a5444d", 1_205_201),
        File("valid.txt", "f9e2269f1179a0246ab5463c952d2a2939fbb7e23bc6c2a9828ab5b6d33a096a", 127_251),
        File("test.txt", "19142e7732fbeff7cea3d6e3009f0159583d1b11a66123093bd3f0339cf6e190", 519_025),
    )


class SparseGowalla(ItemLists):
    """Check-ins on Gowalla, sparse, in the split of AutoCF and SSLRec (25,557 users, 19,747 items, 421,405 pairs)."""

    licence = "Apache-2.0 (repository); no licence stated for the training file; research use only"
    citation = f"{GOWALLA}; {SSLREC}"
    homepage = "https://github.com/HKUDS/SSLRec"
    sizes = {"user": 25_557, "item": 19_747}
    pairs = {"train": 294_983, "valid": 21_070, "test": 105_352}
    files = (
        File("train.txt", "845bd3f5b7511430d42388b865e2fd8392347ac0be19744e711ff4e281e5280b", 1_668_286),
        File("valid.txt", "be9192e1312cc64d64219d67d650d34d90a259c895639cf33f676ff5cade4f3f", 169_637),
        File("test.txt", "1384df856e1845beb23fde6ddf420135d84b218ab9c9a4c8952820e959f38511", 668_789),
    )


class ML1M(ItemLists):
    """Films rated 3 or more on MovieLens, 7:1:2 of LightGCN++ (6,039 users, 3,628 items, 836,478 pairs)."""

    licence = f"{_UNLICENSED} GroupLens (no redistribution, no commercial use without permission)"
    citation = f"{MOVIELENS}; {LIGHTGCNPP}"
    homepage = "https://github.com/geon0325/LightGCNpp"
    sizes = {"user": 6_039, "item": 3_628}
    pairs = {"train": 590_733, "valid": 80_897, "test": 164_848}
    files = (
        File("train.txt", "dfa3a7a866feade29ca5722ac0423c1b0317ac1f6ad38a55fc1a7ceeb9cee3bb", 2_499_831,
             f"{_LIGHTGCNPP}/ml-1m/train.txt"),
        File("valid.txt", "429fe0d750b304677898d7eeb1080764bbf06550b94c9508b8cc8cd0573e3dfc", 367_878,
             f"{_LIGHTGCNPP}/ml-1m/valid.txt"),
        File("test.txt", "0d58f78bbf606f401aec2efe3f519b945c458c8398955f986e03b880fbbd16a6", 718_939,
             f"{_LIGHTGCNPP}/ml-1m/test.txt"),
    )  # fmt: skip


class ML1MRGCF(ItemLists):
    """Films rated 3 or more on MovieLens, 8:1:1 of RGCF (6,039 users, 3,628 items, 836,478 pairs)."""

    licence = (
        "that of the repository; the data by GroupLens' terms (no redistribution, no commercial use without permission)"
    )
    citation = f"{MOVIELENS}; {STUDY}"
    homepage = "https://github.com/recsyspolimi/TOIS25_Reproducibility-SIGIR22-GCN"
    sizes = {"user": 6_040, "item": 3_883}
    pairs = {"train": 670_019, "valid": 82_811, "test": 83_648}
    files = (
        File("train.txt", "731ee613872142c5c89264c56888b0f392473e854b40f0b6b164fb5b73b94a8b", 2_841_080),
        File("valid.txt", "ccd6d3883ad7d66ed3f52a994c31ca94fb3f4a8fa07029e999346f9cb64dabee", 376_190),
        File("test.txt", "6b0e8a5fd58359d1087916e0e613d78814ef107e10cd9f9ca252b4e6d1dff7ed", 379_591),
    )


class DoubanBook(ItemLists):
    """Books rated 4 or more on Douban, 80/20 (12,859 users, 22,294 items, 598,420 pairs)."""

    licence = f"{_UNLICENSED} Douban"
    citation = f"{GBSR}; {SIMGCL}"
    homepage = "https://github.com/yimutianyang/KDD24-GBSR"
    sizes = {"user": 13_024, "item": 22_347}
    pairs = {"train": 478_730, "test": 119_690}
    files = (
        File("train.txt", "e22d3e12b57aff145aa3987b88fa889cfb3e2b5557e83372084da62e88122932", 2_252_293),
        File("test.txt", "3a976b6c1e77c8b0cc7d2df6aa30389491b7a8a57e7943a1a44d0f642aafe62e", 603_052),
    )


class DoubanBookSimGCL(ItemLists):
    """Books rated 4 or more on Douban, 7:1:2 of SimGCL (12,859 users, 22,294 items, 598,420 pairs)."""

    licence = "that of the repository; the data by Douban's terms, research use only"
    citation = f"{SIMGCL}; {STUDY}"
    homepage = "https://github.com/recsyspolimi/TOIS25_Reproducibility-SIGIR22-GCN"
    sizes = {"user": 13_025, "item": 22_348}
    pairs = {"train": 418_889, "valid": 59_841, "test": 119_690}
    files = (
        File("train.txt", "069688490c6142b1e89355fd10883902606729dff72d6e40c4acf2f32a5403d5", 1_979_489),
        File("valid.txt", "1f7143793c072d904a3f9d5ba951f98f607fea76f43f26e3cd1c6bbd1a2171b2", 322_352),
        File("test.txt", "7484f55238fda95d45fe8c1828a82ec75917f165aad436ea71163dcb7bd94860", 603_351),
    )


class GTEBeauty(ItemLists):
    """Beauty products on Amazon, one of each user held out, of GTE (22,363 users, 12,101 items, 198,502 pairs)."""

    licence = f"{_UNLICENSED} Amazon"
    citation = f"{AMAZON}; Cai et al., How Expressive are Graph Neural Networks in Recommendation?, CIKM 2023"
    homepage = "https://github.com/HKUDS/GTE"
    sizes = {"user": 22_363, "item": 12_101}
    pairs = {"train": 176_139, "test": 22_363}
    files = (
        File("train.txt", "824d9ec38ea6619a6e86a1c526c80d310bfa0946543eb73648f3c8fa3c4fa346", 979_712),
        File("test.txt", "168773934c9e5a21d04b052c5ecc80822e3eb314bbebd7f817c84926c77e6df1", 233_399),
    )


class Gowalla(ItemLists):
    """Check-ins on Gowalla, in the split of NGCF and LightGCN (29,858 users, 40,981 items, 1,027,370 pairs).

    The training file holds the published pairs in another order; the validation part is that of LightGCN++.
    """

    licence = f"{_UNLICENSED} Gowalla"
    citation = f"{GOWALLA}; {LIGHTGCN}"
    homepage = "https://github.com/kuandeng/LightGCN"
    sizes = {"user": 29_858, "item": 40_981}
    pairs = {"train": 810_128, "valid": 91_047, "test": 217_242}
    files = (
        File("train.txt", "0f086326b28a56c2e6dcb81d86ee72d4ccb7eed3a8d26788392356d8f51111cc", 4_633_414),
        File("valid_within_train.txt", "ddc22c1cd9a7d14fd5cd0c98b1473b614f4323038fef74ae0d28cc9c92a08ba2", 669_008,
             f"{_LIGHTGCNPP}/gowalla/valid.txt"),
        File("test.txt", "099a2a73924e4b754dc6efd730d764f492321b53c38eb93298850c83acf57be3", 1_372_559,
             f"{_LIGHTGCN}/gowalla/test.txt"),
    )  # fmt: skip


class Yelp2018(ItemLists):
    """Businesses on Yelp, in the split of LightGCN, SGL and SimGCL (31,668 users, 38,048 items, 1,561,406 pairs).

    The training file holds the published pairs in another order; the validation part is that of LightGCN++.
    """

    licence = f"{_UNLICENSED} Yelp (academic use)"
    citation = LIGHTGCN
    homepage = "https://github.com/kuandeng/LightGCN"
    sizes = {"user": 31_668, "item": 38_048}
    pairs = {"train": 1_237_259, "valid": 143_751, "test": 324_147}
    files = (
        File("train.txt", "5588ebbcbf9ab10cdf7a70aa300f2ef781030daa2a94ef0685598ed051a398da", 6_904_880),
        File("valid_within_train.txt", "620f370eeab44103abdd5f468e29baaaa21d203bddc3422ebc07e4cf7e83f0fe", 960_538,
             f"{_LIGHTGCNPP}/yelp2018/valid.txt"),
        File("test.txt", "9cd9b37926cd1447a06625ffa7914527573fb097c10cb0bbdb1d1b8ded3742fe", 1_986_152,
             f"{_LIGHTGCN}/yelp2018/test.txt"),
    )  # fmt: skip


class AmazonBookKGAT(ItemLists):
    """Books on Amazon, the interactions of KGAT and KGIN (70,679 users, 24,915 items, 846,434 pairs)."""

    licence = (
        "research use only: acknowledge the source, do not redistribute without permission, do not deanonymise, "
        "no commercial use without permission"
    )
    citation = "Wang et al., KGAT: Knowledge Graph Attention Network for Recommendation, KDD 2019"
    homepage = "https://github.com/xiangwang1223/knowledge_graph_attention_network"
    sizes = {"user": 70_679, "item": 24_915}
    pairs = {"train": 652_514, "valid": 99_736, "test": 193_920}
    files = (
        File("train.txt", "4d10106bb06a77e11df660429903c0067aeb85b86431807836b0d8b7edc30c38", 3_897_477,
             f"{_KGAT}/amazon-book/train.txt"),
        File("valid_within_train.txt", "cfbac1f00664e6a68512e3ebfc4d03f33242d822bd0783ee26bc1bcf6d53b881", 947_410,
             f"{_KGAT_PYTORCH}/amazon-book/valid1.txt"),
        File("test.txt", "f47eff9d35fb95c07d74251a991478a84095ce6c5969b0dafcb4afe99fc716ec", 1_478_039,
             f"{_KGAT}/amazon-book/test.txt"),
    )  # fmt: skip


class Demo(Dataset):
    """A generated world of listeners and music with a popularity tail and a few latent tastes."""

    class Config(Dataset.Config):
        seed: NonNegativeInt = 0
        """Decides everything."""
        users: PositiveInt = 2000
        """Number of listeners."""
        items: int = Field(default=2000, ge=2)
        """Number of pieces of music; those that nobody chose do not occur."""

    config: Config
    revision = 2
    licence = "Apache-2.0 (generated)"

    def read(self, root: Path) -> Raw:
        """The table ``interactions`` with ``user``, ``item`` and ``time``; no file is read."""
        return demo_world(self.config.seed, self.config.users, self.config.items, triples=False)
