"""The graph encoder of CML, apart from it so that it can be evaluated with other parameters than its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from sslrec_core.graph import SparseGraph
from sslrec_core.model import Encoder


class Encoded(NamedTuple):
    """What several graphs say together, and what each says about users."""

    users: Tensor
    """``[users, dim]``"""
    items: Tensor
    """``[items, dim]``"""
    of_behaviour: Tensor
    """Users as each behaviour alone has them, ``[behaviours, users, dim]``."""


class BehaviourGCN(Encoder):
    """Messages of every behaviour, averaged and transformed layer by layer (CML, WSDM'22).

    Layer ``l`` gathers ``m_k = A_k x`` over the graph of each behaviour ``k`` (equations 1 and 2) and makes
    ``x = f(W mean_k m_k)``; for behaviour ``k`` alone it makes ``f(W m_k)``.  What all layers made is set side by side
    and brought to ``dim`` numbers by one more matrix.  Users and items have matrices of their own.
    """

    class Config(Encoder.Config):
        layers: PositiveInt = 3
        """Hops over the graphs."""
        activation: Literal["sigmoid", "leaky-relu"] = "sigmoid"
        """What follows each transformation: sigmoid as in the authors' code."""

    config: Config

    def __init__(self, config: Config, n_users: int, n_items: int, dim: int) -> None:
        super().__init__(config)
        layers = config.layers
        self.n_users = n_users
        self.users, self.items = (_glorot(rows, dim) for rows in (n_users, n_items))
        self.of_users, self.of_items = (
            nn.ParameterList(_glorot(dim, dim) for _ in range(layers)) for _ in range(2)
        )  # fmt: skip
        self.users_out, self.items_out = (_glorot(layers * dim, dim) for _ in range(2))
        self.activate = nn.Sigmoid() if config.activation == "sigmoid" else nn.LeakyReLU(0.25)

    def forward(self, graphs: Sequence[SparseGraph]) -> Encoded:
        """Users and items by ``graphs``, one square graph (users first) for each behaviour."""
        users, items, n = self.users, self.items, self.n_users
        layers: list[tuple[Tensor, Tensor, Tensor]] = []
        for of_users, of_items in zip(self.of_users, self.of_items, strict=True):
            nodes = torch.cat([users, items])
            messages = torch.stack([graph @ nodes for graph in graphs])
            together = messages.mean(0)
            users, items = self.activate(together[:n] @ of_users), self.activate(together[n:] @ of_items)
            layers.append((users, items, self.activate(messages[:, :n] @ of_users)))
        all_users, all_items, apart = (torch.cat(each, dim=-1) for each in zip(*layers, strict=True))
        return Encoded(all_users @ self.users_out, all_items @ self.items_out, apart @ self.users_out)


def _glorot(rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, columns)))
