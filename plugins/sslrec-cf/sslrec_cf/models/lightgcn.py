"""LightGCN: linear propagation over the interaction graph, and nothing else.

He, Deng, Wang, Li, Zhang and Wang, "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation",
SIGIR'20.  Where the paper and its PyTorch code differ, defaults follow the code, which printed the published results:
the ranking loss is a mean over the batch, and the penalty covers the batch's own vectors, not the whole table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from sslrec_cf.nodes import Init, gather, node_table, pair_nodes
from sslrec_core.builtin.encoders import LightGCNEncoder
from sslrec_core.builtin.objectives import BPR, L2
from sslrec_core.choice import Choice, Of
from sslrec_core.data import PairBatch
from sslrec_core.model import Embeddings, Losses, Model

if TYPE_CHECKING:
    from sslrec_cf.data import CFData


class LightGCN(Model):
    """Vectors smoothed over the interaction graph (LightGCN, SIGIR'20)."""

    class Config(Model.Config):
        encoder: LightGCNEncoder.Config = LightGCNEncoder.Config()
        """Propagation (equations 7 and 8)."""
        augmenter: Annotated[Choice, Of("augmenter")] | None = None
        """What changes the graph at each training step, such as edge-drop; none, as in the paper, for all of it."""
        ranking: BPR.Config = BPR.Config()
        """Loss of the recommendation task."""
        l2: L2.Config = L2.Config()
        """Penalty on the batch's own vectors, before propagation; with weight 0 it is not computed."""
        init: Init = "normal"
        """Start of the vectors: ``normal`` as the authors' PyTorch code, ``xavier`` as their TensorFlow code."""

    config: Config
    data: CFData

    def __init__(self, config: Config, data: CFData) -> None:
        super().__init__(config, data)
        self.nodes = node_table(data.n_users, data.n_items, config.embedding_dim, config.init)
        self.encoder = LightGCNEncoder(config.encoder)
        self.augmenter = config.augmenter.build() if config.augmenter else None
        self.ranking, self.l2 = BPR(config.ranking), L2(config.l2)

    def losses(self, batch: PairBatch) -> Losses:
        """Ranking loss and penalty (equation 15)."""
        graph = self.augmenter(self.data.graph) if self.augmenter else self.data.graph
        nodes = pair_nodes(batch, self.data.n_users)
        losses = {"ranking": self.ranking(*gather(self.encoder(graph, self.nodes.weight), nodes))}
        if self.config.l2.weight:
            losses["l2"] = self.l2(*gather(self.nodes.weight, nodes))
        return losses

    def embeddings(self) -> Embeddings:
        """Final vectors of users and items; their dot product is the score (equation 5)."""
        final = self.encoder(self.data.graph, self.nodes.weight)
        return Embeddings(*final.split_with_sizes([self.data.n_users, self.data.n_items]))
