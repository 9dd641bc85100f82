"""Encoders: the shipped contract, references written with torch's own modules, and what no place may know."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.errors import ConfigError
from sslrec_core.registry import registry
from sslrec_core.testing import ComponentContract
from sslrec_seq.encoders import Transformer, attention, sees_later
from sslrec_seq.histories import GridHistories, Histories

DIM, LENGTH = 8, 9
LENGTHS = torch.tensor([3, 1, 9, 5])
EVERY = [
    ("transformer", {}),
    ("transformer", {"norm": "pre", "positions": "start", "input_norm": False}),
    ("transformer", {"norm": "query", "positions": "none", "scale": True, "activation": "relu"}),
    ("transformer", {"output_norm": True, "inner_dropout": 0.2, "heads": 1, "feed_forward": 1}),
    ("gru", {}),
    ("gru", {"hidden": 5, "layers": 2}),
    ("caser", {}),
    ("caser", {"window": 3}),
    ("mean-pooling", {}),
    ("mean-pooling", {"decay": 0.5}),
    ("weighted-mean", {}),
    ("weighted-mean", {"weights": {"name": "gru"}, "state": 0.5}),
]
BOTH_WAYS = [("transformer", {"causal": False, "positions": position}) for position in ("start", "end", "none")]


def label(value: Any) -> str | None:
    return "-".join(f"{key}={inner}" for key, inner in value.items()) if isinstance(value, dict) else None


def encoder(name: str, options: dict[str, Any] | None = None) -> nn.Module:
    """One that computes in double precision and draws nothing, its biases and gains away from where they start."""
    kind = registry().find("encoder", name).load()
    torch.manual_seed(1)
    built = kind(kind.Config(**(options or {})), DIM, LENGTH).double().eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return built


def fresh(name: str, options: dict[str, Any]) -> nn.Module:
    """One as a model builds it."""
    kind = registry().find("encoder", name).load()
    torch.manual_seed(1)
    built: nn.Module = kind(kind.Config(**options), DIM, LENGTH)
    return built


def example(lengths: Tensor = LENGTHS, spare: int = 0) -> tuple[Histories, Tensor]:
    """Rows of such lengths with ``spare`` unused slots, and vectors of all slots."""
    torch.manual_seed(2)
    items = torch.arange(int(lengths.sum()) + spare)
    return Histories(items, lengths, LENGTH), torch.randn(len(items), DIM, dtype=torch.float64)


class EncoderContract(ComponentContract):
    kind = "encoder"

    def build(self, config: Any) -> Any:
        return self.component_class()(config, DIM, LENGTH)

    def inputs(self) -> tuple[Any, ...]:
        histories, x = example()
        return histories, x.float()


class TestTransformer(EncoderContract):
    component = "transformer"


class TestTransformerBeforeNorms(EncoderContract):
    component = "transformer"
    options = {"norm": "pre", "positions": "start", "causal": False, "scale": True}


class TestTransformerOfNormedQueries(EncoderContract):
    component = "transformer"
    options = {"norm": "query", "positions": "none", "input_norm": False, "activation": "relu", "inner_dropout": 0.5}


class TestGRU(EncoderContract):
    component = "gru"


class TestWideGRU(EncoderContract):
    component = "gru"
    options = {"hidden": 12, "layers": 2, "dropout": 0.0}


class TestCaser(EncoderContract):
    component = "caser"


class TestMeanPooling(EncoderContract):
    component = "mean-pooling"
    options = {"decay": 0.7, "dropout": 0.2}


class TestWeightedMean(EncoderContract):
    component = "weighted-mean"


class TestWeightedMeanWithState(EncoderContract):
    component = "weighted-mean"
    options = {"weights": {"name": "caser"}, "state": 0.5, "dropout": 0.0}


# ---- what no place may know ---------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), EVERY, ids=label)
def test_no_place_knows_later_items(name: str, options: dict[str, Any]) -> None:
    built, (histories, x) = encoder(name, options), example()
    before = built(histories, x)
    for place in range(1, LENGTH):
        later = histories.places >= place
        after = built(histories, torch.where(later[:, None], torch.randn_like(x) * 5, x))
        torch.testing.assert_close(after[~later], before[~later], rtol=0, atol=1e-12)
        assert not torch.isclose(after[later], before[later]).all(1).any(), "a place does not know its own item"


@pytest.mark.parametrize(("name", "options"), BOTH_WAYS, ids=label)
def test_every_place_knows_all_items_where_that_is_asked_for(name: str, options: dict[str, Any]) -> None:
    built, (histories, x) = encoder(name, options), example()
    before = built(histories, x)
    changed = x.clone()
    changed[histories.last] = torch.randn(len(histories), DIM, dtype=x.dtype)
    assert not torch.isclose(built(histories, changed), before).all(1).any()


@pytest.mark.parametrize(("name", "options"), EVERY, ids=label)
def test_it_is_seen_that_no_place_knows_later_items(name: str, options: dict[str, Any]) -> None:
    assert not sees_later(fresh(name, options), DIM)


@pytest.mark.parametrize(("name", "options"), BOTH_WAYS, ids=label)
def test_it_is_seen_that_places_know_later_items(name: str, options: dict[str, Any]) -> None:
    assert sees_later(fresh(name, options), DIM)
    assert sees_later(fresh("weighted-mean", {"weights": {"name": name, **options}}), DIM)


def test_both_ways_can_be_asked_for_in_one_call() -> None:
    histories, x = example()
    causal, open_ = encoder("transformer"), encoder("transformer", {"causal": False})
    torch.testing.assert_close(causal(histories, x, causal=False), open_(histories, x))
    torch.testing.assert_close(open_(histories, x, causal=True), causal(histories, x))


@pytest.mark.parametrize(("name", "options"), EVERY + BOTH_WAYS, ids=label)
def test_a_row_is_the_same_alone(name: str, options: dict[str, Any]) -> None:
    built, (histories, x) = encoder(name, options), example()
    together = built(histories, x)
    for row, length in enumerate(LENGTHS):
        mine = histories.rows == row
        for longest in {int(length), LENGTH}:
            alone = Histories(histories.items[mine], length[None], longest)
            torch.testing.assert_close(built(alone, x[mine]), together[mine], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), EVERY + BOTH_WAYS, ids=label)
def test_unused_slots_change_nothing(name: str, options: dict[str, Any]) -> None:
    built, (histories, x) = encoder(name, options), example()
    spared, y = example(spare=2 * LENGTH)
    used = len(x)
    y = torch.cat([x, y[used:]]).requires_grad_()
    found = built(spared, y)
    assert len(found) == len(y)
    torch.testing.assert_close(found[:used], built(histories, x), rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(found[:used].square().sum(), y)
    assert gradient.isfinite().all()
    assert not gradient[used:].count_nonzero()


@pytest.mark.parametrize("layout", ["in groups", "in one grid"])
@pytest.mark.parametrize("spare", [0, 4])
@pytest.mark.parametrize(("name", "options"), EVERY + BOTH_WAYS, ids=label)
def test_last_places_are_the_same_where_they_alone_are_looked_at(
    name: str, options: dict[str, Any], spare: int, layout: str
) -> None:
    built, (histories, x) = encoder(name, options), example(torch.tensor([3, 1, 9, 5, 9, 2]), spare)
    if layout == "in one grid":
        grid = GridHistories.of_grid(histories.grid(histories.items), histories.lengths)
        histories, x = grid, torch.randn(len(grid.items), DIM, dtype=torch.float64)
    x.requires_grad_()
    for asked in (histories, histories.changed_by(outside=lambda y: y * 2), histories.changed_by(inside=torch.tanh)):
        found, wanted = (built(rows, x).index_select(0, rows.last) for rows in (asked.at_ends, asked))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
        gradients = (torch.autograd.grad(y.square().sum(), x)[0] for y in (found, wanted))
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def test_a_transformer_spares_what_nobody_looks_at() -> None:
    built, (histories, x) = encoder("transformer"), example()
    seen: list[int] = []
    built.blocks[-1].wide.register_forward_hook(lambda module, given, result: seen.append(len(result)))
    built(histories.at_ends, x)
    built(histories, x)
    assert seen == [len(histories), len(x)]


@pytest.mark.parametrize(("name", "options"), EVERY, ids=label)
def test_changes_that_histories_ask_for_are_made(name: str, options: dict[str, Any]) -> None:
    built, (histories, x) = encoder(name, options), example()
    plain = built(histories, x)
    torch.testing.assert_close(built(histories.changed_by(outside=lambda y: 2 * y), x), 2 * plain)
    calls: list[torch.Size] = []
    built(histories.changed_by(inside=lambda y: calls.append(y.shape) or y), x)
    assert calls
    assert all(shape[0] == len(x) for shape in calls)
    assert not torch.allclose(built(histories.changed_by(inside=lambda y: 0 * y), x), plain)


# ---- beside torch's own modules -----------------------------------------------------------------


def padded(histories: Histories, x: Tensor) -> tuple[Tensor, Tensor]:
    """``x`` as a grid with what is missing on the left, and which cells are missing."""
    grid = torch.zeros(len(histories), LENGTH, DIM, dtype=x.dtype)
    missing = torch.ones(len(histories), LENGTH, dtype=torch.bool)
    for row, (end, length) in enumerate(zip(histories.pointers[1:], histories.lengths, strict=True)):
        grid[row, LENGTH - length :] = x[end - length : end]
        missing[row, LENGTH - length :] = False
    return grid, missing


def layer_of(block: nn.Module, options: dict[str, Any]) -> nn.TransformerEncoderLayer:
    """torch's layer with the weights of ours."""
    layer = nn.TransformerEncoderLayer(
        DIM, 2, 4 * DIM, 0.0, options.get("activation", "gelu"), 1e-12, True, options.get("norm") == "pre"
    ).double()
    theirs = (
        layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias, layer.self_attn.out_proj.weight,
        layer.self_attn.out_proj.bias, layer.linear1.weight, layer.linear1.bias, layer.linear2.weight,
        layer.linear2.bias, layer.norm1.weight, layer.norm1.bias, layer.norm2.weight, layer.norm2.bias,
    )  # fmt: skip
    parts = block.projections, block.mixed, block.wide, block.narrow, block.attention_norm, block.feed_forward_norm
    for parameter, value in zip(theirs, (p for part in parts for p in (part.weight, part.bias)), strict=True):
        parameter.data = value.detach().clone()
    return layer


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("positions", ["end", "start", "none"])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_transformer_equals_a_padded_one_of_torch(norm: str, positions: str, causal: bool) -> None:
    options = {"norm": norm, "positions": positions, "causal": causal, "activation": "relu" if causal else "gelu"}
    ours, (histories, x) = encoder("transformer", options), example()
    x.requires_grad_()
    grid, missing = padded(histories, x)
    place = torch.arange(LENGTH)
    if positions != "none":
        told = place if positions == "end" else (place - (LENGTH - histories.lengths[:, None])).clamp(min=0)
        grid = grid + ours.positions(told)
    grid = ours.input_norm(grid)
    mask = place[:, None] < place if causal else torch.zeros(LENGTH, LENGTH, dtype=torch.bool)
    # A missing place sees itself, or its softmax would be over nothing.
    mask = ((mask | missing[:, None]) & ~torch.eye(LENGTH, dtype=torch.bool)).repeat_interleave(2, 0)
    layers = [layer_of(block, options) for block in ours.blocks]
    for layer in layers:
        grid = layer(grid, src_mask=mask)
    if norm == "pre":
        grid = ours.output_norm(grid)
    expected, found = grid[~missing], ours(histories, x)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(found)
    mine, theirs = (torch.autograd.grad(y, x, upstream, retain_graph=True)[0] for y in (found, expected))
    torch.testing.assert_close(mine, theirs)
    weights = [ours.blocks[0].projections.weight, ours.blocks[1].narrow.weight]
    references = [layers[0].self_attn.in_proj_weight, layers[1].linear2.weight]
    torch.testing.assert_close(
        torch.autograd.grad(found, weights, upstream), torch.autograd.grad(expected, references, upstream)
    )


def test_gru_equals_torchs_on_each_row() -> None:
    ours, (histories, x) = encoder("gru", {"hidden": 5}), example()
    rows = [ours.output(ours.recurrent(part[None])[0][0]) for part in x.split(LENGTHS.tolist())]
    torch.testing.assert_close(ours(histories, x), torch.cat(rows))


def test_caser_equals_convolutions_over_windows() -> None:
    """As in section 3.2 of the paper: heights over time with the largest kept, and sums along dimensions."""
    ours, (histories, x) = encoder("caser", {"window": 4, "horizontal": 3, "vertical": 2}), example()
    found = ours(histories, x)
    for row, part in enumerate(x.split(LENGTHS.tolist())):
        for place in range(len(part)):
            window = torch.cat([torch.zeros(4, DIM, dtype=x.dtype), part[: place + 1]])[-4:]
            image, features = window[None, None], []
            for height, filters in enumerate(ours.along_time, 1):
                kernel = filters.weight.view(3, 1, height, DIM)
                features.append(nn.functional.conv2d(image, kernel, filters.bias).relu().amax(2).flatten())
            down = nn.functional.conv2d(image, ours.along_dims.weight.view(2, 1, 4, 1))
            features.append(down[0, :, 0].T.flatten())
            expected = ours.output(torch.cat(features)).relu()
            torch.testing.assert_close(found[histories.pointers[row] + place], expected)


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_mean_pooling_is_a_weighted_mean_of_what_came_before(decay: float) -> None:
    ours, (histories, x) = encoder("mean-pooling", {"decay": decay}), example()
    expected = []
    for part in x.split(LENGTHS.tolist()):
        for place in range(1, len(part) + 1):
            weights = decay ** torch.arange(place - 1, -1, -1, dtype=x.dtype)
            expected.append(weights @ part[:place] / weights.sum())
    torch.testing.assert_close(ours(histories, x), torch.stack(expected))


@pytest.mark.parametrize("state", [0.0, 0.5])
def test_weighted_means_by_the_formula(state: float) -> None:
    """As eq. 4 and 5 of CORE for the history up to each place; positions from the start, as a prefix alone has them."""
    options = {"weights": {"name": "transformer", "positions": "start"}, "state": state}
    ours, (histories, x) = encoder("weighted-mean", options), example()
    expected = []
    for part in x.split(LENGTHS.tolist()):
        for place in range(1, len(part) + 1):
            alone = Histories(torch.arange(place), torch.tensor([place]), place)
            read = ours.weights(alone, part[:place])
            mean = (read @ ours.score.weight[0]).softmax(0) @ part[:place]
            expected.append(mean / mean.norm() + state * read[-1] / read[-1].norm() if state else mean)
    torch.testing.assert_close(ours(histories, x), torch.stack(expected))


def test_a_change_of_final_vectors_is_made_once() -> None:
    ours, (histories, x) = encoder("weighted-mean", {"state": 1.0}), example()
    torch.testing.assert_close(ours(histories.changed_by(outside=lambda y: 2 * y), x), 2 * ours(histories, x))


def test_normed_queries_as_the_code_of_sasrec_has_them() -> None:
    """Keys and values of the block's input, residual sums from what is normalised."""
    ours, (_, x) = encoder("transformer", {"norm": "query", "layers": 1, "positions": "none", "scale": True}), example()
    x = x[:LENGTH]
    block, row = ours.blocks[0], Histories(torch.arange(LENGTH), torch.tensor([LENGTH]), LENGTH)
    held = ours.input_norm(x * DIM**0.5)
    asked = block.attention_norm(held)
    weight, bias = block.projections.weight.view(3, DIM, DIM), block.projections.bias.view(3, DIM)
    query, key, value = (
        (y @ w.T + b).view(LENGTH, 2, DIM // 2).transpose(0, 1)
        for y, w, b in zip((asked, held, held), weight, bias, strict=True)
    )
    scores = query @ key.transpose(1, 2) / (DIM // 2) ** 0.5
    scores = scores.masked_fill(torch.ones(LENGTH, LENGTH).triu(1).bool(), -torch.inf)
    mixed = block.mixed((scores.softmax(2) @ value).transpose(0, 1).flatten(1))
    summed = block.feed_forward_norm(asked + mixed)
    expected = ours.output_norm(summed + block.narrow(nn.functional.gelu(block.wide(summed))))
    torch.testing.assert_close(ours(row, x), expected)


def test_heads_must_divide_the_vectors() -> None:
    with pytest.raises(ConfigError, match="embedding_dim=8 cannot be divided among heads=3"):
        Transformer(Transformer.Config(heads=3), DIM, LENGTH)


def attended(rate: float, rows: int = 3) -> tuple[Tensor, ...]:
    """Query, key, value, what is seen, and what is found with that rate of dropout."""
    torch.manual_seed(4)
    query, key, value = torch.randn(3, rows, 2, 5, 4, dtype=torch.float64)
    seen = torch.rand(rows, 1, 5, 5) < 0.5
    seen |= torch.eye(5, dtype=torch.bool)
    return query, key, value, seen, attention(query, key, value, seen, rate)


def test_attention_that_drops_next_to_nothing_is_that_of_torch() -> None:
    *given, seen, found = attended(rate=1e-9)
    torch.testing.assert_close(found, F.scaled_dot_product_attention(*given, attn_mask=seen), rtol=1e-6, atol=0)
    causal = attention(*given, None, rate=1e-9)
    torch.testing.assert_close(causal, F.scaled_dot_product_attention(*given, is_causal=True), rtol=1e-6, atol=0)


def test_attention_drops_whole_places_and_keeps_the_mean() -> None:
    query, key, value, seen, found = attended(rate=0.4, rows=20_000)
    one = torch.ones_like(value)
    weights = attention(query, key, one, torch.eye(5, dtype=torch.bool), rate=0.4)
    torch.testing.assert_close(weights.unique(), torch.tensor([0, 1 / 0.6], dtype=torch.float64))
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    assert abs((found - expected).mean()) < 0.01 < (found - expected).abs().mean()
    assert abs((found * expected).mean() / expected.square().mean() - 1) < 0.01
