"""DSL: ties between users are learnt from only as far as what users chose agrees with them.

Wang, Xia and Huang, "Denoised Self-Augmented Learning for Social Recommendation", IJCAI'23.  Defaults follow the
authors' code (HKUDS/DSL).
"""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.builtin.encoders import LightGCNEncoder
from sslrec_core.builtin.objectives import BPR
from sslrec_core.config import NonNegative
from sslrec_core.data import PairBatch
from sslrec_core.graph import SparseGraph
from sslrec_core.model import Embeddings, Losses, Model
from sslrec_social.data import SocialData
from sslrec_social.objectives import SelfAugmented, squared_length


class DSL(Model):
    """Ties and interactions encoded apart, aligned where both say that users are alike (DSL, IJCAI'23)."""

    class Config(Model.Config):
        encoder: LightGCNEncoder.Config = LightGCNEncoder.Config(layers=2, combine="sum")
        """Propagation over users and items, each joined to itself too."""
        social: LightGCNEncoder.Config = LightGCNEncoder.Config(layers=2, combine="sum")
        """Propagation of the same user vectors over ties, each user joined to themself too."""
        ranking: BPR.Config = BPR.Config()
        """Loss of the recommendation task."""
        ties: BPR.Config = BPR.Config(weight=1e-2)
        """Loss of ranking friends above strangers, by the users' vectors over ties."""
        augmented: SelfAugmented.Config = SelfAugmented.Config()
        """Loss between the two vectors of random pairs of users."""
        pairs: PositiveInt = 1024
        """Random pairs of users in a step."""
        l2: NonNegative = 2e-5
        """Factor of half the squared length of all parameters."""

    config: Config
    data: SocialData

    def __init__(self, config: Config, data: SocialData) -> None:
        super().__init__(config, data)
        dim = config.embedding_dim
        self.users, self.items = nn.Embedding(data.n_users, dim), nn.Embedding(data.n_items, dim)
        for table in (self.users, self.items):
            nn.init.xavier_uniform_(table.weight)
        self.encoder, self.social = LightGCNEncoder(config.encoder), LightGCNEncoder(config.social)
        self.ranking, self.ties = BPR(config.ranking), BPR(config.ties)
        self.augmented = SelfAugmented(config.augmented, dim)
        self.graph, self.trust = with_loops(data.graph), with_loops(data.trust)

    def embeddings(self) -> Embeddings:
        """Users and items, propagated over interactions: what is scored."""
        nodes = self.encoder(self.graph, torch.cat([self.users.weight, self.items.weight]))
        return Embeddings(*nodes.split_with_sizes([self.data.n_users, self.data.n_items]))

    def losses(self, batch: PairBatch) -> Losses:
        """Ranking of items and of friends, self-augmented alignment, and penalty."""
        users, items = self.embeddings()
        by_ties: Tensor = self.social(self.trust, self.users.weight)
        tied = self.data.draw_ties(len(batch))
        one, other = torch.randint(self.data.n_users, (2, self.config.pairs), device=users.device)
        rows = F.embedding(batch.users, users), F.embedding(batch.positives, items), F.embedding(batch.negatives, items)
        return {
            "ranking": self.ranking(*rows),
            "ties": self.ties(*(F.embedding(index, by_ties) for index in tied)),
            "augmented": self.augmented(*(F.embedding(i, x) for x in (users, by_ties) for i in (one, other))),
            "l2": self.config.l2 * squared_length(self.parameters()),
        }


def with_loops(graph: SparseGraph) -> SparseGraph:
    """``graph`` with each node joined to itself by an edge of weight 1, normalised by both ends' degrees."""
    nodes = torch.arange(graph.shape[0], device=graph.device)
    weight = torch.ones_like(graph.weight) if graph.base is None else graph.base
    target, source = torch.cat([graph.target, nodes]), torch.cat([graph.source, nodes])
    weight = torch.cat([weight, torch.ones_like(nodes, dtype=weight.dtype)])
    return SparseGraph.of(target, source, weight, shape=graph.shape).normalised("sym")
