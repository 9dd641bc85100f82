"""The contract of a model."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from sslrec_core import checkpoint
from sslrec_core.compiling import compiling
from sslrec_core.evaluate import judging, rank
from sslrec_core.model import Model
from sslrec_core.testing.bench import Bench, scores
from sslrec_core.testing.contract import Contract
from sslrec_core.testing.devices import DeviceChecks
from sslrec_core.testing.recording import Reads
from sslrec_core.testing.runs import crash, events, finished_run


@dataclass
class _Trained:
    bench: Bench
    model: Model
    curve: list[dict[str, float]]


_TRAINED: weakref.WeakKeyDictionary[type, _Trained] = weakref.WeakKeyDictionary()


class ModelContract(DeviceChecks, Contract):
    """What every model keeps.  Inherit it, name the model and the toy world, and let pytest collect it::

    class TestKGCL(ModelContract):
        model = "kg/kgcl"
        world = "kg/checkerboard"
    """

    model: ClassVar[str]
    """Name of the model."""
    world: ClassVar[str]
    """A toy world of :mod:`sslrec_core.testing.worlds` in a scenario, ``scenario/checkerboard``, or a dataset."""
    settings: ClassVar[Sequence[str]] = ()
    """Assignments as on the command line: ``"model.layers=1"``, ``"optim.learning_rate=0.05"``."""
    variants: ClassVar[Sequence[Sequence[str]]] = ()
    """Further assignments under which options are read that the defaults do not read."""
    epochs: ClassVar[int] = 30
    """Within how many epochs the model must have learnt the toy world."""
    personal: ClassVar[bool] = True
    """False for a model that ranks alike for everybody: it cannot know the held-out item."""
    side_information: ClassVar[bool] = True
    """False for a model that reads the interactions alone, in a scenario that offers more."""

    # ---- what the checks are made of; override to build differently -----------------------------

    def bench(self, *assignments: str) -> Bench:
        """The model in its toy world, under further ``assignments``."""
        return Bench.of(self.model, self.world, [*self.settings, *assignments])

    def trained(self) -> _Trained:
        """The model after ``epochs`` epochs; trained once for all checks that only look at it."""
        kind = type(self)
        if kind not in _TRAINED:
            bench = self.bench()
            model = bench.build()
            _TRAINED[kind] = _Trained(bench, model, bench.train(model, self.epochs))
        return _TRAINED[kind]

    def component_class(self) -> type[Any]:
        """The model's class."""
        found: type[Any] = self.bench().config.model.entry.load()
        return found

    def component_config(self) -> Any:
        """The model's config under ``settings``."""
        return self.bench().config.model.config

    # ---- options and parameters -----------------------------------------------------------------

    def test_no_dead_knobs(self) -> None:
        """Every option is read while the model is built, trained for an epoch and asked for scores."""
        dead: set[str] | None = None
        for assignments in ((), *self.variants):
            bench = self.bench(*assignments)
            reads = Reads(bench.config.model.config)
            model = bench.build(config=reads.config)
            bench.train(model, 1)
            scores(model, bench.queries())
            dead = reads.unread if dead is None else (dead - reads.read)
        assert not dead, (
            f"options that nobody reads: {', '.join(sorted(dead or ()))}; remove them, use them, or add to `variants` "
            "the settings under which they are read"
        )

    def test_every_parameter_learns(self) -> None:
        """Each parameter gets a gradient from some stage or phase, and some optimiser moves it."""
        bench = self.bench()
        model = bench.build()
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        reached: set[str] = set()
        for name, parameter in model.named_parameters():
            parameter.register_hook(partial(_note, reached, name))  # type: ignore[no-untyped-call]
        bench.train(model, 2)
        unreached = before.keys() - reached
        assert not unreached, f"parameters without a gradient in any phase: {', '.join(sorted(unreached))}"
        still = {name for name, value in model.named_parameters() if torch.equal(value, before[name])}
        assert not still, f"parameters that no optimiser moves: {', '.join(sorted(still))}"

    # ---- learning -------------------------------------------------------------------------------

    def test_losses_are_finite_and_fall(self) -> None:
        """No term is NaN or infinite, and their sum is smaller at the end than at the start."""
        curve = self.trained().curve
        if not any(curve):
            pytest.skip(f"{self.model} minimises nothing")
        totals = [sum(terms.values()) for terms in curve]
        assert torch.tensor(totals).isfinite().all(), f"losses that are not finite: {curve}"
        assert totals[-1] < totals[0], f"the loss went from {totals[0]:.4g} to {totals[-1]:.4g} in {len(totals)} epochs"

    def test_trains_in_half_precision(self) -> None:
        """With ``train.precision=bf16`` no phase ends with an error, losses are finite, and weights stay float32."""
        bench = self.bench("train.precision=bf16")
        model = bench.build()
        types = {name: value.dtype for name, value in model.state_dict().items()}
        curve = bench.train(model, 3)
        totals = torch.tensor([sum(terms.values()) for terms in curve])
        assert totals.isfinite().all(), f"losses that are not finite: {curve}"
        changed = {name for name, value in model.state_dict().items() if value.dtype != types.get(name, value.dtype)}
        assert not changed, f"what is saved has another precision: {', '.join(sorted(changed))}"
        assert scores(model, bench.queries()).isnan().sum() == 0

    def test_losses_can_be_compiled(self) -> None:
        """``train.compile`` changes no loss: they are traced for sizes that vary, and computed as they were."""
        curves = []
        for traced in (False, True):
            bench = self.bench()
            model = bench.build(seed=3)
            if traced:
                losses = torch.compile(model.losses, backend="eager", dynamic=True)
                object.__setattr__(model, "losses", losses)
            with compiling():
                curves.append(bench.train(model, 1))
        torch.compiler.reset()
        same = all(one == pytest.approx(other, rel=1e-4) for one, other in zip(*curves, strict=True))
        assert same, f"compiled losses are others: {curves[1]} instead of {curves[0]}"

    def test_held_out_diagonal_ranks_first(self) -> None:
        """With the known items hidden, the item of the user's own kind that is left comes first."""
        if not self.personal:
            pytest.skip(f"{self.model} ranks alike for everybody, so it cannot know")
        found = self.trained()
        queries = found.bench.queries("test")
        with judging(found.model):
            first, _ = rank(found.model.scorer(), queries, 1)
        share = queries.truth.contains(torch.arange(len(first)), first[:, 0]).double().mean()
        assert share >= 0.95, f"the held-out item is first for {share:.0%} of the users after {self.epochs} epochs"

    def test_overfits_a_tiny_world(self) -> None:
        """With nothing hidden, what a user is known to like stands above what the user does not like."""
        if not self.personal:
            pytest.skip(f"{self.model} ranks alike for everybody, so it cannot fit anybody")
        found = self.trained()
        queries = found.bench.queries("test")
        known = found.bench.data.interactions.parts["train"].select(queries.users)
        values = scores(found.model, queries)
        best = values.argsort(dim=1, descending=True, stable=True)
        top = torch.arange(values.shape[1]) < known.counts[:, None]
        liked = known.union(queries.truth).union(queries.seen)
        share = liked.contains(torch.arange(len(best))[:, None], best)[top].double().mean()
        assert share >= 0.95, f"of the best items {share:.0%} are of the user's kind after {self.epochs} epochs"

    def test_never_reads_the_test_part(self, tmp_path: Path) -> None:
        """A run beside another whose test part is poisoned: selection and weights are the same to the last bit."""
        assignments = ("train.epochs=3", "train.select_on=valid")
        clean, poisoned = (
            finished_run(self.bench(*assignments, f"data.test={test}"), tmp_path / test)
            for test in ("diagonal", "wrong")
        )
        assert events(clean.directory) == events(poisoned.directory), (
            "losses or validation metrics change when only the test part does: training or selection reads it"
        )
        same = _equal(clean.model.state_dict(), poisoned.model.state_dict())
        queries = self.bench().queries()
        assert same and torch.equal(scores(clean.model, queries), scores(poisoned.model, queries)), (
            "the model changes when only the test part does: training or scoring reads it"
        )

    def test_side_information_pays(self) -> None:
        """Where only side information tells what users like, shuffling it makes the model worse."""
        if not self.side_information:
            pytest.skip(f"{self.model} reads the interactions alone")
        world = ("data.known=1", "data.colours=4")
        told, shuffled = (self.bench(*world, f"data.clues={clues}") for clues in ("told", "shuffled"))
        if told.same_data(shuffled):
            pytest.skip(f"the scenario of {self.world} reads no table beside the interactions that this world plants")
        shares = [self.share_of_own_kind(bench) for bench in (told, shuffled)]
        assert shares[0] >= shares[1] + 0.1, (
            f"of the best unknown items {shares[0]:.0%} are of the user's kind, and {shares[1]:.0%} when the side "
            "information is shuffled"
        )

    def share_of_own_kind(self, bench: Bench) -> float:
        """How many of a user's best unknown items, as many as there are, have the user's colour."""
        model = bench.build()
        bench.train(model, self.epochs)
        colours = bench.config.data.config.colours
        queries = bench.queries("test")
        per_colour = bench.data.n_items // colours
        hidden = int(queries.seen.counts.min())
        with judging(model):
            best, _ = rank(model.scorer(), queries, per_colour - hidden)
        return float((best % colours == queries.users[:, None] % colours).double().mean())

    # ---- scoring --------------------------------------------------------------------------------

    def test_scores_have_one_shape(self) -> None:
        """One finite number for each query and item, and a user's row does not depend on who else is asked for."""
        found = self.trained()
        queries = found.bench.queries()
        values = scores(found.model, queries)
        assert values.shape == (len(queries), found.bench.data.n_items), f"scores have shape {tuple(values.shape)}"
        assert not values.isnan().any(), "scores that are not numbers"
        alone = scores(found.model, found.bench.queries(size=1))
        assert torch.allclose(alone[0], values[0], atol=1e-5), "a user's scores depend on who else is asked for"

    def test_scoring_twice_agrees(self) -> None:
        """A scorer draws nothing, and scoring changes nothing."""
        found = self.trained()
        queries = found.bench.queries()
        before = {name: value.clone() for name, value in found.model.state_dict().items()}
        draws = torch.get_rng_state()
        first = scores(found.model, queries)
        assert torch.equal(first, scores(found.model, queries)), "scoring twice gives two answers"
        assert torch.equal(draws, torch.get_rng_state()), "scoring draws numbers that training would draw"
        assert _equal(before, found.model.state_dict()), "scoring changes the model"

    def test_other_ways_to_score_agree(self) -> None:
        """Towers and a portable form, where there are any, give the scorer's scores; newcomers' have one shape."""
        found = self.trained()
        model, queries, known = found.model, found.bench.queries(), scores(found.model, found.bench.queries())
        with judging(model):
            towers, portable = model.towers(), model.portable()
            if towers is not None:
                assert torch.equal(towers.queries(queries) @ towers.items.T, known), "towers give other scores"
            if portable is not None:
                asked = portable.inputs(queries)
                assert asked.keys() == portable.axes.keys(), "inputs whose axes are not known"
                close = torch.allclose(portable.module(*asked.values()).float(), known, atol=1e-5)
                assert close, "the portable form gives other scores"
            if model.folds_in:
                items = torch.tensor([3, 1, 2, 1], device=queries.users.device)
                both = model.fold_in(items, torch.tensor([3, 1], device=items.device))
                alone = model.fold_in(items[3:], torch.tensor([1], device=items.device))
                assert both.shape == (2, known.shape[1]), f"scores of newcomers have shape {tuple(both.shape)}"
                assert torch.allclose(both[1], alone[0], atol=1e-5), "a newcomer's scores depend on who else is there"

    # ---- saving ---------------------------------------------------------------------------------

    def test_restored_in_a_fresh_build_scores_the_same(self, tmp_path: Path) -> None:
        """Saved, built again from another seed, loaded: the scores are equal."""
        found = self.trained()
        fresh = self.restored(tmp_path, found.bench)
        queries = found.bench.queries()
        assert torch.equal(scores(found.model, queries), scores(fresh, queries)), (
            "a restored model scores differently: something that scoring needs is neither a parameter nor `remember`ed"
        )

    def test_saves_all_it_needs(self, tmp_path: Path) -> None:
        """Nothing that scoring needs is left on the data: beside freshly loaded data the scores are equal too."""
        found = self.trained()
        bench = self.bench()
        fresh = self.restored(tmp_path, bench)
        assert torch.equal(scores(found.model, found.bench.queries()), scores(fresh, bench.queries())), (
            "restored beside fresh data the model scores differently: training changed the data, which is not saved"
        )

    def restored(self, folder: Path, bench: Bench) -> Model:
        """The trained model, by way of a file, in a fresh build with another seed."""
        checkpoint.save(folder / "model.safetensors", self.trained().model.state_dict(), {})
        fresh = bench.build(seed=1)
        fresh.load_weights(checkpoint.load(folder / "model.safetensors")[0])
        return fresh

    def test_same_seed_same_numbers(self) -> None:
        """Built and trained twice from one seed, everything is equal: all chance comes from torch's generator."""
        results = []
        for _ in range(2):
            bench = self.bench()
            model = bench.build(seed=3)
            curve = bench.train(model, 2)
            results.append((curve, scores(model, bench.queries())))
        assert results[0][0] == results[1][0], "the losses of two trainings from one seed differ"
        assert torch.equal(results[0][1], results[1][1]), "the scores of two trainings from one seed differ"

    def test_resuming_equals_not_having_stopped(self, tmp_path: Path) -> None:
        """A training that dies in the middle of an epoch and goes on ends with the same bits."""
        bench = self.bench("train.epochs=4", "run.checkpoint_seconds=0")
        whole = finished_run(bench, tmp_path / "whole")
        resumed = crash(bench, tmp_path / "resumed")
        if resumed is None:
            pytest.skip(f"{self.model} trains in no steps, so there is nothing to interrupt")
        assert events(whole.directory) == events(resumed.directory), (
            "losses or metrics of a resumed training differ: something that training needs is not saved"
        )
        queries = bench.queries()
        assert _equal(whole.model.state_dict(), resumed.model.state_dict()), "resuming ends with other weights"
        assert torch.equal(scores(whole.model, queries), scores(resumed.model, queries)), (
            "a resumed training ends with other scores"
        )


def _note(reached: set[str], name: str, gradient: Tensor) -> None:
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    if values.isfinite().all() and values.count_nonzero():
        reached.add(name)


def _equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
