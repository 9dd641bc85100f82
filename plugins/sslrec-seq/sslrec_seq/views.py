"""Models that learn the next item and contrast two views of each history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from sslrec_core.choice import Choice, Of
from sslrec_core.config import Rate
from sslrec_core.model import Component, Losses, Stage
from sslrec_seq.augmenters import HistoryAugmenter, ModelAugmenter, augmenter
from sslrec_seq.contrast import contrast
from sslrec_seq.data import SeqBatch, SeqData
from sslrec_seq.histories import Histories, shown
from sslrec_seq.next_item import NextItem

Pool: TypeAlias = Literal["last", "mean", "places"]
"""What of an encoded history is its one vector: the vector of its last place, the mean of all, or all of them end to
end, counted from the end of the history, zeros where it has no more."""

EDITS = (Choice.of("crop", keep=0.2), Choice.of("mask", rate=0.7), Choice.of("reorder", share=0.2))
"""What the code of ICLRec and of SRMA draws from."""


def pooled(histories: Histories, vectors: Tensor, pool: Pool, length: int) -> Tensor:
    """One vector for each history from those of its places, ``[slots, dim] -> [rows, dim]``.

    With ``places`` it is ``[rows, length * dim]``.
    """
    if pool == "last":
        return vectors.index_select(0, histories.last)
    if pool == "mean":
        return histories.grid(vectors).sum(1) / histories.lengths[:, None]
    return histories.grid_at_end(vectors, length).flatten(1)


def two_views(
    augmenter: HistoryAugmenter, histories: Histories, data: SeqData, padding: bool
) -> tuple[Histories, Histories]:
    """Two views of each history, with padding up to the greatest length if ``padding``: the mask is padding then."""
    if not padding:
        return augmenter.pair(histories)
    if isinstance(augmenter, ModelAugmenter):
        return augmenter.pair(histories.padded(data.length, data.masked))
    one, other = augmenter.pair(histories)
    return one.padded(data.length, data.masked), other.padded(data.length, data.masked)


class Momentum(Component):
    """A copy of what encodes that moves slowly, and the vectors that it gave last (He et al., MoCo, CVPR'20).

    Both are saved with the model: a resumed training goes on with them.
    """

    class Config(Component.Config):
        decay: Rate = 0.999
        """How much of itself the copy keeps at each step; m in the paper (eq. 2)."""
        queue: PositiveInt = 4096
        """Vectors of earlier batches that are negatives beside those of the batch."""

    config: Config
    weights: Tensor
    """The copy's parameters end to end.  ``[n]``"""
    queue: Tensor
    """``[queue, dim]``"""
    place: Tensor
    """Where in the queue the next vectors go.  ``Long[]``"""

    def __init__(self, config: Config, parts: Sequence[nn.Module], dim: int) -> None:
        super().__init__(config)
        self.register_buffer("weights", _together(parts).clone())
        self.register_buffer("queue", F.normalize(self.weights.new_empty(config.queue, dim).normal_(), dim=1))
        self.register_buffer("place", torch.zeros_like(self.weights[0], dtype=torch.long))

    @torch.no_grad()
    def follow(self, parts: Sequence[nn.Module]) -> list[dict[str, Tensor]]:
        """Move the copy towards ``parts``, and give its parameters, by name for each part."""
        self.weights.lerp_(_together(parts), 1 - self.config.decay)
        sizes = [parameter.numel() for part in parts for parameter in part.parameters()]
        pieces = iter(torch.split(self.weights, sizes))
        return [{name: next(pieces).view_as(own) for name, own in part.named_parameters()} for part in parts]

    @torch.no_grad()
    def candidates(self, keys: Tensor) -> Tensor:
        """``keys`` ``[b, dim]`` and the queue, into which they go.  ``[b + queue, dim]``"""
        found = torch.cat([keys, self.queue.to(keys.dtype)])
        newest = keys[-len(self.queue) :]
        places = (self.place + torch.arange(len(newest), device=keys.device)) % len(self.queue)
        self.queue.index_copy_(0, places, newest.to(self.queue.dtype))
        self.place.add_(len(newest)).remainder_(len(self.queue))
        return found


class TwoViews(NextItem):
    """The loss of the next item, and how far apart two views of each history are."""

    class Config(NextItem.Config):
        augmenter: Annotated[Choice, Of("augmenter")] = Choice.of("one-of")
        """What makes the views: one-of, crop, mask, reorder, substitute, insert, dropout; or neuron-mask, layer-drop,
        encoder-complement, which encode the same history otherwise."""
        contrast: Annotated[Choice, Of("objective")] = Choice.of("nt-xent", weight=0.1)
        """How views are compared, and how much that counts."""
        pool: Pool = "last"
        """The vector of a view: of its ``last`` place, the ``mean`` over places, or all ``places`` end to end."""
        padding: bool = False
        """Whether views have vectors for padding too, up to the greatest length, which count where it is not the
        ``last`` place alone, and a masked item is padding; all as in the code of S3-Rec and what follows it."""
        momentum: Momentum.Config | None = None
        """Encode the second views by a slowly moving copy, and contrast the first with a queue of such vectors; none
        for the other views of the batch as negatives, and gradients through both.  Layers that an augmenter adds, such
        as ``layer-drop``, have no copy."""

    config: Config

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        self.augmenter = augmenter(config.augmenter, data, config.embedding_dim)
        queue = None if config.momentum is None else "candidates"
        self.contrast = contrast(config.contrast, queue, fix="--set model.momentum=none")
        self.momentum: Momentum | None = None
        if config.momentum is not None:
            dim = config.embedding_dim * (data.length if config.pool == "places" else 1)
            self.momentum = Momentum(config.momentum, (self.items, self.encoder), dim)

    def stages(self, epochs: int) -> Sequence[Stage]:
        """What the augmenter has to learn first, then the training."""
        return [*self.augmenter.pretraining(), *super().stages(epochs)]

    def view(self, histories: Histories) -> Tensor:
        """The vector of each view.  ``[rows, dim]``"""
        return pooled(histories, self.vectors(self.looked_at(histories)), self.config.pool, self.data.length)

    def looked_at(self, histories: Histories) -> Histories:
        """The same histories, of which no more is encoded than a view has."""
        return histories.at_ends if self.config.pool == "last" else histories

    def apart(self, histories: Histories) -> Tensor:
        """How far two views of each history are apart, a scalar."""
        one, other = two_views(self.augmenter, histories, self.data, self.config.padding)
        if self.momentum is None:
            loss: Tensor = self.contrast(self.view(one), self.view(other))
            return loss
        keys = self.keys(other, self.momentum.follow((self.items, self.encoder)))
        loss = self.contrast(self.view(one), keys, candidates=self.momentum.candidates(keys))
        return loss

    @torch.no_grad()
    def keys(self, histories: Histories, weights: Sequence[dict[str, Tensor]]) -> Tensor:
        """The vector of each view by other weights of items and encoder.  ``[rows, dim]``"""
        histories = self.looked_at(histories)
        items: Any = functional_call(self.items, weights[0], (histories.items,))
        vectors: Any = functional_call(self.encoder, weights[1], (histories, shown(histories, items)))
        return pooled(histories, vectors, self.config.pool, self.data.length)

    def losses(self, batch: SeqBatch) -> Losses:
        """The loss of the next item and the contrast."""
        return {**super().losses(batch), "contrast": self.apart(batch.histories)}


def _together(parts: Sequence[nn.Module]) -> Tensor:
    """All parameters end to end, without gradients.  ``[n]``"""
    return parameters_to_vector(parameter.detach() for part in parts for parameter in part.parameters())
