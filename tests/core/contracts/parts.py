"""Healthy components and scenarios, and for each check of their contracts one that breaks it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from pydantic import field_serializer
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from sslrec_core.config import NonNegative
from sslrec_core.data import Data, Interactions, PairBatch, Prepared, Queries, Raw, Rows, Scenario
from sslrec_core.hooks import Offer, hookimpl
from sslrec_core.ingest.prepare import prepare_interactions
from sslrec_core.model import Objective
from sslrec_core.testing.worlds import PlainData


class AboveDrawn(Objective):
    """Known items above others, by a learnt margin."""

    class Config(Objective.Config):
        weight: NonNegative = 1.0
        """Factor of the term."""

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.margin = nn.Parameter(torch.zeros(()))

    def forward(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        gap = (users.unsqueeze(1) * (positives.unsqueeze(1) - negatives)).sum(-1)
        return -self.config.weight * logsigmoid(gap - self.margin).mean()


class Mumbling(AboveDrawn):
    """pairwise, mumbled"""


class Secretive(AboveDrawn):
    """Has an option that nobody explains."""

    class Config(AboveDrawn.Config):
        secret: float = 1.0

    def forward(self, *vectors: Tensor) -> Tensor:
        return super().forward(*vectors) * self.config.secret


class Rounding(AboveDrawn):
    """Writes its weight down less exactly than it is."""

    class Config(AboveDrawn.Config):
        weight: NonNegative = 1.3
        """Factor of the term."""

        @field_serializer("weight")
        def _rounded(self, value: float) -> float:
            return round(value)


class Idle(AboveDrawn):
    """Has an option that nobody reads."""

    class Config(AboveDrawn.Config):
        temperature: float = 1.0
        """Divides nothing."""


class Vector(AboveDrawn):
    """Answers one number for each pair."""

    def forward(self, *vectors: Tensor) -> Tensor:
        return super().forward(*vectors).repeat(3)


class Detached(AboveDrawn):
    """Stops the gradient of one of its inputs."""

    def forward(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        return super().forward(users, positives, negatives.detach())


class InPlace(AboveDrawn):
    """Writes on what it was given."""

    def forward(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        with torch.no_grad():
            users.mul_(2)
        return super().forward(users, positives, negatives)


class Erratic(AboveDrawn):
    """Draws chance elsewhere than from torch."""

    def forward(self, *vectors: Tensor) -> Tensor:
        return super().forward(*vectors) * random.random()


class Unweighted(AboveDrawn):
    """Looks at its weight and forgets it."""

    def forward(self, *vectors: Tensor) -> Tensor:
        return super().forward(*vectors) / self.config.weight


class Homebound(AboveDrawn):
    """Makes a tensor on the device of its author."""

    def forward(self, *vectors: Tensor) -> Tensor:
        return super().forward(*vectors) + torch.zeros(())


class Rooted(AboveDrawn):
    """Computes on the host, wherever its inputs are."""

    def forward(self, *vectors: Tensor) -> Tensor:
        return super().forward(*vectors).to("cpu")


class Waiting(AboveDrawn):
    """Reads a value out of a tensor."""

    def forward(self, *vectors: Tensor) -> Tensor:
        return super().forward(*vectors) * float(self.margin.item() > -5)


# ---- scenarios ----------------------------------------------------------------------------------


class Sound(Scenario):
    """Interactions as they are, and the colour of each item."""

    def process(self, raw: Raw) -> Prepared:
        prepared = prepare_interactions(raw, self.config)
        triples = {name: np.asarray(column) for name, column in raw.tables["triples"].items()}
        told = triples["relation"] == 0
        colour = triples["tail"][told][np.argsort(triples["head"][told])]
        return Prepared({**prepared.arrays, "colour": colour - colour.min()}, prepared.meta)

    def data(self, prepared: Prepared) -> Data:
        return Coloured(Interactions.of(prepared), torch.tensor(prepared.arrays["colour"]))


class Coloured(PlainData):
    """Interactions and the colour of each item."""

    def __init__(self, interactions: Interactions, colour: Tensor) -> None:
        super().__init__(interactions)
        self.colour = colour
        self.batches = self._batches  # type: ignore[method-assign]
        self.queries = self._queries  # type: ignore[method-assign]

    def to(self, device: torch.device | str) -> Coloured:
        return type(self)(self.interactions.to(device), self.colour.to(device))

    def _batches(self, *args: Any, **kw: Any) -> Any:
        return self.interactions.batches(*args, **kw)

    def _queries(self, *args: Any, **kw: Any) -> Any:
        return self.interactions.queries(*args, **kw)


class MumblingScenario(Sound):
    """sound, mumbled"""


class SecretiveScenario(Sound):
    """Has an option that nobody explains."""

    class Config(Sound.Config):
        secret: float = 1.0


class RoundingScenario(Sound):
    """Writes an option down less exactly than it is."""

    class Config(Sound.Config):
        @field_serializer("holdout")
        def _rounded(self, value: float) -> float:
            return round(value, 0)


class Unread(Sound):
    """Has an option that nobody reads."""

    class Config(Sound.Config):
        window: int = 3
        """Looks at nothing."""


class Restless(Sound):
    """Draws the result of processing from the state of torch's generator."""

    def process(self, raw: Raw) -> Prepared:
        prepared = super().process(raw)
        return Prepared({**prepared.arrays, "noise": torch.rand(3).numpy()}, prepared.meta)


class Swapped(Sound):
    """Takes the validation part for the test part."""

    def data(self, prepared: Prepared) -> Data:
        data = super().data(prepared)
        parts = data.interactions.parts
        parts["valid"], parts["test"] = parts["test"], parts["valid"]
        return data


class Leaking(Sound):
    """Trains on what it validates with."""

    def data(self, prepared: Prepared) -> Data:
        data = super().data(prepared)
        data.interactions.parts["train"] = data.interactions.together("train", "valid")
        return data


class Careless(Sound):
    """Holds nothing out for validation."""

    def process(self, raw: Raw) -> Prepared:
        config = self.config.model_copy(update={"holdout": 0.0})
        return type(self)(config)._process(raw)

    def _process(self, raw: Raw) -> Prepared:
        return super().process(raw)


class Stubborn(Sound):
    """Gives batches in one order whatever the seed."""

    def data(self, prepared: Prepared) -> Data:
        class Fixed(Coloured):
            def _batches(self, *args: Any, **kw: Any) -> Any:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    return iter(list(super()._batches(*args, **kw)))

        sound = super().data(prepared)
        return Fixed(sound.interactions, sound.colour)


class Easy(Sound):
    """Gives known items as negatives."""

    def data(self, prepared: Prepared) -> Data:
        class Known(Coloured):
            def _batches(self, *args: Any, **kw: Any) -> Any:
                for batch in super()._batches(*args, **kw):
                    yield PairBatch(batch.users, batch.positives, batch.positives[:, None].expand_as(batch.negatives))

        sound = super().data(prepared)
        return Known(sound.interactions, sound.colour)


class Peeking(Sound):
    """Never gives an item of the test part as a negative."""

    def data(self, prepared: Prepared) -> Data:
        class Sparing(Coloured):
            def _batches(self, *args: Any, **kw: Any) -> Any:
                test = self.interactions.parts["test"]
                for batch in super()._batches(*args, **kw):
                    spared = test.contains(batch.users[:, None], batch.negatives)
                    moved = (batch.negatives + spared.long()) % self.n_items
                    yield PairBatch(batch.users, batch.positives, moved)

        sound = super().data(prepared)
        return Sparing(sound.interactions, sound.colour)


class Fickle(Sound):
    """Lets an option change after training by which it drops training interactions."""

    ranking = frozenset({"narrow"})

    class Config(Sound.Config):
        narrow: bool = False
        """Whether half of the training part is dropped."""

    config: Config

    def data(self, prepared: Prepared) -> Data:
        data = super().data(prepared)
        if self.config.narrow:
            train = data.interactions.parts["train"]
            data.interactions.parts["train"] = train.select(torch.arange(data.n_users) // 2 * 2)
        return data


class Revealing(Sound):
    """Hides nothing at test time."""

    def data(self, prepared: Prepared) -> Data:
        class Open(Coloured):
            def _queries(self, *args: Any, **kw: Any) -> Any:
                for query in super()._queries(*args, **kw):
                    seen = Rows.empty(len(query), self.n_items)
                    yield Queries(query.users, seen, query.truth)

        sound = super().data(prepared)
        return Open(sound.interactions, sound.colour)


class Staying(Sound):
    """Stays where it is when it is moved."""

    def data(self, prepared: Prepared) -> Data:
        class Rooted(Coloured):
            def to(self, device: torch.device | str) -> Rooted:
                return self

        sound = super().data(prepared)
        return Rooted(sound.interactions, sound.colour)


OBJECTIVES = (
    AboveDrawn, Mumbling, Secretive, Rounding, Idle, Vector, Detached, InPlace, Erratic, Unweighted, Homebound, Rooted,
    Waiting,
)  # fmt: skip
SCENARIOS = {
    "sound": Sound, "mumbling": MumblingScenario, "secretive": SecretiveScenario, "rounding": RoundingScenario,
    "unread": Unread, "restless": Restless, "swapped": Swapped, "leaking": Leaking, "careless": Careless,
    "stubborn": Stubborn, "easy": Easy, "peeking": Peeking, "fickle": Fickle, "revealing": Revealing,
    "staying": Staying,
}  # fmt: skip


@hookimpl
def sslrec_objectives() -> Offer:
    return {kind.__name__.lower(): kind for kind in OBJECTIVES}


@hookimpl
def sslrec_scenarios() -> Offer:
    return SCENARIOS
