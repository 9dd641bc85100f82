"""KGCL: knowledge-graph views decide which interactions to trust.

Yang, Huang, Xia and Li, "Knowledge Graph Contrastive Learning for Recommendation", SIGIR'22.  The authors published
two codes: the one of the paper (items gather from a sample of their own entities, one hop) and a later one on whole
knowledge graphs (two hops).  Defaults follow the first, whose log shows the paper's numbers; options cover the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from sslrec_core.builtin.augmenters import EdgeDrop
from sslrec_core.builtin.objectives import BPR, L2
from sslrec_core.choice import Choice, Of
from sslrec_core.config import Rate, Share
from sslrec_core.data import PairBatch
from sslrec_core.errors import ConfigError
from sslrec_core.graph import SparseGraph
from sslrec_core.model import Embeddings, Losses, MakeOptimizer, Model
from sslrec_kg.data import KGData
from sslrec_kg.encoders import RGAT
from sslrec_kg.objectives import Translation
from sslrec_kg.triples import Draw, Translating, TripleBatch, TripleSpace, at_most

if TYPE_CHECKING:
    from sslrec_core.loop import Loop


class View(NamedTuple):
    """An interaction graph and a knowledge graph, each whole or with edges dropped."""

    graph: SparseGraph
    kg: SparseGraph
    relation: Tensor
    """Of each edge of ``kg``."""


class KGCL(Model, Translating):
    """Knowledge graph contrastive learning: what two thinned graphs agree on is trusted (KGCL, SIGIR'22)."""

    class Config(Model.Config):
        encoder: Annotated[Choice, Of("encoder")] = Choice.of("lightgcn", layers=3, combine="mean")
        """Propagation over users and items."""
        knowledge: RGAT.Config = RGAT.Config()
        """Attention over the knowledge graph, which makes the item vectors that are propagated."""
        ranking: BPR.Config = BPR.Config(reduction="sum")
        """Loss of the recommendation task."""
        contrast: Annotated[Choice, Of("objective")] = Choice.of(
            "infonce", temperature=0.2, weight=0.1, reduction="sum"
        )
        """Loss between the two views of the batch's users and items."""
        contrast_with: Literal["all", "batch"] = "all"
        """Tell each apart from all users (items), as the codes do, or from those of the batch: far less work."""
        l2: L2.Config = L2.Config(weight=1e-4)
        """Penalty on the batch's own vectors, a mean beside sums, as in the codes."""
        graph_dropout: Rate = 0.2
        """Share of interactions dropped from the ranking pass, at each step; those left weigh more in return."""
        kg_dropout: Rate = 0.0
        """Share of triples dropped from the ranking pass, at each step; the later code drops half."""
        triples_per_head: PositiveInt | None = 10
        """Largest number of triples that an entity gathers from while training, drawn afresh for each epoch; none for
        all.  The paper's code takes the first ten of the file.  Scoring uses all triples."""
        view_dropout: Rate = 0.5
        """Share of triples dropped from each of the two views, once for each epoch."""
        guided: bool = True
        """Let the agreement of the views decide which interactions each view keeps; otherwise chance alone does."""
        keep: Share = 0.95
        """Mean share of interactions that a view keeps, before the ceiling."""
        trust_floor: Rate = 0.3
        """Least relative trust in an item, after scaling to 0..1."""
        keep_ceiling: Share = 0.95
        """Largest chance of an interaction to be kept."""
        keep_by: Literal["item", "interaction"] = "item"
        """Draw once for all interactions of an item, as the paper's code does, or for each, as the later code does."""
        kg_phase: Literal["transe", "transr", "none"] = "transe"
        """What is learnt from triples alone, before each epoch's recommendation phase, by an optimiser of its own."""
        translation: Translation.Config = Translation.Config()
        """Loss of the triples."""
        kg_batch_size: PositiveInt = 4096
        """Triples per step of that phase."""
        kg_draw: Draw = "heads"
        """Visit one random triple of each head in an epoch, as the paper's code does, or every triple."""
        init_std: PositiveFloat = 0.1
        """Standard deviation of the initial user, entity and relation vectors."""

    config: Config
    data: KGData

    def __init__(self, config: Config, data: KGData) -> None:
        super().__init__(config, data)
        dim = config.embedding_dim
        self.users = nn.Embedding(data.n_users, dim)
        self.entities = nn.Embedding(data.n_entities, dim)
        self.relations = nn.Embedding(data.n_relations, dim)
        for table in (self.users, self.entities, self.relations):
            nn.init.normal_(table.weight, std=config.init_std)
        self.knowledge = RGAT(config.knowledge, dim)
        self.encoder = config.encoder.build()
        self.thin = EdgeDrop(EdgeDrop.Config(rate=config.graph_dropout, renormalise=False, rescale=True))
        self.ranking = BPR(config.ranking)
        self.contrast = config.contrast.build()
        self.l2 = L2(config.l2)
        self.translation: Translation | None = None
        if config.kg_phase != "none":
            projected = data.n_relations if config.kg_phase == "transr" else 0
            self.translation = Translation(config.translation, dim, projected)
        self._epoch_views: Sequence[View] | None = None

    # ---- encoding

    def items(self, view: View) -> Tensor:
        """Item vectors that know the knowledge graph (section 3.1), ``[items, dim]``."""
        encoded: Tensor = self.knowledge(view.kg, view.relation, self.entities.weight, self.relations.weight)
        return encoded[: self.data.n_items]

    def encode(self, view: View) -> Embeddings:
        """Users and items, propagated over the view's interactions (section 3.3)."""
        nodes = self.encoder(view.graph, torch.cat([self.users.weight, self.items(view)]))
        return Embeddings(nodes[: self.data.n_users], nodes[self.data.n_users :])

    def embeddings(self) -> Embeddings:
        return self.encode(self.whole)

    @property
    def whole(self) -> View:
        """Both graphs as they are; with one hop over triples, those into items, because no others reach them."""
        data = self.data
        if self.config.knowledge.layers == 1:
            return View(data.graph, data.item_kg, data.item_relation)
        return View(data.graph, data.kg, data.relation)

    # ---- views, once for each epoch

    @torch.no_grad()
    def draw_views(self) -> Sequence[View]:
        """The ranking pass's graphs, and two views with triples and interactions dropped (section 3.2)."""
        sampled = self.whole
        if self.config.triples_per_head is not None:
            sampled = with_triples(sampled, at_most(sampled.kg.target, self.config.triples_per_head))
        rate = self.config.view_dropout
        views = [with_triples(sampled, random_mask(sampled.kg, rate)) for _ in range(2)]
        chance = self.keep_chance(*(self.items_at_rest(view) for view in views))
        return [sampled, *(self.with_interactions(view, self.kept(chance)) for view in views)]

    def items_at_rest(self, view: View) -> Tensor:
        """:meth:`items` without dropout: the views should differ by their triples alone."""
        training = self.knowledge.training
        self.knowledge.eval()
        items = self.items(view)
        self.knowledge.train(training)
        return items

    def with_interactions(self, view: View, mask: Tensor) -> View:
        """``view`` with the interactions in ``mask`` alone, normalised by the degrees that are left."""
        return view._replace(graph=view.graph.keep_interactions(mask).renormalised().compacted())

    def keep_chance(self, one: Tensor, other: Tensor) -> Tensor:
        """How likely each item's interactions are kept (section 3.2), ``[items]``.

        Items whose vectors hardly change when half of their triples are dropped are the ones to trust: with ``c`` the
        cosine of both vectors and ``w = exp(c)``, trust is ``p' = max((w - min w) / (max w - min w), trust_floor)``
        and the chance ``min(keep * p' / mean p', keep_ceiling)``.
        """
        config = self.config
        if not config.guided:
            return torch.full((len(one),), config.keep, device=one.device)
        weight = F.cosine_similarity(one, other).exp()
        low, high = weight.aminmax()
        trust = ((weight - low) / (high - low).clamp_min(1e-12)).clamp_min(config.trust_floor)
        return (config.keep * trust / trust.mean()).clamp_max(config.keep_ceiling)

    def kept(self, chance: Tensor) -> Tensor:
        """A drawn mask over interactions, from each item's ``chance``."""
        items = self.data.interactions.parts["train"].columns
        if self.config.keep_by == "item":
            return torch.bernoulli(chance).bool()[items]
        return torch.bernoulli(chance[items]).bool()

    # ---- training

    def epoch(self, loop: Loop) -> None:
        """Learn from triples, look at the graphs from two sides, then learn to recommend."""
        if self.translation is not None:
            size, draw = self.config.kg_batch_size, self.config.kg_draw
            source = self.data.triple_batches(size, draw, rank=loop.rank, world=loop.world)
            for batch in loop.batches(source):
                loop.minimise(self.triple_losses(self.translation, batch), by="kg")
        self._epoch_views = self.draw_views()
        super().epoch(loop)

    def triple_losses(self, translation: Translation, batch: TripleBatch) -> Losses:
        """The alternating phase's loss (section 3.1)."""
        entity, relation = self.entities, self.relations
        heads, tails, corrupted = entity(batch.heads), entity(batch.tails), entity(batch.corrupted)
        return {"triples": translation(heads, relation(batch.relations), tails, corrupted, batch.relations)}

    def losses(self, batch: PairBatch) -> Losses:
        if self._epoch_views is None:
            self._epoch_views = self.draw_views()
        plain, *views = self._epoch_views
        users, items = self.encode(self.dropped(plain))
        one, other = (self.encode(view) for view in views)
        u, p, n = batch.users, batch.positives, batch.negatives
        return {
            "ranking": self.ranking(F.embedding(u, users), F.embedding(p, items), F.embedding(n, items)),
            "contrast": self.apart(u, one.users, other.users) + self.apart(p, one.items, other.items),
            "l2": self.l2(self.users(u), self.entities(p), self.entities(n)),
        }

    def apart(self, rows: Tensor, one: Tensor, other: Tensor) -> Tensor:
        """Contrast of ``rows`` of two views (section 3.3), from the first to the second."""
        positives = F.embedding(rows, other)
        candidates = other if self.config.contrast_with == "all" else None
        contrast: Tensor = self.contrast(F.embedding(rows, one), positives, candidates)
        return contrast

    def dropped(self, view: View) -> View:
        """The ranking pass's graphs for one step."""
        graph, kg, relation = view
        if rate := self.config.kg_dropout:
            kg = kg.keep(random_mask(kg, rate))
        return View(self.thin(graph), kg, relation)

    def triple_space(self, relation: int) -> TripleSpace:
        if self.translation is None:
            raise ConfigError(
                "this KGCL learns nothing from triples alone", fix="train it with --set model.kg_phase=transe or transr"
            )
        return TripleSpace(self.translation.project(self.entities.weight, relation), self.relations.weight[relation])

    def optimizers(self, make: MakeOptimizer) -> dict[str, Optimizer]:
        if self.translation is None:
            return {"main": make(self.parameters())}
        projections = set(self.translation.parameters())
        return {
            "main": make(p for p in self.parameters() if p not in projections),
            "kg": make([*self.entities.parameters(), *self.relations.parameters(), *projections]),
        }


def with_triples(view: View, mask: Tensor) -> View:
    """``view`` with the triples in ``mask`` alone."""
    kept = view.kg.keep(mask).compacted()
    return View(view.graph, kept, view.relation[mask])


def random_mask(graph: SparseGraph, rate: float) -> Tensor:
    """A mask over edges that drops each with probability ``rate``."""
    return torch.rand(graph.n_edges, device=graph.device) >= rate
