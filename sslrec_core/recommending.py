"""Ranked lists for people: users of the data and newcomers, among which items, and why.

Everything here is in numbers of users and items; :func:`numbers_of` finds those of raw ids.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.data import Data, Rows, Vocabulary
from sslrec_core.errors import ConfigError, DataError, PluginError
from sslrec_core.evaluate import best_unseen, check_numbers, judging, portion, rank, top
from sslrec_core.registry import registry

if TYPE_CHECKING:
    from sslrec_core.model import Model, Scorer
    from sslrec_core.running import Run

AT_ONCE = 1024
"""Users that are asked about together; their scores are made in portions that fit the device."""

POPULARITY = re.compile(r"popularity\s*(<=|>=|<|>)\s*(\d+)")


@dataclass(frozen=True)
class Terms:
    """What may be recommended."""

    allowed: Tensor | None = None
    """Whether each item may be; None for all.  ``Bool[items]``"""
    again: bool = False
    """Whether items that a person has met may be."""

    @classmethod
    def of(cls, data: Data, items: str | None = None, filters: Sequence[str] = ()) -> Terms:
        """The terms that words say.

        Args:
            data: Where raw ids and popularity are known.
            items: Recommend these alone: raw ids with commas between them, or a file with one a line.
            filters: Each of them ``none`` (what was met may be recommended again), ``popularity<=N`` (also >=, <, >;
                users of an item in training), or a file of items that are never to be recommended.

        Raises:
            ConfigError: there is no such filter.
            DataError: no item is called so.
        """
        allowed: Tensor | None = None
        device, counts = data.interactions.device, data.interactions.item_counts
        if items is not None:
            chosen = numbers_of(data.items, _ids(items), f"--items {items}").to(device)
            allowed = torch.zeros(data.n_items, dtype=torch.bool, device=device).index_fill(0, chosen, True)
        for text in filters:
            if text == "none":
                continue
            if bounds := POPULARITY.fullmatch(text.strip()):
                sign, number = bounds[1], int(bounds[2])
                kept = {"<=": counts <= number, ">=": counts >= number, "<": counts < number, ">": counts > number}[
                    sign
                ]
            elif Path(text).is_file():
                unwanted = numbers_of(data.items, _ids(text), f"--filter {text}").to(device)
                kept = torch.ones(data.n_items, dtype=torch.bool, device=device).index_fill(0, unwanted, False)
            else:
                raise ConfigError(
                    f"there is no filter '{text}', nor a file of that name",
                    fix="--filter none, --filter 'popularity<=100', or a file of item ids, one a line",
                )
            allowed = kept if allowed is None else allowed & kept
        return cls(allowed, "none" in filters)

    def limited(self, scorer: Scorer) -> Scorer:
        """``scorer``, but items that may not be recommended get minus infinity, which no list has."""
        allowed = self.allowed
        return scorer if allowed is None else lambda queries: scorer(queries).masked_fill(~allowed, -torch.inf)


@dataclass(frozen=True)
class Lists:
    """Ranked items, a row for each person."""

    items: Tensor
    """Best first; -1 where a list has ended.  ``Long[people, k]``"""
    scores: Tensor
    """``[people, k]``"""
    met: Rows
    """What each person has met in the training and validation part, or told of themselves."""


@dataclass(frozen=True)
class Reasons:
    """For each recommended item, what of the person's own is most like it."""

    items: Tensor
    """Most alike first; -1 for none.  ``Long[people, k, reasons]``"""
    similarities: Tensor
    """``[people, k, reasons]``"""
    measure: str
    """What the similarity is, in words."""


def numbers_of(ids: Vocabulary, raw: Sequence[str], where: str) -> Tensor:
    """The numbers of raw ids, ``Long[n]``; ``where`` says in which option they stand.

    Raises:
        DataError: the first of them that there is not.
    """
    try:
        places = ids.find(np.array(raw, dtype=np.str_))
    except (ValueError, OverflowError):  # a word where ids are numbers
        places = np.full(len(raw), -1)
    for place in np.flatnonzero(places < 0).tolist():  # the first of them that there is not ends this
        try:
            places[place] = ids.index(raw[place])
        except DataError as error:
            raise DataError(f"{where}: {error.problem}", *error.facts, fix=error.fix) from error
    return torch.from_numpy(places)


def in_raw_ids(run: Run, lists: Lists) -> list[list[tuple[Any, float]]]:
    """Each person's items by raw id, with their scores, best first."""
    kept = lists.items >= 0
    raw = run.data.items.raw(lists.items[kept].cpu().numpy()).tolist()
    pairs = iter(zip(raw, lists.scores[kept].tolist(), strict=True))
    return [list(islice(pairs, length)) for length in kept.sum(1).tolist()]


def askable(data: Data) -> Tensor:
    """The users that lists can be made for: those with something in the training or validation part.  ``Long[n]``"""
    return data.interactions.together("train", "valid").counts.nonzero().squeeze(1)


def portions(run: Run, users: Tensor, k: int, terms: Terms | None = None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Lists for ``users``, some at a time: the users, their items ``[users, k]`` and the scores of these.

    What a user has met in the training and validation part is left out, as the data hides it in an evaluation.

    Raises:
        DataError: a user has no history, and the model goes by it.
        TrainingError: a score is not a number.
    """
    terms = terms or Terms()
    with judging(run.model):
        scorer = terms.limited(run.model.scorer())
    for queries in run.data.queries("test", AT_ONCE, users=users):
        if terms.again:
            queries = replace(queries, seen=Rows.empty(len(queries), run.data.n_items, run.device))
        # Not around the loop: whoever takes a portion does so outside, and maybe in another thread.
        with judging(run.model):
            items, scores = rank(scorer, queries, k)
        yield queries.users, items, scores


def for_users(run: Run, users: Tensor, k: int, terms: Terms | None = None) -> Lists:
    """Lists for users of the data; arguments and errors as :func:`portions`."""
    _, items, scores = zip(*portions(run, users, k, terms), strict=True)
    return Lists(torch.cat(items), torch.cat(scores), run.data.interactions.together("train", "valid").select(users))


def for_newcomers(run: Run, items: Tensor, lengths: Tensor, k: int, terms: Terms | None = None) -> Lists:
    """Lists for people who are not in the data, by what they met; that is left out unless ``terms`` allow it.

    Args:
        run: A run whose model can.
        items: What they met, oldest first, one person after the other.  ``Long[met]``
        lengths: How many items each of them met, at least one.  ``Long[people]``
        k: Length of the lists.
        terms: What may be recommended.

    Raises:
        ConfigError: the model cannot score for people whom it was not trained on.
        TrainingError: a score is not a number.
    """
    model, n = run.model, run.data.n_items
    if not model.folds_in:
        raise ConfigError(
            f"{run.config.model.name} knows the users that it was trained on, and nobody else",
            f"models that go by a history alone: {', '.join(_that_fold_in(run.config.scenario.name))}",
            fix="--user ID, or a run of one of these models",
        )
    terms = terms or Terms()
    people = torch.arange(len(lengths), device=lengths.device)
    met = Rows.of(people.repeat_interleave(lengths), items, len(people), n)
    found = []
    with judging(model):
        stops = lengths.cumsum(0)
        for some in torch.split(people, portion(n, run.device)):
            begin, end = int(stops[some[0]] - lengths[some[0]]), int(stops[some[-1]])
            scores = model.fold_in(items[begin:end], lengths[some])
            if terms.allowed is not None:
                scores = scores.masked_fill(~terms.allowed, -torch.inf)
            seen = Rows.empty(len(some), n, run.device) if terms.again else met.select(some)
            found.append(best_unseen(scores, seen, k))
    best, values = (torch.cat(part) for part in zip(*found, strict=True))
    check_numbers(values.isnan().any(), "the model")
    return Lists(best, values, met)


def reasons(run: Run, lists: Lists, n: int = 3) -> Reasons:
    """For each recommended item the ``n`` items most similar to it among those that the person has met.

    Similarity is the cosine of the model's item vectors; where it has none, of the items' users in training.  An item
    that shares nothing with the recommended one is no reason.
    """
    similarity, measure = _similarity(run.model, run.data)
    people, k = lists.items.shape
    rows = torch.arange(people, device=lists.items.device)
    best, values = [], []
    for some in torch.split(rows, max(1, portion(run.data.n_items, run.device) // k)):
        items = lists.items[some].flatten()
        met = lists.met.select(some.repeat_interleave(k))
        known = items.clamp(min=0)
        alike = similarity(known)
        own = torch.full_like(alike, -torch.inf)
        own[met.row_index, met.columns] = alike[met.row_index, met.columns]
        own.scatter_(1, known[:, None], -torch.inf)  # an item is no reason for itself
        own.masked_fill_((own <= 0) | (items < 0)[:, None], -torch.inf)
        found, value = top(own, min(n, own.shape[1]))
        best.append(found.masked_fill(value == -torch.inf, -1).view(len(some), k, -1))
        values.append(value.view(len(some), k, -1))
    return Reasons(torch.cat(best), torch.cat(values), measure)


def _similarity(model: Model, data: Data) -> tuple[Callable[[Tensor], Tensor], str]:
    """What tells how similar some items are to all, ``Long[n] -> [n, items]``, and its name."""
    with judging(model):
        towers = model.towers()
    if towers is not None:
        unit = F.normalize(towers.items.detach(), dim=1)
        return lambda items: unit[items] @ unit.T, "cosine of the model's item vectors"
    matrix = data.interactions.parts["train"].to_scipy()
    users_of, device = matrix.T.tocsr(), data.interactions.device
    root = data.interactions.item_counts.clamp(min=1).sqrt()

    def cosine(items: Tensor) -> Tensor:
        common = torch.from_numpy((users_of[items.cpu().numpy()] @ matrix).toarray()).to(device)
        return common / (root[items][:, None] * root)

    return cosine, "cosine of the items' users in training"


def _that_fold_in(scenario: str) -> list[str]:
    """Names of the models, for this scenario or for all, that can score for newcomers."""
    names = []
    for entry in registry().entries("model"):
        if entry.name.rpartition("/")[0] in ("", scenario):
            try:
                kind: type[Model] = entry.load()
            except PluginError:  # one that cannot be used cannot be advised either; another problem is being told
                continue
            if kind.folds_in:
                names.append(entry.name)
    return names


def _ids(text: str) -> list[str]:
    """Raw ids from a file with one a line, or with commas between them.

    Raises:
        DataError: the file is no text, or there is no id.
    """
    path = Path(text)
    try:
        words = path.read_text(encoding="utf-8").splitlines() if path.is_file() else text.split(",")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as a list of ids", str(error), fix="UTF-8 text, one id a line"
        ) from error
    found = [word.strip() for word in words if word.strip()]
    if not found:
        raise DataError(f"'{text}' names no item", fix="ids with commas between them, or a file with one a line")
    return found
