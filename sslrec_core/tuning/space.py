"""Search spaces: which options are tried, and in which range.

A space is a TOML file with a table for each option, by the key that ``--set`` takes::

    ["optim.learning_rate"]
    low = 1e-4
    high = 1e-2
    log = true

    ["model.encoder.layers"]
    low = 1
    high = 4

    ["model.contrast.temperature"]
    choices = [0.1, 0.2, 0.5]
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic
from pydantic import PositiveFloat, model_validator

from sslrec_core.config import Config, explain, read_config, toml_value
from sslrec_core.errors import ConfigError
from sslrec_core.toml import to_toml

if TYPE_CHECKING:
    import optuna

Params = dict[str, Any]
"""What a trial was given: by key a number, or a choice as it is written in TOML."""


class Dimension(Config):
    """The values that one option may take: a range of numbers, or a list of choices."""

    low: int | float | None = None
    """The least value; whole numbers are tried alone if all of the range is written in them."""
    high: int | float | None = None
    """The largest value, included."""
    log: bool = False
    """Whether to draw the logarithm evenly, as for learning rates."""
    step: PositiveFloat | None = None
    """Try only ``low`` and what lies whole steps above it."""
    choices: tuple[Any, ...] | None = None
    """The values to choose from, of any kind that TOML has."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Dimension:
        if self.choices is not None:
            if len(self.choices) < 2 or (self.low, self.high, self.step, self.log) != (None, None, None, False):
                raise ValueError("choices are two or more, and stand alone")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        if self.low >= self.high:
            raise ValueError(f"the range is empty: low = {self.low:g} is not below high = {self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a logarithmic range begins above 0 and has no step")
        return self

    @property
    def whole(self) -> bool:
        """Whether the range is of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int) and (self.step or 1.0).is_integer()

    def values(self) -> list[Any] | None:
        """Everything that may be tried, as in :data:`Params`; None where that is a continuum."""
        if self.choices is not None:
            return [toml_value(choice) for choice in self.choices]
        if self.step is None and (self.log or not self.whole):
            return None
        assert self.low is not None
        assert self.high is not None
        step = self.step or 1
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return [self.low + (int(step) if self.whole else step) * place for place in range(count)]

    def holds(self, value: Any) -> bool:
        """Whether ``value``, as in :data:`Params`, may be tried."""
        if (values := self.values()) is not None:
            return any(value == one or _close(value, one) for one in values)
        return isinstance(value, (int, float)) and self.low <= value <= self.high  # type: ignore[operator]

    def suggest(self, key: str, trial: optuna.Trial) -> Any:
        """A value for ``key``, as in :data:`Params`."""
        if self.choices is not None:
            return trial.suggest_categorical(key, [toml_value(choice) for choice in self.choices])
        assert self.low is not None
        assert self.high is not None
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)


class Space:
    """All dimensions, by the key of the option."""

    def __init__(self, dimensions: Mapping[str, Dimension]) -> None:
        self.dimensions = dict(dimensions)

    @classmethod
    def read(cls, path: Path) -> Space:
        """The space in the file ``path``.

        Raises:
            ConfigError: the file cannot be read, an option has no table, or a range that is empty.
        """
        return cls.of(read_config(path), str(path))

    @classmethod
    def of(cls, tables: Mapping[str, Any], what: str) -> Space:
        """The space that ``tables`` describe, as a file would; errors call it ``what``.

        Raises:
            ConfigError: as for :meth:`read`.
        """
        if not tables:
            raise ConfigError(f"{what} has no option to try", fix='a table for each: ["optim.learning_rate"]')
        dimensions = {}
        for key, table in tables.items():
            if not isinstance(table, Mapping):
                raise ConfigError(f"{what}: {key} is no table", fix=f'["{key}"] with low and high, or choices')
            if "." not in key:
                raise ConfigError(
                    f"{what}: '{key}' is no key of an option", fix=f'quote the whole key: ["{_first(key, table)}"]'
                )
            try:
                dimensions[key] = Dimension.model_validate(table)
            except pydantic.ValidationError as error:
                raise _about(what, key, error) from error
        return cls(dimensions)

    def suggest(self, trial: optuna.Trial) -> Params:
        """Values for a trial."""
        return {key: dimension.suggest(key, trial) for key, dimension in self.dimensions.items()}

    def assignments(self, params: Params) -> list[str]:
        """``params`` as ``--set`` takes them."""
        return [f"{key}={self._literal(key, value)}" for key, value in params.items()]

    def _literal(self, key: str, value: Any) -> str:
        if self.dimensions[key].choices is not None:
            return str(value)
        # Four digits say all that a trial can tell, and can be read.
        return toml_value(float(f"{value:.4g}") if isinstance(value, float) else value)

    def present(self, values: Mapping[str, Any]) -> Params | None:
        """What a complete configuration has now, or None where that is outside the space."""
        found: Params = {}
        for key, dimension in self.dimensions.items():
            value: Any = values
            for word in key.split("."):
                value = value.get(word) if isinstance(value, Mapping) else None
            value = toml_value(value) if dimension.choices is not None and value is not None else value
            if not dimension.holds(value):
                return None
            found[key] = value
        return found

    def example(self) -> Params:
        """One value of each dimension: to see whether the keys are there."""
        return {key: (dimension.values() or [dimension.low])[0] for key, dimension in self.dimensions.items()}

    def combinations(self) -> list[Params]:
        """Every combination of values.

        Raises:
            ConfigError: a dimension is a continuum.
        """
        values = {key: dimension.values() for key, dimension in self.dimensions.items()}
        if open_ended := [key for key, found in values.items() if found is None]:
            raise ConfigError(
                f"a grid needs a list of values for {', '.join(open_ended)}", fix="give choices, or a range with a step"
            )
        return [
            dict(zip(values, one, strict=True))
            for one in itertools.product(*(found or () for found in values.values()))
        ]

    def to_toml(self) -> str:
        """The space as a file."""
        tables = self.dimensions.items()
        return to_toml({key: dimension.model_dump(mode="json", exclude_defaults=True) for key, dimension in tables})


def _close(value: Any, other: Any) -> bool:
    numbers = isinstance(value, (int, float)) and isinstance(other, (int, float))
    return numbers and math.isclose(value, other, rel_tol=1e-9)


def _first(key: str, table: Mapping[str, Any]) -> str:
    """The dotted key that an unquoted header was meant to be."""
    words = [key]
    while len(table) == 1 and isinstance(inner := next(iter(table.values())), Mapping):
        words.append(next(iter(table)))
        table = inner
    return ".".join(words)


def _about(what: str, key: str, error: pydantic.ValidationError) -> ConfigError:
    explained = explain(error, key)
    facts = [fact.replace("Value error, ", "") for fact in explained.facts]
    return ConfigError(f"{what}: {key} is no range", *facts, fix="low and high (log, step), or choices")
