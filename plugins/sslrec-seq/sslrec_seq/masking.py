"""Hiding items of histories behind a mask, to be found from what is around them (Devlin et al., BERT; Taylor's Cloze).

What is chosen by chance has another size each time.  On the CPU that is read; elsewhere there is room for as many as
there could be, and weights say which are there, so that nobody waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sslrec_core.rows import below
from sslrec_seq.histories import Histories


def of_rows(histories: Histories, values: Tensor) -> Tensor:
    """For each slot the value of its row, ``[rows] -> [slots]``; unused slots get that of the last row."""
    return values.index_select(0, histories.rows.clamp(max=len(histories) - 1))


def last_places(histories: Histories) -> Tensor:
    """Which slots hold the last item of their row.  ``Bool[slots]``"""
    return histories.places == of_rows(histories, histories.lengths - 1)


def share_of_places(histories: Histories, rate: float) -> Tensor:
    """A random choice of places: of each row a share ``rate``, rounded, and at least one.  ``Bool[slots]``"""
    rows, used = histories.rows, histories.rows < len(histories)
    order = torch.rand(len(rows), device=rows.device).argsort()
    order = order[rows[order].argsort(stable=True)]
    # Rows stay where they are, so that what stands at a place now tells its rank among those of its row.
    rank = torch.empty_like(rows).index_copy(0, order, histories.places)
    wanted = (rate * histories.lengths + 0.5).long().clamp(min=1)
    return (rank < of_rows(histories, wanted)) & used


def segments(histories: Histories, stream: Tensor, mask: int) -> tuple[Tensor, Tensor, Tensor]:
    """A stretch of each row, at most half as long: the row without it, the stretch alone, and another in its place.

    Args:
        stream: items one after the other, of which the others are stretches, ``Long[n]``
        mask: what stands where nothing is shown.

    Returns:
        three times what is seen in each slot, ``Long[slots]``
    """
    size = 1 + below((histories.lengths // 2).clamp(min=1))
    start, begin = below(histories.lengths - size + 1), below(len(stream) - size + 1)
    along = histories.places - of_rows(histories, start)
    inside = (along >= 0) & (along < of_rows(histories, size))
    elsewhere = stream[(of_rows(histories, begin) + along).clamp(0, len(stream) - 1)]
    items = histories.items
    return torch.where(inside, mask, items), torch.where(inside, items, mask), torch.where(inside, elsewhere, mask)


@dataclass(frozen=True, eq=False)
class Places:
    """Slots that were chosen."""

    slots: Tensor
    """``Long[n]``"""
    weights: Tensor | None
    """1 for slots that were chosen, 0 for those that fill the room; None if all were.  ``[n]``"""

    @classmethod
    def of(cls, chosen: Tensor, most: int) -> Places:
        """The slots where ``chosen`` ``Bool[slots]`` is true, of which there are at most ``most``."""
        if chosen.is_cpu:
            return cls(chosen.nonzero().squeeze(1), None)
        slots = (~chosen).sort(stable=True).indices[:most]
        return cls(slots, chosen[slots].float())
