"""Full ranking: every item is a candidate for every user."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

import torch
from pydantic import Field, PositiveInt, field_validator, model_validator
from torch import Tensor

from sslrec_core import metrics
from sslrec_core.builtin.slices import Group, item_groups, user_groups
from sslrec_core.config import Share
from sslrec_core.data import nobody
from sslrec_core.evaluate import Evaluator, best_unseen, check_numbers, found, judging, portion

if TYPE_CHECKING:
    from sslrec_core.data import Data, Queries
    from sslrec_core.model import Model

Accuracy = Literal["recall", "ndcg", "precision", "hit", "mrr", "map"]
Catalogue = Literal["coverage", "gini", "popularity", "tail"]

SAMPLE_SEED = 20200713
"""Which pairs and vectors the diagnostics look at is the same for every model and run."""


class _List(NamedTuple):
    """One portion of users with what was recommended to them."""

    queries: Queries
    items: Tensor
    """Long ``[queries, k]``, -1 where a list is short."""
    hits: Tensor
    """Bool ``[queries, k]``"""
    any_nan: Tensor


class FullRanking(Evaluator):
    """Rank all items that a user has not seen, and compare the lists with the items held back."""

    class Config(Evaluator.Config):
        metrics: tuple[Accuracy | Catalogue, ...] = Field(
            ("recall", "ndcg", "precision", "hit", "mrr", "map", "coverage", "gini", "popularity", "tail"), min_length=1
        )
        """What is measured.  ``coverage``, ``gini``, ``popularity`` and ``tail`` describe the lists as a whole:
        share of the catalogue that is recommended at all, how unequally, mean training interactions of a recommended
        item, and share of recommendations from outside the most popular items (see ``tail``)."""
        at: tuple[PositiveInt, ...] = Field((10, 20), min_length=1)
        """Lengths of the list."""
        hide: Literal["train", "train+valid"] = "train+valid"
        """What is hidden when the test part is measured; for the validation part it is always the training part.
        With ``train`` the validation items compete as wrong answers, which is the habit of many papers."""
        batch: PositiveInt | None = None
        """Users scored at once; none for as many as fit the memory budget of the device."""
        slices: bool = False
        """Every accuracy metric for groups of users and items as well: ``recall@20/users:1-5``,
        ``recall@20/items:tail``, ``recall@20/items:cold``."""
        history: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = None
        """Longest training history of each group of users, ascending, as in ``[5, 20]`` for 1-5, 6-20 and 21+; none
        for quartiles of all users with training items.  Users without any are a group of their own."""
        head: Share = 0.5
        """The head is the most popular items that together hold this share of the training interactions."""
        tail: Share = 0.8
        """The tail is what lies outside the most popular items that together hold this share of the training
        interactions; between head and tail is the torso.  Cold items, without any, belong to the tail."""
        diagnostics: bool = False
        """Alignment and uniformity of the embeddings, for models whose score is a dot product."""
        sample: Annotated[int, Field(ge=2)] = 10_000
        """Pairs, users and items that the diagnostics look at, at most; the same ones every time."""

        @field_validator("history")
        @classmethod
        def _ascends(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
            if value is not None and list(value) != sorted(set(value)):
                raise ValueError("must ascend: the longest history of each group of users")
            return value

        @model_validator(mode="after")
        def _ordered(self) -> Self:
            if self.tail < self.head:
                raise ValueError(f"tail ({self.tail:g}) counts head and torso: at least head ({self.head:g})")
            return self

    config: Config

    def names(self) -> list[str]:
        return [f"{metric}@{k}" for k in self.config.at for metric in self.config.metrics]

    def evaluate(self, model: Model, data: Data, split: str) -> dict[str, float]:
        groups = self._groups(data)
        recommended = torch.zeros(len(self.config.at), data.n_items, dtype=torch.long, device=data.interactions.device)
        sums, any_nan = [], []
        with judging(model):
            for part in self._lists(model, data, split):
                sums.append(torch.stack([self._sums(part, group) for group in groups]))
                any_nan.append(part.any_nan)
                self._count(recommended, part.items)
            diagnostics = self._diagnostics(model, data)
        if not sums:
            raise nobody(data, split)
        check_numbers(torch.stack(any_nan).any(), type(model).__name__)
        # Summed over portions on the host: in double precision, which not every device has.
        totals = torch.stack(sums).cpu().double().sum(0)
        return {**self._means(totals, groups), **self._catalogue(recommended.cpu(), data), **diagnostics}

    def evaluate_users(self, model: Model, data: Data, split: str) -> dict[str, Tensor]:
        users, values, any_nan = [], [], []
        with judging(model):
            for part in self._lists(model, data, split):
                users.append(part.queries.users)
                values.append(self._values(part.hits, part.queries.truth.counts))
                any_nan.append(part.any_nan)
        if not users:
            raise nobody(data, split)
        check_numbers(torch.stack(any_nan).any(), type(model).__name__)
        table = torch.cat(values, dim=1)
        return {"users": torch.cat(users), **dict(zip(self._accuracy_names(), table, strict=True))}

    # ---- lists and sums, on the device ----------------------------------------------------------

    def _lists(self, model: Model, data: Data, split: str) -> Iterator[_List]:
        size = self.config.batch or portion(data.n_items, data.interactions.device)
        k = max(self.config.at)
        scorer = model.scorer()
        for queries in data.queries(split, size, self.config.hide):
            if not len(queries):
                continue
            items, scores = best_unseen(scorer(queries), queries.seen, k)
            yield _List(queries, items, found(items, queries.truth), scores.isnan().any())

    def _accuracy(self) -> list[str]:
        return [metric for metric in self.config.metrics if metric in metrics.ACCURACY]

    def _accuracy_names(self) -> list[str]:
        return [f"{metric}@{k}" for k in self.config.at for metric in self._accuracy()]

    def _values(self, hits: Tensor, relevant: Tensor) -> Tensor:
        """Each accuracy metric at each k for each query: ``[names, queries]``."""
        rows = [metrics.ACCURACY[name](hits[:, :k], relevant) for k in self.config.at for name in self._accuracy()]
        return torch.stack(rows) if rows else hits.new_zeros(0, len(hits), dtype=torch.float32)

    def _sums(self, part: _List, group: Group) -> Tensor:
        """Sum of each metric over the portion's users in ``group``, and their number: ``[names + 1]``."""
        hits, truth = part.hits, part.queries.truth
        relevant = truth.counts
        if group.items is not None:
            hits = hits & group.items[part.items.clamp(min=0)]
            inside = group.items[truth.columns].long()
            relevant = torch.zeros_like(relevant).index_add_(0, truth.row_index, inside)
        counted = relevant > 0
        if group.users is not None:
            counted = counted & group.users[part.queries.users]
        values = self._values(hits, relevant.clamp(min=1))
        return torch.cat([values, counted.float()[None]]).mul(counted).sum(1)

    def _count(self, recommended: Tensor, items: Tensor) -> None:
        for row, k in zip(recommended, self.config.at, strict=True):
            chosen = items[:, :k].flatten()
            row.index_add_(0, chosen.clamp(min=0), (chosen >= 0).long())

    # ---- answers, on the host -------------------------------------------------------------------

    def _means(self, totals: Tensor, groups: list[Group]) -> dict[str, float]:
        names = self._accuracy_names()
        answers: dict[str, float] = {}
        for group, row in zip(groups, totals.tolist(), strict=True):
            *sums, count = row
            if count:
                answers |= {name + group.suffix: total / count for name, total in zip(names, sums, strict=True)}
        return answers

    def _catalogue(self, recommended: Tensor, data: Data) -> dict[str, float]:
        popularity = data.interactions.item_counts.cpu()
        tail = ~metrics.leading(popularity, self.config.tail)
        answers: dict[str, float] = {}
        for k, counts in zip(self.config.at, recommended, strict=True):
            every = {
                "coverage": metrics.coverage(counts),
                "gini": metrics.gini(counts),
                "popularity": metrics.average_popularity(counts, popularity),
                "tail": metrics.tail_share(counts, tail),
            }
            answers |= {f"{name}@{k}": value for name, value in every.items() if name in self.config.metrics}
        return answers

    def _groups(self, data: Data) -> list[Group]:
        everyone = Group("", None, None)
        if not self.config.slices:
            return [everyone]
        train = data.interactions.parts["train"]
        return [
            everyone,
            *user_groups(train.counts, self.config.history),
            *item_groups(data.interactions.item_counts, self.config.head, self.config.tail),
        ]

    def _diagnostics(self, model: Model, data: Data) -> dict[str, float]:
        vectors = model.embeddings() if self.config.diagnostics else None
        if vectors is None:
            return {}
        train, device = data.interactions.parts["train"], vectors.users.device
        generator = torch.Generator().manual_seed(SAMPLE_SEED)

        def some(n: int) -> Tensor:
            return torch.randperm(n, generator=generator)[: self.config.sample].to(device)

        pairs = some(train.nnz)
        alignment = metrics.alignment(vectors.users[train.row_index[pairs]], vectors.items[train.columns[pairs]])
        users, items = (metrics.uniformity(x[some(len(x))]) for x in vectors)
        names = ("alignment", "uniformity", "uniformity/users", "uniformity/items")
        values = torch.stack([alignment, (users + items) / 2, users, items])
        return dict(zip(names, values.tolist(), strict=True))
