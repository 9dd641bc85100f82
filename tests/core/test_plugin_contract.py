"""Every check of the contract of installed plugins can fail, and a sound plugin passes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from sslrec_core.testing.distributions import PluginContract
from sslrec_core.testing.plugins import PluginMaker

PARTS = '''
from sslrec_core.model import Objective


class One(Objective):
    """The first of two objectives."""


class Two(Objective):
    """The second of two objectives."""


class Mumbling(Objective):
    """mumbles"""
'''
OFFER = """
from sslrec_core import hookimpl


@hookimpl
def sslrec_objectives():
    return OFFERED
"""
SOUND = {"made-one": "sslrec_made.parts:One", "made-two": "sslrec_made.parts:Two"}
Make = Callable[..., type[PluginContract]]


@pytest.fixture
def made(make_plugin: PluginMaker, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Install a plugin with some offers, and give the test class that its author would write."""
    monkeypatch.setenv("PYTHONPATH", str(make_plugin.site))

    def make(offered: dict[str, str] = SOUND, before: str = "", **about: Any) -> type[PluginContract]:
        source = before + OFFER.replace("OFFERED", repr(offered))
        make_plugin("sslrec-made", source, files={"parts.py": PARTS}, **about)
        return type("TestPlugin", (PluginContract,), {"distribution": "sslrec-made", "at_least": 2})

    return make


BROKEN = [
    ("test_it_is_installed_without_a_problem", {"offered": {"made-one": SOUND["made-one"]}}, "1 names are offered"),
    ("test_it_is_installed_without_a_problem", {"offered": {"Made One": SOUND["made-one"]}}, "Made One"),
    ("test_every_name_means_what_it_offers", {"offered": {"bpr": SOUND["made-one"]} | SOUND}, "mean another"),
    ("test_every_component_can_be_imported", {"offered": SOUND | {"made-x": "sslrec_made.parts:Three"}}, "Three"),
    ("test_every_component_can_be_imported", {"offered": SOUND | {"made-x": "sslrec_made.parts:Mumbling"}}, "mumbles"),
    ("test_names_stand_in_order", {"offered": dict(reversed(SOUND.items()))}, "not in order: made-two, made-one"),
    ("test_listing_it_imports_nothing_heavy", {"before": "import polars"}, "sslrec_made.plugin imports"),
    ("test_it_needs_the_core_and_no_sibling", {"requires": []}, "does not require sslrec-core"),
    ("test_it_needs_the_core_and_no_sibling", {"requires": ["sslrec-core"]}, "does not say which"),
    (
        "test_it_needs_the_core_and_no_sibling",
        {"requires": ["sslrec-core>=0.1", "sslrec-other"]},
        "requires another plugin: sslrec-other",
    ),
]
CHECKS = [name for name, _ in inspect.getmembers(PluginContract, inspect.isfunction) if name.startswith("test_")]


def test_each_check_has_something_broken_for_it() -> None:
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_plugin_passes(made: Make, check: str) -> None:
    getattr(made()(), check)()


@pytest.mark.parametrize(("check", "about", "why"), BROKEN)
def test_a_broken_plugin_is_found_out(
    made: Make, make_plugin: PluginMaker, check: str, about: dict[str, Any], why: str
) -> None:
    make_plugin("sslrec-other", "")
    with pytest.raises((Exception, pytest.fail.Exception), match=why):
        getattr(made(**about)(), check)()


def test_a_plugin_that_is_not_there_is_named(made: Make) -> None:
    contract = made()
    contract.distribution = "sslrec-gone"
    with pytest.raises(pytest.fail.Exception, match="sslrec-gone is not installed"):
        contract().test_it_is_installed_without_a_problem()
