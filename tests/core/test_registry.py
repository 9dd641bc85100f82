"""Plugins are found, checked one by one, and their names mean the same whatever else is installed."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from sslrec_core.errors import AmbiguousName, ConfigError, PluginError, UnknownName
from sslrec_core.registry import BASES, KINDS, registry, reset
from sslrec_core.testing.plugins import PluginMaker

HEAD = "from sslrec_core import hookimpl\n"


def offering(**answers: object) -> str:
    """A plugin module that answers each ``sslrec_<kind>`` with the given value."""
    return HEAD + "".join(
        f"@hookimpl\ndef sslrec_{hook}():\n    return {answer!r}\n" for hook, answer in answers.items()
    )


@pytest.fixture
def kg(make_plugin: PluginMaker) -> PluginMaker:
    """A plugin that owns the scenario ``lab`` and offers a model and a dataset in it."""
    make_plugin(
        "lab-owner",
        offering(
            scenarios={"lab": "lab_owner.parts:Lab"},
            models={"lab/gnn": "lab_owner.parts:GNN", "lab/alias": "lab_owner.parts:GNN"},
            datasets={"lab/mice": "lab_owner.parts:Mice"},
        ),
        files={
            "parts.py": '''
                from sslrec_core.model import Model

                class GNN(Model):
                    """Passes messages.

                    At length.
                    """

                class Lab: ...
            ''',
            "elsewhere.py": "from .parts import GNN as Net",
        },
    )
    return make_plugin


# ---- discovery ---------------------------------------------------------------------------------------------------


def test_the_core_is_a_plugin_like_any_other() -> None:
    core = registry().plugins["sslrec-core"]
    assert core.problem is None and core.version is not None and core.module == "sslrec_core.builtin.plugin"
    assert len(registry().entries("model")) >= 4


def test_a_plugin_has_a_version_and_a_load_time(make_plugin: PluginMaker) -> None:
    plugin = make_plugin("slow-one", "import time\ntime.sleep(0.02)\n", version="3.1")
    assert plugin.version == "3.1" and plugin.seconds >= 0.02 and plugin.problem is None


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "import nowhere_to_be_found",
            "cannot be imported: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("raise SystemError('no')", "cannot be imported: SystemError: no"),
        (offering(modles={}), "there is no hook sslrec_modles, closest: sslrec_models"),
        (
            HEAD + "@hookimpl\ndef sslrec_epoch(run): ...",
            "sslrec_epoch is a run hook: implement it as a method of a Callback",
        ),
        (HEAD + "@hookimpl\ndef sslrec_models(run): ...", "'run'"),
        ("def sslrec_models(): return {}", "sslrec_models lacks @hookimpl, so it is never asked"),
    ],
)
def test_a_broken_plugin_is_reported_and_stops_no_other(make_plugin: PluginMaker, source: str, problem: str) -> None:
    make_plugin("a-good-one", offering(models={"good": "a_good_one.parts:Good"}))
    broken = make_plugin("broken", source)
    make_plugin("z-good-one", offering(models={"fine": "z_good_one.parts:Fine"}))
    assert problem in (registry().plugins["broken"].problem or "")
    assert registry().find("model", "good").plugin == "a-good-one"
    assert registry().find("model", "fine").plugin == "z-good-one"
    assert broken.name == "broken"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (offering(models=["x"]), "sslrec_models() returns a list, not a mapping from names"),
        (offering(models={"Bad_Name": "m:C"}), "'Bad_Name', which is not name or scenario/name in lower case"),
        (offering(models={"a/b/c": "m:C"}), "'a/b/c', which is not name or scenario/name"),
        (offering(scenarios={"a/b": "m:C"}), "'a/b', which is not a word in lower case"),
        (offering(models={"x": "no-colon"}), "'x' as 'no-colon', which is neither \"module:Class\" nor a class"),
        (HEAD + "@hookimpl\ndef sslrec_models(): return 1 / 0", "sslrec_models() failed with ZeroDivisionError"),
        (HEAD + "@hookimpl(wrapper=True)\ndef sslrec_models(): return (yield)", "registration hooks have none"),
    ],
)
def test_a_malformed_offer_is_a_problem_of_its_plugin(make_plugin: PluginMaker, source: str, problem: str) -> None:
    make_plugin("odd", source)
    for kind in KINDS:
        registry().entries(kind)
    assert problem in (registry().plugins["odd"].problem or "")


def test_a_dataset_keeps_the_spelling_of_its_publishers(make_plugin: PluginMaker) -> None:
    make_plugin("odd", offering(datasets={"lab/wild_mice": "odd.m:C"}))
    assert registry().find("dataset", "wild_mice").plugin == "odd"


def test_what_is_right_in_a_malformed_offer_stays(make_plugin: PluginMaker) -> None:
    make_plugin("odd", offering(models={"UPPER": "odd.m:C", "right": "odd.m:C"}))
    assert registry().find("model", "right").plugin == "odd"


def test_its_own_requirement_on_the_core_is_checked_before_it_is_imported(make_plugin: PluginMaker) -> None:
    plugin = make_plugin("newer", "raise SystemExit('must not be imported')", requires=["sslrec_core>=99", "numpy"])
    assert plugin.problem is not None and plugin.problem.startswith("needs sslrec-core>=99, ")
    off = make_plugin("marked", requires=["sslrec-core>=99; python_version < '3'", "sslrec-core>=0.1"])
    assert off.problem is None


def test_a_failed_look_up_mentions_plugins_that_are_off_or_broken(make_plugin: PluginMaker) -> None:
    make_plugin("broken", "import nowhere_to_be_found")
    with pytest.raises(UnknownName, match="note: plugin broken is installed but has a problem: cannot be imported"):
        registry().find("model", "whatever")


def test_switches(make_plugin: PluginMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one-plugin", "two-plugin"):
        make_plugin(name, offering(models={name: "m:C"}))
    monkeypatch.setenv("SSLREC_PLUGINS", " one_plugin , ")
    reset()
    assert registry().plugins["one-plugin"].off is None
    assert registry().plugins["two-plugin"].off == "SSLREC_PLUGINS= one_plugin ,  leaves it out"
    assert registry().plugins["sslrec-core"].off is None, "the core's own plugin stays on"
    with pytest.raises(UnknownName, match="note: plugin two-plugin is installed but off"):
        registry().find("model", "two-plugin")

    monkeypatch.delenv("SSLREC_PLUGINS")
    monkeypatch.setenv("SSLREC_NO_PLUGINS", "one-plugin")
    reset()
    assert registry().plugins["one-plugin"].off and not registry().plugins["two-plugin"].off


# ---- names -------------------------------------------------------------------------------------------------------


def test_three_spellings_of_one_name(kg: PluginMaker) -> None:
    entries = [registry().find("model", name) for name in ("gnn", "lab/gnn", "lab-owner:lab/gnn", "lab-owner:gnn")]
    assert len(set(entries)) == 1
    assert (
        entries[0].full_name == "lab-owner:lab/gnn" and entries[0].scenario == "lab" and entries[0].short_name == "gnn"
    )
    assert registry().find("model", "alias").target == entries[0].target


def test_the_plugin_of_the_scenario_owns_its_names(kg: PluginMaker) -> None:
    kg(
        "a-rival",
        offering(models={"lab/gnn": "a_rival.m:C", "lab/newcomer": "a_rival.m:C", "other/gnn": "a_rival.m:C"}),
    )
    for name in ("gnn", "lab/gnn"):
        assert registry().find("model", name).plugin == "lab-owner"
    rival = registry().find("model", "a-rival:lab/gnn")
    assert rival.plugin == "a-rival" and registry().written(rival) == "a-rival:lab/gnn"
    assert registry().written(registry().find("model", "gnn")) == "lab/gnn"
    assert registry().find("model", "newcomer").plugin == "a-rival"


def test_two_owners_are_both_named(kg: PluginMaker) -> None:
    kg("second", offering(scenarios={"field": "m:C"}, models={"field/gnn": "second.m:C"}))
    with pytest.raises(AmbiguousName) as caught:
        registry().find("model", "gnn")
    assert "lab-owner and second" in str(caught.value) or "second and lab-owner" in str(caught.value)
    assert "field/gnn, lab/gnn" in str(caught.value)
    assert registry().find("model", "gnn", scenario="field").plugin == "second"


def test_a_conflict_that_nobody_owns_names_both_claimants(make_plugin: PluginMaker) -> None:
    for name in ("left", "right"):
        make_plugin(name, offering(encoders={"twin": f"{name}.m:C"}))
    with pytest.raises(AmbiguousName, match="offered by left and right\n  which of: left:twin, right:twin"):
        registry().find("encoder", "twin")


def test_installing_a_rival_does_not_take_a_name_of_the_core(make_plugin: PluginMaker) -> None:
    before = registry().find("model", "popularity")
    make_plugin("rival", offering(models={"popularity": "rival.m:C", "lab/popularity": "rival.m:C"}))
    assert registry().find("model", "popularity") == before


def test_a_bare_dataset_is_looked_up_in_the_scenario_of_the_model(kg: PluginMaker) -> None:
    kg("second", offering(scenarios={"field": "m:C"}, datasets={"field/mice": "m:C", "field/crops": "m:C"}))
    assert registry().find("dataset", "mice", "field").plugin == "second"
    assert registry().find("dataset", "mice", "lab").plugin == "lab-owner"
    assert registry().find("dataset", "field/crops", "lab").plugin == "second", "a full name is found anywhere"
    assert registry().find("dataset", "table", "lab").plugin == "sslrec-core", "a bare name fits any scenario"
    with pytest.raises(
        UnknownName, match="no dataset is called 'crops' in scenario 'lab'\n  of another scenario: field/crops"
    ):
        registry().find("dataset", "crops", "lab")


def test_an_unknown_name_gets_suggestions(kg: PluginMaker) -> None:
    with pytest.raises(UnknownName) as caught:
        registry().find("model", "gnnn")
    assert caught.value.problem == "no model is called 'gnnn'"
    assert caught.value.facts[0] == "closest: lab/gnn" and caught.value.fix == "sslrec list models"
    with pytest.raises(UnknownName, match="'mice' is a dataset"):
        registry().find("model", "mice")
    with pytest.raises(UnknownName, match="no plugin is called 'nobody', installed: sslrec-core, "):
        registry().find("model", "nobody:gnn")


# ---- loading -----------------------------------------------------------------------------------------------------


def test_an_entry_is_imported_when_it_is_used(kg: PluginMaker) -> None:
    import sys

    entry = registry().find("model", "gnn")
    assert entry.summary == "Passes messages."
    assert "lab_owner.parts" not in sys.modules
    assert entry.load().__name__ == "GNN" and entry.load() is entry.load()
    assert "lab_owner.parts" in sys.modules


def test_a_summary_follows_a_re_export_and_is_empty_where_there_is_nothing(
    make_plugin: PluginMaker, kg: PluginMaker
) -> None:
    kg("again", offering(models={"again": "lab_owner.elsewhere:Net", "lost": "lab_owner.nowhere:Net"}))
    assert registry().find("model", "again").summary == "Passes messages."
    assert registry().find("model", "lost").summary == ""


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("bad.parts:Missing", "AttributeError: module 'bad.parts' has no attribute 'Missing'"),
        ("bad.nowhere:C", "ModuleNotFoundError: No module named 'bad.nowhere'"),
        ("bad.parts:Plain", "model 'it' is not a Model\n  bad.parts:Plain, offered by bad, is derived from object"),
        ("bad.parts:number", "offered by bad, is a int"),
    ],
)
def test_a_component_that_cannot_be_used_is_an_error_that_names_its_plugin(
    make_plugin: PluginMaker, target: str, said: str
) -> None:
    make_plugin("bad", offering(models={"it": target}), files={"parts.py": "number = 1\nclass Plain: ..."})
    with pytest.raises(PluginError) as caught:
        registry().find("model", "it").load()
    assert said in str(caught.value) and "offered by bad" in str(caught.value) and caught.value.exit_code == 3


def test_a_backend_must_have_what_the_protocol_asks(make_plugin: PluginMaker) -> None:
    make_plugin(
        "bad", offering(backends={"half": "bad.parts:Half"}), files={"parts.py": "class Half:\n    name = 'half'"}
    )
    with pytest.raises(PluginError, match="backend 'half' is not a GraphBackend"):
        registry().find("backend", "half").load()
    assert registry().find("backend", "torch").load().__name__ == "TorchBackend"


def test_every_kind_has_a_hook_and_a_base_that_exists() -> None:
    from importlib import import_module

    assert len(BASES) == 9
    for kind, base in BASES.items():
        module, _, name = base.partition(":")
        assert isinstance(getattr(import_module(module), name), type), kind


# ---- one file ----------------------------------------------------------------------------------------------------


def test_a_plugin_of_one_file(make_plugin: PluginMaker, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        dedent('''
            from sslrec_core import hookimpl
            from sslrec_core.model import Encoder

            class Mine(Encoder):
                """Is mine."""

            @hookimpl
            def sslrec_encoders():
                return {"mine": Mine}
        ''')
    )
    plugin = registry().add_file(path)
    entry = registry().find("encoder", "mine")
    assert plugin.name == entry.plugin == "mine.py" and entry.summary == "Is mine."
    assert entry.load().__name__ == "Mine" and entry.where.endswith(":Mine")
    registry().add_file(path)
    assert len([one for one in registry().entries("encoder") if one.name == "mine"]) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 +", "line 1\n  SyntaxError"),
        ("x = 1\nimport nowhere_to_be_found", "line 2: import nowhere_to_be_found\n  ModuleNotFoundError"),
        (offering(modles={}), "there is no hook sslrec_modles"),
    ],
)
def test_a_file_that_cannot_be_a_plugin_is_an_error_at_once(
    make_plugin: PluginMaker, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(PluginError) as caught:
        registry().add_file(path)
    assert said in str(caught.value)


def test_a_file_that_is_not_there(make_plugin: PluginMaker, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="there is no plugin file"):
        registry().add_file(tmp_path / "absent.py")


# ---- presets -----------------------------------------------------------------------------------------------------


@pytest.fixture
def presets(make_plugin: PluginMaker) -> PluginMaker:
    offers = {"models": {"lab/gnn": "own.m:C"}, "scenarios": {"lab": "own.m:C"}}
    make_plugin(
        "own",
        offering(**offers, presets="own.presets"),
        files={
            "presets/gnn/mice.toml": "[model]\nlayers = 1",
            "presets/gnn/mice.tuned.toml": "[model]\nlayers = 2",
            "presets/gnn/default.toml": "[model]\nlayers = 3",
        },
    )
    make_plugin(
        "tuner",
        offering(presets="tuner.presets"),
        files={"presets/gnn/mice.toml": "[model]\nlayers = 4", "presets/gnn/mice.deep.toml": "[model]\nlayers = 5"},
    )
    return make_plugin


@pytest.mark.parametrize(
    ("dataset", "name", "origin", "layers"),
    [
        ("mice", None, "preset mice", 1),
        ("lab/mice", None, "preset mice", 1),
        ("rats", None, "preset default", 3),
        ("mice", "tuned", "preset mice.tuned", 2),
        ("mice", "tuner", "preset tuner:mice", 4),
        ("mice", "tuner:deep", "preset tuner:mice.deep", 5),
    ],
)
def test_a_preset_comes_from_the_models_own_plugin_unless_asked(
    presets: PluginMaker, dataset: str, name: str | None, origin: str, layers: int
) -> None:
    found = registry().preset(registry().find("model", "gnn"), dataset, name)
    assert found == (origin, {"model": {"layers": layers}})


def test_no_preset(presets: PluginMaker) -> None:
    model = registry().find("model", "gnn")
    assert registry().preset(model, "mice", "none") is None
    assert registry().preset(registry().find("model", "popularity"), "mice") is None
    with pytest.raises(UnknownName, match="no preset 'deep' of lab/gnn for mice\n  there are: own: for default"):
        registry().preset(model, "mice", "deep")
    assert len(registry().presets()) >= 5


def test_a_preset_that_does_not_parse_names_its_file(make_plugin: PluginMaker) -> None:
    make_plugin(
        "own", offering(models={"it": "own.m:C"}, presets="own.presets"), files={"presets/it/mice.toml": "[model\n"}
    )
    with pytest.raises(PluginError, match=r"mice\.toml is not TOML\n  line 1, column 7"):
        registry().preset(registry().find("model", "it"), "mice")


def test_a_package_of_presets_that_is_not_there_is_a_problem(make_plugin: PluginMaker) -> None:
    make_plugin("own", offering(presets="own.presets"))
    make_plugin("other", offering(presets=3))
    registry().presets()
    assert "names the package 'own.presets'" in (registry().plugins["own"].problem or "")
    assert "returns a int" in (registry().plugins["other"].problem or "")


def test_errors_are_of_the_documented_kinds() -> None:
    assert UnknownName.exit_code == AmbiguousName.exit_code == ConfigError.exit_code == 2
