"""Augmenters of histories: views that differ by chance, drawn on the device for all rows at once.

An augmenter is built with the data and called with histories; :meth:`HistoryAugmenter.pair` draws the two views that
are contrasted.  What it does to each slot is an :class:`Edit`, so that one of several can be chosen for each row.
Numbers of items are rounded down, as in the papers, and no row is ever left empty.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.choice import Choice, Of
from sslrec_core.config import Rate, Share
from sslrec_core.errors import ConfigError
from sslrec_core.model import Augmenter, Stage
from sslrec_seq.data import SeqData
from sslrec_seq.histories import Histories
from sslrec_seq.similarity import item_correlation


@dataclass(frozen=True, eq=False)
class Edit:
    """What becomes of each slot of some histories."""

    items: Tensor
    """What stands there afterwards.  ``Long[slots]``"""
    longest: int
    """No row has more items than this afterwards."""
    kept: Tensor | None = None
    """Whether the slot stays, at least one in each row; None where all stay.  ``Bool[slots]``"""
    before: Tensor | None = None
    """The item to put in front of the slot, or -1; None where nothing is put anywhere.  ``Long[slots]``"""


class HistoryAugmenter(Augmenter):
    """Histories in, changed histories of the same users out."""

    def __init__(self, config: Augmenter.Config, data: SeqData) -> None:
        super().__init__(config)
        self.limit = data.length

    @abstractmethod
    def forward(self, histories: Histories) -> Histories:
        """One view."""

    def pair(self, histories: Histories) -> tuple[Histories, Histories]:
        """The two views to contrast: independent draws."""
        return self(histories), self(histories)

    def correlate(self, similar: Tensor) -> None:
        """Take in which item is most similar to each, ``Long[items]``, -1 for none; most augmenters do not ask."""

    def pretraining(self) -> Sequence[Stage]:
        """What has to be trained before views are drawn; most augmenters need nothing."""
        return ()


class ModelAugmenter(HistoryAugmenter):
    """An augmenter of what encoders make of histories; it is built with the size of their vectors too."""

    def __init__(self, config: Augmenter.Config, data: SeqData, dim: int) -> None:
        super().__init__(config, data)

    def both(self, one: Histories, other: Histories) -> tuple[Histories, Histories]:
        """The same two views, encoded otherwise."""
        return self(one), self(other)

    def pair(self, histories: Histories) -> tuple[Histories, Histories]:
        return self.both(histories, histories)


class Editor(HistoryAugmenter):
    """An augmenter that says what becomes of each slot."""

    @abstractmethod
    def edit(self, histories: Histories) -> Edit:
        """One draw."""

    def forward(self, histories: Histories) -> Histories:
        return edited(histories, self.edit(histories), self.limit)


class Crop(Editor):
    """Keeps a stretch of each history (Xie et al., CL4SRec, ICDE'22, item crop)."""

    class Config(Editor.Config):
        keep: Share = 0.6
        """Share of the items that stay; eta in the paper."""

    config: Config

    def edit(self, histories: Histories) -> Edit:
        start, stop = stretch(histories, self.config.keep)
        kept = (histories.places >= start) & (histories.places < stop)
        return Edit(histories.items, max(int(self.config.keep * histories.longest), 1), kept)


class Mask(Editor):
    """Hides items of each history behind the mask (Xie et al., CL4SRec, ICDE'22, item mask)."""

    class Config(Editor.Config):
        rate: Rate = 0.3
        """Share of the items that are hidden; gamma in the paper."""

    config: Config

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        self.masked = data.masked

    def edit(self, histories: Histories) -> Edit:
        hidden = drawn(histories, share(histories.lengths, self.config.rate))
        return Edit(histories.items.masked_fill(hidden, self.masked), histories.longest)


class Reorder(Editor):
    """Shuffles a stretch of each history (Xie et al., CL4SRec, ICDE'22, item reorder)."""

    class Config(Editor.Config):
        share: Share = 0.6
        """Share of the items that are shuffled; beta in the paper."""

    config: Config

    def edit(self, histories: Histories) -> Edit:
        start, stop = stretch(histories, self.config.share)
        places, row = histories.places, histories.rows * (histories.longest + 1.0)
        chance = torch.rand(len(places), dtype=torch.float64, device=places.device)
        # Halves stand between the whole numbers that a rounded draw could come to.
        shuffled = torch.where((places >= start) & (places < stop), start + chance * (stop - start), places + 0.5)
        return Edit(histories.items[(row + shuffled).argsort()], histories.longest)


class Correlated(Editor):
    """An augmenter that draws on the items most similar to those of the history (Liu et al., CoSeRec, 2021)."""

    class Config(Editor.Config):
        rate: Rate = 0.2
        """Share of the items that are chosen, at least one."""

    config: Config
    similar: Tensor
    """The most similar item of each item and of the mask, which is like itself; -1 for none.  ``Long[items + 1]``"""

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        self.n_items = data.n_items
        similar = F.pad(item_correlation(data).items, (0, 1), value=data.masked)
        self.register_buffer("similar", similar, persistent=False)

    def correlate(self, similar: Tensor) -> None:
        self.similar[:-1] = similar

    def chosen(self, histories: Histories) -> Tensor:
        """``Bool[slots]``"""
        return drawn(histories, share(histories.lengths, self.config.rate).clamp(min=1))

    def relatives(self, items: Tensor) -> Tensor:
        """The most similar item of each, a random one where there is none.  ``Long[n] -> Long[n]``"""
        found = self.similar[items]
        return torch.where(found < 0, torch.randint_like(found, self.n_items), found)


class Substitute(Correlated):
    """Puts the most similar item in the place of some items (Liu et al., CoSeRec, 2021, item substitution)."""

    def edit(self, histories: Histories) -> Edit:
        items = torch.where(self.chosen(histories), self.relatives(histories.items), histories.items)
        return Edit(items, histories.longest)


class Insert(Correlated):
    """Puts the most similar item in front of some items (Liu et al., CoSeRec, 2021, item insertion).

    Of rows that become longer than the model may see, the latest items are kept.
    """

    class Config(Correlated.Config):
        rate: Rate = 0.4
        """Share of the items in front of which one is put, at least one."""

    config: Config

    def edit(self, histories: Histories) -> Edit:
        before = torch.where(self.chosen(histories), self.relatives(histories.items), -1)
        longest = histories.longest + max(int(self.config.rate * histories.longest), 1)
        return Edit(histories.items, min(longest, self.limit), before=before)


class Unchanged(Editor):
    """Leaves histories as they are: two views differ by what the encoder drops out (Gao et al., SimCSE, EMNLP'21)."""

    def edit(self, histories: Histories) -> Edit:
        return Edit(histories.items, histories.longest)


class OneOf(Editor):
    """For each row one of several augmenters, drawn with equal chances."""

    class Config(Editor.Config):
        augmenters: Annotated[tuple[Annotated[Choice, Of("augmenter")], ...], Field(min_length=1)] = (
            Choice.of("crop"),
            Choice.of("mask"),
            Choice.of("reorder"),
        )
        """What is drawn from."""
        different: bool = True
        """Whether the two views of a row come from different augmenters, where there are two; else each is drawn on
        its own."""
        short: tuple[Annotated[Choice, Of("augmenter")], ...] = ()
        """What is drawn from for short histories, as in CoSeRec; empty for the same as for all."""
        short_length: NonNegativeInt = 0
        """Histories of up to so many items are short; 0 for none."""

        @model_validator(mode="after")
        def _both_or_neither(self) -> OneOf.Config:
            if bool(self.short) != bool(self.short_length):
                raise ValueError("short says what is drawn from for histories of up to short_length: give both or none")
            return self

    config: Config

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        self.parts = nn.ModuleList(
            _built(choice, data, Editor, "histories slot by slot") for choice in (*config.augmenters, *config.short)
        )
        self.n_long, self.n_short = len(config.augmenters), len(config.short)

    def correlate(self, similar: Tensor) -> None:
        for part in self.parts:
            if isinstance(part, Editor):
                part.correlate(similar)

    def edit(self, histories: Histories) -> Edit:
        return _each_by(self._edits(histories), self._choices(histories)[0], histories)

    def pair(self, histories: Histories) -> tuple[Histories, Histories]:
        """Two views of each row, by different augmenters if ``different``."""
        one, other = self._choices(histories)
        edits = self._edits(histories)
        first = edited(histories, _each_by(edits, one, histories), self.limit)
        if self.config.different:
            again = min(self.n_long, self.n_short or self.n_long) == 1
        else:
            again, other = True, self._choices(histories)[0]
        # Where no row can meet the same augmenter twice, one draw of each serves both views.
        edits = self._edits(histories) if again else edits
        return first, edited(histories, _each_by(edits, other, histories), self.limit)

    def _choices(self, histories: Histories) -> tuple[Tensor, Tensor]:
        """A part for each row, and another one where there is another.  ``Long[rows]`` each"""
        lengths = histories.lengths
        short = lengths <= self.config.short_length
        many = torch.where(short, self.n_short, self.n_long)
        chance = torch.rand(2, len(lengths), dtype=torch.float64, device=lengths.device)
        one = (chance[0] * many).long()
        other = (one + 1 + (chance[1] * (many - 1)).long()) % many
        return one + short * self.n_long, other + short * self.n_long

    def _edits(self, histories: Histories) -> list[Edit]:
        """What each part would do."""
        return [part.edit(histories) for part in self.parts if isinstance(part, Editor)]


def augmenter(choice: Choice, data: SeqData, dim: int) -> HistoryAugmenter:
    """The augmenter of histories that a config names, for encoders of vectors of size ``dim``.

    Raises:
        ConfigError: it augments something else, such as graphs.
    """
    sizes = (dim,) if issubclass(choice.entry.load(), ModelAugmenter) else ()
    built: HistoryAugmenter = _built(choice, data, HistoryAugmenter, "histories", *sizes)
    return built


def edited(histories: Histories, edit: Edit, limit: int) -> Histories:
    """The histories after an edit, of each row the latest ``limit`` items."""
    items, kept, rows = edit.items, edit.kept, histories.rows
    if edit.before is not None:
        kept = torch.ones_like(items, dtype=torch.bool) if kept is None else kept
        items = torch.stack([edit.before, items], dim=1).flatten()
        kept = torch.stack([kept & (edit.before >= 0), kept], dim=1).flatten()
        rows = rows.repeat_interleave(2)
    if kept is None:
        return replace(histories, items=items, longest=edit.longest)
    kept = kept & (rows < len(histories))
    lengths = histories.lengths.new_zeros(len(histories) + 1).index_add(0, rows, kept.long())
    if edit.before is not None:
        kept &= lengths.cumsum(0)[rows] - kept.cumsum(0) < limit
        lengths = lengths.clamp(max=limit)
    # Elsewhere than on the CPU every slot stays, so that the host need not know how many are used.
    items = items[kept] if items.is_cpu else items[(~kept).sort(stable=True).indices]
    return replace(histories, items=items, lengths=lengths[:-1], longest=edit.longest)


def share(lengths: Tensor, rate: float) -> Tensor:
    """That share of each row's items, rounded down.  ``Long[rows] -> Long[rows]``"""
    return (lengths.double() * rate).long()


def stretch(histories: Histories, rate: float) -> tuple[Tensor, Tensor]:
    """First and last place (the latter excluded) of a random stretch of that share of each row, at least one item.

    Returns:
        ``Long[slots]`` each, for each slot those of its row.
    """
    lengths = histories.lengths
    size = share(lengths, rate).clamp(min=1)
    chance = torch.rand(len(lengths), dtype=torch.float64, device=lengths.device)
    start = (chance * (lengths - size + 1)).long()
    return _of_slots(start, histories), _of_slots(start + size, histories)


def drawn(histories: Histories, counts: Tensor) -> Tensor:
    """So many slots of each row, ``Long[rows]``, without replacement.  ``-> Bool[slots]``"""
    rows = histories.rows
    order = (rows + torch.rand(len(rows), dtype=torch.float64, device=rows.device)).argsort()
    # Sorted, the slots of a row stay together: what comes to stand at a place has that rank among its row's draws.
    rank = torch.empty_like(order).scatter(0, order, histories.places)
    return rank < _of_slots(counts, histories)


def _of_slots(values: Tensor, histories: Histories) -> Tensor:
    """What each slot's row has, ``[rows] -> [slots]``; 0 for unused slots."""
    return F.pad(values, (0, 1))[histories.rows]


def _each_by(edits: Sequence[Edit], choice: Tensor, histories: Histories) -> Edit:
    """Each row by the edit of that number, ``Long[rows]``."""
    by, slots = _of_slots(choice, histories)[None], histories.items
    kept = [torch.ones_like(slots, dtype=torch.bool) if edit.kept is None else edit.kept for edit in edits]
    before = [torch.full_like(slots, -1) if edit.before is None else edit.before for edit in edits]
    return Edit(
        torch.stack([edit.items for edit in edits]).gather(0, by)[0],
        max(edit.longest for edit in edits),
        None if all(edit.kept is None for edit in edits) else torch.stack(kept).gather(0, by)[0],
        None if all(edit.before is None for edit in edits) else torch.stack(before).gather(0, by)[0],
    )


def _built(choice: Choice, data: SeqData, kind: type[Any], what: str, *sizes: int) -> Any:
    if not issubclass(choice.entry.load(), kind):
        others = "" if kind is Editor else "; neuron-mask, layer-drop, encoder-complement"
        raise ConfigError(
            f"the augmenter '{choice.name}' does not change {what}",
            fix=f"one of crop, mask, reorder, substitute, insert, dropout{others}",
        )
    return choice.build(data, *sizes)
