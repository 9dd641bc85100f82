"""Groups of users and of items by what the training part holds of them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from sslrec_core.metrics import leading

QUARTILES = (0.25, 0.5, 0.75)


class Group(NamedTuple):
    """Users who count, and items that count as found or to be found; None for all."""

    name: str
    """``users:1-5``, ``items:tail``; empty for everyone and everything."""
    users: Tensor | None
    """Bool ``[users]``"""
    items: Tensor | None
    """Bool ``[items]``"""

    @property
    def suffix(self) -> str:
        """What a metric's key ends in: ``/users:1-5``."""
        return f"/{self.name}" if self.name else ""


def user_groups(history: Tensor, longest: tuple[int, ...] | None) -> list[Group]:
    """Users by the length of their training history.

    Args:
        history: Training items of each user, Long ``[users]``.
        longest: Longest history of each group but the last, ascending; None for quartiles of the users who have any.
    """
    warm = history[history > 0]
    if longest is None and len(warm):
        ordered = warm.sort().values
        # A quantile that is an element of the sample, so that group bounds are whole numbers on every device.
        longest = tuple(sorted({int(ordered[int(share * (len(ordered) - 1))]) for share in QUARTILES}))
    groups, shortest = [], 1
    for bound in longest or ():
        groups.append(Group(f"users:{_span(shortest, bound)}", (history >= shortest) & (history <= bound), None))
        shortest = bound + 1
    groups.append(Group(f"users:{shortest}+", history >= shortest, None))
    return [Group("users:0", history == 0, None), *groups]


def item_groups(popularity: Tensor, head: float, tail: float) -> list[Group]:
    """Items by popularity: head, torso, tail, and the cold items of the tail, which nobody has in training.

    Args:
        popularity: Training interactions of each item, ``[items]``.
        head: Share of the interactions that the head holds.
        tail: Share of the interactions that head and torso hold together; not below ``head``.
    """
    first, upper = leading(popularity, head), leading(popularity, tail)
    masks = {"head": first, "torso": upper & ~first, "tail": ~upper, "cold": popularity == 0}
    return [Group(f"items:{name}", None, mask) for name, mask in masks.items()]


def _span(shortest: int, longest: int) -> str:
    return str(shortest) if shortest == longest else f"{shortest}-{longest}"
