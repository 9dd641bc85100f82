"""Histories with padding: where it stands, who looks at it, and what it leaves as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslrec_core.testing.bench import Bench
from sslrec_seq.encoders import Block, Transformer
from sslrec_seq.histories import FullHistories, Histories, shown
from sslrec_seq.views import pooled, two_views

ROWS = Histories(torch.tensor([0, 1, 2, 9, 4, 9]), torch.tensor([2, 1, 3]), 3)
UNUSED = Histories(torch.tensor([0, 1, 2, 9, 4, 9, 7, 7]), torch.tensor([2, 1, 3]), 3)


@pytest.mark.parametrize("histories", [ROWS, UNUSED])
def test_padding_stands_before_each_row(histories: Histories) -> None:
    padded = histories.padded(4, 9)
    assert padded.items.view(3, 4).tolist() == [[9, 9, 0, 1], [9, 9, 9, 2], [9, 9, 4, 9]]
    assert (padded.lengths.tolist(), padded.longest, padded.blank) == ([4, 4, 4], 4, 9)
    values = torch.arange(1.0, len(histories.items) + 1)
    assert histories.grid_at_end(values, 4, -1).tolist() == [[-1, -1, 1, 2], [-1, -1, -1, 3], [-1, 4, 5, 6]]


def test_padded_rows_answer_what_others_of_their_items_answer() -> None:
    full = ROWS.padded(4, 9)
    plain = Histories(full.items, full.lengths, full.longest, blank=9)
    asked, values = torch.arange(3.0)[:, None], torch.arange(24.0).view(12, 2)
    assert isinstance(full, FullHistories)
    for one, other in (
        (full, plain),
        (full.appended(full.lengths), plain.appended(full.lengths)),
        (full.select(torch.tensor([2, 0])), plain.select(torch.tensor([2, 0]))),
    ):
        assert torch.equal(one.items, other.items) and torch.equal(one.last, other.last)
        assert torch.equal(one.grid(one.items), other.grid(one.items))
        assert torch.equal(one.grid_at_end(one.items, 7, -1), other.grid_at_end(one.items, 7, -1))
        assert torch.equal(one.visible(causal=True), other.visible(causal=True))
    assert torch.equal(full.grid_at_end(values, 6), plain.grid_at_end(values, 6))
    sums = [rows.over_grids(values, lambda part, grid: grid.cumsum(1)) for rows in (full, plain)]
    assert torch.equal(*sums)
    ends = [rows.over_rows(asked, values, lambda part, own, grid: own + grid[:, -1]) for rows in (full, plain)]
    assert torch.equal(*ends)


def test_blanks_do_not_learn() -> None:
    padded, x = ROWS.padded(4, 9), torch.randn(12, 2, requires_grad=True)
    assert torch.equal(shown(padded, x), x)
    shown(padded, x).sum().backward()
    assert x.grad is not None
    assert x.grad[:, 0].view(3, 4).tolist() == [[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert shown(ROWS, x) is x


def test_a_place_looks_at_items_and_at_all_where_there_is_none() -> None:
    seen = ROWS.padded(4, 9).visible(causal=True).int().tolist()
    everything, nothing = [1, 1, 1, 1], [0, 0, 0, 0]
    assert seen[0] == [everything, everything, [0, 0, 1, 0], [0, 0, 1, 1]]
    assert seen[1] == [everything, everything, everything, [0, 0, 0, 1]]
    assert seen[2] == [everything, everything, [0, 0, 1, 0], [0, 0, 1, 0]]
    both = ROWS.padded(4, 9).visible(causal=False).int().tolist()
    assert both[0] == [[0, 0, 1, 1]] * 4
    assert nothing not in [row for rows in both for row in rows]


def plain_attention(block: Block, x: Tensor, hidden: list[bool]) -> Tensor:
    """One row: scores of what may not be looked at are lowered by a lot, as in the code of S3-Rec."""
    n, heads = len(x), block.config.heads
    query, key, value = (part.view(n, heads, -1).transpose(0, 1) for part in block.projections(x).chunk(3, dim=1))
    scores = query @ key.transpose(1, 2) / (x.shape[1] / heads) ** 0.5
    lowered = torch.tensor([[0.0 if j <= i and not hidden[j] else -10000.0 for j in range(n)] for i in range(n)])
    return block.mixed(((scores.double() + lowered).softmax(2).float() @ value).transpose(0, 1).flatten(1))


def test_attention_is_that_of_the_code_of_s3rec() -> None:
    torch.manual_seed(0)
    block = Block(Transformer.Config(), 8).eval()
    padded, x = ROWS.padded(4, 9), torch.randn(12, 8)
    found = block.attend(padded, x, x, causal=True).view(3, 4, 8)
    for row, items in enumerate(padded.items.view(3, 4).tolist()):
        expected = plain_attention(block, x.view(3, 4, 8)[row], [item == 9 for item in items])
        torch.testing.assert_close(found[row], expected)


def test_items_have_the_same_vectors_with_padding_and_without() -> None:
    torch.manual_seed(0)
    encoder = Transformer(Transformer.Config(), 8, 6).eval()
    items = torch.randn(10, 8)
    rows = Histories(torch.tensor([0, 1, 2, 3, 4, 5]), torch.tensor([2, 1, 3]), 3)
    padded = rows.padded(6, 9)
    plain = encoder(rows, items[rows.items])
    filled = encoder(padded, items[padded.items]).view(3, 6, 8)
    torch.testing.assert_close(rows.grid_at_end(plain, 6)[0, 4:], filled[0, 4:])
    torch.testing.assert_close(rows.grid_at_end(plain, 6)[2, 3:], filled[2, 3:])
    torch.testing.assert_close(pooled(rows, plain, "last", 6), pooled(padded, filled.flatten(0, 1), "last", 6))


@pytest.mark.parametrize("augmenter", ["one-of", "mask", "layer-drop", "encoder-complement"])
@pytest.mark.parametrize("model", ["cl4srec", "iclrec", "srma"])
def test_any_augmenter_goes_with_padding(model: str, augmenter: str) -> None:
    settings = [f"model.augmenter={augmenter}", "model.padding=true", "model.embedding_dim=16", "model.pool=mean"]
    if augmenter == "encoder-complement":
        settings.append("model.augmenter.epochs=1")
    made = Bench.of(f"seq/{model}", "seq/checkerboard", settings)
    built = made.build()
    assert all(torch.tensor(list(terms.values())).isfinite().all() for terms in made.train(built, 2))
    data = built.data
    one, other = two_views(built.augmenter, data.training.select(torch.arange(4)), data, padding=True)
    assert one.blank == other.blank == data.masked and len(one.items) == 4 * data.length


@pytest.mark.parametrize("encoder", ["gru", "caser", "mean-pooling", "transformer", "weighted-mean"])
def test_momentum_goes_with_padding(encoder: str) -> None:
    settings = [f"model.encoder={encoder}", "model.padding=true", "model.momentum.queue=50", "model.pool=places"]
    made = Bench.of("seq/cl4srec", "seq/checkerboard", [*settings, "model.embedding_dim=8", "scenario.max_length=16"])
    assert all(torch.tensor(list(terms.values())).isfinite().all() for terms in made.train(made.build(), 2))


def test_a_masked_item_is_padding_then() -> None:
    made = Bench.of("seq/cl4srec", "seq/checkerboard", ["model.augmenter=mask", "model.padding=true"])
    built = made.build()
    one, _ = two_views(built.augmenter, built.data.training.select(torch.arange(4)), built.data, padding=True)
    hidden = (one.items == built.data.masked).view(4, -1)
    lengths = built.data.training.select(torch.arange(4)).lengths
    assert (hidden.sum(1) > built.data.length - lengths).all()
    built.encoder(one, shown(one, built.items(one.items))).square().sum().backward()
    learns = built.items.weight.grad.any(1)
    assert not learns[built.data.masked] and learns[one.items[~hidden.flatten()]].all()
