"""Ranking all items for users, exactly and in portions, and what an evaluator owes.

Ranked lists are deterministic: equal scores are ordered by the lowest item index, at the end of the list too.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sslrec_core.config import Configured
from sslrec_core.errors import TrainingError
from sslrec_core.rows import Rows

if TYPE_CHECKING:
    from sslrec_core.data import Data, Queries
    from sslrec_core.model import Model, Scorer

BYTES_PER_SCORE = 16
"""A float32 score, and what finding the k best and settling ties adds to it at most."""

MEMORY = {"cpu": 1 << 25}
"""Bytes for one portion of scores, by kind of device.  On a CPU, scores that leave the caches and whose memory is
fresh from the system each time were measured to take five times as long."""

MEMORY_ELSEWHERE = 1 << 31
"""Bytes for one portion of scores on devices that are not listed: large ones are bound by launches."""


class Evaluator(Configured):
    """A way to measure a model: which lists are made, what is hidden, and which numbers describe them.

    Stability: stable for implementers from API 1.
    """

    @abstractmethod
    def names(self) -> list[str]:
        """Keys that :meth:`evaluate` always answers, such as ``recall@20``; the first is the one to show first."""

    @abstractmethod
    def evaluate(self, model: Model, data: Data, split: str) -> dict[str, float]:
        """Means over the users who have something to find in ``split`` ("valid" or "test").

        Users without such items are left out, not counted as zero.

        Raises:
            DataError: nobody has anything to find in ``split``.
            TrainingError: the model's scores are not numbers.
        """

    @abstractmethod
    def evaluate_users(self, model: Model, data: Data, split: str) -> dict[str, Tensor]:
        """The same measures user by user, for tests of significance.

        Returns:
            ``"users"``: Long ``[queries]``, the users who were measured; every other key: Float ``[queries]``.
        """


@contextlib.contextmanager
def judging(model: Model) -> Iterator[None]:
    """No dropout, no gradients; every module's mode is as it was afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        # Not inference mode: what a model computes lazily here (a graph's structure) must serve training too.
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def portion(n_items: int, device: torch.device) -> int:
    """Users to score at once, so that the scores of ``n_items`` items stay within the budget of the device."""
    return max(1, MEMORY.get(device.type, MEMORY_ELSEWHERE) // (BYTES_PER_SCORE * max(1, n_items)))


def rank(scorer: Scorer, queries: Queries, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` best items of each query that are not among its ``seen`` ones, best first.

    Equal scores are ordered by the lowest item index.  An item that is hidden, or scored minus infinity by the
    model, is never part of a list: where fewer than ``k`` items remain, item -1 with score minus infinity fills it.

    Args:
        scorer: As :meth:`Model.scorer` gives it.  What it returns is the same afterwards.
        queries: Any number; they are scored in portions that fit the device's memory budget.
        k: Length of the lists; may exceed the number of items.

    Returns:
        Items, Long ``[queries, k]``, and their scores ``[queries, k]``.

    Raises:
        TrainingError: a score is NaN.
    """
    size = portion(queries.seen.n_columns, queries.users.device)
    parts = [best_unseen(scorer(part), part.seen, k) for part in _portions(queries, size)]
    items = torch.cat([part[0] for part in parts])
    scores = torch.cat([part[1] for part in parts])
    check_numbers(scores.isnan().any(), "the model")
    return items, scores


def check_numbers(any_nan: Tensor, who: str) -> None:
    """Stop if ``any_nan``, a flag on the device, is set.

    Raises:
        TrainingError: it is.
    """
    if any_nan:
        raise TrainingError(
            f"{who} gives scores that are not numbers (NaN)",
            "a list cannot be ordered by them, so nothing was measured",
            fix="look at the losses of the last epochs; a smaller --set optim.learning_rate or --set train.clip=1.0",
        )


def best_unseen(scores: Tensor, seen: Rows, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` best columns of each row outside ``seen``; see :func:`rank`.  A NaN outside ``seen`` comes first.

    Args:
        scores: ``[queries, items]``; any floating type.  Written to and restored.
        seen: Columns to hide, row by row.
    """
    # An expanded tensor (one row shown many times) cannot be written to; other scores are not copied.
    scores = scores.contiguous()
    hidden = (seen.row_index, seen.columns)
    kept = scores[hidden]
    scores[hidden] = -torch.inf
    items, values = top(scores, min(k, scores.shape[1]))
    scores[hidden] = kept
    items = items.masked_fill(values == -torch.inf, -1)
    short = (0, k - items.shape[1])
    return torch.nn.functional.pad(items, short, value=-1), torch.nn.functional.pad(values, short, value=-torch.inf)


def found(items: Tensor, truth: Rows) -> Tensor:
    """Whether each ranked item is one to find: Bool like ``items`` ``[queries, k]``.  Item -1 never is."""
    rows = torch.arange(len(items), device=items.device)[:, None]
    return truth.contains(rows, items.clamp(min=0)) & (items >= 0)


def _portions(queries: Queries, size: int) -> Iterator[Queries]:
    """``queries`` in parts of ``size``, each field of every scenario's kind of query cut alike.

    A field is a tensor with a row for each query, or something that can ``select`` rows.
    """
    total = len(queries.users)
    if total <= size:
        yield queries
        return
    for start in range(0, total, size):
        rows = torch.arange(start, min(start + size, total), device=queries.users.device)
        cut: dict[str, Any] = {}
        for field in fields(queries):
            value = getattr(queries, field.name)
            cut[field.name] = value[rows] if isinstance(value, Tensor) else value.select(rows)
        yield replace(queries, **cut)


def top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Exact top-k of each row: columns and values by falling value, equal values by rising column.

    ``torch.topk`` promises no order among equal values, and which of them it keeps differs from device to device.

    Args:
        scores: ``[rows, columns]``; a NaN counts as the largest value.
        k: At most ``columns``.
    """
    n = scores.shape[1]
    # One more than asked for shows whether the k-th value goes on beyond the list: only then is the choice open.
    values, columns = scores.topk(min(k + 1, n))
    if k < n:
        last, beyond = values[:, k - 1], values[:, k]
        open_rows = ((last == beyond) & (last != -torch.inf)).nonzero().squeeze(1)
        values, columns = values[:, :k], columns[:, :k]
        if len(open_rows):
            settled = _lowest_of_equal(scores[open_rows], values[open_rows], columns[open_rows])
            columns = columns.index_copy(0, open_rows, settled)
    columns, order = columns.sort(dim=1)
    values, by_value = values.gather(1, order).sort(dim=1, descending=True, stable=True)
    return columns.gather(1, by_value), values


def _lowest_of_equal(scores: Tensor, values: Tensor, columns: Tensor) -> Tensor:
    """``columns`` with those of the last, smallest value replaced by the lowest columns that hold this value."""
    n, k = scores.shape[1], values.shape[1]
    last = values[:, -1:]
    place = torch.arange(n, device=scores.device, dtype=torch.int32)
    lowest = torch.where(scores == last, place, n).topk(k, largest=False, sorted=True).values.long()
    above = ~(values == last)
    slot = torch.arange(k, device=scores.device) - above.sum(1, keepdim=True)
    return torch.where(above, columns, lowest.gather(1, slot.clamp(min=0)))
