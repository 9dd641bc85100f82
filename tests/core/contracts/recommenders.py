"""Healthy models, and for each check of the model's contract one that breaks it."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import PositiveFloat, field_serializer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import logsigmoid

from sslrec_core.hooks import Offer, hookimpl
from sslrec_core.loop import Loop
from sslrec_core.model import Embeddings, Model, Portable


class Factors(Model):
    """Vectors for users and items, learnt by pairwise ranking."""

    class Config(Model.Config):
        weight: PositiveFloat = 1.0
        """Factor of the ranking term."""

    config: Config

    def __init__(self, config: Any, data: Any) -> None:
        super().__init__(config, data)
        self.users = nn.Embedding(data.n_users, config.embedding_dim)
        self.items = nn.Embedding(data.n_items, config.embedding_dim)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)

    def losses(self, batch: Any) -> dict[str, Tensor]:
        users, items = self.embeddings()
        gap = users[batch.users].unsqueeze(1) * (items[batch.positives].unsqueeze(1) - items[batch.negatives])
        return {"ranking": -self.config.weight * logsigmoid(gap.sum(-1)).mean()}

    def embeddings(self) -> Embeddings:
        return Embeddings(self.users.weight, self.items.weight)


class Painted(Factors):
    """Adds a vector for the colour that the side information gives to an item."""

    def __init__(self, config: Any, data: Any) -> None:
        super().__init__(config, data)
        self.colours = nn.Embedding(int(data.colour.max()) + 1, config.embedding_dim)
        nn.init.normal_(self.colours.weight, std=0.1)

    def embeddings(self) -> Embeddings:
        return Embeddings(self.users.weight, self.items.weight + self.colours(self.data.colour))  # type: ignore[attr-defined]


class Mumbling(Factors):
    """vectors, mumbled"""


class Secretive(Factors):
    """Has an option that nobody explains."""

    class Config(Factors.Config):
        secret: float = 1.0

    def losses(self, batch: Any) -> dict[str, Tensor]:
        return {name: value * self.config.secret for name, value in super().losses(batch).items()}


class Rounding(Factors):
    """Writes its weight down less exactly than it is."""

    class Config(Factors.Config):
        weight: PositiveFloat = 1.3
        """Factor of the ranking term."""

        @field_serializer("weight")
        def _rounded(self, value: float) -> float:
            return round(value)


class Idle(Factors):
    """Has an option that nobody reads."""

    class Config(Factors.Config):
        temperature: float = 1.0
        """Divides nothing."""


class Unused(Factors):
    """Has a parameter that no loss depends on."""

    def __init__(self, config: Any, data: Any) -> None:
        super().__init__(config, data)
        self.spare = nn.Parameter(torch.ones(3))


class Unmoved(Factors):
    """Has a parameter that belongs to no optimiser."""

    def optimizers(self, make: Any) -> dict[str, Any]:
        return {"main": make(self.users.parameters())}


class Exact(Factors):
    """Puts products in a table that is made for float32 alone."""

    def losses(self, batch: Any) -> dict[str, Tensor]:
        found = self.users.weight.new_zeros(self.data.n_users)
        own = self.users.weight[batch.users]
        found[batch.users] = (own @ own.T).diagonal()
        return {**super().losses(batch), "length": 1e-3 * found.square().mean()}


class Untraceable(Factors):
    """Passes a generator to a function that torch.compile traces without one, or for sizes that do not vary."""

    def losses(self, batch: Any) -> dict[str, Tensor]:
        others = torch.randint(self.data.n_users, (len(batch.users),), generator=None)
        apart = self.users.weight[batch.users] * self.users.weight[others]
        return {**super().losses(batch), "apart": 1e-3 * apart.square().mean()}


class Rising(Factors):
    """Has a loss that grows with time."""

    def epoch(self, loop: Loop) -> None:
        for batch in loop.batches():
            loop.minimise({name: value + loop.step for name, value in self.losses(batch).items()})


class Infinite(Factors):
    """Has a loss that is not a number."""

    def losses(self, batch: Any) -> dict[str, Tensor]:
        return {name: value * float("nan") for name, value in super().losses(batch).items()}


class Backwards(Factors):
    """Ranks the other way round."""

    def embeddings(self) -> Embeddings:
        return super().embeddings() if self.training else Embeddings(-self.users.weight, self.items.weight)


class Cheating(Factors):
    """Learns from the test part."""

    def losses(self, batch: Any) -> dict[str, Tensor]:
        test = self.data.interactions.parts["test"]
        users, items = self.embeddings()
        return {
            **super().losses(batch),
            "test": -logsigmoid((users[test.row_index] * items[test.columns]).sum(-1)).mean(),
        }


class Short(Factors):
    """Forgets to score the last item."""

    def scorer(self) -> Any:
        whole = super().scorer()
        return lambda queries: whole(queries)[:, :-1]


class Sociable(Factors):
    """Scores a user by who else is asked for."""

    def scorer(self) -> Any:
        whole = super().scorer()
        return lambda queries: whole(queries) - whole(queries).mean(0)


class Leaning(Factors):
    """Scores with something beside its towers."""

    def scorer(self) -> Any:
        towers = super().scorer()
        return lambda queries: towers(queries) + self.items.weight[:, 0]


class Abroad(Factors):
    """Scores otherwise once it is outside."""

    def portable(self) -> Portable:
        users, items = self.embeddings()
        table = nn.Linear(len(users), len(items), bias=False)
        return Portable(table, lambda queries: {"users": F.one_hot(queries.users).float()}, {"users": {0: "batch"}}, {})


class Crowded(Factors):
    """Scores a newcomer by who else is new."""

    folds_in = True

    def fold_in(self, items: Tensor, lengths: Tensor) -> Tensor:
        vectors = self.embeddings().items
        return (vectors[items].mean(0) @ vectors.T).expand(len(lengths), -1)


class Noisy(Factors):
    """Draws noise when it scores."""

    def scorer(self) -> Any:
        users, items = self.embeddings()
        return lambda queries: users[queries.users] @ items.T + torch.rand_like(items[:, 0])


class Drawing(Factors):
    """Draws what it does not use when it scores."""

    def scorer(self) -> Any:
        torch.rand(1)
        return super().scorer()


class Wearing(Factors):
    """Changes when it scores."""

    def scorer(self) -> Any:
        with torch.no_grad():
            self.users.weight += 0.01
        return super().scorer()


class Forgetful(Factors):
    """Scores with something that is not saved."""

    bias: Tensor | None = None

    def epoch(self, loop: Loop) -> None:
        super().epoch(loop)
        self.bias = torch.rand_like(self.items.weight[:, 0])

    def scorer(self) -> Any:
        whole = super().scorer()
        return lambda queries: whole(queries) + (0 if self.bias is None else self.bias)


class Stashing(Factors):
    """Keeps something that it scores with on the data."""

    def epoch(self, loop: Loop) -> None:
        super().epoch(loop)
        self.data.bias = torch.rand_like(self.items.weight[:, 0])  # type: ignore[attr-defined]

    def scorer(self) -> Any:
        whole = super().scorer()
        bias = getattr(self.data, "bias", 0)
        return lambda queries: whole(queries) + bias


class Erratic(Factors):
    """Draws chance from a generator of its own."""

    def losses(self, batch: Any) -> dict[str, Tensor]:
        generator = torch.Generator()
        generator.seed()
        noise = torch.rand((), generator=generator)
        return {name: value * noise for name, value in super().losses(batch).items()}


class Amnesic(Factors):
    """Trains with something that is not saved."""

    epochs = 0

    def epoch(self, loop: Loop) -> None:
        self.epochs += 1
        for batch in loop.batches():
            loop.minimise({name: value / self.epochs for name, value in self.losses(batch).items()})


class Homebound(Factors):
    """Makes a tensor on the device of its author."""

    def losses(self, batch: Any) -> dict[str, Tensor]:
        return {name: value + torch.zeros(()) for name, value in super().losses(batch).items()}


class Waiting(Factors):
    """Reads a value out of a tensor in each step."""

    def losses(self, batch: Any) -> dict[str, Tensor]:
        return {name: value * float(value.item() > 0) for name, value in super().losses(batch).items()}


class TwoFaced(Factors):
    """Scores otherwise on an accelerator."""

    def embeddings(self) -> Embeddings:
        return Embeddings(self.users.weight + self.users.weight.is_cuda, self.items.weight)


MODELS = (
    Factors, Painted, Mumbling, Secretive, Rounding, Idle, Unused, Unmoved, Exact, Untraceable, Rising, Infinite,
    Backwards, Cheating, Short, Sociable, Leaning, Abroad, Crowded, Noisy, Drawing, Wearing, Forgetful, Stashing,
    Erratic, Amnesic, Homebound, Waiting, TwoFaced,
)  # fmt: skip


@hookimpl
def sslrec_models() -> Offer:
    return {kind.__name__.lower(): kind for kind in MODELS}
