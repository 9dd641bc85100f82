"""MB-GMN: what a behaviour means to each user and item is learned by meta networks, in encoding and in scoring.

Xia, Xu, Huang, Dai and Bo, "Graph Meta Network for Multi-Behavior Recommendation", SIGIR'21.  No self-supervision:
every behaviour is learned from every other.  Defaults follow the authors' code, which prints the published results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.data import Queries
from sslrec_core.model import Losses, Model, Scorer
from sslrec_mbehavior.data import MultiBehaviorBatch, MultiBehaviorData
from sslrec_mbehavior.meta import SLOPE, BehaviourAttention, MetaKnowledge
from sslrec_mbehavior.nodes import node_table, parted
from sslrec_mbehavior.prediction import MetaPredictor

if TYPE_CHECKING:
    from sslrec_core.loop import Loop

PAIRS_AT_ONCE = 2**18
"""Pairs whose vectors are gathered at a time while scoring."""


class MBGMN(Model):
    """Behaviours personalised by meta networks; every pair is scored by a network of its own (MB-GMN, SIGIR'21)."""

    class Config(Model.Config):
        embedding_dim: Annotated[int, Field(gt=0, multiple_of=2)] = 32
        """Size of user and item vectors; half of it is what a node was given, half what its context made of that."""
        layers: PositiveInt = 2
        """Hops over the graphs."""
        rank: PositiveInt = 4
        """Rank of the matrices that meta networks make."""
        heads: PositiveInt = 2
        """Heads of the attention between behaviours."""
        predictor: Literal["meta", "dot"] = "meta"
        """A network made for each pair, as in the paper, or the dot product of the vectors: thousands of times less
        work for a ranking of all items."""
        scale: PositiveFloat = 100.0
        """Factor of scores in the loss."""
        draws: PositiveInt = 40
        """Pairs of each user and behaviour in a batch, at most."""
        l2: NonNegativeFloat = 1e-2
        """Factor of the squares of all vectors and matrices, as a whole at each step."""

    config: Config
    data: MultiBehaviorData

    def __init__(self, config: Config, data: MultiBehaviorData) -> None:
        super().__init__(config, data)
        dim, half, n = config.embedding_dim, config.embedding_dim // 2, len(data.names)
        self.nodes = node_table(data, half)
        self.behaviours = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n + 1, half)))
        self.knowledge = MetaKnowledge(half, config.rank)
        self.of_users, self.of_items = (
            nn.ModuleList(BehaviourAttention(dim, config.heads) for _ in range(config.layers)) for _ in range(2)
        )
        self.predictor = MetaPredictor(dim) if config.predictor == "meta" else None

    def encode(self) -> list[Tensor]:
        """Users and items by each behaviour, and by all of them together at the end, ``[nodes, dim]`` each."""
        graphs, n_users = self.data.graphs, self.data.n_users
        gathered = [graph @ self.nodes for graph in graphs]
        found = []
        for graph, near, behaviour in zip(graphs, gathered, self.behaviours[:-1], strict=True):
            x = self.knowledge(self.nodes, near, behaviour, n_users)
            total = x
            for _ in range(self.config.layers):
                x = x + F.leaky_relu(graph @ x, SLOPE)
                total = total + x
            found.append(total)
        x = self.knowledge(self.nodes, torch.stack(gathered).sum(0), self.behaviours[-1], n_users)
        total = x
        for of_users, of_items in zip(self.of_users, self.of_items, strict=True):
            users, items = parted(torch.stack([F.leaky_relu(graph @ x, SLOPE) for graph in graphs]), self.data)
            x = torch.cat([of_users(users), of_items(items)])
            total = total + x
        return [*found, total]

    def score(self, sources: Sequence[Tensor], target: Tensor, users: Tensor, items: Tensor) -> Tensor:
        """Scores of pairs by each of the ``sources`` for the ``target`` behaviour, ``[sources, pairs]``."""
        items = items + self.data.n_users
        of_users, of_items = (torch.stack([F.embedding(each, s) for s in sources]) for each in (users, items))
        if self.predictor is None:
            return (of_users * of_items).sum(2)
        their_users, their_items = (F.embedding(each, target).expand_as(of_users) for each in (users, items))
        flat = (each.flatten(0, 1) for each in (of_users, of_items, their_users, their_items))
        scores: Tensor = self.predictor(*flat)
        return scores.view(len(sources), -1)

    def epoch(self, loop: Loop) -> None:
        """Each user once, with some pairs of each behaviour."""
        train = loop.train
        source = self.data.user_batches(
            train.batch_size, self.config.draws, train.negatives, rank=loop.rank, world=loop.world
        )
        for batch in loop.batches(source):
            loop.minimise(self.losses(batch))

    def losses(self, batch: MultiBehaviorBatch) -> Losses:
        """Known pairs above sampled ones by a margin of one, from every behaviour to every behaviour."""
        encoded = self.encode()
        terms = []
        for pairs, target in zip(batch.pairs, encoded, strict=False):
            if not len(pairs):
                continue
            items = torch.cat([pairs.positives[:, None], pairs.negatives], dim=1)
            users = pairs.users[:, None].expand_as(items)
            scores = self.config.scale * self.score(encoded, target, users.flatten(), items.flatten())
            scores = scores.view(-1, *items.shape)
            terms.append(F.relu(1 - (scores[..., :1] - scores[..., 1:])).mean() * len(encoded))
        losses = {"ranking": torch.stack(terms).sum()}
        if self.config.l2:
            losses["l2"] = self.config.l2 * torch.stack([each.square().sum() for each in self.penalised()]).sum()
        return losses

    def penalised(self) -> list[Tensor]:
        """What the penalty covers: all but the vectors of behaviours, and biases that start at zero."""
        free = ("behaviours", "context.bias", "pair.bias", "meta.bias", "predictor.bias.bias")
        return [value for name, value in self.named_parameters() if not name.endswith(free)]

    def scorer(self) -> Scorer:
        """Scores by all behaviours together for the target (section 3.3), some pairs at a time."""
        *_, target, together = self.encode()
        n = self.data.n_items
        users, items = parted(together, self.data)
        if self.predictor is None:
            return lambda queries: users[queries.users] @ items.T

        def scores(queries: Queries) -> Tensor:
            found = []
            size = len(queries.users) * n
            for places in torch.split(torch.arange(size, device=users.device), PAIRS_AT_ONCE):
                asking = queries.users[torch.div(places, n, rounding_mode="floor")]
                found.append(self.score([together], target, asking, places % n))
            return torch.cat(found, dim=1).view(-1, n)

        return scores
