"""SGL: two views of the interaction graph that should agree on every node.

Wu, Wang, Feng, He, Chen, Lian and Xie, "Self-supervised Graph Learning for Recommendation", SIGIR'21.  Where the
paper and the authors' code differ, defaults follow the code, which printed the published results: anchors are the
users and positive items of the batch's pairs, repeated as they are, not all nodes; the penalty covers the batch's own
vectors; all sums are means here, which Adam does not tell from sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from torch import Tensor

from sslrec_cf.nodes import Init, gather, node_table, pair_nodes
from sslrec_cf.parts import accepts
from sslrec_core.builtin.objectives import BPR, L2
from sslrec_core.choice import Choice, Of
from sslrec_core.data import PairBatch
from sslrec_core.errors import ConfigError
from sslrec_core.graph import LayeredGraph, SparseGraph
from sslrec_core.model import Embeddings, Losses, Model

if TYPE_CHECKING:
    from sslrec_cf.data import CFData
    from sslrec_core.loop import Loop

Graph = SparseGraph | LayeredGraph


class SGL(Model):
    """Contrast between two augmented interaction graphs, beside the ranking loss (SGL, SIGIR'21)."""

    class Config(Model.Config):
        encoder: Annotated[Choice, Of("encoder")] = Choice.of("lightgcn", layers=3)
        """What turns a graph and the table of vectors into final vectors; the same for the graph and its views."""
        augmenter: Annotated[Choice, Of("augmenter")] = Choice.of("edge-drop", rate=0.1, exact=True)
        """What makes the views: edge-drop (ED), node-drop (ND), random-walk (RW) in the paper (section 3.1)."""
        contrast: Annotated[Choice, Of("objective")] = Choice.of("infonce", temperature=0.2, weight=0.1)
        """How views are compared, given anchors, their positives and candidates (section 3.2)."""
        views: Literal["epoch", "step"] = "epoch"
        """Draw two views for each epoch, as the paper does, or for each step."""
        negatives: Literal["all", "batch"] = "all"
        """Contrast with all users and all items, as the paper does, or with those of the batch alone."""
        ranking: BPR.Config = BPR.Config()
        """Loss of the recommendation task."""
        l2: L2.Config = L2.Config()
        """Penalty on the batch's own vectors, before propagation; with weight 0 it is not computed."""
        init: Init = "xavier"
        """Start of the vectors: ``xavier`` as the authors' code, or ``normal`` with standard deviation 0.1."""

    config: Config
    data: CFData

    def __init__(self, config: Config, data: CFData) -> None:
        super().__init__(config, data)
        self.nodes = node_table(data.n_users, data.n_items, config.embedding_dim, config.init)
        self.encoder, self.augmenter = config.encoder.build(), config.augmenter.build()
        self.contrast, self.ranking, self.l2 = config.contrast.build(), BPR(config.ranking), L2(config.l2)
        if config.negatives == "all" and not accepts(self.contrast.forward, 3):
            raise ConfigError(
                f"the objective '{config.contrast.name}' does not take candidates to contrast with",
                "SGL gives it anchors, their positives, and all users or all items",
                fix="--set model.negatives=batch gives it anchors and positives alone",
            )
        self._views: tuple[Graph, Graph] | None = None

    def encode(self, graph: Graph) -> Embeddings:
        """Final vectors of users and items on ``graph`` (section 2)."""
        final = self.encoder(graph, self.nodes.weight)
        return Embeddings(*final.split_with_sizes([self.data.n_users, self.data.n_items]))

    def draw_views(self) -> tuple[Graph, Graph]:
        """Two independent views of the interaction graph (section 3.1)."""
        graph = self.data.graph
        return self.augmenter(graph), self.augmenter(graph)

    def agreement(self, one: Tensor, other: Tensor, nodes: Tensor) -> Tensor:
        """How far the views of ``nodes`` ``[b]`` are apart, given both views of all users or all items ``[n, dim]``."""
        sides = one.index_select(0, nodes), other.index_select(0, nodes)
        loss: Tensor = self.contrast(*sides, *((other,) if self.config.negatives == "all" else ()))
        return loss

    def epoch(self, loop: Loop) -> None:
        """Forget the last epoch's views, then learn from every pair."""
        self._views = None
        super().epoch(loop)

    def losses(self, batch: PairBatch) -> Losses:
        """Ranking loss, contrast of users and of items, and penalty (section 3.3)."""
        if self._views is None or self.config.views == "step":
            self._views = self.draw_views()
        nodes = pair_nodes(batch, self.data.n_users)
        final = self.encoder(self.data.graph, self.nodes.weight)
        one, other = (self.encode(view) for view in self._views)
        of_users = self.agreement(one.users, other.users, batch.users)
        of_items = self.agreement(one.items, other.items, batch.positives)
        losses = {"ranking": self.ranking(*gather(final, nodes)), "contrast": of_users + of_items}
        if self.config.l2.weight:
            losses["l2"] = self.l2(*gather(self.nodes.weight, nodes))
        return losses

    def embeddings(self) -> Embeddings:
        """Final vectors on the whole graph."""
        return self.encode(self.data.graph)
