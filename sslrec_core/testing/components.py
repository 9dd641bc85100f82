"""The contract of encoders, augmenters and objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from sslrec_core.graph import LayeredGraph, SparseGraph
from sslrec_core.model import Component
from sslrec_core.registry import registry
from sslrec_core.testing.contract import Contract
from sslrec_core.testing.guards import Placement, Waiting
from sslrec_core.testing.recording import Reads
from sslrec_core.testing.tensors import same, tensors


class ComponentContract(Contract):
    """What every component that a config can name keeps::

    class TestTriplet(ComponentContract):
        kind = "objective"
        component = "triplet"

        def inputs(self):
            return torch.randn(6, 4), torch.randn(6, 4), torch.randn(6, 2, 4)
    """

    kind: ClassVar[str]
    """``encoder``, ``augmenter`` or ``objective``."""
    component: ClassVar[str]
    """Name of the component."""
    options: ClassVar[Mapping[str, Any]] = {}
    """The component's options."""
    variants: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """Further options under which those are read that the defaults do not read."""

    # ---- what the checks are made of ------------------------------------------------------------

    def component_class(self) -> type[Any]:
        """The component's class."""
        found: type[Any] = registry().find(self.kind, self.component).load()
        return found

    def component_config(self) -> Any:
        """The component's config under ``options``."""
        return self.component_class().Config(**self.options)

    def build(self, config: Any) -> Component:
        """The component; override where the constructor takes more than a config."""
        component: Component = self.component_class()(config)
        return component

    def inputs(self) -> tuple[Any, ...]:
        """What the component is called with: a graph for an augmenter, a graph and vectors for an encoder."""
        if self.kind == "objective":
            raise TypeError(f"{type(self).__name__} must define inputs(), the vectors that {self.component} takes")
        return (small_graph(),) if self.kind == "augmenter" else (small_graph(), torch.randn(20, 8))

    def call(self, component: Component, *inputs: Any) -> Any:
        """What the component makes of ``inputs``; override where it is not simply called."""
        return component(*inputs)

    def given(self) -> tuple[Any, ...]:
        """The inputs, the same each time, asking for gradients where they can."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            inputs = self.inputs()
        return tuple(value.requires_grad_() if _differentiable(value) else value for value in inputs)

    def made(self, config: Any = None) -> Component:
        """A fresh component, the same each time."""
        torch.manual_seed(6)
        return self.build(self.component_config() if config is None else config)

    # ---- checks ---------------------------------------------------------------------------------

    def test_no_dead_knobs(self) -> None:
        """Every option is read while the component is built and called."""
        unread: set[str] | None = None
        for options in ({}, *self.variants):
            reads = Reads(self.component_class().Config(**{**self.options, **options}))
            self.call(self.build(reads.config), *self.given())
            unread = reads.unread if unread is None else unread - reads.read
        assert not unread, f"options that nobody reads: {', '.join(sorted(unread or ()))}"

    def test_answers_in_kind(self) -> None:
        """An objective gives one number, an augmenter what it took, an encoder vectors; all finite."""
        given = self.given()
        answer = self.call(self.made(), *given)
        if self.kind == "objective":
            assert isinstance(answer, Tensor) and answer.dim() == 0, "an objective answers one number"
        elif self.kind == "augmenter":
            kinds = (type(given[0]), LayeredGraph) if isinstance(given[0], SparseGraph) else (type(given[0]),)
            assert type(answer) in kinds, f"took {type(given[0]).__name__}, gave {type(answer).__name__}"
        else:
            assert any(value.is_floating_point() for value in tensors(answer)), "an encoder answers vectors"
        floats = [value for value in tensors(answer) if value.is_floating_point()]
        assert all(value.isfinite().all() for value in floats), "the answer is not finite"

    def test_gradients_reach_inputs_and_parameters(self) -> None:
        """What the answer is made of learns: inputs that ask for a gradient, and every parameter."""
        component, given = self.made(), self.given()
        answer = [value for value in tensors(self.call(component, *given)) if value.requires_grad]
        inputs = {f"input {place}": value for place, value in enumerate(given) if _differentiable(value)}
        learning = {**inputs, **dict(component.named_parameters())}
        if not learning:
            pytest.skip(f"{self.component} has no parameters, and takes nothing that could learn")
        assert answer, "the answer does not depend on what could learn"
        torch.stack([(value * torch.randn_like(value)).sum() for value in answer]).sum().backward()  # type: ignore[no-untyped-call]
        without = [name for name, value in learning.items() if value.grad is None or not value.grad.count_nonzero()]
        assert not without, f"no gradient reaches {', '.join(without)}"
        assert all(value.grad.isfinite().all() for value in learning.values() if value.grad is not None)

    def test_leaves_its_inputs_alone(self) -> None:
        """What was given is the same afterwards."""
        given = self.given()
        self.call(self.made(), *given)
        assert same(given, self.given()), "an input was changed in place"

    def test_same_seed_same_answer(self) -> None:
        """All chance comes from torch's generator."""
        answers = [self.call(self.made(), *self.given()) for _ in range(2)]
        assert same(*answers), "two answers from one seed differ"

    def test_weight_scales_the_answer(self) -> None:
        """An objective multiplies by its ``weight``, so that terms can be added."""
        config = self.component_config()
        if self.kind != "objective" or "weight" not in type(config).model_fields:
            pytest.skip(f"{self.component} has no weight")
        once, thrice = (
            self.call(self.made(config.model_copy(update={"weight": weight})), *self.given()) for weight in (1.0, 3.0)
        )
        assert torch.allclose(3 * once, thrice, rtol=1e-4), f"weight 1 gives {once:.4g}, weight 3 {thrice:.4g}"

    def test_runs_on_any_device_without_waiting(self) -> None:
        """No tensor is made on a device that is written in the code, and none is read from."""
        component, given = self.made(), self.given()
        self.call(component, *given)  # what is made once and kept may be made anywhere
        with Placement() as placement, Waiting() as waiting:
            self.call(component, *given)
        assert not placement.found, "\n".join(["this works on one device only:", *sorted(placement.found)])
        assert not waiting.found, "\n".join(["this waits for the device:", *sorted(waiting.found)])

    @pytest.mark.gpu
    def test_runs_on_cuda(self) -> None:
        """Moved to a CUDA device it answers there."""
        given = [value.to("cuda") if hasattr(value, "to") else value for value in self.given()]
        answer = list(tensors(self.call(self.made().to("cuda"), *given)))
        assert answer and {value.device.type for value in answer} == {"cuda"}


def small_graph() -> SparseGraph:
    """Twelve users and eight items with forty interactions, as a symmetric graph of twenty nodes."""
    places = torch.randperm(96)[:40]
    return SparseGraph.bipartite(places // 8, places % 8, 12, 8).normalised("sym")


def _differentiable(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
