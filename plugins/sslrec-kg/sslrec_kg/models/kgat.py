"""KGAT: attention over one graph of users, items and entities.

Wang, He, Cao, Liu and Chua, "KGAT: Knowledge Graph Attention Network for Recommendation", KDD'19; code
xiangwang1223/knowledge_graph_attention_network (TensorFlow).  It has no self-supervised task: a baseline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from sslrec_core.builtin.objectives import BPR, L2
from sslrec_core.data import PairBatch
from sslrec_core.graph import SparseGraph, edge_softmax
from sslrec_core.model import Embeddings, Losses, MakeOptimizer, Model, Stage
from sslrec_kg.data import KGData
from sslrec_kg.encoders import NeighbourMix
from sslrec_kg.objectives import Translation
from sslrec_kg.triples import Draw, Translating, TripleBatch, TripleBatches, TripleSpace

if TYPE_CHECKING:
    from sslrec_core.loop import Loop

EDGES_AT_ONCE = 2**18
"""Edges whose ends are gathered in one go; bounds memory."""


class Step(NamedTuple):
    """A batch of interactions, as places among the nodes that it needs."""

    nodes: Tensor
    """``Long[nodes]``"""
    last: SparseGraph
    """The edges into ``nodes``."""
    users: Tensor
    """``Long[pairs]``"""
    positives: Tensor
    """``Long[pairs]``"""
    negatives: Tensor
    """``Long[pairs, negatives]``"""


class KGAT(Model, Translating):
    """Knowledge graph attention network: neighbours weigh as much as their relation makes them (KGAT, KDD'19)."""

    class Config(Model.Config):
        encoder: NeighbourMix.Config = NeighbourMix.Config()
        """Propagation over the attentive graph."""
        ranking: BPR.Config = BPR.Config()
        """Loss of the recommendation task (equation 13)."""
        l2: L2.Config = L2.Config(weight=1e-5)
        """Penalty on the batch's vectors, after propagation as in the code."""
        translation: Translation.Config = Translation.Config(l2=1e-5)
        """Loss of the triples, interactions among them: TransR (equations 1 and 2)."""
        kg_batch_size: PositiveInt = 2048
        """Triples per step of that phase."""
        kg_draw: Draw = "triples"
        """Visit every triple in an epoch, or one random triple of each head.  The authors' code makes as many steps as
        the first and draws its heads evenly."""
        pretrain_epochs: NonNegativeInt = 0
        """Epochs of matrix factorisation before, which users and items then start from, as in the paper; the authors
        ship vectors that were learnt elsewhere."""

    config: Config
    data: KGData

    def __init__(self, config: Config, data: KGData) -> None:
        super().__init__(config, data)
        dim = config.embedding_dim
        self.nodes = nn.Embedding(data.n_entities + data.n_users, dim)
        self.relations = nn.Embedding(data.n_relations + 2, dim)
        for table in (self.nodes, self.relations):
            nn.init.xavier_uniform_(table.weight)
        self.encoder = NeighbourMix(config.encoder, dim)
        self.translation = Translation(config.translation, dim, data.n_relations + 2)
        self.ranking = BPR(config.ranking)
        self.l2 = L2(config.l2)
        self._attentive: SparseGraph | None = None

    # ---- encoding

    @torch.no_grad()
    def attentive(self) -> SparseGraph:
        """The graph weighted by attention (equations 4 and 5).

        ``(W_r e_t) . tanh(W_r e_h + e_r)`` for each triple, softmax over the triples of a head.
        """
        _, graph, relation = self.data.collaborative
        nodes, logits = self.nodes.weight, self.nodes.weight.new_empty(graph.n_edges)
        order = relation.argsort()
        counts = torch.bincount(relation, minlength=self.relations.num_embeddings).tolist()
        for kind, edges in enumerate(torch.split(order, counts)):
            # Each end is projected once for each relation it occurs with, not once for each edge.
            heads, head = torch.unique(graph.target[edges], return_inverse=True)
            tails, tail = torch.unique(graph.source[edges], return_inverse=True)
            moved = (self.translation.project(nodes[heads], kind) + self.relations.weight[kind]).tanh()
            points = self.translation.project(nodes[tails], kind)
            for part in torch.split(torch.arange(len(edges), device=edges.device), EDGES_AT_ONCE):
                logits[edges[part]] = (points[tail[part]] * moved[head[part]]).sum(1)
        return graph.reweighted(edge_softmax(graph, logits))

    def embeddings(self) -> Embeddings:
        n_items, n_users, first = self.data.n_items, self.data.n_users, self.data.n_entities
        device = self.nodes.weight.device
        wanted = torch.cat([torch.arange(n_items, device=device), torch.arange(n_users, device=device) + first])
        vectors = self.encoder(self.attentive(), self.nodes.weight, wanted)
        return Embeddings(vectors[n_items:], vectors[:n_items])

    # ---- training

    def epoch(self, loop: Loop) -> None:
        """Look at the graph again, learn to recommend, then learn from triples."""
        self._attentive = self.attentive()
        for step in loop.batches(self.steps(loop)):
            loop.minimise(self.losses(step))
        size, draw = self.config.kg_batch_size, self.config.kg_draw
        source = TripleBatches(self.data.collaborative.triples, size, draw, rank=loop.rank, world=loop.world)
        for batch in loop.batches(source):
            loop.minimise(self.triple_losses(batch), by="kg")

    def steps(self, loop: Loop) -> Iterator[Step]:
        """Batches of interactions, each with the last edges that lead to its users and items."""
        for batch in self.data.batches(loop.train, rank=loop.rank, world=loop.world):
            yield self.step(batch)

    def step(self, batch: PairBatch) -> Step:
        """The places of a batch, and the edges of its last hop."""
        if self._attentive is None:
            self._attentive = self.attentive()
        n = len(batch)
        wanted = torch.cat([batch.users + self.data.n_entities, batch.positives, batch.negatives.flatten()])
        nodes, place = torch.unique(wanted, return_inverse=True)
        users, positives, negatives = place[:n], place[n : 2 * n], place[2 * n :].view_as(batch.negatives)
        return Step(nodes, self._attentive.select(nodes), users, positives, negatives)

    def losses(self, batch: Step) -> Losses:
        assert self._attentive is not None, "a step is made by step(), which looks at the graph first"
        vectors = self.encoder(self._attentive, self.nodes.weight, batch.nodes, batch.last)
        u, p, n = (F.embedding(place, vectors) for place in (batch.users, batch.positives, batch.negatives))
        return {"ranking": self.ranking(u, p, n), "l2": self.l2(u, p, n)}

    def triple_losses(self, batch: TripleBatch) -> Losses:
        """The loss of the knowledge graph's phase (equation 2)."""
        heads, tails, corrupted = (self.nodes(ends) for ends in (batch.heads, batch.tails, batch.corrupted))
        relations = self.relations(batch.relations)
        return {"triples": self.translation(heads, relations, tails, corrupted, batch.relations)}

    def factorise(self, loop: Loop) -> None:
        """One epoch of matrix factorisation."""
        for batch in loop.batches():
            u, p, n = (
                self.nodes(ids) for ids in (batch.users + self.data.n_entities, batch.positives, batch.negatives)
            )
            loop.minimise({"ranking": self.ranking(u, p, n), "l2": self.l2(u, p, n)}, by="start")

    def stages(self, epochs: int) -> Sequence[Stage]:
        whole = Stage("train", epochs, self.epoch)
        before = Stage("factorise", self.config.pretrain_epochs, self.factorise, judged=False)
        return [before, whole] if self.config.pretrain_epochs else [whole]

    def optimizers(self, make: MakeOptimizer) -> dict[str, Optimizer]:
        of_triples = [*self.nodes.parameters(), *self.relations.parameters(), *self.translation.parameters()]
        optimizers = {
            "main": make([*self.nodes.parameters(), *self.encoder.parameters()]),
            "kg": make(of_triples),
        }
        return optimizers | ({"start": make(self.nodes.parameters())} if self.config.pretrain_epochs else {})

    # ---- the knowledge graph alone

    def triple_space(self, relation: int) -> TripleSpace:
        entities = self.nodes.weight[: self.data.n_entities]
        return TripleSpace(self.translation.project(entities, relation), self.relations.weight[relation])
