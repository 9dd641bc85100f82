"""Every preset of every distribution is a configuration that its model accepts."""

from __future__ import annotations

import re

from sslrec_core.registry import registry
from sslrec_core.settings import resolve
from sslrec_core.tuning.space import Space
from sslrec_core.tuning.study import configured

LEAST = 4
"""A test over a collection that came out empty would pass."""


def test_every_preset_resolves() -> None:
    presets = [preset for preset in registry().presets() if preset.plugin.startswith("sslrec-")]
    assert len(presets) >= LEAST, [str(preset.file) for preset in presets]
    for preset in presets:
        models = [
            entry
            for entry in registry().entries("model")
            if entry.plugin == preset.plugin and preset.model in (entry.name, entry.short_name)
        ]
        assert len(models) == 1, f"{preset.file}: no model {preset.model} in {preset.plugin}"
        model = models[0]
        dataset = "demo" if preset.dataset == "default" else preset.dataset
        found = registry().find("dataset", dataset, model.scenario)
        resolved = resolve(model.name, found.name, preset=preset.variant)
        from_preset = {key for key, origin in resolved.origins.items() if "preset" in origin}
        assert from_preset, f"{preset.file} sets nothing"


def test_every_preset_names_its_sources() -> None:
    presets = [preset for preset in registry().presets() if preset.plugin.startswith("sslrec-")]
    assert len(presets) >= LEAST
    for preset in presets:
        lines = preset.file.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("# "), f"{preset.file}: the first line does not say where values come from"
        assert any(re.match(r"^[\w.]+ *=", line) for line in lines), f"{preset.file}: sets nothing"


def test_every_search_space_is_of_options_that_its_model_has() -> None:
    spaces = {model: file for model in registry().entries("model") if (file := registry().space(model)) is not None}
    assert len(spaces) >= LEAST
    for model, file in spaces.items():
        space = Space.read(file)
        base = resolve(model.name, f"{model.scenario or 'cf'}/demo").config
        configured(base, space, space.example())
        assert space.present(base.model_dump(mode="json")) is not None, f"{file} leaves the default preset out"
