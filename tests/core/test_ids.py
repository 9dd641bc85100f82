"""Numbering, sorting, counting, k-core: against plain Python."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslrec_core.data import Coded, Vocabulary
from sslrec_core.errors import DataError
from sslrec_core.ingest import ids
from sslrec_core.ingest.ids import all_ids, counts_of, extend, factorise, k_core, lookup, sorted_pairs

small = st.lists(st.integers(-5, 5), max_size=20)
large = st.lists(st.integers(-(2**61), 2**61), max_size=20)
words = st.lists(st.text("abé0", min_size=1, max_size=3), max_size=20)
pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), min_size=1, max_size=60)


def back(vocabulary, codes):
    return vocabulary.raw(codes).tolist()


@settings(max_examples=60)
@given(st.one_of(st.tuples(small, small), st.tuples(large, large), st.tuples(words, words)))
def test_numbering_columns_together_keeps_every_id(columns):
    dtype = object if any(isinstance(value, str) for column in columns for value in column) else np.int64
    arrays = [np.array(column, dtype=dtype) for column in columns]
    vocabulary, codes = factorise(arrays)
    assert [back(vocabulary, code) for code in codes] == list(columns)
    distinct = sorted({*columns[0], *columns[1]}, key=lambda value: value.encode() if isinstance(value, str) else value)
    assert all_ids(vocabulary).tolist() == distinct
    assert all(code.dtype == np.int32 for code in codes)


def test_far_apart_integers_take_the_other_road_to_the_same_numbers(monkeypatch):
    column = np.array([7, 1_000_000, 7, -3, 500])
    near, (near_codes,) = factorise([column])
    monkeypatch.setattr(ids, "SPREAD", 0)
    monkeypatch.setattr(ids, "CHUNK", 1)
    far, (far_codes,) = factorise([column])
    assert near == far
    assert near_codes.tolist() == far_codes.tolist()


def test_columns_of_both_kinds_become_text():
    vocabulary, (first, second) = factorise([np.array([3, 10]), np.array(["10", "x"], object)])
    assert back(vocabulary, first) == ["3", "10"]
    assert first[1] == second[0]
    labels, (codes,) = factorise([np.array(["b", "a"])])
    joined, (left, right) = factorise([Coded(codes, labels), np.array([1, 2])])
    assert back(joined, left) == ["b", "a"]
    assert back(joined, right) == ["1", "2"]


def test_whole_floats_are_integers_and_fractions_are_refused():
    vocabulary, (codes,) = factorise([np.array([4.0, 2.0])])
    assert back(vocabulary, codes) == [4, 2]
    with pytest.raises(DataError, match=r"found 2.5"):
        factorise([np.array([4.0, 2.5])])
    with pytest.raises(DataError, match="row 2"):
        factorise([np.array([4.0, np.nan])])
    with pytest.raises(DataError, match="these are bool"):
        factorise([np.array([True])])


@pytest.mark.parametrize(("bin_size", "n_items"), [(2**16, 9), (1, 9), (5, 9), (5, 2**62)])
@given(pairs)
def test_pairs_are_sorted_stably(bin_size, n_items, some):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "BIN", bin_size)
        check_sorting(some, n_items)


def check_sorting(some, n_items):
    users, items = (np.array(column, np.int32) for column in zip(*some, strict=True))
    sorted_users, sorted_items, order = sorted_pairs(users, items, 7, n_items)
    assert list(zip(sorted_users.tolist(), sorted_items.tolist(), order.tolist(), strict=True)) == sorted(
        (user, item, place) for place, (user, item) in enumerate(some)
    )


@given(pairs, st.integers(1, 4))
def test_k_core_is_the_largest_part_where_all_have_enough(some, k):
    some = sorted(set(some))
    users, items = (np.array(column, np.int32) for column in zip(*some, strict=True))
    kept = {some[place] for place in k_core(users, items, k, 7, 9)}
    left = set(some)
    while True:
        by_user, by_item = Counter(user for user, _ in left), Counter(item for _, item in left)
        fewer = {(user, item) for user, item in left if by_user[user] >= k and by_item[item] >= k}
        if fewer == left:
            break
        left = fewer
    assert kept == left


@given(st.lists(st.integers(0, 9)))
def test_counting_in_portions_is_counting(codes):
    assert counts_of(np.array(codes, np.int32), 10).tolist() == [codes.count(number) for number in range(10)]


def test_looking_up_finds_what_is_there():
    numbers, text = Vocabulary.from_array(np.array([3, 5, 9])), Vocabulary.from_array(np.array(["3", "a", "é"]))
    assert lookup(numbers, np.array([9, 4, 3])).tolist() == [2, -1, 0]
    assert lookup(numbers, np.array(["5", "x"], object)).tolist() == [1, -1]
    assert lookup(text, np.array([3, 4])).tolist() == [0, -1]
    assert lookup(text, np.array(["é", "b", "a"], object)).tolist() == [2, -1, 1]
    labels, (codes,) = factorise([np.array(["a", "z", "a"])])
    assert lookup(text, Coded(codes, labels)).tolist() == [1, -1, 1]


@given(st.sets(st.integers(0, 20), min_size=1), st.lists(st.integers(0, 40)), st.lists(st.integers(0, 40)))
def test_entities_share_the_numbers_of_items(items, heads, tails):
    vocabulary = Vocabulary.from_array(np.array(sorted(items)))
    others, codes = extend(vocabulary, [np.array(heads, np.int64), np.array(tails, np.int64)])
    every = np.concatenate([all_ids(vocabulary), all_ids(others)]).tolist()
    assert [[every[code] for code in column] for column in codes] == [heads, tails]
    assert set(all_ids(others).tolist()) == {*heads, *tails} - items
