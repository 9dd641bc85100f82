"""XSimGCL: one noisy pass, in which each layer's vectors should agree with the final ones.

Yu, Xia, Chen, Cui, Hung and Yin, "XSimGCL: Towards Extremely Simple Graph Contrastive Learning for Recommendation",
TKDE 2024.  Where the paper and the authors' code (SELFRec) differ, defaults follow the code, which printed the
published results: the penalty is the norm, not its square, of the noisy final vectors of users and positives, which
makes it next to nothing; anchors are the batch's different users and different positive items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import PositiveInt, model_validator
from torch import Tensor

from sslrec_cf.nodes import Init, distinct, gather, node_table, pair_nodes
from sslrec_cf.parts import accepts
from sslrec_core.builtin.objectives import BPR, L2
from sslrec_core.choice import Choice, Of
from sslrec_core.data import PairBatch
from sslrec_core.model import Embeddings, Losses, Model

if TYPE_CHECKING:
    from sslrec_cf.data import CFData


class XSimGCL(Model):
    """Contrast between two layers of one noisy propagation, beside the ranking loss (XSimGCL, TKDE 2024)."""

    class Config(Model.Config):
        layers: PositiveInt = 2
        """Number of propagations; final vectors are the mean of all of them, without the vectors before."""
        contrast_layer: PositiveInt = 1
        """The layer, counted from 1, that is compared with the final vectors; l* in the paper."""
        noise: Annotated[Choice, Of("augmenter")] = Choice.of("embedding-noise", noise=0.2)
        """What disturbs the vectors after each propagation while training."""
        contrast: Annotated[Choice, Of("objective")] = Choice.of("infonce", temperature=0.15, weight=0.2)
        """How final vectors and those of the contrast layer are compared, within the batch."""
        ranking: BPR.Config = BPR.Config()
        """Loss of the recommendation task."""
        l2: L2.Config = L2.Config(form="norm")
        """Penalty on the batch's vectors."""
        penalised: Literal["final", "initial"] = "final"
        """Vectors under penalty: final ones of users and positives, as the code does, or those before propagation of
        users, positives and negatives, as LightGCN does."""
        init: Init = "xavier"
        """Start of the vectors: ``xavier`` as the authors' code, or ``normal`` with standard deviation 0.1."""

        @model_validator(mode="after")
        def _layer_exists(self) -> XSimGCL.Config:
            if self.contrast_layer > self.layers:
                raise ValueError(f"contrast_layer={self.contrast_layer} is above layers={self.layers}")
            return self

    config: Config
    data: CFData

    def __init__(self, config: Config, data: CFData) -> None:
        super().__init__(config, data)
        self.nodes = node_table(data.n_users, data.n_items, config.embedding_dim, config.init)
        self.noise, self.contrast = config.noise.build(), config.contrast.build()
        self.ranking, self.l2 = BPR(config.ranking), L2(config.l2)
        self._counts = accepts(self.contrast.forward, 2, "counts")

    def encode(self, noisy: bool) -> tuple[Tensor, Tensor]:
        """Final vectors and those of the contrast layer, ``[nodes, dim]`` each."""
        x, layers = self.nodes.weight, []
        for _ in range(self.config.layers):
            x = self.data.graph @ x
            if noisy:
                x = self.noise(x)
            layers.append(x)
        return sum(layers[1:], layers[0]) / len(layers), layers[self.config.contrast_layer - 1]

    def agreement(self, final: Tensor, layer: Tensor, nodes: Tensor) -> Tensor:
        """How far the two vectors of each of ``nodes`` ``[b]`` are apart, given those of all nodes ``[nodes, dim]``."""
        different, counts = distinct(nodes, len(final), counted=self._counts)
        sides = final.index_select(0, different), layer.index_select(0, different)
        loss: Tensor = self.contrast(*sides) if counts is None else self.contrast(*sides, counts=counts)
        return loss

    def losses(self, batch: PairBatch) -> Losses:
        """Ranking loss, contrast of users and of items, and penalty."""
        final, layer = self.encode(noisy=True)
        nodes = pair_nodes(batch, self.data.n_users)
        rows = gather(final, nodes)
        of_users = self.agreement(final, layer, nodes[:, 0])
        of_items = self.agreement(final, layer, nodes[:, 1])
        penalised = rows[:2] if self.config.penalised == "final" else gather(self.nodes.weight, nodes)
        return {
            "ranking": self.ranking(*rows),
            "contrast": of_users + of_items,
            "l2": self.l2(*penalised),
        }

    def embeddings(self) -> Embeddings:
        """Final vectors of a pass without noise."""
        final, _ = self.encode(noisy=False)
        return Embeddings(*final.split_with_sizes([self.data.n_users, self.data.n_items]))
