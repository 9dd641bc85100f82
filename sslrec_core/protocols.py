"""Protocols: how the epoch is chosen, and what numbers must say when the test part chose it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PROTOCOLS: Mapping[str, Mapping[str, Any]] = {
    "standard": {},
    "published": {"scenario": {"holdout": 0.0}, "train": {"select_on": "test"}, "eval": {"hide": "train"}},
}
"""Named layers.  ``published`` is the habit of most papers: nothing held out, the epoch chosen on the test part,
only training items hidden."""

SELECTED_ON_TEST = "selected on test"
"""The label that a run, and everything that shows its numbers, carries when the test part chose the epoch."""
