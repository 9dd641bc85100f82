"""What a plugin may say to sslrec.

A plugin is a module named by an entry point in the group ``sslrec.plugins``.  Implement any of the
registration hooks below with ``@hookimpl``, each a function of that module.  A callback is a class whose
methods implement run hooks; it does nothing until a configuration names it.

Take only the arguments you need: a hook that grows an argument does not break the plugins that never ask for it.
This file is the whole contract.  It imports nothing of sslrec and holds no logic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import pluggy

if TYPE_CHECKING:
    from torch import Tensor

    from sslrec_core.records import Result
    from sslrec_core.running import Run

API = 1
"""Grows when a hook is removed or changes meaning; equals the core's major version, and is 1 before the first one."""

GROUP = "sslrec.plugins"
"""The entry-point group in which a distribution names its plugin module."""

Offer: TypeAlias = "Mapping[str, str | type]"
"""Names, each with ``"module:Class"``, or with the class itself in a plugin of one file."""

hookspec = pluggy.HookspecMarker("sslrec")
hookimpl = pluggy.HookimplMarker("sslrec")


# ---- what a plugin offers: asked once, when first needed, without torch ------------------------------------------


@hookspec
def sslrec_scenarios() -> Offer:  # type: ignore[empty-body]  # a specification has no body
    """Kinds of recommendation problem, by one lower-case word.

    When: the first time a scenario is looked up, or a bare name has to be settled between two plugins.
    Answer: name to ``"module:Class"``, a subclass of :class:`sslrec_core.data.Scenario`.  The plugin that offers a
        scenario owns the names under it: where two plugins offer ``news/nrms``, the one that offers ``news`` is meant.
    Collected: from all plugins, each asked separately; wrappers are not called.
    Since: 0.1.
    Example: ``return {"news": "sslrec_news.data:News"}``
    """


@hookspec
def sslrec_datasets() -> Offer:  # type: ignore[empty-body]
    """Datasets, by ``scenario/name``.

    When: the first time a dataset is looked up or listed.
    Answer: name to ``"module:Class"``, a subclass of :class:`sslrec_core.data.Dataset`.  A name without a scenario
        is for a reader of the user's own files, which fits any scenario.
    Collected: from all plugins, each asked separately; wrappers are not called.
    Since: 0.1.
    Example: ``return {"news/adressa": "sslrec_news.datasets:Adressa"}``
    """


@hookspec
def sslrec_models() -> Offer:  # type: ignore[empty-body]
    """Models, by ``scenario/name``.

    When: the first time a model is looked up or listed.
    Answer: name to ``"module:Class"``, a final subclass of :class:`sslrec_core.model.Model`.  A name without a
        scenario is for a model that works in every scenario, because it reads the interactions alone.
    Collected: from all plugins, each asked separately; wrappers are not called.
    Since: 0.1.
    Example: ``return {"news/nrms": "sslrec_news.models.nrms:NRMS"}``
    """


@hookspec
def sslrec_encoders() -> Offer:  # type: ignore[empty-body]
    """Encoders that a model's configuration may choose by name.

    When: the first time an encoder is looked up or listed.
    Answer: name to ``"module:Class"``, a subclass of :class:`sslrec_core.model.Encoder`.
    Collected: from all plugins, each asked separately; wrappers are not called.
    Since: 0.1.
    Example: ``return {"titles": "sslrec_news.encoders:Titles"}``
    """


@hookspec
def sslrec_augmenters() -> Offer:  # type: ignore[empty-body]
    """Augmenters that a model's configuration may choose by name.

    When: the first time an augmenter is looked up or listed.
    Answer: name to ``"module:Class"``, a subclass of :class:`sslrec_core.model.Augmenter`.
    Collected: from all plugins, each asked separately; wrappers are not called.
    Since: 0.1.
    Example: ``return {"edge-drop": "sslrec_core.builtin.augmenters:EdgeDrop"}``
    """


@hookspec
def sslrec_objectives() -> Offer:  # type: ignore[empty-body]
    """Objectives that a model's configuration may choose by name.

    When: the first time an objective is looked up or listed.
    Answer: name to ``"module:Class"``, a subclass of :class:`sslrec_core.model.Objective`.
    Collected: from all plugins, each asked separately; wrappers are not called.
    Since: 0.1.
    Example: ``return {"infonce": "sslrec_core.builtin.objectives:InfoNCE"}``
    """


@hookspec
def sslrec_evaluators() -> Offer:  # type: ignore[empty-body]
    """Ways to measure a model, chosen by ``eval.name``.

    When: the first time an evaluator is looked up or listed.
    Answer: name to ``"module:Class"``, a subclass of :class:`sslrec_core.evaluate.Evaluator`.
    Collected: from all plugins, each asked separately; wrappers are not called.
    Since: 0.1.
    Example: ``return {"full-ranking": "sslrec_core.builtin.evaluators:FullRanking"}``
    """


@hookspec
def sslrec_callbacks() -> Offer:  # type: ignore[empty-body]
    """Callbacks, chosen by ``run.callbacks``; being installed does not switch one on.

    When: the first time a callback is looked up or listed.
    Answer: name to ``"module:Class"``, a subclass of :class:`sslrec_core.loop.Callback` whose methods implement
        the run hooks below.
    Collected: from all plugins, each asked separately; wrappers are not called.
    Since: 0.1.
    Example: ``return {"ema": "sslrec_core.builtin.callbacks:Ema"}``
    """


@hookspec
def sslrec_backends() -> Offer:  # type: ignore[empty-body]
    """Kernels for sparse graphs, chosen by ``run.graph``.

    When: the first time a backend is looked up or listed.
    Answer: name to ``"module:Class"``, an implementation of :class:`sslrec_core.graph.GraphBackend` that is built
        without arguments.
    Collected: from all plugins, each asked separately; wrappers are not called.
    Since: 0.1.
    Example: ``return {"torch": "sslrec_core.graph:TorchBackend"}``
    """


@hookspec
def sslrec_presets() -> str:  # type: ignore[empty-body]
    """The package that holds this plugin's presets.

    When: a configuration is put together, or the presets are listed.
    Answer: the dotted name of a package whose files are ``<model>/<dataset>.toml``, ``<model>/default.toml`` for
        every other dataset, and ``<model>/<dataset>.<variant>.toml`` for ``--preset <variant>``.  A model takes
        presets from its own plugin; those of another are used when they are asked for with ``--preset <plugin>``.
    Collected: from all plugins, each asked separately; wrappers are not called.
    Since: 0.1.
    Example: ``return "sslrec_news.presets"``
    """


# ---- what a callback may do during a run -------------------------------------------------------------------------


class RunHooks:
    """Moments of a run, each a verb.

    Implemented by the callbacks that the configuration names, on a manager that lives for one run.  The core
    answers last (``trylast``), so a callback that returns a result replaces the core's, and a wrapper (one
    ``yield``) sees the start, the result and the exception.
    """

    @hookspec(firstresult=True)
    def sslrec_run(self, run: Run) -> Result | None:
        """Do the whole run: train every stage, restore the best weights, measure them on the test part.

        When: once for each run, after the model has been built and before anything is trained.
        With: ``run``, its config, model, data, loop and directory.
        Answer: the result that is written to ``result.json``.  The first one counts.
        Wrappers: yes; that is how a profiler or a tracking service surrounds a run.
        Since: 0.1.
        """

    @hookspec(firstresult=True)
    def sslrec_epoch(self, run: Run) -> Mapping[str, float] | None:
        """Train one epoch of the current stage.

        When: for each epoch of each stage; ``run.stage`` and ``run.epoch`` say which.
        With: ``run``.
        Answer: the mean of each loss over the epoch, by name.  The first one counts.
        Wrappers: yes; for timing, or to change the learning rate.
        Since: 0.1.
        """

    @hookspec
    def sslrec_step(self, run: Run, losses: Mapping[str, Tensor]) -> None:
        """Observe one optimiser step.

        When: right after the optimiser has moved the weights.
        With: ``run``, and ``losses``, the terms of this step by name, still on the device.  Reading a value out
            of them makes the device wait; keep tensors and read them at the end of the epoch.
        Answer: nothing.  Every implementation is called.
        Wrappers: no; the implementations are called one after the other from a plain list.
        Since: 0.1.
        """

    @hookspec(firstresult=True)
    def sslrec_evaluate(self, run: Run, split: str) -> Mapping[str, float] | None:
        """Measure the model on one part of the data.

        When: at each evaluation during training, and once on the test part at the end.
        With: ``run``, and ``split``, which is ``"valid"`` or ``"test"``.
        Answer: metrics by name, such as ``"recall@20"``.  The first one counts.
        Wrappers: yes; to swap averaged weights in and out again.
        Since: 0.1.
        """

    @hookspec(firstresult=True)
    def sslrec_should_stop(self, run: Run) -> str | None:
        """Ask whether this stage has trained enough.

        When: after each epoch and its evaluation.
        With: ``run``, whose records hold every measurement so far.
        Answer: the reason to stop, which is printed and recorded, or None to go on.  The first reason counts.
        Wrappers: yes.
        Since: 0.1.
        """
