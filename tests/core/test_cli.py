"""The command line starts quickly, explains mistakes, and shows what is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sslrec_core.cli import COMMANDS, main
from sslrec_core.testing.plugins import PluginMaker


class Answer(NamedTuple):
    """What a command printed, and its exit code."""

    code: Any
    out: str
    err: str


class Sslrec:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str | Path) -> Answer:
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main([str(argument) for argument in arguments])
        out, err = self.capsys.readouterr()
        return Answer(done.value.code, out, err)


@pytest.fixture
def sslrec(capsys: pytest.CaptureFixture[str], make_plugin: PluginMaker) -> Sslrec:
    return Sslrec(capsys)


PLUGIN = """
    from sslrec_core import hookimpl

    @hookimpl
    def sslrec_models():
        return {"shown": "shop.parts:Shown"}

    @hookimpl
    def sslrec_presets():
        return "shop.presets"
"""

PARTS = '''
    from typing import Annotated, Literal

    from pydantic import PositiveInt
    from sslrec_core.choice import Choice, Of
    from sslrec_core.config import Config, Rate
    from sslrec_core.model import Model


    class Inner(Config):
        rate: Rate = 0.1
        """How often."""
        how: Literal["fast", "slow"] = "fast"


    class Shown(Model):
        """Is shown to the user.

        In several lines.
        """

        revision = 3

        class Config(Model.Config):
            layers: PositiveInt | None = None
            """Rounds of
            propagation."""
            inner: Inner = Inner(rate=0.5)
            augmenter: Annotated[Choice, Of("augmenter")] = Choice.of("edge-drop", keep=0.7)
            parts: tuple[Annotated[Choice, Of("objective")], ...] = ()
            needed: str
'''


@pytest.fixture
def shop(make_plugin: PluginMaker) -> PluginMaker:
    files = {"parts.py": PARTS, "presets/shown/mice.toml": "", "presets/shown/mice.tuned.toml": ""}
    make_plugin("shop", PLUGIN, files=files, version="2.5")
    return make_plugin


def fresh(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a new process."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


# ---- start-up ----------------------------------------------------------------------------------------------------

HEAVY = "heavy = {'torch', 'numpy', 'polars', 'scipy', 'rich.console'} & set(sys.modules); assert not heavy, heavy"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["list"], ["list", "models", "--json"], ["new", "--help"]]
)
def test_help_and_listings_leave_torch_alone(arguments: list[str]) -> None:
    done = fresh(
        "import sys\nfrom sslrec_core.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as done: assert not done.code, done.code\n{HEAVY}",
        SSLREC_PLUGINS="",
    )
    assert done.returncode == 0, done.stderr


def test_help_imports_no_command() -> None:
    done = fresh(
        "import sys\nfrom sslrec_core.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith('sslrec_core.cli.')], 'pydantic' in sys.modules)"
    )
    assert done.stdout.splitlines()[-1] == "['sslrec_core.cli.lazy'] False", done.stderr


def test_help_is_quick() -> None:
    resource = pytest.importorskip("resource", reason="this system does not count a child's processor time")

    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return float(children.ru_utime + children.ru_stime)

    fresh("from sslrec_core.cli import main; main(['--help'])")  # the first one may have to compile
    before = used()
    fresh("from sslrec_core.cli import main; main(['--help'])")
    # Processor time: a busy machine must not fail the test.
    assert used() - before < 0.5


def test_it_is_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sslrec_core.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("sslrec 0.")


# ---- help --------------------------------------------------------------------------------------------------------


def test_help_has_a_line_for_each_command(sslrec: Sslrec) -> None:
    code, out, _ = sslrec("--help")
    lines = dict(line.split(maxsplit=1) for line in out.partition("Commands:\n")[2].splitlines())
    assert code == 0 and list(lines) == list(COMMANDS)
    assert all(line.strip() for line in lines.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(sslrec: Sslrec, name: str) -> None:
    code, out, _ = sslrec(name, "--help")
    assert code == 0 and f"Usage: sslrec {name}" in out
    if COMMANDS[name].endswith(":command"):
        assert f"Example: sslrec {name}" in " ".join(out.split())


def test_new_plugin_has_an_example(sslrec: Sslrec) -> None:
    assert "Example: sslrec new plugin" in sslrec("new", "plugin", "--help").out


# ---- errors ------------------------------------------------------------------------------------------------------


def test_a_mistake_is_explained_without_a_traceback(sslrec: Sslrec) -> None:
    code, out, err = sslrec("show", "popularitx")
    assert (code, out) == (2, "")
    assert err == "sslrec: nothing is called 'popularitx'\n  closest: popularity\n  fix: sslrec list\n"


def test_traceback_shows_where_it_came_from(sslrec: Sslrec) -> None:
    code, _, err = sslrec("--traceback", "show", "popularitx")
    assert code == 2 and err.startswith("Traceback") and "UnknownName: nothing is called" in err


def test_an_unknown_command_gets_a_suggestion(sslrec: Sslrec) -> None:
    assert sslrec("trian") == (2, "", "sslrec: no command is called 'trian'\n  closest: train\n  fix: sslrec --help\n")


def test_an_unknown_option_is_a_mistake(sslrec: Sslrec) -> None:
    code, _, err = sslrec("list", "--jsno")
    assert code == 2 and "--jsno" in err


def test_a_bug_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch, sslrec: Sslrec) -> None:
    from sslrec_core.registry import Registry

    monkeypatch.setattr(Registry, "entries", lambda self, kind: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["list"])


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch, sslrec: Sslrec) -> None:
    from sslrec_core.registry import Registry

    def interrupted(self: Registry, kind: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Registry, "entries", interrupted)
    assert sslrec("list").code == 130


# ---- list, plugins, show -----------------------------------------------------------------------------------------


def test_list_groups_by_kind(sslrec: Sslrec, shop: PluginMaker) -> None:
    out = sslrec("list").out
    assert "\nmodels\n" in out and "\nencoders\n" in out
    (line,) = [line for line in out.splitlines() if line.startswith("  shown") and "Is shown" in line]
    assert line.split(maxsplit=2) == ["shown", "shop", "Is shown to the user."]


@pytest.mark.parametrize("kind", ["model", "models", "MODELS"])
def test_list_takes_one_kind(sslrec: Sslrec, shop: PluginMaker, kind: str) -> None:
    out = sslrec("list", kind).out
    assert out.startswith("models\n") and "encoders" not in out


def test_list_as_json(sslrec: Sslrec, shop: PluginMaker) -> None:
    rows = [json.loads(line) for line in sslrec("list", "--json").out.splitlines()]
    assert {"kind": "model", "name": "shown", "plugin": "shop", "summary": "Is shown to the user."} in rows
    assert {"kind": "preset", "model": "shown", "dataset": "mice", "variant": "tuned", "plugin": "shop"} in rows


def test_list_of_nothing_and_of_an_unknown_kind(sslrec: Sslrec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLREC_PLUGINS", "")
    assert "none is installed" in sslrec("list", "scenarios").out
    code, _, err = sslrec("list", "modls")
    assert code == 2 and "closest: models" in err


def test_list_ends_with_notes_about_broken_plugins(sslrec: Sslrec, make_plugin: PluginMaker) -> None:
    make_plugin("broken", "import nowhere_to_be_found")
    assert (
        sslrec("list", "models").out.splitlines()[-1].startswith("note: plugin broken is installed but has a problem")
    )


def test_plugins_shows_versions_and_offers(sslrec: Sslrec, shop: PluginMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLREC_PLUGINS", "shop")
    shop.forget()
    code, out, _ = sslrec("plugins")
    (line,) = [line for line in out.splitlines() if line.startswith("shop")]
    assert code == 0 and line.split()[1] == "2.5" and line.endswith("ms  1 model, 2 presets")
    found = {row["name"]: row for row in json.loads(sslrec("plugins", "--json").out)}
    assert found["shop"]["offers"] == {"models": 1, "presets": 2} and found["sslrec-core"]["problems"] == []


def test_plugins_exits_with_3_if_there_is_a_problem(sslrec: Sslrec, make_plugin: PluginMaker) -> None:
    make_plugin("broken", "import nowhere_to_be_found")
    code, out, _ = sslrec("plugins")
    assert code == 3 and "  problem: cannot be imported: ModuleNotFoundError" in out


def test_plugins_finds_a_problem_in_an_offer(sslrec: Sslrec, make_plugin: PluginMaker) -> None:
    make_plugin("odd", "from sslrec_core import hookimpl\n@hookimpl\ndef sslrec_backends(): return 3")
    assert sslrec("plugins").code == 3


def test_plugins_says_what_is_off(sslrec: Sslrec, shop: PluginMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLREC_NO_PLUGINS", "shop")
    shop.forget()
    code, out, _ = sslrec("plugins")
    assert code == 0 and "  off: SSLREC_NO_PLUGINS=shop names it" in out


def test_show_tells_all_about_a_component(sslrec: Sslrec, shop: PluginMaker) -> None:
    code, out, _ = sslrec("show", "shown")
    lines = [line.strip() for line in out.splitlines()]
    assert code == 0 and lines[:4] == ["model shown", "Is shown to the user.", "", "In several lines."]
    assert "plugin    shop 2.5" in lines and "revision  3" in lines and "presets   mice, mice (tuned)" in lines
    assert any(line.startswith("file") and "parts.py:" in line for line in lines)
    for option in (
        "embedding_dim = 64    (int > 0)",
        'layers = "none"    (int > 0 | none)',
        "inner.rate = 0.5    (float >= 0, < 1)",
        'inner.how = "fast"    (fast | slow)',
        'augmenter = {name = "edge-drop", keep = 0.7}    (augmenter)',
        "parts = []    (tuple of objective)",
        "needed = required    (str)",
        "Rounds of propagation.",
    ):
        assert option in lines


def test_show_as_json(sslrec: Sslrec, shop: PluginMaker) -> None:
    shown = json.loads(sslrec("show", "shown", "--json").out)
    assert (shown["kind"], shown["plugin"], shown["version"], shown["revision"]) == ("model", "shop", "2.5", 3)
    assert shown["options"][1] == {
        "key": "layers", "type": "int > 0 | none", "default": '"none"', "doc": "Rounds of propagation."
    }  # fmt: skip


def test_show_of_a_name_that_several_kinds_have(sslrec: Sslrec, make_plugin: PluginMaker) -> None:
    source = "from sslrec_core import hookimpl\n@hookimpl\ndef sslrec_models(): return {'bpr': 'twice.parts:BPR'}"
    parts = "from sslrec_core.model import Model\nclass BPR(Model):\n    '''Ranks pairs.'''"
    make_plugin("twice", source, files={"parts.py": parts})
    assert [line for line in sslrec("show", "bpr").out.splitlines() if line[:1].strip()] == [
        "model bpr",
        "objective bpr",
    ]
    assert sslrec("show", "bpr", "--kind", "model").out.startswith("model bpr")
    assert sslrec("show", "bpr", "--kind", "scenario").code == 2
    assert sslrec("show", "bpr", "--kind", "modle").code == 2


def test_show_of_something_without_options(sslrec: Sslrec) -> None:
    assert sslrec("show", "torch").out.startswith("backend torch\n")


def test_show_of_everything_the_core_offers(sslrec: Sslrec) -> None:
    from sslrec_core.registry import KINDS, registry

    names = {entry.full_name for kind in KINDS for entry in registry().entries(kind) if entry.plugin == "sslrec-core"}
    assert len(names) >= 15
    for name in names:
        assert sslrec("show", name).code == 0, name


# ---- config ------------------------------------------------------------------------------------------------------


@pytest.fixture
def worlds(make_plugin: PluginMaker) -> None:
    from sslrec_core.testing.bench import offer_worlds

    offer_worlds()


PLAIN = ["--set", "scenario.name=plain"]


def test_config_prints_values_with_their_origins(sslrec: Sslrec, worlds: None, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[train]\nepochs = 5\n")
    code, out, _ = sslrec("config", "itemknn", "-d", "checkerboard", *PLAIN, "-c", file, "--set", "run.seed=7")
    lines = {line.partition(" = ")[0]: line.partition("  # ")[2] for line in out.splitlines() if " = " in line}
    assert code == 0 and lines["epochs"] == "mine.toml" and lines["seed"] == "--set" and lines["clip"] == "default"
    assert all(lines.values()), "every line says where its value comes from"
    read = tomllib.loads(out)
    assert read["train"]["epochs"] == 5 and read["model"]["name"] == "itemknn" and read["train"]["clip"] == "none"


def test_what_config_prints_is_a_config(sslrec: Sslrec, worlds: None, tmp_path: Path) -> None:
    first = sslrec("config", "itemknn", "-d", "checkerboard", *PLAIN, "--set", "train.patience=none").out
    (tmp_path / "again.toml").write_text(first)
    again = sslrec("config", "-c", tmp_path / "again.toml").out
    assert tomllib.loads(again) == tomllib.loads(first)


def test_config_of_the_published_protocol(sslrec: Sslrec, worlds: None) -> None:
    answer = sslrec("config", "itemknn", "-d", "checkerboard", *PLAIN, "--protocol", "published", "--json")
    found = json.loads(answer.out)
    assert found["config"]["train"]["select_on"] == "test"
    assert found["origins"]["train.select_on"] == "--protocol published"


def test_config_explains_a_mistake(sslrec: Sslrec, worlds: None) -> None:
    code, _, err = sslrec("config", "itemknn", "-d", "checkerboard", *PLAIN, "--set", "train.epoch=3")
    assert code == 2 and "train.epoch: no such key, closest: epochs (from --set)" in err


# ---- train -------------------------------------------------------------------------------------------------------


def test_train_says_that_a_precision_is_slow_here(
    sslrec: Sslrec, worlds: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    words = ("train", "popularity", "-d", "checkerboard", *PLAIN, "--device", "cpu", "--set", "train.precision=bf16")
    said = sslrec(*words, "-o", tmp_path / "loud")
    assert said.code == 0 and "'bf16' is slow on this CPU" in said.err
    quiet = sslrec(*words, "-o", tmp_path / "quiet", "--quiet")
    assert quiet.code == 0 and quiet.err == ""


# ---- -p and commands of plugins ----------------------------------------------------------------------------------


def test_a_plugin_of_one_file(sslrec: Sslrec, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from sslrec_core import hookimpl\n@hookimpl\ndef sslrec_models(): return {'mine': 'json:JSONDecoder'}"
    )
    assert "mine  " in sslrec("-p", path, "list", "models").out
    assert sslrec("-p", tmp_path / "absent.py", "list").code == 3


def test_a_plugin_adds_commands(sslrec: Sslrec, make_plugin: PluginMaker) -> None:
    files = {"commands.py": 'def greet(name: str) -> None:\n    """Greet somebody."""\n    print(f"hello {name}")\n'}
    make_plugin("greeter", files=files, commands={"greet": "greeter.commands:greet", "list": "greeter.commands:greet"})
    sys.modules.pop("greeter.commands", None)
    assert "  greet      Greet somebody.\n" in sslrec("--help").out and "greeter.commands" not in sys.modules
    assert sslrec("greet", "world").out == "hello world\n"
    assert sslrec("list", "models").out.startswith("models"), "a plugin does not replace a command of the core"


def test_a_command_that_cannot_be_imported_or_is_offered_twice(sslrec: Sslrec, make_plugin: PluginMaker) -> None:
    make_plugin("one-giver", commands={"torn": "one_giver.nowhere:x", "twice": "one_giver:x"})
    make_plugin("two-giver", commands={"twice": "two_giver:x"})
    code, _, err = sslrec("torn")
    assert code == 3 and "the command 'torn' is installed but cannot be imported" in err and "one-giver" in err
    code, _, err = sslrec("twice")
    assert code == 2 and "offered by one-giver and two-giver" in err


# ---- new plugin --------------------------------------------------------------------------------------------------


def test_new_plugin_writes_a_plugin_that_keeps_the_contracts(sslrec: Sslrec, tmp_path: Path) -> None:
    folder = tmp_path / "noisy"
    answer = sslrec("new", "plugin", "sslrec-noisy", "-o", folder)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert answer.code == 0 and files == [
        "README.md",
        "pyproject.toml",
        "sslrec_noisy.py",
        "tests/test_sslrec_noisy.py",
    ]
    assert not [path for path in folder.rglob("*") if path.is_file() and "$" in path.read_text()]
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["sslrec.plugins"] == {"sslrec_noisy": "sslrec_noisy"}

    # Installed as pip would leave it: on the path, with its metadata.
    info = folder / "sslrec_noisy-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: sslrec-noisy\nVersion: 0.1.0\nRequires-Dist: sslrec-core>=0.1\n"
    )
    (info / "entry_points.txt").write_text("[sslrec.plugins]\nsslrec_noisy = sslrec_noisy\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(folder), "SSLREC_PLUGINS": "sslrec-noisy"},
    )  # fmt: skip
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr


def test_new_plugin_does_not_overwrite(sslrec: Sslrec, tmp_path: Path) -> None:
    (tmp_path / "noisy").mkdir()
    code, _, err = sslrec("new", "plugin", "noisy", "-o", tmp_path / "noisy")
    assert code == 2 and "exists already" in err and not list((tmp_path / "noisy").iterdir())


@pytest.mark.parametrize(
    "name", ["Noisy", "noisy_one", "1noisy", "-x-", "json", "import", "sslrec-core", "torch", "a--b", "ä"]
)
def test_new_plugin_refuses_names_that_cannot_be(sslrec: Sslrec, tmp_path: Path, name: str) -> None:
    code, _, err = sslrec("new", "plugin", "-o", tmp_path / "out", "--", name)
    assert code == 2 and f"a plugin cannot be called '{name}'" in err and "fix: sslrec new plugin sslrec-" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", lambda: 1)() == 0, reason="this user may write anywhere")
def test_new_plugin_where_nothing_can_be_written(sslrec: Sslrec, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert sslrec("new", "plugin", "noisy", "-o", tmp_path / "noisy").code == 2


def test_new_plugin_below_a_file(sslrec: Sslrec, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = sslrec("new", "plugin", "noisy", "-o", tmp_path / "file" / "noisy")
    assert code == 2 and "cannot write" in err
