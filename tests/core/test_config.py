"""Configurations are closed and frozen, layers know where values came from, and TOML goes out as it came in."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import PositiveInt, ValidationError

from sslrec_core.config import (
    Config,
    Configured,
    Layer,
    Rate,
    Share,
    explain,
    fields,
    leaves,
    merge,
    parse_assignment,
    read_config,
    to_toml,
)
from sslrec_core.errors import ConfigError


class Contrast(Config):
    """Options."""

    temperature: Share = 0.2
    """Sharpness."""
    weight: Rate | None = 0.1
    """Share."""


class Options(Config):
    """Options."""

    layers: PositiveInt = 2
    """Number of layers."""
    contrast: Contrast = Contrast()
    """Agreement of views."""
    at: tuple[int, ...] = (10, 20)
    """Lengths."""


def said(values: dict[str, Any], origins: dict[str, str] | None = None) -> str:
    """What the user reads about these values."""
    with pytest.raises(ValidationError) as caught:
        Options.model_validate(values)
    return str(explain(caught.value, "kg/kgcl", origins, Options))


# ---- Config ------------------------------------------------------------------------------------------------------


def test_a_config_is_frozen_closed_and_documented() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Options().layers = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="no such key"):
        Options(layer=3)  # type: ignore[call-arg]
    assert Options.model_fields["layers"].description == "Number of layers."
    assert Options() == Options() and Options(layers=3) != Options()


def test_defaults_are_checked_too() -> None:
    class Wrong(Config):
        dropout: Rate = 1.5

    with pytest.raises(ValidationError, match="less than 1"):
        Wrong()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value: float) -> None:
    with pytest.raises(ValidationError):
        Contrast(temperature=value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_whole_numbers_have_64_bits(value: int) -> None:
    assert Options.model_validate({"layers": 2**63 - 1}).layers == 2**63 - 1
    assert "layers: too large: a whole number has 64 bits at most" in said({"layers": value})
    assert "at: too large" in said({"at": [1, value]})


def test_the_word_none_is_none_where_none_is_allowed() -> None:
    assert Contrast.model_validate({"weight": "none"}).weight is None
    assert Options.model_validate({"contrast": {"weight": "none"}}).contrast.weight is None
    assert "contrast.temperature: Input should be a valid number" in said({"contrast": {"temperature": "none"}})


def test_configured_keeps_its_config_and_has_a_revision() -> None:
    class Thing(Configured):
        class Config(Configured.Config):
            layers: PositiveInt = 2

    thing = Thing(Thing.Config(layers=3))
    assert thing.config == Thing.Config(layers=3) and Thing.revision == 1


# ---- explaining --------------------------------------------------------------------------------------------------


def test_a_mistake_names_key_value_and_origin() -> None:
    text = said({"contrast": {"temperature": 3}}, {"contrast.temperature": "--set"})
    assert text == (
        "kg/kgcl cannot be configured like this\n"
        "  contrast.temperature: Input should be less than or equal to 1, got 3 (from --set)\n"
        "  fix: sslrec show kg/kgcl"
    )


def test_every_mistake_is_listed() -> None:
    text = said({"layers": 0, "contrats": 1, "at": ["x"]}, {"contrats": "my.toml"})
    assert "layers: Input should be greater than 0, got 0" in text
    assert "contrats: no such key, closest: contrast" in text and "(from my.toml)" in text
    assert "at[0]: Input should be a valid integer" in text


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"temperature": 0.1}, "temperature: no such key, closest: contrast.temperature"),
        ({"contrast": {"temprature": 0.1}}, "contrast.temprature: no such key, closest: temperature"),
        ({"contrast": {"layers": 1}}, "contrast.layers: no such key, it has: temperature, weight; there is layers"),
        ({"zzz": 1}, "zzz: no such key, it has: layers, contrast, at"),
    ],
)
def test_an_unknown_key_is_pointed_to_a_known_one(values: dict[str, Any], line: str) -> None:
    assert line in said(values)


def test_fields_are_dotted() -> None:
    assert list(fields(Options)) == ["layers", "contrast", "contrast.temperature", "contrast.weight", "at"]


# ---- layers ------------------------------------------------------------------------------------------------------


def test_tables_merge_lists_replace_and_each_leaf_knows_its_origin() -> None:
    values, origins = merge(
        [
            Layer("preset", {"model": {"layers": 2, "contrast": {"temperature": 0.2, "weight": 0.1}}, "at": [1, 2]}),
            Layer("my.toml", {"model": {"contrast": {"temperature": 0.3}}}),
            Layer("--set", {"at": [5]}),
        ]
    )
    assert values == {"model": {"layers": 2, "contrast": {"temperature": 0.3, "weight": 0.1}}, "at": [5]}
    assert origins == {
        "model.layers": "preset",
        "model.contrast.temperature": "my.toml",
        "model.contrast.weight": "preset",
        "at": "--set",
    }


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        ({"name": "a", "x": 1}, {"name": "b", "y": 2}, {"name": "b", "y": 2}),
        ({"name": "a", "x": 1}, {"name": "a", "y": 2}, {"name": "a", "x": 1, "y": 2}),
        ({"name": "a", "x": 1}, {"y": 2}, {"name": "a", "x": 1, "y": 2}),
        ({"name": "a", "x": 1}, "b", "b"),
        ({"name": "a", "x": 1}, "a", {"name": "a", "x": 1}),
        ({"x": 1}, "b", {"name": "b", "x": 1}),
        ("a", {"x": 1}, {"name": "a", "x": 1}),
        ("a", {"name": "b", "x": 1}, {"name": "b", "x": 1}),
        ("a", "b", "b"),
        ({"x": 1}, "none", "none"),
        ({"x": 1}, {"name": "none"}, {"name": "none"}),
        ({"x": 1}, 3, 3),
        (3, {"x": 1}, {"x": 1}),
    ],
)
def test_a_component_that_gets_another_name_starts_afresh(below: Any, above: Any, merged: Any) -> None:
    values, origins = merge([Layer("first", {"part": below}), Layer("second", {"part": above})])
    assert values == {"part": merged}
    assert set(origins) == set(leaves(values)), "no origin is missing and none is left over"


def test_merging_leaves_its_layers_alone() -> None:
    layer = Layer("first", {"part": {"x": 1}})
    merge([layer, Layer("second", {"part": {"x": 2}})])
    assert layer.values == {"part": {"x": 1}}


tables = st.recursive(
    st.integers() | st.sampled_from(["a", "b", "none"]),
    lambda inner: st.dictionaries(st.sampled_from(["name", "x", "y", "z"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(["p", "q"]), tables), max_size=3))
def test_each_leaf_of_any_layers_has_an_origin(given_layers: list[dict[str, Any]]) -> None:
    named = [
        Layer(str(number), values)
        for number, values in enumerate(given_layers)
        if all(isinstance(name, str) for name in _names(values))
    ]
    values, origins = merge(named)
    assert set(leaves(values)) - {""} <= set(origins)


def _names(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return []
    return [value[key] for key in value if key == "name"] + [name for inner in value.values() for name in _names(inner)]


# ---- assignments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=1e-3", 0.001),
        ("a=true", True),
        ("a=[10, 50]", [10, 50]),
        ('a="ndcg@20"', "ndcg@20"),
        ("a=ndcg@20", "ndcg@20"),
        ("a=kg/kgcl", "kg/kgcl"),
        (" a = x=y ", "x=y"),
        ("a={name = 'ema', decay = 0.9}", {"name": "ema", "decay": 0.9}),
        ("a='[1]'", "[1]"),
    ],
)
def test_an_assignment_is_a_toml_literal_or_a_bare_word(text: str, value: Any) -> None:
    assert parse_assignment(text) == {"a": value}


def test_dotted_keys_nest() -> None:
    assert parse_assignment("model.contrast.temperature=0.1") == {"model": {"contrast": {"temperature": 0.1}}}


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a..b=1", "a b=1", "a=[x]", "a='x", "a={", "a=1\nb=2"])
def test_an_assignment_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_assignment(text)
    assert caught.value.fix and "cannot read" in caught.value.problem


# ---- files -------------------------------------------------------------------------------------------------------


def test_toml_and_yaml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[model]\nname = "kgcl"\nrate = 1e-3\nat = [1, 2]\non = true\nword = "on"')
    (tmp_path / "a.yaml").write_text("model:\n  name: kgcl\n  rate: 1e-3\n  at: [1, 2]\n  on: true\n  word: on\n")
    assert read_config(tmp_path / "a.toml") == read_config(tmp_path / "a.yaml")


def test_yaml_has_the_scalars_of_1_2(tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    path.write_text(
        "[1e5, 1e-3, .5, -1.5E+2, 010, 0o10, 0x1F, no, on, 1:30, 2024-01-01, null, ~, .inf, True, +1]".join(["a: ", ""])
    )
    values = [1e5, 1e-3, 0.5, -150.0, 10, 8, 31, "no", "on", "1:30", "2024-01-01", None, None, float("inf"), True, 1]
    assert read_config(path) == {"a": values}


def test_an_empty_file_is_no_values(tmp_path: Path) -> None:
    for name in ("a.toml", "a.yaml"):
        (tmp_path / name).write_text("")
        assert read_config(tmp_path / name) == {}


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.toml", "[model]\nlayers =\n", ["a.toml is not TOML", "line 2"]),
        ("a.yaml", "model:\n  a: 1\n  a: 2\n", ["a.yaml is not YAML", "line 3, column 3: the key 'a' occurs twice"]),
        ("a.yaml", "model: [1\n", ["a.yaml is not YAML", "line 2"]),
        ("a.yaml", "1: 2", ["the key 1 is not a word"]),
        ("a.yaml", "- 1", ["holds a list, not a table of sections"]),
        ("a.yaml", "!!python/object:os.system x: 1", ["a.yaml is not YAML"]),
        ("a.ini", "", ["cannot tell the format", "name it .toml"]),
    ],
)
def test_a_file_that_cannot_be_read_says_where(tmp_path: Path, name: str, text: str, lines: list[str]) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / name)
    for line in lines:
        assert line in str(caught.value)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.toml").mkdir()
    for name in ("bytes.toml", "folder.toml", "absent.toml"):
        with pytest.raises(ConfigError, match="cannot read the configuration file"):
            read_config(tmp_path / name)


# ---- TOML out ----------------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | words
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=8
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(words, values, max_size=4))
def test_what_is_written_is_read_again(table: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(table)) == table


def test_toml_looks_like_this() -> None:
    table = {
        "seed": 1,
        "model": {"name": "kg/kgcl", "clip": None, "contrast": {"temperature": 0.2}, "parts": [{"name": "ema"}]},
        "empty": {},
    }
    assert to_toml(table, {"model.clip": "default", "model.contrast.temperature": "preset last-fm"}) == (
        "seed = 1\n"
        "\n"
        "[model]\n"
        'name = "kg/kgcl"\n'
        'clip = "none"  # default\n'
        'parts = [{name = "ema"}]\n'
        "\n"
        "[model.contrast]\n"
        "temperature = 0.2  # preset last-fm\n"
        "\n"
        "[empty]\n"
    )


def test_what_toml_has_no_word_for() -> None:
    with pytest.raises(TypeError, match="a object cannot be written as TOML"):
        to_toml({"a": object()})


def test_a_table_keeps_what_the_default_of_its_field_sets() -> None:
    class Inner(Config):
        weight: float = 1.0
        form: str = "squared"

    class Middle(Config):
        inner: Inner = Inner(weight=0.7)

    class Outer(Config):
        middle: Middle = Middle(inner=Inner(weight=0.3))

    assert Middle.model_validate({"inner": {"form": "norm"}}).inner == Inner(weight=0.7, form="norm")
    assert Outer.model_validate({"middle": {"inner": {"form": "norm"}}}).middle.inner == Inner(weight=0.3, form="norm")
    assert Outer.model_validate({"middle": {"inner": {"weight": 2}}}).middle.inner.weight == 2
