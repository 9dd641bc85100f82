"""Encoders of knowledge graphs."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.builtin.dropout import dropout
from sslrec_core.config import Rate
from sslrec_core.graph import SparseGraph, edge_softmax
from sslrec_core.model import Encoder

TABLES = 2
"""Numbers in tables of nodes by relations that are as cheap as one number of a vector per edge; measured on a CPU."""


class RGAT(Encoder):
    """Relation-aware attention: every entity gathers what its neighbours in the knowledge graph say.

    KGCL (SIGIR'22), section 3.1: head ``h`` with neighbours ``(r, t)`` becomes ``x_h + sum a_ht x_t``, where ``a_ht``
    is the softmax over its neighbours of ``LeakyReLU(r . (W [x_h; x_t] + b))``.

    ``layers = 1``, no ``normalise`` and dropout on inputs, attention and output is the authors' first code;
    ``layers = 2``, ``normalise`` and dropout on the output only is their later one, which works on whole graphs.
    """

    class Config(Encoder.Config):
        layers: PositiveInt = 1
        """Hops over the knowledge graph."""
        dropout: Rate = 0.4
        """Dropout on each hop's result."""
        input_dropout: Rate = 0.4
        """Dropout on the vectors that enter a hop, drawn apart for heads and tails."""
        attention_dropout: Rate = 0.4
        """Dropout on attention weights."""
        negative_slope: NonNegativeFloat = 0.2
        """Slope of the LeakyReLU below zero."""
        residual: bool = True
        """Add an entity's own vector to what it gathers, as the paper does."""
        normalise: bool = False
        """Scale each hop's result to unit length."""
        readout: Literal["last", "sum"] = "last"
        """What comes out: the last hop's result, or the sum of the input and all hops."""

    config: Config

    def __init__(self, config: Config, dim: int) -> None:
        super().__init__(config)
        self.attend = nn.Linear(2 * dim, dim)

    def forward(self, kg: SparseGraph, relation: Tensor, entities: Tensor, relations: Tensor) -> Tensor:
        """Encode the heads of ``kg``: every entity, or with a single hop also only the first ones.

        Args:
            kg: Edges from tails (sources, all entities) to heads (targets, the first ``heads`` entities).
            relation: ``[edges]``, aligned with the edges of ``kg``.
            entities: ``[entities, dim]``.
            relations: ``[relations, dim]``.

        Returns:
            ``[heads, dim]``
        """
        x, total = entities, entities[: kg.shape[0]]
        for _ in range(self.config.layers):
            x = self.hop(kg, relation, x, relations)
            total = total + x
        return total if self.config.readout == "sum" else x

    def hop(self, kg: SparseGraph, relation: Tensor, x: Tensor, relations: Tensor) -> Tensor:
        """One hop, ``[entities, dim]`` to ``[heads, dim]``."""
        config = self.config
        heads = dropout(x[: kg.shape[0]], config.input_dropout, self.training)
        tails = dropout(x, config.input_dropout, self.training)
        logits = F.leaky_relu(self.logits(kg, relation, heads, tails, relations), config.negative_slope)
        attention = dropout(edge_softmax(kg, logits), config.attention_dropout, self.training)
        gathered = kg.reweighted(attention) @ tails
        out = dropout(gathered + heads if config.residual else gathered, config.dropout, self.training)
        return F.normalize(out, dim=-1) if config.normalise else out

    def logits(self, kg: SparseGraph, relation: Tensor, heads: Tensor, tails: Tensor, relations: Tensor) -> Tensor:
        """``r . (W [x_h; x_t] + b)`` for each edge, ``[edges]``.

        ``W`` and ``r`` act on heads and tails apart, so either each node is multiplied with each relation once and
        edges pick single numbers, or each node is projected once and edges pick vectors: whichever is smaller.
        """
        weight, dim = self.attend.weight, tails.shape[1]
        of_head, of_tail = weight[:, :dim], weight[:, dim:]
        n = len(relations)
        if (len(heads) + len(tails)) * n <= TABLES * kg.n_edges * dim:
            from_head = (heads @ (relations @ of_head).T).flatten()
            from_tail = (tails @ (relations @ of_tail).T + relations @ self.attend.bias).flatten()
            head, tail = kg.target * n + relation, kg.source * n + relation
            return from_head.index_select(0, head) + from_tail.index_select(0, tail)
        of_edge = F.linear(heads, of_head).index_select(0, kg.target)
        of_edge = of_edge + F.linear(tails, of_tail, self.attend.bias).index_select(0, kg.source)
        return torch.einsum("ed,ed->e", of_edge, relations.index_select(0, relation))


class NeighbourMix(Encoder):
    """Each node mixed with its neighbourhood, hop by hop, all hops side by side (KGAT, KDD'19, equations 3 to 11)."""

    class Config(Encoder.Config):
        sizes: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (64, 32, 16)
        """Numbers that each hop gives to a node."""
        aggregator: Literal["bi-interaction", "gcn", "graphsage"] = "bi-interaction"
        """How a node and its neighbourhood are mixed: sum and product (equation 8), sum (equation 6), or both side by
        side (equation 7)."""
        dropout: Rate = 0.1
        """Dropout on each hop's result."""
        negative_slope: NonNegativeFloat = 0.2
        """Slope of the LeakyReLU below zero: TensorFlow's default, with which the authors ran; PyTorch's is 0.01."""

    config: Config

    def __init__(self, config: Config, dim: int) -> None:
        super().__init__(config)
        widths = list(zip((dim, *config.sizes), config.sizes, strict=False))
        sides = 2 if config.aggregator == "graphsage" else 1
        self.mix = nn.ModuleList(nn.Linear(sides * given, out) for given, out in widths)
        products = widths if config.aggregator == "bi-interaction" else []
        self.mix_products = nn.ModuleList(nn.Linear(given, out) for given, out in products)
        for linear in (*self.mix, *self.mix_products):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, graph: SparseGraph, x: Tensor, nodes: Tensor, last: SparseGraph | None = None) -> Tensor:
        """The vectors of ``nodes`` before and after each hop.

        Args:
            graph: Square, weighted by attention.
            x: ``[all nodes, dim]``
            nodes: ``Long[nodes]``, those whose vectors are asked for.
            last: The edges of ``graph`` into ``nodes``; none to pick them here, which waits for the device.

        Returns:
            ``[nodes, dim + sum of sizes]``
        """
        last = graph.select(nodes) if last is None else last
        found = [F.embedding(nodes, x)]
        for hop in range(len(self.mix) - 1):
            x = self.hop(hop, x, graph @ x)
            found.append(F.normalize(F.embedding(nodes, x), dim=-1))
        found.append(F.normalize(self.hop(len(self.mix) - 1, F.embedding(nodes, x), last @ x), dim=-1))
        return torch.cat(found, dim=1)

    def hop(self, hop: int, own: Tensor, around: Tensor) -> Tensor:
        """Nodes and their neighbourhoods, ``[n, dim]`` both, mixed: ``[n, size of the hop]``."""
        config = self.config
        together = torch.cat([own, around], dim=1) if config.aggregator == "graphsage" else own + around
        out = F.leaky_relu(self.mix[hop](together), config.negative_slope)
        if config.aggregator == "bi-interaction":
            out = out + F.leaky_relu(self.mix_products[hop](own * around), config.negative_slope)
        return dropout(out, config.dropout, self.training)
