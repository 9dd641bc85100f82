"""Every check of the contracts can fail: each is run against something broken for it, and against sound parts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sslrec_core.errors import ConfigError, TrainingError
from sslrec_core.registry import registry, reset
from sslrec_core.testing import ComponentContract, ModelContract, ScenarioContract
from sslrec_core.testing.bench import offer_worlds, separate_cache

HERE = Path(__file__).parent / "contracts"

BROKEN_MODELS = [
    ("test_first_docstring_line_is_a_sentence", "mumbling", "lower case"),
    ("test_every_option_is_documented", "secretive", "secret"),
    ("test_config_round_trips_through_toml", "rounding", "another one"),
    ("test_no_dead_knobs", "idle", "nobody reads: temperature"),
    ("test_every_parameter_learns", "unused", "without a gradient in any phase: spare"),
    ("test_every_parameter_learns", "unmoved", "no optimiser moves: items"),
    ("test_losses_are_finite_and_fall", "rising", "the loss went from"),
    ("test_losses_are_finite_and_fall", "infinite", "became nan"),
    ("test_trains_in_half_precision", "exact", "dtypes match"),
    ("test_losses_can_be_compiled", "untraceable", "SymIntArrayRef"),
    ("test_held_out_diagonal_ranks_first", "backwards", "held-out item is first for 0%"),
    ("test_overfits_a_tiny_world", "backwards", "of the best items 0%"),
    ("test_never_reads_the_test_part", "cheating", "when only the test part does"),
    ("test_side_information_pays", "factors", "when the side information is shuffled"),
    ("test_scores_have_one_shape", "short", "scores have shape"),
    ("test_scores_have_one_shape", "sociable", "depend on who else"),
    ("test_other_ways_to_score_agree", "leaning", "towers give other scores"),
    ("test_other_ways_to_score_agree", "abroad", "the portable form gives other scores"),
    ("test_other_ways_to_score_agree", "crowded", "depend on who else is there"),
    ("test_scoring_twice_agrees", "noisy", "two answers"),
    ("test_scoring_twice_agrees", "drawing", "draws numbers that training would draw"),
    ("test_scoring_twice_agrees", "wearing", "scoring changes the model|two answers"),
    ("test_restored_in_a_fresh_build_scores_the_same", "forgetful", "a restored model scores differently"),
    ("test_saves_all_it_needs", "stashing", "beside fresh data"),
    ("test_same_seed_same_numbers", "erratic", "trainings from one seed differ"),
    ("test_resuming_equals_not_having_stopped", "amnesic", "of a resumed training differ"),
    ("test_runs_on_any_device", "homebound", r"zeros\(\) without device="),
    ("test_steps_read_nothing_from_the_device", "waiting", r"item\(\) waits"),
    pytest.param("test_no_device_sync_inside_a_step", "waiting", "synchroniz", marks=pytest.mark.gpu),
    pytest.param("test_cpu_and_gpu_agree", "twofaced", "scores differ by up to", marks=pytest.mark.gpu),
]
BROKEN_OBJECTIVES = [
    ("test_first_docstring_line_is_a_sentence", "mumbling", "lower case"),
    ("test_every_option_is_documented", "secretive", "secret"),
    ("test_config_round_trips_through_toml", "rounding", "another one"),
    ("test_no_dead_knobs", "idle", "nobody reads: temperature"),
    ("test_answers_in_kind", "vector", "one number"),
    ("test_gradients_reach_inputs_and_parameters", "detached", "no gradient reaches input 2"),
    ("test_leaves_its_inputs_alone", "inplace", "changed in place"),
    ("test_same_seed_same_answer", "erratic", "from one seed differ"),
    ("test_weight_scales_the_answer", "unweighted", "weight 1 gives"),
    ("test_runs_on_any_device_without_waiting", "homebound", r"zeros\(\) without device="),
    ("test_runs_on_any_device_without_waiting", "rooted", "written in the code"),
    ("test_runs_on_any_device_without_waiting", "waiting", r"item\(\) waits"),
    pytest.param("test_runs_on_cuda", "rooted", "cuda", marks=pytest.mark.gpu),
]
BROKEN_SCENARIOS = [
    ("test_first_docstring_line_is_a_sentence", "mumbling", "lower case"),
    ("test_every_option_is_documented", "secretive", "secret"),
    ("test_config_round_trips_through_toml", "rounding", "another one"),
    ("test_no_dead_knobs", "unread", "nobody reads: window"),
    ("test_processing_twice_agrees", "restless", "two different results"),
    ("test_ids_lead_there_and_back", "swapped", "the part valid is not the table's own"),
    ("test_parts_are_disjoint", "leaking", "parts overlap"),
    ("test_validation_always_exists", "careless", "no validation part is held out"),
    ("test_batches_come_from_torchs_generator", "stubborn", "from two seeds are the same"),
    ("test_pairs_are_known_and_negatives_are_not", "easy", "a negative is an item that the user likes"),
    ("test_training_never_sees_the_test_part", "peeking", "batches change"),
    ("test_options_of_ranking_leave_training_alone", "fickle", "batches change with narrow"),
    ("test_queries_hide_what_is_known", "revealing", "hide something else"),
    pytest.param("test_moves_to_a_device", "staying", "cpu", marks=pytest.mark.gpu),
]


@pytest.fixture(autouse=True, scope="module")
def broken_parts() -> Iterator[None]:
    offer_worlds()
    for name in ("parts.py", "recommenders.py"):
        registry().add_file(HERE / name)
    with separate_cache():
        yield
    reset()


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
    assert len(checks(ModelContract)) >= 20
    assert named(BROKEN_MODELS) == checks(ModelContract)
    assert named(BROKEN_OBJECTIVES) == checks(ComponentContract)
    assert named(BROKEN_SCENARIOS) == checks(ScenarioContract)


@pytest.mark.parametrize(("check", "name", "why"), BROKEN_MODELS)
def test_a_broken_model_is_found_out(check: str, name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, ConfigError, TrainingError, RuntimeError), match=why):
        call(model_contract(name), check, tmp_path)


@pytest.mark.parametrize(("check", "name", "why"), BROKEN_OBJECTIVES)
def test_a_broken_objective_is_found_out(check: str, name: str, why: str, tmp_path: Path) -> None:
    contract = type(f"Test{name}", (ObjectiveContract,), {"component": name})()
    with pytest.raises(AssertionError, match=why):
        call(contract, check, tmp_path)


@pytest.mark.parametrize(("check", "name", "why"), BROKEN_SCENARIOS)
def test_a_broken_scenario_is_found_out(check: str, name: str, why: str, tmp_path: Path) -> None:
    contract = type(f"Test{name}", (ScenarioContract,), {"scenario": name})()
    with pytest.raises(AssertionError, match=why):
        call(contract, check, tmp_path)


class TestSoundModel(ModelContract):
    model = "painted"
    world = "sound/checkerboard"


class TestSoundModelWithoutAScenario(ModelContract):
    model = "factors"
    world = "plain/checkerboard"


class TestSoundObjective(ObjectiveContract):
    component = "abovedrawn"


class TestSoundScenario(ScenarioContract):
    scenario = "sound"


class TestPlainScenario(ScenarioContract):
    scenario = "plain"
