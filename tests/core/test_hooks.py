"""Each hook does what its specification says, has a test of its own here, and a heading in the documentation."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sslrec_core import API, hooks
from sslrec_core.discovery import HOOKS
from sslrec_core.registry import KINDS, registry
from sslrec_core.testing.plugins import PluginMaker

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hooks.md"
RUN_HOOKS = tuple(name for name in vars(hooks.RunHooks) if name.startswith("sslrec_"))

PLUGIN = '''
    from sslrec_core import hookimpl
    from sslrec_core.builtin.evaluators import FullRanking
    from sslrec_core.builtin.objectives import BPR
    from sslrec_core.data import Dataset, Scenario
    from sslrec_core.graph import TorchBackend
    from sslrec_core.loop import Callback
    from sslrec_core.model import Augmenter, Embeddings, Encoder, Model, Objective
    from torch import nn


    class Vectors(Model):
        """One vector for each user and item."""

        def __init__(self, config, data):
            super().__init__(config, data)
            self.users = nn.Embedding(data.n_users, config.embedding_dim)
            self.items = nn.Embedding(data.n_items, config.embedding_dim)
            self.ranking = BPR(BPR.Config())

        def losses(self, batch):
            return {
                "ranking": self.ranking(
                    self.users(batch.users), self.items(batch.positives), self.items(batch.negatives)
                )
            }

        def embeddings(self):
            return Embeddings(self.users.weight, self.items.weight)


    class Spy(Callback):
        """Writes down what it is told."""

        calls = []

        @hookimpl(wrapper=True)
        def sslrec_run(self, run):
            self.calls.append("run begins")
            result = yield
            self.calls.append("run ends")
            return result

        @hookimpl(wrapper=True)
        def sslrec_epoch(self, run):
            means = yield
            self.calls.append(("epoch", run.epoch, sorted(means)))
            return means

        @hookimpl
        def sslrec_step(self, losses):
            self.calls.append(("step", sorted(losses), {type(loss).__name__ for loss in losses.values()}))

        @hookimpl(wrapper=True)
        def sslrec_evaluate(self, split):
            metrics = yield
            self.calls.append(("evaluate", split))
            return {**metrics, "spied": 1.0}

        @hookimpl
        def sslrec_should_stop(self, run):
            return "seen enough" if run.epoch >= 1 else None


    class Answering(Callback):
        """Answers before the core does."""

        @hookimpl
        def sslrec_epoch(self):
            return {"skipped": 0.0}

        @hookimpl
        def sslrec_evaluate(self):
            return {"ndcg@20": 0.5}


    class Lab(Scenario):
        """Interactions as they are."""


    class Ranker(FullRanking):
        """Ranks."""


    class Kernels(TorchBackend):
        """Multiplies."""


    class Straight(Encoder):
        """Changes nothing."""


    class Still(Augmenter):
        """Moves nothing."""


    class Nothing(Objective):
        """Asks nothing."""


    class Mice(Dataset):
        """Runs in mazes."""


    @hookimpl
    def sslrec_scenarios():
        return {"maze": Lab}

    @hookimpl
    def sslrec_datasets():
        return {"maze/mice": Mice}

    @hookimpl
    def sslrec_models():
        return {"vectors": "hook_user.plugin:Vectors"}

    @hookimpl
    def sslrec_encoders():
        return {"straight": Straight}

    @hookimpl
    def sslrec_augmenters():
        return {"still": Still}

    @hookimpl
    def sslrec_objectives():
        return {"nothing": Nothing}

    @hookimpl
    def sslrec_evaluators():
        return {"ranker": Ranker}

    @hookimpl
    def sslrec_callbacks():
        return {"spy": Spy, "answering": Answering}

    @hookimpl
    def sslrec_backends():
        return {"kernels": Kernels}

    @hookimpl
    def sslrec_presets():
        return "hook_user.presets"
'''


@pytest.fixture(autouse=True)
def _plugin(make_plugin: PluginMaker) -> None:
    plugin = make_plugin("hook-user", PLUGIN, files={"presets/vectors/mice.toml": "[model]\nembedding_dim = 8"})
    assert plugin.problem is None


def offered(kind: str, name: str, summary: str) -> None:
    """The plugin's own offer is found, loads, and says what it is."""
    entry = registry().find(kind, name)
    assert (entry.plugin, entry.summary) == ("hook-user", summary)
    assert entry.load().__module__ == "hook_user.plugin"


# ---- registration hooks ------------------------------------------------------------------------------------------


def test_sslrec_scenarios() -> None:
    offered("scenario", "maze", "Interactions as they are.")


def test_sslrec_datasets() -> None:
    offered("dataset", "maze/mice", "Runs in mazes.")


def test_sslrec_models() -> None:
    offered("model", "vectors", "One vector for each user and item.")


def test_sslrec_encoders() -> None:
    offered("encoder", "straight", "Changes nothing.")


def test_sslrec_augmenters() -> None:
    offered("augmenter", "still", "Moves nothing.")


def test_sslrec_objectives() -> None:
    offered("objective", "nothing", "Asks nothing.")


def test_sslrec_evaluators() -> None:
    offered("evaluator", "ranker", "Ranks.")


def test_sslrec_callbacks() -> None:
    offered("callback", "spy", "Writes down what it is told.")


def test_sslrec_backends() -> None:
    offered("backend", "kernels", "Multiplies.")


def test_sslrec_presets() -> None:
    found = registry().preset(registry().find("model", "vectors"), "maze/mice")
    assert found == ("preset mice", {"model": {"embedding_dim": 8}})


# ---- run hooks ---------------------------------------------------------------------------------------------------


class Ran:
    """A short run, with what the spy wrote down."""

    def __init__(self, directory: Path, callbacks: str) -> None:
        from sslrec_core.running import Run
        from sslrec_core.settings import resolve
        from sslrec_core.testing.bench import offer_worlds

        offer_worlds()
        resolved = resolve(
            "vectors",
            "checkerboard",
            assignments=["train.epochs=5", "train.batch_size=256", "run.device=cpu", f"run.callbacks={callbacks}"],
            options={"scenario": {"name": "plain"}},
        )
        self.calls: list[Any] = sys.modules["hook_user.plugin"].Spy.calls
        self.calls.clear()
        self.result = Run.create(resolved, directory).execute()
        self.events = (directory / "metrics.jsonl").read_text()

    def of(self, kind: str) -> list[Any]:
        """What was written down under one word."""
        return [call for call in self.calls if call[0] == kind]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def spied(tmp_path: Path, cache: None) -> Ran:
    return Ran(tmp_path / "run", '["spy"]')


def test_sslrec_run(spied: Ran) -> None:
    assert spied.calls[0] == "run begins" and spied.calls[-1] == "run ends"
    assert spied.result.path.name == "run"


def test_sslrec_epoch(spied: Ran, tmp_path: Path) -> None:
    assert spied.of("epoch") == [("epoch", 0, ["ranking"]), ("epoch", 1, ["ranking"])]
    assert '"skipped"' in Ran(tmp_path / "answered", '["answering"]').events


def test_sslrec_step(spied: Ran) -> None:
    steps = spied.of("step")
    assert len(steps) >= 2 and all(step == ("step", ["ranking"], {"Tensor"}) for step in steps)


def test_sslrec_evaluate(spied: Ran, tmp_path: Path) -> None:
    assert spied.of("evaluate") == [("evaluate", "valid"), ("evaluate", "valid"), ("evaluate", "test")]
    assert spied.result.metrics["spied"] == 1.0, "a wrapper may change the answer"
    answered = Ran(tmp_path / "answered", '["answering"]').result
    assert answered.metrics == {"ndcg@20": 0.5}, "the first answer counts, and the core answers last"


def test_sslrec_should_stop(spied: Ran) -> None:
    assert len(spied.of("epoch")) == 2 and "seen enough" in spied.events


def test_callbacks_that_are_not_named_hear_nothing(tmp_path: Path, cache: None) -> None:
    assert Ran(tmp_path / "run", "[]").calls == []


# ---- the contract itself -----------------------------------------------------------------------------------------


def all_hooks() -> dict[str, Any]:
    return {
        **{name: getattr(hooks, name) for name in HOOKS},
        **{name: vars(hooks.RunHooks)[name] for name in RUN_HOOKS},
    }


def test_there_are_ten_registration_hooks_and_five_run_hooks() -> None:
    assert (len(HOOKS), len(RUN_HOOKS), API) == (10, 5, 1)
    assert set(HOOKS) == {f"sslrec_{kind}s" for kind in KINDS} | {"sslrec_presets"}


@pytest.mark.parametrize("name", all_hooks())
def test_every_hook_has_a_test_named_after_it(name: str) -> None:
    assert callable(globals().get(f"test_{name}"))


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside these tests")
@pytest.mark.parametrize("name", all_hooks())
def test_every_hook_has_a_heading_with_its_exact_signature(name: str) -> None:
    found = inspect.signature(all_hooks()[name])
    arguments = ", ".join(f"{one.name}: {one.annotation}" for one in found.parameters.values() if one.name != "self")
    assert f"\n### `{name}({arguments}) -> {found.return_annotation}`\n" in PAGE.read_text()


@pytest.mark.parametrize("name", all_hooks())
def test_every_hook_answers_the_same_questions(name: str) -> None:
    text = inspect.getdoc(all_hooks()[name]) or ""
    questions = ["When:", "Answer:", "Since:", "Wrappers:" if name in RUN_HOOKS else "Collected:"]
    assert [question for question in questions if question not in text] == []


def test_the_contract_imports_nothing_of_sslrec() -> None:
    source = inspect.getsource(hooks).replace("    from sslrec_core", "")
    assert "import sslrec_core" not in source and "from sslrec_core" not in source
