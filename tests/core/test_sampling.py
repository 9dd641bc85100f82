"""Batches: every pair once, negatives exact and uniform, shards of equal length."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from sslrec_core.data import Interactions, Rows, Vocabulary
from sslrec_core.rows import below


def train(batch_size=4, negatives=1, last_batch="partial"):
    return SimpleNamespace(batch_size=batch_size, negatives=negatives, last_batch=last_batch)


def interactions(pairs, n_users, n_items):
    users, items = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    parts = {"train": Rows.of(users, items, n_users, n_items)}
    return Interactions(parts, Vocabulary.identity(n_users), Vocabulary.identity(n_items))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def drawn(data, config, seed=0, **shard):
    return [
        pair
        for batch in data.batches(config, seeded(seed), **shard)
        for pair in zip(batch.users.tolist(), batch.positives.tolist(), strict=True)
    ]


worlds = st.integers(2, 7).flatmap(
    lambda n: st.lists(st.tuples(st.integers(0, 4), st.integers(0, n - 1)), min_size=1, max_size=25).map(
        lambda pairs: (interactions(pairs, 5, n), set(pairs))
    )
)


@settings(max_examples=60)
@given(worlds, st.integers(1, 7), st.integers(1, 3), st.integers(0, 1000))
def test_an_epoch_has_each_pair_once_and_no_known_negative(world, batch_size, negatives, seed):
    data, pairs = world
    whole = {user for user in range(5) if sum(u == user for u, _ in pairs) == data.n_items}
    seen = Counter()
    for batch in data.batches(train(batch_size, negatives), seeded(seed)):
        assert batch.negatives.shape == (len(batch), negatives)
        assert len(batch) <= batch_size
        seen.update(zip(batch.users.tolist(), batch.positives.tolist(), strict=True))
        for user, row in zip(batch.users.tolist(), batch.negatives.tolist(), strict=True):
            assert all(0 <= item < data.n_items and (user, item) not in pairs for item in row)
    assert seen == Counter(pair for pair in pairs if pair[0] not in whole)
    assert data.n_saturated == len(whole)


def test_draws_are_uniform_over_what_a_user_lacks():
    owned = [(0, 0), (0, 3), (0, 4), (0, 9), (1, 5), (2, 1), (2, 2), (2, 3), (2, 4), (2, 5), (2, 6), (2, 7), (2, 8)]
    rows = interactions(owned, 3, 10).parts["train"]
    for user in range(3):
        absent = [item for item in range(10) if (user, item) not in owned]
        draws = rows.draw_absent(torch.full((2000,), user), 10, seeded(user)).flatten().tolist()
        counts = Counter(draws)
        assert set(counts) == set(absent)
        assert chisquare([counts[item] for item in absent]).pvalue > 1e-4


def test_what_a_row_owns_is_drawn_evenly():
    rows = Rows.of(torch.tensor([0, 2, 2, 2]), torch.tensor([4, 0, 3, 9]), 3, 10)
    draws = rows.draw_present(torch.tensor([2, 0]).repeat(2000), 3, seeded(0))
    assert draws.shape == (4000, 3)
    counts = Counter(draws[::2].flatten().tolist())
    assert set(counts) == {0, 3, 9}
    assert chisquare(list(counts.values())).pvalue > 1e-4
    assert set(draws[1::2].flatten().tolist()) == {4}


def test_draws_do_not_depend_on_one_another():
    rows = interactions([(0, 1)], 1, 5).parts["train"]
    first, second = rows.draw_absent(torch.zeros(20_000, dtype=torch.long), 2, seeded(3)).T.tolist()
    counts = Counter(zip(first, second, strict=True))
    assert len(counts) == 16
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_every_user_is_drawn_for_where_ids_are_far_apart():
    n_items = 2**31 + 11
    rows = Rows.of(torch.tensor([0, 3]), torch.tensor([n_items - 1, 0]), 4, n_items)
    draws = rows.draw_absent(torch.tensor([0, 1, 2, 3]).repeat(500), 1, seeded(0))
    assert not rows.contains(torch.tensor([0, 1, 2, 3]).repeat(500).unsqueeze(1), draws).any()
    assert draws.max() > 2**30 and draws.min() >= 0 and draws.max() < n_items


def test_the_generator_decides():
    data = interactions([(u, i) for u in range(5) for i in range(u + 1)], 5, 9)
    assert drawn(data, train(), 1) == drawn(data, train(), 1)
    assert drawn(data, train(), 1) != drawn(data, train(), 2)


def test_order_is_uniform():
    data = interactions([(0, 0), (1, 1), (2, 2)], 3, 4)
    orders = Counter(tuple(user for user, _ in drawn(data, train(), seed)) for seed in range(600))
    assert len(orders) == 6
    assert chisquare(list(orders.values())).pvalue > 1e-4


@pytest.mark.parametrize(("last_batch", "sizes"), [("partial", [4, 4, 2]), ("wrap", [4, 4, 4]), ("drop", [4, 4])])
def test_the_last_batch(last_batch, sizes):
    data = interactions([(user, 0) for user in range(10)], 10, 3)
    batches = list(data.batches(train(4, 2, last_batch), seeded(0)))
    assert [len(batch) for batch in batches] == sizes
    users = torch.cat([batch.users for batch in batches]).tolist()
    assert len(set(users)) == min(10, sum(sizes))
    if last_batch == "wrap":
        assert users[10:] == users[:2]


def test_wrapping_fills_a_batch_larger_than_the_data():
    data = interactions([(0, 0), (1, 1), (2, 2)], 3, 4)
    (batch,) = data.batches(train(8, 1, "wrap"), seeded(0))
    assert sorted(Counter(batch.users.tolist()).values()) == [2, 3, 3]


@pytest.mark.parametrize("world", [2, 3, 4])
def test_shards_share_the_epoch_and_take_equal_steps(world):
    pairs = {(user, item) for user in range(7) for item in range(user % 3 + 1)}
    data = interactions(sorted(pairs), 7, 6)
    shards = [drawn(data, train(3), 5, rank=rank, world=world) for rank in range(world)]
    assert len({len(shard) for shard in shards}) == 1
    assert {pair for shard in shards for pair in shard} == pairs
    assert sum(map(len, shards)) - len(pairs) < world


def test_large_epochs_are_drawn_in_stretches(monkeypatch):
    monkeypatch.setattr("sslrec_core.interactions.DRAW_AT_ONCE", 12)
    data = interactions([(user, item) for user in range(8) for item in range(4)], 8, 7)
    assert sorted(drawn(data, train(5, 2))) == [(user, item) for user in range(8) for item in range(4)]


def test_no_pair_can_be_drawn_for_users_who_own_everything():
    data = interactions([(0, 0), (0, 1)], 1, 2)
    assert list(data.batches(train(), seeded(0))) == []
    assert data.n_saturated == 1


def test_who_lacks_nothing_is_given_anything():
    rows = interactions([(0, 2), (1, 0), (1, 1), (1, 2), (2, 0)], 3, 3).parts["train"]
    draws = rows.draw_absent(torch.tensor([0, 1, 2]), 300, seeded(0))
    assert [set(row) for row in draws.tolist()] == [{0, 1}, {0, 1, 2}, {1, 2}]


def test_numbers_below_bounds_are_uniform() -> None:
    bounds = torch.tensor([1, 2, 3, 7]).repeat_interleave(4000)
    drawn = below(bounds)
    for bound, some in zip((1, 2, 3, 7), drawn.split(4000), strict=True):
        shares = torch.bincount(some, minlength=bound) / 4000
        assert len(shares) == bound
        assert ((shares - 1 / bound).abs() < 5 * (1 / bound / 4000) ** 0.5).all()
