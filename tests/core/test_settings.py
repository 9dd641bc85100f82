"""Configurations of runs: layers and their origins, names, protocols, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sslrec_core.errors import ConfigError, UnknownName
from sslrec_core.settings import RunConfig, resolve

Configure = Callable[..., RunConfig]
HERE = {"scenario": {"name": "plain"}}


def test_later_layers_win_and_are_named(factors: Configure, tmp_path: Path) -> None:
    low, high = tmp_path / "low.toml", tmp_path / "high.yaml"
    low.write_text("[optim]\nlearning_rate = 0.5\n[train]\nepochs = 7\nbatch_size = 16\n")
    high.write_text("optim: {learning_rate: 1e-2}\n")
    options = {**HERE, "run": {"seed": 5}}
    resolved = resolve("factors", "checkerboard", files=[low, high], assignments=["train.epochs=9"], options=options)
    config, origins = resolved.config, resolved.origins
    assert (config.train.epochs, config.train.batch_size) == (9, 16)
    assert (config.optim.learning_rate, config.run.seed) == (0.01, 5)
    assert origins["train.epochs"] == "--set" and origins["optim.learning_rate"] == "high.yaml"
    assert origins["train.batch_size"] == "low.toml" and origins["run.seed"] == "command line"
    assert "optim.name" not in origins


def test_a_model_and_dataset_may_come_from_a_file(factors: Configure, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[model]\nname = "factors"\nembedding_dim = 3\n[data]\nname = "checkerboard"\nsize = 8\n')
    config = resolve(files=[file], options=HERE).config
    assert (config.model.name, config.model.config.embedding_dim, config.data.config.size) == ("factors", 3, 8)


def test_settings_of_another_model_are_left_behind(factors: Configure, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[model]\nname = "ease"\nl2 = 3.0\n')
    config = resolve("factors", "checkerboard", files=[file], options=HERE).config
    assert config.model.name == "factors"


def test_the_published_protocol_is_a_layer_of_plain_keys(factors: Configure) -> None:
    config = factors(protocol="published")
    assert (config.scenario.config.holdout, config.train.select_on, config.eval.config.hide) == (0, "test", "train")
    assert config.label == "selected on test"
    back = factors("train.select_on=valid", protocol="published")
    assert back.label is None and back.eval.config.hide == "train"
    assert factors().eval.config.hide == "train+valid"


def test_none_survives_the_written_file(factors: Configure, tmp_path: Path) -> None:
    config = factors("train.patience=none", "train.clip=0.5")
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml())
    again = resolve(files=[path]).config
    assert again == config and again.train.patience is None


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.epochs=0", "train.epochs: .*greater than 0"),
        ("train.epoch=3", "train.epoch: no such key, closest: epochs"),
        ("model.embeding_dim=3", "model.embeding_dim: no such key, closest: embedding_dim"),
        ("optim.name=adamm", "optim.name"),
        ("scenario.holdout=1.5", "scenario.holdout"),
        ("run.callbacks=['nobody']", "no callback is called 'nobody'"),
        ("nothing.at=1", "nothing: no such key"),
    ],
)
def test_a_bad_key_or_value_is_named_with_its_layer(factors: Configure, assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        factors(assignment)
    assert "from --set" in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("assignment", "fix"),
    [
        ("model.embedding_dim=x", "sslrec show factors"),
        ("data.side=x", "sslrec show checkerboard"),
        ("scenario.holdout=1.5", "sslrec show plain"),
        ("optim.learning_rate=0", "sslrec config factors --dataset checkerboard"),
    ],
)
def test_a_mistake_points_to_where_its_section_is_explained(factors: Configure, assignment: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        factors(assignment)
    assert caught.value.fix == fix


def test_what_is_missing_is_asked_for(factors: Configure) -> None:
    with pytest.raises(ConfigError, match="no model is named"):
        resolve()
    with pytest.raises(ConfigError, match="no dataset is named for factors"):
        resolve("factors")
    with pytest.raises(ConfigError, match="works in any scenario, and checkerboard belongs to none"):
        resolve("factors", "checkerboard")
    with pytest.raises(UnknownName, match="no model is called 'factorz'"):
        resolve("factorz", "checkerboard")
    with pytest.raises(ConfigError, match="no protocol is called 'publishd'"):
        resolve("factors", "checkerboard", protocol="publishd")


@pytest.mark.parametrize("path", ["./own.csv", "own.csv", "/data/own", "~/own.parquet"])
def test_a_path_is_read_as_a_table_of_ones_own(factors: Configure, path: str) -> None:
    config = resolve("factors", path, options=HERE, assignments=["data.user=uid"]).config
    assert (config.data.name, config.data.config.user) == ("table", "uid")
