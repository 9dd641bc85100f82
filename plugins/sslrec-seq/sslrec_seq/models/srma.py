"""SRMA: two views of a history differ by the data and by the model that encodes it.

Liu, Chen, Li, Luo, Yu and Xiong, "Improving Contrastive Learning with Model Augmentation", 2022 (submitted before as
"Self-supervised Model Augmentation for Sequential Recommendation").  Defaults follow the command that the authors' code
is published with: neurons are masked by the encoder's own dropout and nothing else, no encoder complements, a masked
item is padding, and padding counts in the comparison of views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from torch import Tensor

from sslrec_core.choice import Choice, Of
from sslrec_core.model import Losses, Stage
from sslrec_seq.augmenters import augmenter
from sslrec_seq.contrast import contrast
from sslrec_seq.data import SeqBatch, SeqData, Targets
from sslrec_seq.histories import Histories
from sslrec_seq.model_augmentation import EncoderComplement, LayerDrop, NeuronMask
from sslrec_seq.next_item import NextItem
from sslrec_seq.views import EDITS, Pool, pooled, two_views


class SRMA(NextItem):
    """Contrast of views by data and model augmentation, beside the loss of the next item (SRMA, 2022)."""

    class Config(NextItem.Config):
        encoder: Annotated[Choice, Of("encoder")] = Choice.of("transformer", attention_dropout=0.1)
        """What turns a history into vectors; its dropout masks neurons, with 0 it does not."""
        loss: Annotated[Choice, Of("objective")] = Choice.of("bce")
        """Loss of the next item."""
        targets: Targets = "all"
        """What a training row predicts; views are made of the row's history."""
        augmenter: Annotated[Choice, Of("augmenter")] = Choice.of(
            "one-of", augmenters=[choice.table() for choice in EDITS], different=False
        )
        """Data augmentation of the two views; ``dropout`` for none."""
        neuron_mask: NeuronMask.Config | None = None
        """Mask neurons in views beyond what the encoder's dropout does; none for not."""
        layer_drop: LayerDrop.Config | None = LayerDrop.Config()
        """Layers behind the encoder, some dropped; none for no such layers."""
        recommend_through: bool = True
        """Whether those layers are part of the recommender too: some dropped in training, all there in scoring."""
        complement: EncoderComplement.Config | None = None
        """Another encoder that complements the views; none for none."""
        complement_as: Literal["view", "anchor"] = "view"
        """``view``: its vectors are added to a view's, as in the paper.  ``anchor``: each view is also contrasted with
        what it makes of the whole history, weighed by its ``weight``, as in the authors' code."""
        contrast: Annotated[Choice, Of("objective")] = Choice.of("nt-xent", weight=0.1)
        """How views are compared, and how much that counts."""
        pool: Pool = "places"
        """The vector of a view: of its ``last`` place, the ``mean``, or all ``places`` end to end."""
        padding: bool = True
        """Whether views have vectors for padding too, up to the greatest length, which count in their comparison, and
        a masked item is padding; all as in the authors' code.  Otherwise items alone count, which takes a fraction of
        the time."""

    config: Config

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        dim = config.embedding_dim
        self.augmenter = augmenter(config.augmenter, data, dim)
        self.neuron_mask = None if config.neuron_mask is None else NeuronMask(config.neuron_mask, data, dim)
        self.layer_drop = None if config.layer_drop is None else LayerDrop(config.layer_drop, data, dim)
        self.complement = None if config.complement is None else EncoderComplement(config.complement, data, dim)
        self.contrast = contrast(config.contrast)

    def stages(self, epochs: int) -> Sequence[Stage]:
        """What augmenters have to learn first, then the training."""
        parts = (self.augmenter, *((self.complement,) if self.complement else ()))
        return [*(stage for part in parts for stage in part.pretraining()), *super().stages(epochs)]

    def vectors(self, histories: Histories) -> Tensor:
        """What recommends: a vector for each place of each history, ``[slots, dim]``."""
        if self.layer_drop is None or not self.config.recommend_through:
            return super().vectors(histories)
        return super().vectors((self.layer_drop if self.training else self.layer_drop.whole)(histories))

    def views(self, histories: Histories) -> tuple[Histories, Histories]:
        """Two views of each history, changed and to be encoded otherwise."""
        views = two_views(self.augmenter, histories, self.data, self.config.padding)
        complement = self.complement if self.config.complement_as == "view" else None
        for part in (self.neuron_mask, self.layer_drop, complement):
            if part is not None:
                views = part.both(*views)
        return views

    def losses(self, batch: SeqBatch) -> Losses:
        """Loss of the next item, and how far apart the two views of each history are."""
        one, other = (self.view(view) for view in self.views(batch.histories))
        loss: Tensor = self.contrast(one, other)
        if self.complement is not None and self.config.complement_as == "anchor":
            anchors = self.anchors(self.complement, batch.histories)
            beside = self.contrast(one, anchors) + self.contrast(other, anchors)
            loss = loss + self.complement.config.weight * beside
        return {**super().losses(batch), "contrast": loss}

    def view(self, histories: Histories) -> Tensor:
        """The vector of each view.  ``[rows, dim]``"""
        return self.pooled(histories, super().vectors(histories))

    def anchors(self, complement: EncoderComplement, histories: Histories) -> Tensor:
        """What the other encoder makes of each history.  ``[rows, dim]``"""
        if self.config.padding:
            histories = histories.padded(self.data.length, self.data.masked)
        return self.pooled(histories, complement.vectors(histories))

    def pooled(self, histories: Histories, vectors: Tensor) -> Tensor:
        """One vector for each history, ``[slots, dim] -> [rows, dim]``."""
        return pooled(histories, vectors, self.config.pool, self.data.length)
