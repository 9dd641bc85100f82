"""Encoders of histories: packed item vectors in, one vector for each place out.

Each is built with the size of the vectors and the length of the longest history, and is called with histories and the
vectors of their items, ``[slots, dim] -> [slots, dim]``.  The vector at a place knows nothing of later places, unless
``causal`` is off.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.builtin.dropout import dropout
from sslrec_core.choice import Choice, Of
from sslrec_core.config import Rate, Share
from sslrec_core.errors import ConfigError
from sslrec_core.model import Encoder
from sslrec_seq.histories import Histories, inside, outside


class Transformer(Encoder):
    """Self-attention over the places of a history (Vaswani et al. 2017; Kang and McAuley, SASRec, ICDM'18)."""

    class Config(Encoder.Config):
        layers: PositiveInt = 2
        """Blocks of attention and feed-forward network."""
        heads: PositiveInt = 2
        """Attention heads; they divide the size of the vectors."""
        dropout: Rate = 0.5
        """On item vectors, and on what attention and feed-forward networks give."""
        attention_dropout: Rate = 0.5
        """On the weights of the attention."""
        feed_forward: PositiveInt = 4
        """Width of the feed-forward network, as a multiple of the size of the vectors."""
        activation: Literal["gelu", "relu"] = "gelu"
        """Of the feed-forward network."""
        inner_dropout: Rate = 0.0
        """After that activation."""
        norm: Literal["post", "pre", "query"] = "post"
        """``post``: each residual sum is normalised.  ``pre``: what goes into each part is (SASRec, section III.C).
        ``query``: so, but keys and values are not, and residual sums start from the normalised, as in SASRec's code."""
        output_norm: bool | None = None
        """Whether the final vectors are normalised; none for where no block has done so: ``pre`` and ``query``."""
        causal: bool = True
        """Whether a place sees itself and earlier ones alone."""
        positions: Literal["end", "start", "none"] = "end"
        """Learned vectors of positions counted from the end of the history or from its start; or none."""
        scale: bool = False
        """Multiply item vectors by the root of their size before positions are added, as in the code of SASRec."""
        input_norm: bool = True
        """Whether the sum of item and position vectors is normalised."""

    config: Config

    def __init__(self, config: Config, dim: int, length: int) -> None:
        super().__init__(config)
        if dim % config.heads:
            raise ConfigError(
                f"embedding_dim={dim} cannot be divided among heads={config.heads}",
                fix="--set model.encoder.heads=1, or another divisor",
            )
        self.positions = nn.Embedding(length, dim) if config.positions != "none" else None
        self.input_norm = nn.LayerNorm(dim, eps=1e-12) if config.input_norm else None
        self.blocks = nn.ModuleList(Block(config, dim) for _ in range(config.layers))
        normalised = config.norm != "post" if config.output_norm is None else config.output_norm
        self.output_norm = nn.LayerNorm(dim, eps=1e-12) if normalised else None
        self.apply(start_normal)

    def forward(self, histories: Histories, x: Tensor, causal: bool | None = None) -> Tensor:
        """``[slots, dim] -> [slots, dim]``; ``causal`` overrules the config, as where pretraining looks both ways."""
        causal = self.config.causal if causal is None else causal
        if self.config.scale:
            x = x * x.shape[1] ** 0.5
        if self.positions is not None:
            x = x + self.positions(self.position_of(histories))
        if self.input_norm is not None:
            x = self.input_norm(x)
        x = dropout(x, self.config.dropout, self.training)
        slots, ends = x.shape[0], histories.ends_only and histories.inside is None and histories.blank is None
        for block in self.blocks[:-1]:
            x = block(histories, x, causal)
        x = self.blocks[-1](histories, x, causal, ends)
        if self.output_norm is not None:
            x = self.output_norm(x)
        if ends:
            x = x.new_zeros(slots, x.shape[1]).index_copy(0, histories.last, x)
        return outside(histories, x)

    def position_of(self, histories: Histories) -> Tensor:
        """The position of each slot.  ``Long[slots]``"""
        assert self.positions is not None
        last = self.positions.num_embeddings - 1
        # Unused slots count as those of one more row, which may be longer than any.
        if self.config.positions == "start":
            return histories.places.clamp(max=last)
        lengths = F.pad(histories.lengths, (0, 1), value=1)[histories.rows]
        return (last - lengths + 1 + histories.places).clamp(0, last)


class Block(nn.Module):
    """Attention and a feed-forward network, each with a residual sum."""

    def __init__(self, config: Transformer.Config, dim: int) -> None:
        super().__init__()
        self.config = config
        self.projections, self.mixed = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.wide, self.narrow = nn.Linear(dim, config.feed_forward * dim), nn.Linear(config.feed_forward * dim, dim)
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(dim, eps=1e-12), nn.LayerNorm(dim, eps=1e-12)
        self.activation = F.gelu if config.activation == "gelu" else F.relu

    def forward(self, histories: Histories, x: Tensor, causal: bool, ends: bool = False) -> Tensor:
        """``[slots, dim] -> [slots, dim]``; with ``ends`` only each row's last place is computed, ``[rows, dim]``."""

        def own(x: Tensor) -> Tensor:
            return x.index_select(0, histories.last) if ends else x

        if self.config.norm == "post":
            x = self.attention_norm(own(x) + self._drop(self.attend(histories, x, x, causal, ends)))
            normed: Tensor = self.feed_forward_norm(x + self._drop(self.feed(histories, x)))
            return normed
        normed = self.attention_norm(x)
        if self.config.norm == "pre":
            x = own(x) + self._drop(self.attend(histories, normed, normed, causal, ends))
            return x + self._drop(self.feed(histories, self.feed_forward_norm(x)))
        x = self.feed_forward_norm(own(normed) + self.attend(histories, normed, x, causal, ends))
        return x + self._drop(self.feed(histories, x))

    def feed(self, histories: Histories, x: Tensor) -> Tensor:
        """The feed-forward network, changed as the histories ask."""
        wide = dropout(self.activation(self.wide(x)), self.config.inner_dropout, self.training)
        return inside(histories, self.narrow(wide))

    def attend(self, histories: Histories, queries: Tensor, x: Tensor, causal: bool, ends: bool = False) -> Tensor:
        """Attention of ``queries`` to ``x`` among the places of each row; with ``ends`` of the last place alone."""
        weight, bias, dim = self.projections.weight, self.projections.bias, x.shape[1]
        if ends:
            asked = F.linear(queries.index_select(0, histories.last), weight[:dim], bias[:dim])
            seen = F.linear(x, weight[dim:], bias[dim:])
            mixed: Tensor = self.mixed(histories.over_rows(asked, seen, self._attend_from_end))
            return mixed
        if queries is x:
            held = self.projections(x)
        else:
            asked, seen = F.linear(queries, weight[:dim], bias[:dim]), F.linear(x, weight[dim:], bias[dim:])
            held = torch.cat([asked, seen], dim=1)

        def attend(rows: Histories, grid: Tensor) -> Tensor:
            query, key, value = grid.view(*grid.shape[:2], 3, self.config.heads, -1).permute(2, 0, 3, 1, 4)
            # Behind a row's end nothing can be seen by a causal encoder, so padding there needs no mask.
            packed = None if causal else rows.filled[:, None, None]
            seen = packed if rows.blank is None else rows.visible(causal)[:, None]
            return attention(query, key, value, seen, self._attention_rate).transpose(1, 2).flatten(2)

        mixed = self.mixed(histories.over_grids(held, attend))
        return mixed

    def _attend_from_end(self, rows: Histories, queries: Tensor, grid: Tensor) -> Tensor:
        """Attention of ``queries`` ``[rows, dim]`` to all places of their rows: ``[rows, dim]``."""
        query = queries.view(queries.shape[0], self.config.heads, 1, -1)
        key, value = grid.view(*grid.shape[:2], 2, self.config.heads, -1).permute(2, 0, 3, 1, 4)
        return attention(query, key, value, rows.filled[:, None, None], self._attention_rate).flatten(1)

    @property
    def _attention_rate(self) -> float:
        return self.config.attention_dropout if self.training else 0.0

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.config.dropout, self.training)


class GRU(Encoder):
    """A gated recurrent network that reads the history item by item (Hidasi et al., GRU4Rec, ICLR'16)."""

    class Config(Encoder.Config):
        layers: PositiveInt = 1
        """Recurrent layers on top of one another."""
        hidden: PositiveInt | None = None
        """Size of the state; none for that of the vectors."""
        dropout: Rate = 0.3
        """On item vectors."""

    config: Config

    def __init__(self, config: Config, dim: int, length: int) -> None:
        super().__init__(config)
        hidden = config.hidden or dim
        self.recurrent = nn.GRU(dim, hidden, config.layers, batch_first=True)
        self.output = nn.Linear(hidden, dim)
        for name, weight in self.recurrent.named_parameters():
            if name.startswith("weight"):
                nn.init.xavier_uniform_(weight)

    def forward(self, histories: Histories, x: Tensor) -> Tensor:
        x = dropout(x, self.config.dropout, self.training)
        states = histories.over_grids(x, lambda rows, grid: self.recurrent(grid)[0])
        return outside(histories, self.output(inside(histories, states)))


class ConvolutionalWindow(Encoder):
    """Convolutions over the last few items, along time and along dimensions (Tang and Wang, Caser, WSDM'18)."""

    class Config(Encoder.Config):
        window: PositiveInt = 5
        """How many of the latest items are looked at; L in the paper."""
        horizontal: PositiveInt = 16
        """Filters of each height, 1 to ``window``, over neighbouring items (eq. 3 to 5)."""
        vertical: PositiveInt = 4
        """Filters over single dimensions (eq. 6 to 8)."""
        dropout: Rate = 0.5
        """On what the filters give."""

    config: Config

    def __init__(self, config: Config, dim: int, length: int) -> None:
        super().__init__(config)
        heights = range(1, config.window + 1)
        self.along_time = nn.ModuleList(nn.Linear(height * dim, config.horizontal) for height in heights)
        self.along_dims = nn.Linear(config.window, config.vertical, bias=False)
        self.output = nn.Linear(config.horizontal * len(heights) + config.vertical * dim, dim)

    def forward(self, histories: Histories, x: Tensor) -> Tensor:
        windows = self.windows(histories, x)
        slots, size, dim = windows.shape
        across = []
        for height, filters in enumerate(self.along_time, 1):
            stretches = windows.unfold(1, height, 1).transpose(2, 3).reshape(slots, size - height + 1, height * dim)
            across.append(F.relu(filters(stretches)).amax(1))
        down = self.along_dims(windows.transpose(1, 2)).flatten(1)
        found = dropout(torch.cat([*across, down], dim=1), self.config.dropout, self.training)
        return outside(histories, F.relu(inside(histories, self.output(found))))

    def windows(self, histories: Histories, x: Tensor) -> Tensor:
        """The last items at each place, oldest first, zeros before the first.  ``[slots, window, dim]``"""
        back = torch.arange(self.config.window - 1, -1, -1, device=x.device)
        places = torch.arange(x.shape[0], device=x.device)[:, None] - back
        there = histories.places[:, None] >= back
        return x[places.clamp(min=0)] * there.unsqueeze(-1).to(x.dtype)


class MeanPooling(Encoder):
    """The mean of all items up to a place, the later ones weighted more where ``decay`` is below 1."""

    class Config(Encoder.Config):
        decay: Share = 1.0
        """Weight of an item relative to the one after it."""
        dropout: Rate = 0.0
        """On item vectors."""

    config: Config

    def __init__(self, config: Config, dim: int, length: int) -> None:
        super().__init__(config)

    def forward(self, histories: Histories, x: Tensor) -> Tensor:
        x = dropout(x, self.config.dropout, self.training)
        place = torch.arange(histories.longest, device=x.device)
        ago = place[:, None] - place
        weights = (self.config.decay ** ago.clamp(min=0).to(x.dtype)) * (ago >= 0)
        weights = weights / weights.sum(1, keepdim=True)
        means = histories.over_grids(x, lambda rows, grid: weights[: rows.longest, : rows.longest] @ grid)
        return outside(histories, inside(histories, means))


class WeightedMean(Encoder):
    """A weighted mean of the items up to a place: histories lie among the items (Hou et al., CORE, SIGIR'22, eq. 5).

    With weights by a causal transformer whose positions count from the start it is that encoder (eq. 2 to 4), at
    every place at once.
    """

    class Config(Encoder.Config):
        weights: Annotated[Choice, Of("encoder")] = Choice.of("transformer")
        """What reads the history to weigh its items; a causal one where places predict what follows them."""
        dropout: Rate = 0.2
        """On item vectors, before their mean is taken."""
        state: NonNegativeFloat = 0.0
        """How much of the vector that this encoder gives is added to the mean, both made of length 1 before; 0 for the
        mean alone, as in the paper."""

    config: Config

    def __init__(self, config: Config, dim: int, length: int) -> None:
        super().__init__(config)
        self.weights = encoder(config.weights, dim, length)
        self.score = nn.Linear(dim, 1, bias=False)

    def forward(self, histories: Histories, x: Tensor) -> Tensor:
        # What is asked of the final vectors is asked once, of the mean, and all of them have weights.
        read = self.weights(replace(histories, outside=None, ends_only=False), x)
        items = dropout(x, self.config.dropout, self.training)

        def mean(rows: Histories, grid: Tensor) -> Tensor:
            values, scores = grid[..., :-1], grid[:, None, :, -1]
            return scores.masked_fill(~rows.visible(causal=True), -torch.inf).softmax(2) @ values

        means = histories.over_grids(torch.cat([items, self.score(read)], dim=1), mean)
        if self.config.state:
            means = F.normalize(means, dim=1) + self.config.state * F.normalize(read, dim=1)
        return outside(histories, inside(histories, means))


def attention(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, rate: float) -> Tensor:
    """Scaled dot-product attention whose weights are dropped with probability ``rate``.

    ``[rows, heads, places, dim]`` each, and ``seen``, to be broadcast to ``Bool[rows, heads, places, places]``, where
    each place sees another at least; none where each sees itself and earlier ones.  PyTorch has no fused attention with
    dropout on a CPU, and there its own dropout takes most of the time.
    """
    if not rate or not query.is_cpu:
        return F.scaled_dot_product_attention(query, key, value, seen, rate, is_causal=seen is None)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
    if seen is None:
        seen = torch.ones_like(scores[0, 0], dtype=torch.bool).tril()
    weights = scores.masked_fill(~seen, -torch.inf).softmax(3)
    return dropout(weights, rate, training=True) @ value


@torch.no_grad()
def encoder(choice: Choice, dim: int, length: int) -> Any:
    """The encoder that a config names, for histories of up to ``length`` items with vectors of size ``dim``.

    Raises:
        ConfigError: it encodes something else, such as graphs, and is not built with ``dim`` and ``length``.
    """
    try:
        inspect.signature(choice.entry.load()).bind(choice.config, dim, length)
    except TypeError as error:
        raise ConfigError(
            f"the encoder '{choice.name}' does not encode histories",
            fix="one of transformer, gru, caser, mean-pooling, weighted-mean",
        ) from error
    return choice.build(dim, length)


def sees_later(encoder: nn.Module, dim: int) -> bool:
    """Whether what ``encoder`` gives for places changes with the item after them."""
    histories = Histories(torch.arange(3), torch.tensor([3]), 3)
    item = torch.linspace(-1, 1, dim)
    was_training = encoder.training
    encoder.eval()
    one, other = (encoder(histories, torch.stack([item, item.roll(1), last]))[:2] for last in (item, -item))
    encoder.train(was_training)
    return not torch.allclose(one, other, rtol=1e-5, atol=1e-7)


def start_normal(module: nn.Module) -> None:
    """Weights from a normal distribution of standard deviation 0.02, biases 0, as BERT and what follows it."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
