"""A toy world with a known best answer, for any scenario, and a scenario for models that belong to none."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from sslrec_core.data import Column, Dataset, Interactions, OverInteractions, Prepared, Raw, Scenario
from sslrec_core.ingest.prepare import prepare_interactions

TRAIN, VALID, TEST = 0, 1, 2


class Checkerboard(Dataset):
    """Users and items have a colour, and users like the items of theirs.

    Users and items are numbered together: number ``n`` has colour ``n % colours``.  A user's first item is the one
    with the same number: this diagonal is the test part.  The next item of the colour is the validation part, and
    the ``known`` items after that are for training.  Whoever learns the colours ranks the held-out item first once
    the known ones are hidden.

    The table ``triples`` says the colour of each item (and its row, which tells nothing), ``trust`` joins each user to
    the next two of the colour, and in ``behaviours`` users view their first two training items and put the second into
    the cart.  Where ``known`` is 1 no two users share an item, so nothing else tells the colours: there a model that
    reads such a table must do better than one to which it was given shuffled.
    """

    class Config(Dataset.Config):
        size: PositiveInt = 32
        """Number of users, and of items."""
        colours: int = Field(default=2, ge=2)
        """Number of groups; it divides ``size``."""
        known: PositiveInt | None = None
        """Training items of each user; none for all but the two that are held out."""
        clues: Literal["told", "shuffled"] = "told"
        """Whether triples, trust and behaviours are about an item's and a user's own colour, or about that of a random
        other."""
        test: Literal["diagonal", "wrong"] = "diagonal"
        """Whether the test part is the diagonal, or poisoned with items of another colour."""

    config: Config
    files = ()
    licence: ClassVar[str] = "Apache-2.0"
    citation: ClassVar[str] = ""
    homepage: ClassVar[str] = ""

    def read(self, root: Path) -> Raw:
        """All tables, ``interactions`` with ``time`` and ``part``; ``root`` is not read."""
        size, colours = self.config.size, self.config.colours
        rows = size // colours
        known = min(self.config.known or rows, rows - 2)
        user, item = self._after(np.arange(2 + known), rows)
        step = np.repeat(np.arange(2 + known), rows * colours)
        part = np.select([step == 0, step == 1], [TEST, VALID], TRAIN)
        if self.config.test == "wrong":
            item = np.where(part == TEST, (item + 1) % (rows * colours), item)
        interactions = {
            "user": user,
            "item": item,
            "time": step.max() - step,
            "part": part.astype(np.int8),
        }
        tables = {
            "interactions": interactions,
            "triples": self._triples(rows * colours),
            "trust": self._trust(rows),
            "behaviours": self._behaviours(rows),
        }
        return Raw(tables)

    def _triples(self, size: int) -> dict[str, Column]:
        """Each item's colour by relation 0, its row by relation 1; both are entities numbered after the items."""
        items, colours = np.arange(size), self.config.colours
        tail = np.concatenate([self._told(size + items % colours), size + colours + items // colours])
        return {"head": np.tile(items, 2), "relation": np.repeat(np.arange(2), size), "tail": tail}

    def _trust(self, rows: int) -> dict[str, Column]:
        """Each user's two successors of the same colour."""
        user, target = self._after(np.arange(1, 3), rows)
        return {"source": user, "target": self._told(target)}

    def _behaviours(self, rows: int) -> dict[str, Column]:
        """Each user views the first two training items, and puts the second into the cart; none that is held out."""
        viewed, carted = (self._after(np.arange(first, min(4, rows)), rows) for first in (2, 3))
        user, item = (np.concatenate(pair) for pair in zip(viewed, carted, strict=True))
        kind = np.repeat(["view", "cart"], [len(viewed[0]), len(carted[0])])
        return {"user": user, "item": self._told(item), "behaviour": kind}

    def _after(self, steps: NDArray[np.int64], rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each number, and the number so many rows further in its colour."""
        colours = self.config.colours
        step, number = np.meshgrid(steps, np.arange(rows * colours), indexing="ij")
        return number.ravel(), ((number // colours + step) % rows * colours + number % colours).ravel()

    def _told(self, clue: NDArray[np.int64]) -> NDArray[np.int64]:
        """The clue itself, or in a random order."""
        return clue if self.config.clues == "told" else np.random.default_rng(0).permutation(clue)


class PlainData(OverInteractions):
    """Interactions and nothing else."""

    def __init__(self, interactions: Interactions) -> None:
        self.interactions = interactions

    def to(self, device: torch.device | str) -> PlainData:
        """The same data on ``device``."""
        return PlainData(self.interactions.to(device))


class Plain(Scenario):
    """Interactions as they are, for models that belong to no scenario."""

    def process(self, raw: Raw) -> Prepared:
        """Number, filter and split the interactions; other tables are not read."""
        return prepare_interactions(raw, self.config)

    def data(self, prepared: Prepared) -> PlainData:
        """The interactions."""
        return PlainData(Interactions.of(prepared))
