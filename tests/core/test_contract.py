"""Every check of the contracts can fail: each is run against something that was broken for it, and against sound parts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sslrec_core.errors import TrainingError
from sslrec_core.registry import registry
from sslrec_core.testing import ComponentContract, ModelContract, ScenarioContract
from sslrec_core.testing.bench import offer_worlds, separate_cache

HERE = Path(__file__).parent / "contracts"

BROKEN_MODELS = [
    ("test_first_docstring_line_is_a_sentence", "mumbling"),
    ("test_every_option_is_documented", "secretive"),
    ("test_config_round_trips_through_toml", "rounding"),
    ("test_no_dead_knobs", "idle"),
    ("test_every_parameter_learns", "unused"),
    ("test_every_parameter_learns", "unmoved"),
    ("test_losses_are_finite_and_fall", "rising"),
    ("test_losses_are_finite_and_fall", "infinite"),
    ("test_held_out_diagonal_ranks_first", "backwards"),
    ("test_overfits_a_tiny_world", "backwards"),
    ("test_never_reads_the_test_part", "cheating"),
    ("test_side_information_pays", "factors"),
    ("test_scores_have_one_shape", "short"),
    ("test_scores_have_one_shape", "sociable"),
    ("test_scoring_twice_agrees", "noisy"),
    ("test_scoring_twice_agrees", "wearing"),
    ("test_restored_in_a_fresh_build_scores_the_same", "forgetful"),
    ("test_saves_all_it_needs", "stashing"),
    ("test_same_seed_same_numbers", "erratic"),
    ("test_resuming_equals_not_having_stopped", "amnesic"),
    ("test_runs_on_any_device", "homebound"),
    ("test_steps_read_nothing_from_the_device", "waiting"),
    pytest.param("test_no_device_sync_inside_a_step", "waiting", marks=pytest.mark.gpu),
    pytest.param("test_cpu_and_gpu_agree", "twofaced", marks=pytest.mark.gpu),
]
BROKEN_OBJECTIVES = [
    ("test_first_docstring_line_is_a_sentence", "mumbling"),
    ("test_every_option_is_documented", "secretive"),
    ("test_config_round_trips_through_toml", "rounding"),
    ("test_no_dead_knobs", "idle"),
    ("test_answers_in_kind", "vector"),
    ("test_gradients_reach_inputs_and_parameters", "detached"),
    ("test_leaves_its_inputs_alone", "inplace"),
    ("test_same_seed_same_answer", "erratic"),
    ("test_weight_scales_the_answer", "unweighted"),
    ("test_runs_on_any_device_without_waiting", "homebound"),
    ("test_runs_on_any_device_without_waiting", "waiting"),
    pytest.param("test_runs_on_cuda", "rooted", marks=pytest.mark.gpu),
]
BROKEN_SCENARIOS = [
    ("test_first_docstring_line_is_a_sentence", "mumbling"),
    ("test_every_option_is_documented", "secretive"),
    ("test_config_round_trips_through_toml", "rounding"),
    ("test_no_dead_knobs", "unread"),
    ("test_processing_twice_agrees", "restless"),
    ("test_ids_lead_there_and_back", "swapped"),
    ("test_parts_are_disjoint", "leaking"),
    ("test_validation_always_exists", "careless"),
    ("test_batches_come_from_torchs_generator", "stubborn"),
    ("test_pairs_are_known_and_negatives_are_not", "easy"),
    ("test_training_never_sees_the_test_part", "peeking"),
    ("test_queries_hide_what_is_known", "revealing"),
    pytest.param("test_moves_to_a_device", "staying", marks=pytest.mark.gpu),
]


@pytest.fixture(autouse=True, scope="module")
def broken_parts() -> Iterator[None]:
    offer_worlds()
    for name in ("parts.py", "recommenders.py"):
        registry().add_file(HERE / name)
    with separate_cache():
        yield


def model_contract(name: str) -> ModelContract:
    kind = type(f"Test{name}", (ModelContract,), {"model": name, "world": "sound/checkerboard"})
    return kind()  # type: ignore[no-any-return]


class ObjectiveContract(ComponentContract):
    kind = "objective"

    def inputs(self) -> tuple[Any, ...]:
        return torch.randn(6, 4), torch.randn(6, 4), torch.randn(6, 2, 4)


def call(contract: Any, check: str, folder: Path) -> None:
    method = getattr(contract, check)
    method(**({"tmp_path": folder} if "tmp_path" in inspect.signature(method).parameters else {}))


def checks(contract: type[Any]) -> set[str]:
    return {name for name in dir(contract) if name.startswith("test_")}


def named(rows: list[Any]) -> set[str]:
    return {row.values[0] if hasattr(row, "values") else row[0] for row in rows}


def test_each_check_has_something_broken_for_it() -> None:
    assert len(checks(ModelContract)) >= 19
    assert named(BROKEN_MODELS) == checks(ModelContract)
    assert named(BROKEN_OBJECTIVES) == checks(ComponentContract)
    assert named(BROKEN_SCENARIOS) == checks(ScenarioContract)


@pytest.mark.parametrize(("check", "name"), BROKEN_MODELS)
def test_a_broken_model_is_found_out(check: str, name: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, TrainingError, RuntimeError)):
        call(model_contract(name), check, tmp_path)


@pytest.mark.parametrize(("check", "name"), BROKEN_OBJECTIVES)
def test_a_broken_objective_is_found_out(check: str, name: str, tmp_path: Path) -> None:
    contract = type(f"Test{name}", (ObjectiveContract,), {"component": name})()
    with pytest.raises((AssertionError, RuntimeError)):
        call(contract, check, tmp_path)


@pytest.mark.parametrize(("check", "name"), BROKEN_SCENARIOS)
def test_a_broken_scenario_is_found_out(check: str, name: str, tmp_path: Path) -> None:
    contract = type(f"Test{name}", (ScenarioContract,), {"scenario": name})()
    with pytest.raises(AssertionError):
        call(contract, check, tmp_path)


class TestSoundModel(ModelContract):
    model = "painted"
    world = "sound/checkerboard"


class TestSoundModelWithoutAScenario(ModelContract):
    model = "factors"
    world = "plain/checkerboard"


class TestSoundObjective(ObjectiveContract):
    component = "pairwise"


class TestSoundScenario(ScenarioContract):
    scenario = "sound"


class TestPlainScenario(ScenarioContract):
    scenario = "plain"
