"""KGIN: intents, each a mixture of relations, behind every interaction.

Wang, Huang, Wang, Yuan, Liu, He and Chua, "Learning Intents behind Interactions with Knowledge Graph for
Recommendation", WWW'21; code huangtinglin/Knowledge_Graph_based_Intent_Network.  Section numbers are the paper's; where
the code differs, ``form`` says which of both, and its default is the code, whose logs show the paper's numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.builtin.dropout import dropout
from sslrec_core.builtin.objectives import BPR, L2
from sslrec_core.config import Rate
from sslrec_core.data import PairBatch
from sslrec_core.graph import SparseGraph
from sslrec_core.model import Embeddings, Losses, Model
from sslrec_kg.data import KGData
from sslrec_kg.objectives import Independence

if TYPE_CHECKING:
    from sslrec_core.loop import Loop


class View(NamedTuple):
    """Some users and items, and the edges that lead to them."""

    users: Tensor
    """``Long[users]``"""
    items: Tensor
    """``Long[items]``"""
    interest: SparseGraph
    """``users`` by entities, each row a mean."""
    kg: SparseGraph
    """Entities by pairs of relation and tail, each row a mean: all hops but the last."""
    last: SparseGraph
    """``items`` by pairs: the last hop, of which nothing else is asked."""


class Step(NamedTuple):
    """A batch of interactions, as places among the users and items of a view."""

    view: View
    users: Tensor
    """``Long[pairs]``"""
    positives: Tensor
    """``Long[pairs]``"""
    negatives: Tensor
    """``Long[pairs, negatives]``"""


class KGIN(Model):
    """Knowledge graph intent network: relational paths, gathered by what users intend (KGIN, WWW'21)."""

    class Config(Model.Config):
        layers: PositiveInt = 3
        """Hops over triples, and of users over items."""
        intents: PositiveInt = 4
        """Intents, each a mixture of relations."""
        dropout: Rate = 0.1
        """Dropout on each hop's result."""
        graph_dropout: Rate = 0.5
        """Share of interactions dropped at each step; those left weigh more in return."""
        kg_dropout: Rate = 0.5
        """Share of triples dropped at each step; means are over those left."""
        form: Literal["code", "paper"] = "code"
        """``code``: users attend to intents by vectors of the intents' own, at every hop by what they have gathered,
        independence is asked of the mixtures' logits, and the plain mean of items is added to the weighted one.
        ``paper``: by the intents' vectors and the user's own, of the intents' vectors, and nothing added (section
        3.2.1)."""
        ranking: BPR.Config = BPR.Config()
        """Loss of the recommendation task (section 3.4)."""
        independence: Independence.Config = Independence.Config()
        """Loss that keeps intents apart."""
        l2: L2.Config = L2.Config(weight=1e-5)
        """Penalty on the batch's vectors, after all hops as in the code."""

    config: Config
    data: KGData

    def __init__(self, config: Config, data: KGData) -> None:
        super().__init__(config, data)
        dim = config.embedding_dim
        self.users = nn.Embedding(data.n_users, dim)
        self.entities = nn.Embedding(data.n_entities, dim)
        self.relations = nn.Parameter(torch.empty(data.n_relations, dim))
        self.mixtures = nn.Parameter(torch.empty(config.intents, data.n_relations))
        self.latent = nn.Parameter(torch.empty(config.intents, dim)) if config.form == "code" else None
        bound = (6 / (data.n_users + data.n_entities + dim)) ** 0.5  # Glorot's, for both tables as one
        for table in (self.users, self.entities):
            nn.init.uniform_(table.weight, -bound, bound)
        for matrix in (self.relations, self.mixtures, self.latent):
            if matrix is not None:
                nn.init.xavier_uniform_(matrix)
        self.ranking = BPR(config.ranking)
        self.independence = Independence(config.independence)
        self.l2 = L2(config.l2)

    # ---- encoding

    def intents(self) -> Tensor:
        """Vector of each intent, a mixture of relations (section 3.1.1), ``[intents, dim]``."""
        return self.mixtures.softmax(1) @ self.relations

    def encode(self, view: View) -> Embeddings:
        """The view's users and items, summed over hops (sections 3.2 and 3.3)."""
        intents, config = self.intents(), self.config
        entities, users = self.entities.weight, self.users(view.users)
        keys = intents if self.latent is None else self.latent
        own, all_users, all_items = users, users, F.embedding(view.items, entities)
        for hop in range(1, config.layers + 1):
            share = ((users if config.form == "code" else own) @ keys.T).softmax(1)
            gathered = view.interest @ entities
            weighted = gathered * (share @ intents)
            users = self.passed(weighted + gathered if config.form == "code" else weighted)
            if hop < config.layers:
                entities = self.passed(view.kg @ self.pairs(entities))
                items = F.embedding(view.items, entities)
            else:
                items = self.passed(view.last @ self.pairs(entities))
            all_users, all_items = all_users + users, all_items + items
        return Embeddings(all_users, all_items)

    def pairs(self, entities: Tensor) -> Tensor:
        """What a tail says through a relation, once for each pair that occurs (section 3.2.2), ``[pairs, dim]``."""
        paths = self.data.paths
        return (paths.tails @ entities) * (paths.relations @ self.relations)

    def passed(self, x: Tensor) -> Tensor:
        """What one hop hands to the next: some numbers dropped, length 1."""
        return F.normalize(dropout(x, self.config.dropout, self.training), dim=-1)

    def embeddings(self) -> Embeddings:
        data, device = self.data, self.mixtures.device
        users, items = (torch.arange(n, device=device) for n in (data.n_users, data.n_items))
        return self.encode(View(users, items, data.interest, data.paths.heads, data.paths.heads.select(items)))

    # ---- training

    def epoch(self, loop: Loop) -> None:
        for step in loop.batches(self.steps(loop)):
            loop.minimise(self.losses(step))

    def steps(self, loop: Loop) -> Iterator[Step]:
        """Batches of interactions, each with the edges that matter to its users and items.

        Nothing depends on other users, nor on the last hop of other entities, so a step need not compute them.
        """
        for batch in self.data.batches(loop.train, rank=loop.rank, world=loop.world):
            yield self.step(batch)

    def step(self, batch: PairBatch) -> Step:
        """The places of a batch, and its view of the graphs with edges dropped."""
        users, user = torch.unique(batch.users, return_inverse=True)
        positives, negatives = batch.positives, batch.negatives
        items, item = torch.unique(torch.cat([positives, negatives.flatten()]), return_inverse=True)
        interest = self.data.interest.select(users)
        if rate := self.config.graph_dropout:
            interest = interest.keep(self.random_mask(interest.n_edges, rate)).scaled(1 / (1 - rate))
        kg = self.data.paths.heads
        last = kg.select(items)
        if rate := self.config.kg_dropout:
            mask = self.random_mask(kg.n_edges, rate)
            last = last.keep(last.align(mask)).renormalised()
            kg = kg.keep(mask).renormalised()
        view = View(users, items, interest, kg, last)
        return Step(view, user, item[: len(positives)], item[len(positives) :].view_as(negatives))

    def random_mask(self, edges: int, rate: float) -> Tensor:
        """A mask that drops each of ``edges`` with probability ``rate``."""
        return torch.rand(edges, device=self.mixtures.device) >= rate

    def losses(self, batch: Step) -> Losses:
        users, items = self.encode(batch.view)
        u = F.embedding(batch.users, users)
        p, n = F.embedding(batch.positives, items), F.embedding(batch.negatives, items)
        intents = self.mixtures if self.config.form == "code" else self.intents()
        return {
            "ranking": self.ranking(u, p, n),
            "independence": self.independence(intents),
            "l2": self.l2(u, p, n),
        }
