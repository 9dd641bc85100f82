"""MHCN: what users share with friends, with friends who buy the same, and with strangers who do.

Yu, Yin, Li, Wang, Hung and Zhang, "Self-Supervised Multi-Channel Hypergraph Convolutional Network for Social
Recommendation", WWW'21.  Defaults follow the authors' code of the published tables (QRec, ``MHCN.py``); options cover
their later one (SELFRec), which keeps fewer pairs of users in the purchase channel and penalises the batch's vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.builtin.objectives import BPR
from sslrec_core.config import NonNegative
from sslrec_core.data import PairBatch
from sslrec_core.model import Embeddings, Losses, Model
from sslrec_social.data import SocialData
from sslrec_social.motifs import motif_channels
from sslrec_social.objectives import HierarchicalInfomax, squared_length


class MHCN(Model):
    """Three hypergraphs of motifs and the interactions, with mutual information on each (MHCN, WWW'21)."""

    class Config(Model.Config):
        layers: PositiveInt = 2
        """Convolutions."""
        ranking: BPR.Config = BPR.Config(reduction="sum")
        """Loss of the recommendation task."""
        infomax: HierarchicalInfomax.Config = HierarchicalInfomax.Config()
        """Self-supervised loss of each channel (section 3.3); with weight 0 it is not computed."""
        least_common: PositiveInt = 2
        """Items that two users must have in common to meet in the purchase channel; the authors' later code asks for
        4.  The fewer, the more edges: their number decides how long a step takes."""
        own_items: bool = True
        """Whether the purchase channel joins users to themselves, by all of their items, as the authors' codes do."""
        l2: NonNegative = 1e-3
        """Factor of half the squared length of what ``l2_of`` says, a sum beside sums, as in the codes."""
        l2_of: Literal["tables", "batch"] = "tables"
        """Penalise whole tables of vectors, or the batch's final vectors; the matrices are penalised in both cases."""
        init_std: PositiveFloat = 0.005
        """Standard deviation of the initial user and item vectors, cut off at twice as much."""

    config: Config
    data: SocialData

    def __init__(self, config: Config, data: SocialData) -> None:
        super().__init__(config, data)
        dim, std = config.embedding_dim, config.init_std
        self.users, self.items = nn.Embedding(data.n_users, dim), nn.Embedding(data.n_items, dim)
        for table in (self.users, self.items):
            nn.init.trunc_normal_(table.weight, std=std, a=-2 * std, b=2 * std)
        self.gates = nn.ModuleList(_linear(dim) for _ in range(4))
        self.views = nn.ModuleList(_linear(dim) for _ in range(3)) if config.infomax.weight else nn.ModuleList()
        self.attend = nn.Linear(dim, dim, bias=False)
        self.query = nn.Parameter(torch.empty(1, dim))
        for matrix in (self.attend.weight, self.query):
            nn.init.xavier_uniform_(matrix)
        self.ranking, self.infomax = BPR(config.ranking), HierarchicalInfomax(config.infomax)
        train = data.interactions.parts["train"]
        self.hypergraphs = motif_channels(data.ties, train, least_common=config.least_common, own=config.own_items)

    def embeddings(self) -> Embeddings:
        """Final vectors: each channel's layers added up, channels weighed by attention (section 3.2)."""
        users, items = self.users.weight, self.items.weight
        *channels, simple = [gated(gate, users) for gate in self.gates]
        totals = [*channels, simple, items]
        for _ in range(self.config.layers):
            # One product with the graph of users and items makes users out of items and items out of users.
            nodes = self.data.graph @ torch.cat([self.attended(channels) + simple / 2, items])
            simple, items = nodes.split_with_sizes([self.data.n_users, self.data.n_items])
            channels = [graph @ x for graph, x in zip(self.hypergraphs, channels, strict=True)]
            hop = (*channels, simple, items)
            totals = [total + F.normalize(x, dim=1) for total, x in zip(totals, hop, strict=True)]
        *channels, simple, items = totals
        return Embeddings(self.attended(channels) + simple / 2, items)

    def attended(self, channels: Sequence[Tensor]) -> Tensor:
        """Users' mean over channels, weighed by ``softmax_c(a' W x_c)``: ``[users, dim]`` each -> ``[users, dim]``."""
        stacked = torch.stack(tuple(channels))
        weight = (stacked @ (self.query @ self.attend.weight).T).softmax(0)
        return (weight * stacked).sum(0)

    def losses(self, batch: PairBatch) -> Losses:
        """Ranking loss, mutual information of the three channels, and penalty (section 3.3)."""
        users, items = self.embeddings()
        rows = F.embedding(batch.users, users), F.embedding(batch.positives, items), F.embedding(batch.negatives, items)
        losses = {"ranking": self.ranking(*rows)}
        if self.config.infomax.weight:
            views = zip(self.hypergraphs, self.views, strict=True)
            losses["infomax"] = torch.stack([self.infomax(graph, gated(gate, users)) for graph, gate in views]).sum()
        if self.config.l2:
            tables = [self.users.weight, self.items.weight]
            matrices = [value for value in self.parameters() if all(value is not table for table in tables)]
            penalised = tables if self.config.l2_of == "tables" else rows
            losses["l2"] = self.config.l2 * squared_length([*matrices, *penalised])
        return losses


def gated(gate: nn.Module, x: Tensor) -> Tensor:
    """``x`` with each of its dimensions let through as far as a layer says: ``[n, dim] -> [n, dim]``."""
    through: Tensor = torch.sigmoid(gate(x))
    return x * through


def _linear(dim: int) -> nn.Linear:
    """A square layer whose bias is drawn by chance too, as in the authors' codes."""
    layer = nn.Linear(dim, dim)
    for values in (layer.weight, layer.bias.unsqueeze(0)):
        nn.init.xavier_uniform_(values)
    return layer
