"""Augmenters of models: two views of a history that differ by how it is encoded.

Liu, Chen, Li, Luo, Yu and Xiong, "Improving Contrastive Learning with Model Augmentation", 2022 (submitted before as
"Self-supervised Model Augmentation for Sequential Recommendation"; SRMA).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.builtin.dropout import dropout
from sslrec_core.choice import Choice, Of
from sslrec_core.config import Rate
from sslrec_core.model import Stage
from sslrec_seq.augmenters import ModelAugmenter
from sslrec_seq.data import SeqData, Targets
from sslrec_seq.encoders import start_normal
from sslrec_seq.histories import Histories
from sslrec_seq.next_item import NextItem


class NeuronMask(ModelAugmenter):
    """Masks neurons at random in what each layer of the encoder gives (SRMA, neuron masking)."""

    class Config(ModelAugmenter.Config):
        rate: Rate = 0.5
        """Chance of each neuron to be masked; p in the paper.  The others are scaled up, as by dropout."""

    config: Config

    def forward(self, histories: Histories) -> Histories:
        """The same histories, to be encoded with other neurons each time."""
        return histories.changed_by(inside=lambda x: dropout(x, self.config.rate, True))


class LayerDrop(ModelAugmenter):
    """Puts further layers behind the encoder, and drops some of them at random (SRMA, layer dropping)."""

    class Config(ModelAugmenter.Config):
        layers: PositiveInt = 2
        """Layers behind the encoder; K in the paper."""
        drop: NonNegativeInt = 1
        """How many of them are dropped each time; M in the paper."""
        kind: Literal["single", "feed-forward"] = "single"
        """A layer is a ``single`` linear map and an activation, or a ``feed-forward`` network of four times the width;
        with a residual sum and its normalisation (``single`` and ``inter`` in the authors' code)."""
        dropout: Rate = 0.5
        """On what a layer gives."""
        distinct: bool = False
        """Whether the two views of a batch drop layers each on their own; the authors' code drops the same ones."""

        @model_validator(mode="after")
        def _some_layer_stays(self) -> LayerDrop.Config:
            if self.drop >= self.layers:
                raise ValueError(f"drop={self.drop} leaves none of layers={self.layers}")
            return self

    config: Config

    def __init__(self, config: Config, data: SeqData, dim: int) -> None:
        super().__init__(config, data, dim)
        self.layers = nn.ModuleList(AddedLayer(config, dim) for _ in range(config.layers))
        self.layers.apply(start_normal)

    def forward(self, histories: Histories) -> Histories:
        """The same histories, to be encoded through the layers that are not dropped this time."""
        return self._through(histories, self._kept(histories))

    def both(self, one: Histories, other: Histories) -> tuple[Histories, Histories]:
        kept = self._kept(one)
        return self._through(one, kept), self._through(other, self._kept(other) if self.config.distinct else kept)

    def whole(self, histories: Histories) -> Histories:
        """The same histories, to be encoded through all layers."""
        return self._through(histories, torch.ones(len(self.layers), dtype=torch.bool, device=histories.items.device))

    def _kept(self, histories: Histories) -> Tensor:
        """Which layers are not dropped.  ``Bool[layers]``"""
        order = torch.rand(self.config.layers, device=histories.items.device).argsort()
        return order >= self.config.drop

    def _through(self, histories: Histories, kept: Tensor) -> Histories:
        def layers(x: Tensor) -> Tensor:
            # All are computed: which are dropped is known on the device alone.
            for layer, stays in zip(self.layers, kept, strict=True):
                x = torch.where(stays, layer(x), x)
            return x

        return histories.changed_by(outside=layers)


class AddedLayer(nn.Module):
    """A feed-forward layer with a residual sum."""

    def __init__(self, config: LayerDrop.Config, dim: int) -> None:
        super().__init__()
        self.dropout = config.dropout
        wide = dim if config.kind == "single" else 4 * dim
        self.wide = nn.Linear(dim, wide)
        self.narrow = None if config.kind == "single" else nn.Linear(wide, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """``[slots, dim] -> [slots, dim]``"""
        found = F.gelu(self.wide(x))
        if self.narrow is not None:
            found = self.narrow(found)
        normed: Tensor = self.norm(x + dropout(found, self.dropout, self.training))
        return normed


class EncoderComplement(ModelAugmenter):
    """Adds what another encoder makes of a history, trained before and then left alone (SRMA, encoder complementing).

    That encoder has item vectors of its own.  It learns the next item in a stage before the others.
    """

    class Config(ModelAugmenter.Config):
        encoder: Annotated[Choice, Of("encoder")] = Choice.of("transformer", layers=1)
        """The other encoder: a transformer of one layer, or a gru, in the paper."""
        loss: Annotated[Choice, Of("objective")] = Choice.of("bce")
        """Loss of the next item from which it learns."""
        targets: Targets = "all"
        """What a row predicts where it learns."""
        epochs: PositiveInt = 100
        """How long it learns."""
        weight: PositiveFloat = 0.5
        """Factor of its vectors; gamma in the paper, which tries 0.005 to 1."""
        views: Literal["one", "both"] = "one"
        """Whether it complements one of two views, as in the paper, or both."""

    config: Config

    def __init__(self, config: Config, data: SeqData, dim: int) -> None:
        super().__init__(config, data, dim)
        other = NextItem.Config(embedding_dim=dim, encoder=config.encoder, loss=config.loss, targets=config.targets)
        self.other = NextItem(other, data)

    def pretraining(self) -> Sequence[Stage]:
        return (Stage("complement", self.config.epochs, self.other.epoch, judged=False),)

    def forward(self, histories: Histories) -> Histories:
        """The same histories, with the other encoder's vectors added."""
        vectors = self.config.weight * self.vectors(histories)
        return histories.changed_by(outside=lambda x: x + vectors)

    def both(self, one: Histories, other: Histories) -> tuple[Histories, Histories]:
        return self(one), (self(other) if self.config.views == "both" else other)

    @torch.no_grad()
    def vectors(self, histories: Histories) -> Tensor:
        """What the other encoder makes of each place.  ``[slots, dim]``"""
        # The model's own training goes on; this part has been trained.
        self.other.eval()
        return self.other.vectors(replace(histories, inside=None, outside=None))
