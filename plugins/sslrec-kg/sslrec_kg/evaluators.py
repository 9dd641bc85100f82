"""Link prediction: does a model that learns from triples rank the right tail first?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from sslrec_core.errors import ConfigError, DataError
from sslrec_core.evaluate import Evaluator, check_numbers, judging, portion
from sslrec_core.rows import Rows
from sslrec_kg.data import KGData
from sslrec_kg.triples import Translating, Triples, TripleSpace

if TYPE_CHECKING:
    from sslrec_core.data import Data
    from sslrec_core.model import Model

SAMPLE_SEED = 20120507
"""Which triples are asked for is the same for every model and run."""


class LinkPrediction(Evaluator):
    """Rank all entities as the tail of a triple, other known tails left out (Bordes et al., TransE, NIPS 2013).

    With inverse relations, which the scenario adds by default, heads are asked for as well: as the tails of those.
    """

    class Config(Evaluator.Config):
        triples: Literal["held-out", "known"] = "held-out"
        """What is asked for: triples held out by ``scenario.kg_holdout``, or those that were learnt from.  The latter
        tells how well they were fitted, and nothing about others."""
        hits: tuple[PositiveInt, ...] = Field((1, 3, 10), min_length=1)
        """Ranks within which a tail counts as hit."""
        sample: PositiveInt | None = 10_000
        """Triples asked for, at most, always the same ones; none for all."""

    config: Config

    def names(self) -> list[str]:
        return ["mrr", *(f"hits@{k}" for k in self.config.hits)]

    def evaluate(self, model: Model, data: Data, split: str) -> dict[str, float]:
        """Means over triples: of 1 / rank, and of whether the rank is among the first k.

        Entities as near as the right one share its rank: half of them count as before it.

        Args:
            split: Not used: which triples are asked for is :attr:`Config.triples`.

        Raises:
            ConfigError: the model learns nothing from triples.
            DataError: no triple was held out.
            TrainingError: the distances are not numbers.
        """
        del split
        if not isinstance(model, Translating) or not isinstance(data, KGData):
            raise ConfigError(
                f"{type(model).__name__} learns nothing from triples, so it can predict none",
                fix="a model that does, such as kgcl or kgat, or --set eval.name=full-ranking",
            )
        with judging(model):
            ranks = torch.cat(list(self._ranks(model, data))).double().cpu()
        values = [(1 / ranks).mean(), *((ranks <= k).double().mean() for k in self.config.hits)]
        return dict(zip(self.names(), torch.stack(values).tolist(), strict=True))

    def evaluate_users(self, model: Model, data: Data, split: str) -> dict[str, Tensor]:
        """Raises ConfigError: triples have no user."""
        raise ConfigError("link prediction measures triples, not users", fix="--set eval.name=full-ranking")

    def _asked(self, data: KGData) -> Triples:
        asked = data.held_out if self.config.triples == "held-out" else data.triples
        if asked is None:
            raise DataError(
                "no triple was held out",
                fix="train with --set scenario.kg_holdout=0.1, or measure the fit with --set eval.triples=known",
            )
        if self.config.sample is None or len(asked.heads) <= self.config.sample:
            return asked
        order = torch.randperm(len(asked.heads), generator=torch.Generator().manual_seed(SAMPLE_SEED))
        some = order[: self.config.sample].sort().values.to(asked.heads.device)
        return Triples(asked.heads[some], asked.relations[some], asked.tails[some], asked.n_entities)

    def _ranks(self, model: Translating, data: KGData) -> Iterator[Tensor]:
        """Rank of the tail of each triple asked for, relation by relation.  ``[some triples]``"""
        asked, known = self._asked(data), self._known(data)
        n = data.n_relations
        pairs = known.heads * n + known.relations
        first = pairs[known.known.pointers[:-1]]
        order = asked.relations.argsort(stable=True)
        counts = torch.bincount(asked.relations, minlength=n).tolist()
        size = portion(data.n_entities, asked.heads.device)
        for relation, places in enumerate(torch.split(order, counts)):
            if not len(places):
                continue
            space = model.triple_space(relation)
            for some in torch.split(places, size):
                heads = asked.heads[some]
                group = torch.searchsorted(first, heads * n + relation)
                yield ranks(space, heads, asked.tails[some], known.known.select(group))

    def _known(self, data: KGData) -> Triples:
        """All triples, held out or not."""
        if data.held_out is None:
            return data.triples
        parts = (data.triples, data.held_out)
        heads, relations, tails = (
            torch.cat(c) for c in zip(*((p.heads, p.relations, p.tails) for p in parts), strict=True)
        )
        return Triples.of(heads, relations, tails, data.n_entities)


def ranks(space: TripleSpace, heads: Tensor, tails: Tensor, known: Rows) -> Tensor:
    """Rank of each of ``tails`` among the entities that are not ``known``, from 1 on; ``[triples]``.

    Args:
        space: Of the triples' relation.
        heads: ``Long[triples]``
        tails: ``Long[triples]``
        known: All known tails of each triple's head and relation, a row each.

    Raises:
        TrainingError: a distance is NaN.
    """
    moved = space.points[heads] + space.move
    # The squared distance, but for the moved head's own length, which is the same for all entities.
    distance = space.points.square().sum(1) - 2 * moved @ space.points.T
    check_numbers(distance.isnan().any(), "the model")
    own = distance.gather(1, tails[:, None])
    distance[known.row_index, known.columns] = torch.inf
    nearer, equal = (distance < own).sum(1), (distance == own).sum(1)
    return 1 + nearer + equal / 2
