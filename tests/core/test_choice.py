"""A field that names a component takes any installed one, with that one's own options."""

from __future__ import annotations

import tomllib
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from sslrec_core.choice import Choice, Of
from sslrec_core.config import Config, explain, merge, parse_assignment, to_toml
from sslrec_core.config import Layer as Values
from sslrec_core.errors import PluginError
from sslrec_core.testing.plugins import PluginMaker

PLUGIN = """
    from sslrec_core import hookimpl

    @hookimpl
    def sslrec_encoders():
        return {
            "wide": "parts_shop.parts:Wide",
            "tall": "parts_shop.parts:Tall",
            "torn": "parts_shop.nowhere:Torn",
            "lab/odd": "parts_shop.parts:Wide",
        }
"""

PARTS = '''
    from pydantic import PositiveInt
    from sslrec_core.model import Encoder

    class Wide(Encoder):
        """Is wide."""

        class Config(Encoder.Config):
            width: PositiveInt = 4

        def __init__(self, config, extra=None):
            super().__init__(config)
            self.extra = extra

    class Tall(Encoder):
        """Is tall."""

        class Config(Encoder.Config):
            height: PositiveInt = 2
'''


@pytest.fixture(autouse=True)
def _parts(make_plugin: PluginMaker) -> None:
    make_plugin("parts-shop", PLUGIN, files={"parts.py": PARTS})


class Frame(Config):
    """A frame for an encoder."""

    encoder: Annotated[Choice, Of("encoder")] = Choice.of("wide", width=8)
    """The encoder."""
    second: Annotated[Choice, Of("encoder")] | None = None
    """Another one."""
    more: tuple[Annotated[Choice, Of("encoder")], ...] = Field(default_factory=tuple)
    """Any number of them."""


def said(values: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        Frame.model_validate(values)
    return str(explain(caught.value, "frame", {"encoder.name": "--set", "encoder.width": "--set"}))


def test_a_default_is_looked_up_when_the_config_is_built() -> None:
    chosen = Frame().encoder
    assert chosen.name == "wide" and chosen.config.width == 8 and chosen.entry.plugin == "parts-shop"
    assert Frame().second is None and Frame().more == ()


@pytest.mark.parametrize(
    "given", ["tall", {"name": "tall"}, {"name": "parts-shop:tall", "height": 2}, Choice.of("tall")]
)
def test_a_name_or_a_table(given: Any) -> None:
    chosen = Frame(encoder=given).encoder
    assert (chosen.name, chosen.config.height) == ("tall", 2)


def test_a_table_without_a_name_is_about_the_default() -> None:
    assert Frame.model_validate({"encoder": {}}).encoder == Frame().encoder
    assert Frame.model_validate({"encoder": {"width": 5}}).encoder.config.width == 5
    text = said({"second": {"height": 5}})
    assert "second: name one" in text, "where the default is none there is nothing to complete"


def test_build_gives_the_component_its_config_and_the_rest() -> None:
    built = Frame(encoder={"name": "wide", "width": 3}).encoder.build(extra="more")
    assert type(built).__name__ == "Wide" and built.config.width == 3 and built.extra == "more"


def test_it_survives_the_way_through_toml() -> None:
    frame = Frame.model_validate({"second": "tall", "more": ["wide", {"name": "tall", "height": 9}]})
    written = to_toml(frame.model_dump(mode="json"))
    assert Frame.model_validate(tomllib.loads(written)) == frame
    assert tomllib.loads(written)["encoder"] == {"name": "wide", "width": 8}


def test_none_for_a_component_that_may_be_left_out() -> None:
    for given in ("none", {"name": "none"}, None):
        assert Frame.model_validate({"second": given}).second is None
    assert tomllib.loads(to_toml(Frame().model_dump()))["second"] == "none"
    assert "no encoder is called 'none'" in said({"encoder": "none"})


def test_another_name_drops_the_parameters_of_the_first() -> None:
    preset = {"encoder": {"name": "wide", "width": 16}}
    values, _ = merge([Values("preset", preset), Values("--set", parse_assignment("encoder.name=tall"))])
    assert Frame.model_validate(values).encoder.config.height == 2


def test_mistakes_name_the_key_in_the_whole_config() -> None:
    assert "encoder.width: Input should be greater than 0, got 0 (from --set)" in said(
        {"encoder": {"name": "wide", "width": 0}}
    )
    assert "encoder.widht: no such key, closest: width (from --set)" in said({"encoder": {"name": "wide", "widht": 1}})
    assert "more[0].height: Input should be greater than 0" in said({"more": [{"name": "tall", "height": 0}]})
    assert "second.width: no such key, it has: height" in said({"second": {"name": "tall", "width": 3}})


def test_an_unknown_name_gets_the_registrys_advice() -> None:
    text = said({"encoder": "wyde"})
    assert "encoder: no encoder is called 'wyde' (from --set)\n    closest: wide" in text
    assert "fix: sslrec list encoders" in text


@pytest.mark.parametrize("given", [3, {"name": 3}, []])
def test_a_choice_without_a_name_lists_what_there_is(given: Any) -> None:
    text = said({"encoder": given})
    assert "encoder: name one" in text and "tall" in text and "wide" in text


def test_a_broken_component_is_an_error_of_its_plugin() -> None:
    with pytest.raises(PluginError, match="encoder 'torn' is installed but cannot be imported"):
        Frame.model_validate({"encoder": "torn"})


def test_a_bare_name_is_looked_up_in_the_scenario_of_the_context() -> None:
    frame = Frame.model_validate({"encoder": "odd"}, context={"scenario": "lab"})
    assert frame.encoder.name == "lab/odd"


def test_a_built_choice_is_taken_as_it_is() -> None:
    chosen = Frame().encoder
    assert Frame(encoder=chosen).encoder is chosen
    assert chosen == Frame().encoder and chosen != Frame(encoder="tall").encoder
