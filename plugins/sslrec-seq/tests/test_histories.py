"""Packed histories beside plain lists."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslrec_seq.histories import Histories, after, inside, outside

rows_of_items = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=6)


def packed(rows: list[list[int]], unused: int = 0, spare: int = 0) -> Histories:
    """The rows one after the other, ``unused`` slots behind them, and a limit ``spare`` above the longest."""
    items = [item for row in rows for item in row] + [0] * unused
    lengths = [len(row) for row in rows]
    return Histories(torch.tensor(items), torch.tensor(lengths), max(lengths) + spare)


def unpacked(histories: Histories) -> list[list[int]]:
    pointers = histories.pointers.tolist()
    items = histories.items.tolist()
    return [items[start:end] for start, end in pairwise(pointers)]


@given(rows_of_items, st.integers(0, 3))
def test_slots_know_their_row_and_place(rows: list[list[int]], unused: int) -> None:
    histories = packed(rows, unused)
    wanted = [(row, place) for row, items in enumerate(rows) for place in range(len(items))]
    used = len(wanted)
    found = list(zip(histories.rows.tolist(), histories.places.tolist(), strict=True))
    assert found[:used] == wanted
    assert histories.rows[used:].tolist() == [len(rows)] * unused, "unused slots belong to no row"
    assert histories.items[histories.last].tolist() == [row[-1] for row in rows]
    assert len(histories) == len(rows)


@given(rows_of_items, st.integers(0, 3), st.integers(0, 2))
def test_a_grid_and_back(rows: list[list[int]], unused: int, spare: int) -> None:
    histories = packed(rows, unused, spare)
    grid = histories.grid(histories.items, fill=-1)
    assert grid.tolist() == [row + [-1] * (histories.longest - len(row)) for row in rows]
    assert histories.filled.tolist() == [[cell >= 0 for cell in row] for row in grid.tolist()]
    used = sum(map(len, rows))
    assert torch.equal(histories.packed(grid)[:used], histories.items[:used])
    vectors = torch.stack([histories.items, histories.items + 0.5], 1)
    assert torch.equal(histories.packed(histories.grid(vectors))[:used], vectors[:used])


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 3))
def test_rows_in_several_grids_give_what_one_grid_gives(lengths: list[int], unused: int) -> None:
    histories = packed([list(range(length)) for length in lengths], unused, spare=40 - max(lengths))
    values = torch.rand(len(histories.items), 2)
    widths = []

    def so_far_and_all(rows: Histories, grid: torch.Tensor) -> torch.Tensor:
        """What was seen up to each place, and the sum of the whole row."""
        widths.append(grid.shape[1])
        return torch.cat([grid.cumsum(1), (grid * rows.filled[..., None]).sum(1, keepdim=True).expand_as(grid)], 2)

    found = histories.over_grids(values, so_far_and_all)
    several = [*widths]
    used = sum(lengths)
    wanted = histories.packed(so_far_and_all(histories, histories.grid(values)))
    torch.testing.assert_close(found[:used], wanted[:used])
    assert several == sorted({next(width for width in (8, 16, 32, 40) if length <= width) for length in lengths})


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 3))
def test_rows_in_several_grids_are_asked_each_for_itself(lengths: list[int], unused: int) -> None:
    histories = packed([list(range(length)) for length in lengths], unused, spare=40 - max(lengths))
    values, asked = torch.rand(len(histories.items)), torch.rand(len(lengths))
    found = histories.over_rows(asked, values, lambda rows, own, grid: torch.stack([own, grid.sum(1)], 1))
    wanted = torch.stack([row.sum() for row in torch.split(values[: sum(lengths)], lengths)])
    torch.testing.assert_close(found, torch.stack([asked, wanted], 1))


@given(rows_of_items, st.integers(0, 3))
def test_unused_slots_get_no_gradient(rows: list[list[int]], unused: int) -> None:
    histories = packed(rows, unused)
    values = torch.rand(len(histories.items), 2, requires_grad=True)
    histories.grid(values).sum().backward()
    used = sum(map(len, rows))
    assert values.grad is not None
    assert values.grad[:used].eq(1).all() and values.grad[used:].eq(0).all()


@given(rows_of_items, st.integers(0, 2), st.data())
def test_a_grid_becomes_histories(rows: list[list[int]], spare: int, data: st.DataObject) -> None:
    histories = packed(rows, spare=spare)
    grid = histories.grid(histories.items)
    again = Histories.of_grid(grid, histories.lengths)
    assert unpacked(again) == rows and again.longest == histories.longest
    shorter = [data.draw(st.integers(1, len(row))) for row in rows]
    assert unpacked(Histories.of_grid(grid, torch.tensor(shorter))) == [
        row[:length] for row, length in zip(rows, shorter, strict=True)
    ]


@given(rows_of_items, st.integers(0, 2), st.data())
def test_rows_are_selected_in_any_order_and_repeated(rows: list[list[int]], unused: int, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=8))
    found = packed(rows, unused).select(torch.tensor(chosen))
    assert unpacked(found) == [rows[row] for row in chosen]
    assert found.longest == max(len(rows[row]) for row in chosen)
    assert len(found.items) == sum(len(rows[row]) for row in chosen)


def test_moving_moves_items_and_lengths() -> None:
    moved = packed([[1, 2], [3]]).to("meta")
    assert moved.items.device.type == moved.lengths.device.type == "meta"
    assert moved.longest == 2


@pytest.mark.gpu
def test_a_grid_becomes_the_same_histories_on_a_device() -> None:
    histories = packed([[1, 2], [3], [4, 5, 6]])
    there = Histories.of_grid(histories.grid(histories.items).cuda(), histories.lengths.cuda())
    assert len(there.items) == 9, "every slot stays, so that the host need not wait"
    assert unpacked(there.to("cpu")) == [[1, 2], [3], [4, 5, 6]]


def test_changes_come_one_after_the_other() -> None:
    histories = packed([[1, 2]])
    x = torch.tensor([1.0, 2.0])
    assert inside(histories, x) is x and outside(histories, x) is x
    changed = histories.changed_by(inside=lambda values: values + 1).changed_by(
        inside=lambda values: values * 10, outside=lambda values: -values
    )
    assert inside(changed, x).tolist() == [20.0, 30.0]
    assert outside(changed, x).tolist() == [-1.0, -2.0]
    assert inside(changed.select(torch.tensor([0])), x).tolist() == [20.0, 30.0], "selecting keeps changes"
    assert after(None, None) is None
