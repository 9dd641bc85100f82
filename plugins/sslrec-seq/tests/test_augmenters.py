"""Augmenters of histories: by hand, by what always holds, and where slots are unused."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from sslrec_core.data import Raw
from sslrec_core.errors import ConfigError
from sslrec_core.model import Component
from sslrec_core.testing import ComponentContract
from sslrec_seq import augmenters
from sslrec_seq.augmenters import Crop, Insert, Mask, OneOf, Reorder, Substitute, Unchanged
from sslrec_seq.data import Seq, SeqData
from sslrec_seq.histories import Histories
from sslrec_seq.sequences import SequenceConfig, prepare_sequences
from sslrec_seq.similarity import Similar, hybrid, item_correlation, nearest

LENGTH, N_ITEMS = 8, 16
ROWS = [[3], [0, 1], [5, 4, 3, 2, 1], [0, 2, 4, 6, 8, 10, 12], [1, 1, 2, 2, 9, 9, 3, 3]]
WATCHED = [
    [0, 1, 2, 3, 4, 5],
    [1, 2, 6, 0, 7],
    [2, 1, 2, 8, 9, 10],
    [5, 4, 3, 11, 12],
    [13, 0, 1, 14, 15],
    [6, 7, 13, 2, 3],
]


def data_of(sequences: list[list[int]]) -> SeqData:
    """Leave-one-out data of these sequences; items keep their numbers."""
    config = SequenceConfig(max_length=LENGTH)
    # A first user with all items in order, so that they are numbered as they are called.
    rows = [(0, item) for item in range(N_ITEMS)] + [
        (1 + user, item) for user, row in enumerate(sequences) for item in row
    ]
    users, items = (torch.tensor(column).numpy() for column in zip(*rows, strict=True))
    return Seq(config).data(prepare_sequences(Raw({"interactions": {"user": users, "item": items}}), config))


DATA = data_of(WATCHED)


def histories(rows: list[list[int]] = ROWS) -> Histories:
    lengths = torch.tensor([len(row) for row in rows])
    return Histories(torch.tensor([item for row in rows for item in row]), lengths, int(lengths.max()))


def rows_of(found: Histories) -> list[list[int]]:
    assert int(found.lengths.min()) >= 1
    assert int(found.lengths.max()) <= found.longest
    used = found.items[: int(found.lengths.sum())]
    return [part.tolist() for part in used.split(found.lengths.tolist())]


class AugmenterContract(ComponentContract):
    kind = "augmenter"

    def build(self, config) -> Component:
        return self.component_class()(config, DATA)

    def inputs(self) -> tuple[Histories]:
        return (histories(),)

    def call(self, component: Component, *inputs: Histories) -> Histories:
        component.pair(*inputs)
        return component(*inputs)


class TestCrop(AugmenterContract):
    component = "crop"


class TestMask(AugmenterContract):
    component = "mask"


class TestReorder(AugmenterContract):
    component = "reorder"


class TestSubstitute(AugmenterContract):
    component = "substitute"


class TestInsert(AugmenterContract):
    component = "insert"


class TestDropout(AugmenterContract):
    component = "dropout"


class TestOneOf(AugmenterContract):
    component = "one-of"


class TestOneOfWithShort(AugmenterContract):
    component = "one-of"
    options = {"augmenters": ["crop", "insert"], "short": ["substitute", "mask"], "short_length": 2, "different": False}


# ---- what always holds --------------------------------------------------------------------------

some_rows = st.lists(st.lists(st.integers(0, 15), min_size=1, max_size=LENGTH), min_size=1, max_size=6)
rates = st.floats(0.05, 0.95)
seeds = st.integers(0, 2**31)


@settings(deadline=None, max_examples=30)
@given(some_rows, rates, seeds)
def test_crop_keeps_a_stretch(rows: list[list[int]], rate: float, seed: int) -> None:
    torch.manual_seed(seed)
    found = rows_of(Crop(Crop.Config(keep=rate), DATA)(histories(rows)))
    for row, left in zip(rows, found, strict=True):
        size = max(math.floor(rate * len(row)), 1)
        assert left in [row[start : start + size] for start in range(len(row) - size + 1)]


@settings(deadline=None, max_examples=30)
@given(some_rows, rates, seeds)
def test_mask_hides_a_share(rows: list[list[int]], rate: float, seed: int) -> None:
    torch.manual_seed(seed)
    found = rows_of(Mask(Mask.Config(rate=rate), DATA)(histories(rows)))
    for row, left in zip(rows, found, strict=True):
        hidden = [old != new for old, new in zip(row, left, strict=True)]
        assert sum(hidden) == math.floor(rate * len(row))
        assert all(new == DATA.masked for new, gone in zip(left, hidden, strict=True) if gone)


@settings(deadline=None, max_examples=30)
@given(some_rows, rates, seeds)
def test_reorder_shuffles_a_stretch(rows: list[list[int]], rate: float, seed: int) -> None:
    torch.manual_seed(seed)
    found = rows_of(Reorder(Reorder.Config(share=rate), DATA)(histories(rows)))
    for row, left in zip(rows, found, strict=True):
        assert Counter(row) == Counter(left)
        moved = [place for place, (old, new) in enumerate(zip(row, left, strict=True)) if old != new]
        assert not moved or moved[-1] - moved[0] < max(math.floor(rate * len(row)), 1)


@settings(deadline=None, max_examples=30)
@given(some_rows, rates, seeds)
def test_substitute_puts_relatives_in_place(rows: list[list[int]], rate: float, seed: int) -> None:
    torch.manual_seed(seed)
    augmenter = Substitute(Substitute.Config(rate=rate), DATA)
    augmenter.correlate(torch.arange(DATA.n_items) + 100)
    found = rows_of(augmenter(histories(rows)))
    for row, left in zip(rows, found, strict=True):
        changed = [(old, new) for old, new in zip(row, left, strict=True) if old != new]
        assert len(changed) == max(math.floor(rate * len(row)), 1)
        assert all(new == old + 100 for old, new in changed)


@settings(deadline=None, max_examples=30)
@given(some_rows, rates, seeds)
def test_insert_puts_relatives_in_front(rows: list[list[int]], rate: float, seed: int) -> None:
    torch.manual_seed(seed)
    # Marks instead of relatives, so that it shows what was put in.
    augmenter = Insert(Insert.Config(rate=rate), DATA)
    augmenter.correlate(torch.arange(DATA.n_items) + 100)
    found = rows_of(augmenter(histories(rows)))
    for row, left in zip(rows, found, strict=True):
        count = max(math.floor(rate * len(row)), 1)
        assert len(left) == min(len(row) + count, LENGTH)
        own = [item for item in left if item < 100]
        assert own == row[len(row) - len(own) :]
        assert all(left[place + 1] == item - 100 for place, item in enumerate(left) if item >= 100)
        if len(row) + count <= LENGTH:
            assert len(left) - len(own) == count


@settings(deadline=None, max_examples=30)
@given(some_rows, seeds)
def test_one_of_gives_what_one_of_them_gives(rows: list[list[int]], seed: int) -> None:
    torch.manual_seed(seed)
    augmenter = one_of(augmenters=("crop", "mask", "reorder", "substitute", "insert", "dropout"))
    augmenter.correlate(torch.arange(DATA.n_items) + 100)
    for view in augmenter.pair(histories(rows)):
        for row, left in zip(rows, rows_of(view), strict=True):
            assert set(left) <= {*row, *(item + 100 for item in row), DATA.masked}
            assert 1 <= len(left) <= LENGTH


def one_of(**options) -> OneOf:
    return OneOf(OneOf.Config(**options), DATA)


# ---- chance -------------------------------------------------------------------------------------


def test_stretches_start_anywhere_alike() -> None:
    torch.manual_seed(0)
    found = Crop(Crop.Config(keep=0.6), DATA)(histories([[0, 1, 2, 3, 4]] * 6000))
    starts = Counter(row[0] for row in rows_of(found))
    assert set(starts) == {0, 1, 2}
    assert all(abs(count - 2000) < 200 for count in starts.values())


def test_orders_are_drawn_alike() -> None:
    torch.manual_seed(0)
    found = Reorder(Reorder.Config(share=1.0), DATA)(histories([[0, 1, 2]] * 6000))
    orders = Counter(tuple(row) for row in rows_of(found))
    assert len(orders) == 6
    assert all(abs(count - 1000) < 150 for count in orders.values())


def test_places_are_chosen_alike() -> None:
    torch.manual_seed(0)
    found = Mask(Mask.Config(rate=0.5), DATA)(histories([[0, 1, 2, 3]] * 6000))
    pairs = Counter(tuple(place for place, item in enumerate(row) if item == DATA.masked) for row in rows_of(found))
    assert len(pairs) == 6
    assert all(abs(count - 1000) < 150 for count in pairs.values())


def signature(row: list[int]) -> str:
    """What was done to the items 0 to 4 in order."""
    if len(row) < 5:
        return "crop"
    return "mask" if DATA.masked in row else "insert" if len(row) > 5 else "reorder"


FOUR = {"augmenters": ["crop", "mask", {"name": "reorder", "share": 1.0}, "insert"]}


def test_the_two_views_of_a_row_are_made_differently() -> None:
    torch.manual_seed(0)
    one, other = one_of(**FOUR).pair(histories([[0, 1, 2, 3, 4]] * 12000))
    both = Counter((signature(a), signature(b)) for a, b in zip(rows_of(one), rows_of(other), strict=True))
    assert len(both) == 12
    assert all(abs(count - 1000) < 150 for count in both.values())


def test_the_two_views_of_a_row_can_be_drawn_on_their_own() -> None:
    torch.manual_seed(0)
    one, other = one_of(**FOUR, different=False).pair(histories([[0, 1, 2, 3, 4]] * 16000))
    both = Counter((signature(a), signature(b)) for a, b in zip(rows_of(one), rows_of(other), strict=True))
    assert len(both) == 16
    assert all(abs(count - 1000) < 150 for count in both.values())
    crops = [(a, b) for a, b in zip(rows_of(one), rows_of(other), strict=True) if len(a) < 5 and len(b) < 5]
    assert any(a != b for a, b in crops)


def test_a_single_augmenter_makes_two_independent_views() -> None:
    torch.manual_seed(0)
    one, other = one_of(augmenters=["crop"]).pair(histories([[0, 1, 2, 3, 4]] * 100))
    assert rows_of(one) != rows_of(other)


def test_short_histories_have_augmenters_of_their_own() -> None:
    torch.manual_seed(0)
    parts = {"augmenters": ["crop"], "short": [{"name": "mask", "rate": 0.5}, "insert"], "short_length": 4}
    rows = [[0, 1, 2, 3, 4], [0, 1, 2, 3]] * 500
    for view in one_of(**parts).pair(histories(rows)):
        found = rows_of(view)
        assert {len(row) for row in found[::2]} == {3}
        assert {len(row) for row in found[1::2]} == {4, 5}
        assert all((DATA.masked in row) == (len(row) == 4) for row in found[1::2])


def test_dropout_leaves_both_views_as_they_are() -> None:
    one, other = Unchanged(Unchanged.Config(), DATA).pair(histories())
    assert rows_of(one) == rows_of(other) == ROWS


def test_changes_for_the_encoder_stay_with_the_view() -> None:
    marked = histories().changed_by(outside=torch.neg)
    assert all(view.outside is torch.neg for view in one_of().pair(marked))


def test_an_item_without_a_relative_gives_way_to_any() -> None:
    torch.manual_seed(0)
    augmenter = Substitute(Substitute.Config(rate=0.1), DATA)
    augmenter.correlate(torch.full((DATA.n_items,), -1))
    found = augmenter(histories([[3]] * 4000))
    assert set(found.items.tolist()) == set(range(DATA.n_items))


def test_a_mask_is_like_itself() -> None:
    found = Substitute(Substitute.Config(rate=0.9), DATA)(histories([[DATA.masked] * 5]))
    assert rows_of(found) == [[DATA.masked] * 5]


# ---- where slots are unused, as elsewhere than on the CPU ----------------------------------------


@pytest.mark.parametrize("name", ["Crop", "Mask", "Reorder", "Substitute", "Insert", "Unchanged", "OneOf"])
def test_unused_slots_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = getattr(augmenters, name)
    augmenter = kind(kind.Config(), DATA)
    torch.manual_seed(1)
    expected = [rows_of(view) for view in augmenter.pair(histories())]
    monkeypatch.setattr(Tensor, "is_cpu", property(lambda self: False))
    torch.manual_seed(1)
    assert [rows_of(view) for view in augmenter.pair(histories())] == expected
    padded = Histories.of_grid(histories().grid(histories().items), histories().lengths)
    assert len(padded.items) > len(histories().items)
    again = augmenter(augmenter(padded))
    monkeypatch.undo()
    allowed = {*range(DATA.n_items), DATA.masked}
    assert all(set(row) <= allowed for row in rows_of(again))
    if name in {"Reorder", "Unchanged"}:
        assert [Counter(row) for row in rows_of(again)] == [Counter(row) for row in ROWS]


# ---- similarity ---------------------------------------------------------------------------------


def by_hand(sequences: list[list[int]]) -> dict[tuple[int, int], float]:
    """ItemCF-IUF, one pair of one user at a time."""
    common: Counter[tuple[int, int]] = Counter()
    users: Counter[int] = Counter()
    for row in map(set, sequences):
        users.update(row)
        for one in row:
            for other in row - {one}:
                common[one, other] += 1 / math.log(1 + len(row))
    return {pair: value / math.sqrt(users[pair[0]] * users[pair[1]]) for pair, value in common.items()}


def test_correlation_is_that_of_training_histories() -> None:
    everything = list(range(N_ITEMS))
    scores = by_hand([row[:-3] for row in [everything, *WATCHED]])
    low, high = min(scores.values()), max(scores.values())
    found = item_correlation(DATA)
    assert item_correlation(DATA) is found
    for item in everything:
        mine = {other: value for (one, other), value in scores.items() if one == item}
        if not mine:
            assert found.items[item] == -1
            continue
        best = max(mine.values())
        assert mine[int(found.items[item])] == pytest.approx(best, rel=1e-5)
        assert float(found.scores[item]) == pytest.approx((best - low) / (high - low), abs=1e-5)


def test_correlation_reads_no_target() -> None:
    poisoned = data_of([[*row[:-3], *(15 - item for item in row[-3:])] for row in WATCHED])
    assert torch.equal(item_correlation(poisoned).items, item_correlation(DATA).items)


def test_nearest_is_the_largest_dot_product_with_another() -> None:
    vectors = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [-1.0, 0.5]])
    found = nearest(vectors)
    scores = vectors @ vectors.T
    assert found.items.tolist() == [1, 0, 3, 2]
    best = torch.tensor([2.0, 2.0, 0.5, 0.5])
    torch.testing.assert_close(found.scores, (best - scores.min()) / (scores.max() - scores.min()))


def test_hybrid_is_the_more_similar_of_both() -> None:
    vectors = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [-1.0, 0.5]])
    scores = nearest(vectors).scores
    correlation = Similar(torch.tensor([3, 3, -1, 0]), torch.stack([scores[0] + 0.1, scores[1] - 0.1, *scores[2:]]))
    found = hybrid(correlation, vectors)
    assert found.items.tolist() == [3, 0, 3, 0]


# ---- what cannot be -----------------------------------------------------------------------------


def test_an_augmenter_of_graphs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'edge-drop' does not change histories"):
        one_of(augmenters=["crop", "edge-drop"])


def test_short_histories_need_both_options() -> None:
    with pytest.raises(ValidationError, match="give both or none"):
        one_of(short=["mask"])


def test_where_no_two_items_were_met_together_none_is_similar() -> None:
    data = Seq(config := SequenceConfig(max_length=4)).data(
        prepare_sequences(Raw({"interactions": {"user": [0, 0, 0, 1, 1], "item": [0, 1, 2, 3, 4]}}), config)
    )
    assert set(item_correlation(data).items.tolist()) == {-1}
