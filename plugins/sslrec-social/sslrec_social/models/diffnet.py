"""DiffNet: tastes diffuse from friend to friend, layer by layer.

Wu, Sun, Fu, Hong, Wang and Wang, "A Neural Influence Diffusion Model for Social Recommendation", SIGIR'19.  The paper
adds features of users and items to their free vectors; where there are none, the free vectors are all there is.
Defaults follow the authors' code but for its loss, where the paper's is pairwise.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.builtin.objectives import L2
from sslrec_core.choice import Choice, Of
from sslrec_core.data import PairBatch
from sslrec_core.graph import SparseGraph, propagate
from sslrec_core.model import Embeddings, Losses, Model
from sslrec_social.data import SocialData


class DiffNet(Model):
    """Diffusion of user vectors over ties, and the mean of each user's items (DiffNet, SIGIR'19)."""

    class Config(Model.Config):
        layers: PositiveInt = 2
        """Steps of the diffusion."""
        diffusion: Literal["linear", "learnt"] = "linear"
        """``linear``: a layer is the mean of friends, and all layers add up, as in the authors' code.  ``learnt``: a
        layer mixes friends' and own vectors by a matrix and a ReLU, and the last layer counts, as in the paper."""
        ranking: Annotated[Choice, Of("objective")] = Choice.of("bpr")
        """Loss of the recommendation task: pairwise as in the paper, or ``squared-error`` as in the authors' code."""
        l2: L2.Config = L2.Config(weight=1e-3)
        """Penalty on the batch's vectors."""
        init_std: PositiveFloat = 0.01
        """Standard deviation of the initial user and item vectors."""

    config: Config
    data: SocialData

    def __init__(self, config: Config, data: SocialData) -> None:
        super().__init__(config, data)
        dim = config.embedding_dim
        self.users, self.items = nn.Embedding(data.n_users, dim), nn.Embedding(data.n_items, dim)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=config.init_std)
        learnt = config.layers if config.diffusion == "learnt" else 0
        self.mix = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(dim, 2 * dim)) for _ in range(learnt))
        self.ranking, self.l2 = config.ranking.build(), L2(config.l2)
        train = data.interactions.parts["train"]
        self.friends = data.trust.normalised("row")
        shape = data.n_users, data.n_items
        self.bought = SparseGraph.of(train.row_index, train.columns, shape=shape).normalised("row")

    def embeddings(self) -> Embeddings:
        """Diffused users plus the mean of their items, and items as they are."""
        return Embeddings(self.diffused() + self.bought @ self.items.weight, self.items.weight)

    def diffused(self) -> Tensor:
        """Users after all layers of the diffusion, ``[users, dim]``."""
        users = self.users.weight
        if self.config.diffusion == "linear":
            return propagate(self.friends, users, self.config.layers, "sum", ego=False)
        for weight in self.mix:
            users = F.relu(F.linear(torch.cat([self.friends @ users, users], dim=1), weight))
        return users

    def losses(self, batch: PairBatch) -> Losses:
        """Ranking loss, and penalty on the vectors that it compares."""
        users, items = self.embeddings()
        rows = F.embedding(batch.users, users), F.embedding(batch.positives, items), F.embedding(batch.negatives, items)
        losses = {"ranking": self.ranking(*rows)}
        if self.config.l2.weight:
            losses["l2"] = self.l2(*rows)
        return losses
