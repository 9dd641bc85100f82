"""CRGCN: one behaviour's vectors are refined by the next, from the weakest to the target.

Yan, Cheng, Gao, Sun, Huang and Su, "Cascading Residual Graph Convolutional Network for Multi-Behavior Recommendation",
TOIS'23.  No self-supervision: what models with it are measured against.  Defaults follow the authors' code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.builtin.objectives import BPR, L2
from sslrec_core.model import Embeddings, Losses, Model
from sslrec_mbehavior.data import MultiBehaviorBatch, MultiBehaviorData, Outside
from sslrec_mbehavior.nodes import node_table, parted

if TYPE_CHECKING:
    from sslrec_core.loop import Loop


class CRGCN(Model):
    """Vectors handed on from behaviour to behaviour, each adding what its graph says (CRGCN, TOIS'23)."""

    class Config(Model.Config):
        layers: PositiveInt = 1
        """Propagations over the graph of each behaviour."""
        ranking: BPR.Config = BPR.Config()
        """Loss of each behaviour; all count alike."""
        l2: L2.Config = L2.Config(weight=1e-3, form="norm")
        """Penalty on both tables as a whole, divided by the number of items."""
        negatives_outside: Outside = "all"
        """Negatives are items that the user did nothing with, as in the authors' code, or nothing of this behaviour."""

    config: Config
    data: MultiBehaviorData

    def __init__(self, config: Config, data: MultiBehaviorData) -> None:
        super().__init__(config, data)
        self.nodes = node_table(data, config.embedding_dim)
        self.bias = nn.Parameter(torch.zeros(len(data.names), config.layers, config.embedding_dim))
        self.ranking, self.l2 = BPR(config.ranking), L2(config.l2)

    def cascade(self) -> list[Tensor]:
        """Users and items after each behaviour, ``[nodes, dim]`` each.

        Each block propagates what it was handed, scales it to length one and adds it to what it was handed.
        """
        handed: Tensor = self.nodes
        found: list[Tensor] = []
        for graph, biases in zip(self.data.graphs, self.bias, strict=True):
            x = handed
            for bias in biases:
                x = graph @ x + bias
            handed = handed + F.normalize(x, dim=-1)
            found.append(handed)
        return found

    def epoch(self, loop: Loop) -> None:
        """Each user once, with one pair of each behaviour."""
        size, negatives, outside = loop.train.batch_size, loop.train.negatives, self.config.negatives_outside
        source = self.data.user_batches(size, 1, negatives, outside=outside, rank=loop.rank, world=loop.world)
        for batch in loop.batches(source):
            loop.minimise(self.losses(batch))

    def losses(self, batch: MultiBehaviorBatch) -> Losses:
        """Ranking within each behaviour, with the vectors it hands on, and the penalty.

        A behaviour's mean is over all users of the batch, whether or not they have a pair in it.
        """
        terms = []
        for nodes, pairs in zip(self.cascade(), batch.pairs, strict=True):
            if len(pairs):
                users, items = parted(nodes, self.data)
                vectors = (F.embedding(each, table) for each, table in
                           ((pairs.users, users), (pairs.positives, items), (pairs.negatives, items)))  # fmt: skip
                terms.append(self.ranking(*vectors) * (len(pairs) / len(batch)))
        users, items = parted(self.nodes, self.data)
        return {"ranking": torch.stack(terms).sum(), "l2": self.l2(items, users)}

    def embeddings(self) -> Embeddings:
        """Vectors after the target behaviour."""
        return Embeddings(*parted(self.cascade()[-1], self.data))
