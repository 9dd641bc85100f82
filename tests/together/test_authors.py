"""What tools/authors_weights.py makes of weights that authors published: every weight of ours, in its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sslrec_core.testing.bench import Bench
from sslrec_seq.encoders import Transformer
from sslrec_seq.histories import Histories

DIM, LAYERS = 8, 2


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Random weights as the code of S3-Rec names them, for 40 items and histories of 50."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {"item_embeddings.weight": (42, DIM), "position_embeddings.weight": (50, DIM)}
    parts = {f"attention.{name}": (DIM, DIM) for name in ("query", "key", "value", "dense")}
    parts |= {"intermediate.dense_1": (4 * DIM, DIM), "intermediate.dense_2": (DIM, 4 * DIM)}
    parts |= {f"{place}.LayerNorm": (DIM,) for place in ("attention", "intermediate")}
    layers = {f"item_encoder.layer.{n}.{name}": shape for n in range(LAYERS) for name, shape in parts.items()}
    for name, shape in {"LayerNorm": (DIM,), **layers}.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def test_published_weights_become_every_weight_of_ours(published: dict[str, Tensor]) -> None:
    from authors_weights import ours

    rows = torch.tensor([7, 3, 9, 0])
    found = ours(published, rows)
    settings = [f"model.embedding_dim={DIM}", f"model.encoder.layers={LAYERS}", "scenario.max_length=50"]
    model = Bench.of("seq/sasrec", "seq/checkerboard", settings).build()
    wanted = {name: weight.shape for name, weight in model.named_parameters()}
    assert torch.equal(found["items.weight"], published["item_embeddings.weight"][rows])
    del found["items.weight"], wanted["items.weight"]
    assert {name: weight.shape for name, weight in found.items()} == wanted


def test_a_block_computes_what_theirs_does(published: dict[str, Tensor]) -> None:
    """Their attention, written out, on one history without padding."""
    from authors_weights import ours

    encoder = Transformer(Transformer.Config(layers=LAYERS), DIM, 50).eval()
    found = ours(published, torch.arange(42))
    encoder.load_state_dict({name.removeprefix("encoder."): x for name, x in found.items() if name != "items.weight"})
    x = torch.randn(5, DIM)
    vectors = encoder(Histories(torch.arange(5), torch.tensor([5]), 5), x)
    torch.testing.assert_close(vectors, theirs(published, x))


def theirs(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """Vectors ``[n, dim]`` of ``n`` items at the end of a history, two heads."""

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        return (
            weights[f"{name}.weight"] * centred / centred.square().mean(1, keepdim=True).sqrt()
            + weights[f"{name}.bias"]
        )

    n = len(x)
    x = norm("LayerNorm", x + weights["position_embeddings.weight"][-n:])
    for number in range(LAYERS):
        layer = f"item_encoder.layer.{number}"
        query, key, value = (linear(f"{layer}.attention.{name}", x) for name in ("query", "key", "value"))
        heads = []
        for part in (slice(0, DIM // 2), slice(DIM // 2, DIM)):
            scores = query[:, part] @ key[:, part].T / (DIM / 2) ** 0.5
            scores = scores.masked_fill(torch.ones(n, n).triu(1) > 0, -torch.inf)
            heads.append(scores.softmax(1) @ value[:, part])
        x = norm(f"{layer}.attention.LayerNorm", x + linear(f"{layer}.attention.dense", torch.cat(heads, dim=1)))
        wide = torch.nn.functional.gelu(linear(f"{layer}.intermediate.dense_1", x))
        x = norm(f"{layer}.intermediate.LayerNorm", x + linear(f"{layer}.intermediate.dense_2", wide))
    return x
