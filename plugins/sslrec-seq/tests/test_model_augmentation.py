"""Augmenters of models: by hand, what encoders make of them, and the stage in which a complement learns."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.model import Component
from sslrec_core.registry import registry
from sslrec_core.testing import ComponentContract
from sslrec_core.testing.bench import Bench
from sslrec_core.testing.recording import Reads
from sslrec_seq.data import SeqData
from sslrec_seq.encoders import GRU, Transformer
from sslrec_seq.histories import Histories, inside, outside
from sslrec_seq.model_augmentation import AddedLayer, EncoderComplement, LayerDrop, NeuronMask

DIM = 8
SMALL = ("model.embedding_dim=32", "model.encoder.dropout=0.1", "model.encoder.attention_dropout=0.1")


def bench(*assignments: str) -> Bench:
    return Bench.of("seq/cl4srec", "seq/checkerboard", (*SMALL, *assignments))


def world() -> SeqData:
    data: SeqData = bench().data
    return data


def some() -> Histories:
    return Histories(torch.arange(9), torch.tensor([2, 4, 3]), 4)


# ---- the contract -------------------------------------------------------------------------------


@dataclass
class Encoded:
    """Histories and what an encoder that looks at no other place makes of them."""

    histories: Histories
    vectors: Tensor

    def to(self, device: str) -> Encoded:
        return Encoded(self.histories.to(device), self.vectors.to(device))


class ModelAugmenterContract(ComponentContract):
    kind = "augmenter"

    def build(self, config) -> Component:
        component = self.component_class()(config, world().to(self.device()), DIM)
        assert isinstance(component, Component)
        return component

    def device(self) -> str:
        return "cpu"

    def inputs(self):
        return (Encoded(some(), torch.randn(9, DIM)),)

    def call(self, component, encoded):
        view = component(encoded.histories)
        return Encoded(view, outside(view, inside(view, encoded.vectors)))


class TestNeuronMask(ModelAugmenterContract):
    component = "neuron-mask"


class TestLayerDrop(ModelAugmenterContract):
    component = "layer-drop"
    options = {"drop": 0}
    variants = ({"drop": 1},)

    def call(self, component, encoded):
        one, other = component.both(encoded.histories, encoded.histories)
        return Encoded(one, outside(one, encoded.vectors) + outside(other, encoded.vectors))


class TestLayerDropOfNetworks(TestLayerDrop):
    options = {"drop": 0, "kind": "feed-forward", "distinct": True}


class TestEncoderComplement(ModelAugmenterContract):
    component = "encoder-complement"
    options = {"epochs": 2}

    def call(self, component, encoded):
        one, other = component.both(encoded.histories, encoded.histories)
        assert len(component.pretraining()) == 1
        return Encoded(one, outside(one, encoded.vectors) + outside(other, encoded.vectors))

    def test_no_dead_knobs(self) -> None:
        """Every option is read where it learns or where it complements."""
        reads = Reads(EncoderComplement.Config())
        component = self.build(reads.config)
        users, stops = world().asked_in_training("all")
        component.other.losses(world().batch(users, stops, "all"))
        self.call(component, *self.given())
        assert not reads.unread

    def test_gradients_reach_inputs_and_parameters(self) -> None:
        """A view leaves the other encoder alone; its parameters learn in their own stage, which is tested below."""
        component, (encoded,) = self.made(), self.given()
        encoded.vectors.requires_grad_()
        self.call(component, encoded).vectors.sum().backward()
        assert encoded.vectors.grad is not None and encoded.vectors.grad.count_nonzero()
        assert all(parameter.grad is None for parameter in component.parameters())


# ---- neuron masking -----------------------------------------------------------------------------


def test_neurons_are_masked_and_the_others_scaled_up() -> None:
    torch.manual_seed(0)
    masked = inside(NeuronMask(NeuronMask.Config(rate=0.25), world(), DIM)(some()), torch.ones(4000, DIM))
    assert set(masked.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs((masked == 0).double().mean() - 0.25) < 0.01


@pytest.mark.parametrize("kind", [Transformer, GRU])
def test_every_encoder_masks_neurons(kind: type) -> None:
    torch.manual_seed(0)
    encoder = kind(kind.Config(dropout=0), DIM, 6).eval()
    x = torch.randn(9, DIM)
    one, other = NeuronMask(NeuronMask.Config(), world(), DIM).pair(some())
    plain = encoder(some(), x)
    assert not torch.equal(encoder(one, x), encoder(other, x))
    assert not torch.equal(encoder(one, x), plain)
    assert torch.equal(encoder(some(), x), plain)


def test_each_layer_of_a_transformer_is_masked() -> None:
    seen = []

    def note(x: Tensor) -> Tensor:
        seen.append(x.shape)
        return x

    Transformer(Transformer.Config(layers=3), DIM, 6)(some().changed_by(inside=note), torch.randn(9, DIM))
    assert seen == [(9, DIM)] * 3


# ---- layer dropping -----------------------------------------------------------------------------


class Times(nn.Module):
    """A layer that can be told from the others by what it does."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def told_apart(**options) -> LayerDrop:
    augmenter = LayerDrop(LayerDrop.Config(**options), world(), DIM)
    augmenter.layers = nn.ModuleList(Times(prime) for prime in (2.0, 3.0, 5.0, 7.0)[: len(augmenter.layers)])
    return augmenter


def through(histories: Histories) -> float:
    return outside(histories, torch.ones(9, DIM))[0, 0].item()


@pytest.mark.parametrize(
    ("drop", "products"), [(0, {210}), (1, {105, 70, 42, 30}), (2, {6, 10, 14, 15, 21, 35}), (3, {2, 3, 5, 7})]
)
def test_so_many_layers_are_dropped_and_the_others_keep_their_order(drop: int, products: set[float]) -> None:
    augmenter = told_apart(layers=4, drop=drop)
    torch.manual_seed(0)
    assert {through(augmenter(some())) for _ in range(200)} == products
    assert through(augmenter.whole(some())) == 210


def test_views_drop_the_same_layers_unless_told_otherwise() -> None:
    torch.manual_seed(0)
    same, distinct = (told_apart(layers=4, drop=2, distinct=each) for each in (False, True))
    assert all(through(one) == through(other) for one, other in (same.pair(some()) for _ in range(20)))
    assert any(through(one) != through(other) for one, other in (distinct.pair(some()) for _ in range(20)))


def test_a_dropped_layer_learns_nothing() -> None:
    torch.manual_seed(0)
    augmenter = LayerDrop(LayerDrop.Config(layers=3, drop=2), world(), DIM)
    outside(augmenter(some()), torch.randn(9, DIM)).square().sum().backward()
    learnt = [bool(layer.wide.weight.grad.count_nonzero()) for layer in augmenter.layers]
    assert sorted(learnt) == [False, False, True]


def test_an_added_layer_is_its_formula() -> None:
    torch.manual_seed(0)
    x = torch.randn(9, DIM)
    single, network = (AddedLayer(LayerDrop.Config(kind=kind), DIM).eval() for kind in ("single", "feed-forward"))
    torch.testing.assert_close(single(x), F.layer_norm(x + F.gelu(single.wide(x)), (DIM,), eps=1e-12))
    assert network.narrow is not None and network.wide.out_features == 4 * DIM
    found = network.narrow(F.gelu(network.wide(x)))
    torch.testing.assert_close(network(x), F.layer_norm(x + found, (DIM,), eps=1e-12))


def test_one_layer_has_to_stay() -> None:
    with pytest.raises(ValidationError, match="drop=2 leaves none of layers=2"):
        LayerDrop.Config(layers=2, drop=2)


# ---- encoder complementing ----------------------------------------------------------------------


def test_the_other_encoders_vectors_are_added() -> None:
    torch.manual_seed(0)
    augmenter = EncoderComplement(EncoderComplement.Config(weight=0.25), world(), DIM).train()
    x = torch.randn(9, DIM)
    found = outside(augmenter(some()), x)
    augmenter.eval()
    torch.testing.assert_close(found, x + 0.25 * augmenter.other.vectors(some()))
    assert augmenter.vectors(some().changed_by(inside=torch.zeros_like)).equal(augmenter.vectors(some()))


@pytest.mark.parametrize("views", ["one", "both"])
def test_one_view_is_complemented_or_both(views: str) -> None:
    augmenter = EncoderComplement(EncoderComplement.Config(views=views), world(), DIM)
    one, other = augmenter.pair(some())
    assert one.outside is not None
    assert (other.outside is not None) == (views == "both")


@pytest.mark.parametrize("encoder", ["transformer", "gru"])
def test_it_learns_in_a_stage_of_its_own_and_never_again(encoder: str) -> None:
    made = bench("model.augmenter=encoder-complement", f"model.augmenter.encoder={encoder}", "model.augmenter.epochs=3")
    model = made.build()
    loop = made.loop(model)
    first, second = model.stages(7)
    assert (first.name, first.epochs, first.judged) == ("complement", 3, False)
    assert (second.name, second.epochs, second.judged) == ("train", 7, True)

    def state(own: bool) -> dict[str, Tensor]:
        return {
            name: value.detach().clone()
            for name, value in model.named_parameters()
            if name.startswith("augmenter.") == own
        }

    losses = []
    rest, mine = state(False), state(True)
    for _ in range(3):
        model.train()
        first.epoch(loop)
        losses.append(loop.means()["next"])
    assert losses[-1] < losses[0]
    assert all(torch.equal(value, rest[name]) for name, value in state(False).items())
    assert not any(torch.equal(value, mine[name]) for name, value in state(True).items())
    mine = state(True)
    model.train()
    second.epoch(loop)
    assert all(torch.equal(value, mine[name]) for name, value in state(True).items())
    assert not any(torch.equal(value, rest[name]) for name, value in state(False).items())


# ---- in a model of views ------------------------------------------------------------------------


@pytest.mark.parametrize("augmenter", ["neuron-mask", "layer-drop", "encoder-complement"])
@pytest.mark.parametrize("encoder", ["transformer", "gru", "caser", "mean-pooling", "weighted-mean"])
def test_every_model_of_views_takes_it_by_name(augmenter: str, encoder: str) -> None:
    settings = [f"model.augmenter.name={augmenter}", f"model.encoder.name={encoder}"]
    if augmenter == "encoder-complement":
        settings.append("model.augmenter.epochs=1")
    made = Bench.of("seq/cl4srec", "seq/checkerboard", ("model.embedding_dim=16", *settings))
    curve = made.train(made.build(), 8)
    assert all(torch.tensor(list(terms.values())).isfinite().all() for terms in curve)
    assert curve[-1]["next"] < curve[0]["next"]


def test_they_are_offered() -> None:
    names = {entry.name for entry in registry().entries("augmenter")}
    assert {"neuron-mask", "layer-drop", "encoder-complement"} <= {name.rpartition("/")[2] for name in names}
