"""Encoders of knowledge graphs."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
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
