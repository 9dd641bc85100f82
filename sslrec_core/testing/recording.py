"""Configs that note which of their fields are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from sslrec_core.choice import Choice


class Reads:
    """The fields of a config and of the configs inside it, and which of them somebody read."""

    def __init__(self, config: BaseModel) -> None:
        self.read: set[str] = set()
        self.config: Any = _copy(config)
        self.fields = set(_watch(self.config, "", self.read))

    @property
    def unread(self) -> set[str]:
        """Fields that nobody touched, dotted: ``contrast.temperature``."""
        return self.fields - self.read


def _copy(value: Any) -> Any:
    """A copy whose configs are new objects, so that watching them leaves the original alone."""
    if isinstance(value, Choice):
        return dataclasses.replace(value, config=_copy(value.config))
    if isinstance(value, BaseModel):
        new = value.model_copy()
        for name, inner in vars(value).items():
            new.__dict__[name] = _copy(inner)
        return new
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(inner) for inner in value)
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return value


def _watch(config: BaseModel, path: str, read: set[str]) -> Iterator[str]:
    """Make ``config`` add to ``read``, and give the paths of its fields."""
    schema = type(config)
    paths = {name: f"{path}{name}" for name in schema.model_fields}

    def note(self: Any, name: str) -> Any:
        if name in paths:
            read.add(paths[name])
        return object.__getattribute__(self, name)

    for name, inner_path in paths.items():
        yield inner_path
        for position, inner in enumerate(_configs(config.__dict__[name])):
            suffix = f".{position}." if isinstance(config.__dict__[name], (list, tuple)) else "."
            yield from _watch(inner, f"{inner_path}{suffix}", read)
    metaclass: Any = type(schema)
    watching = metaclass(schema.__name__, (schema,), {"__getattribute__": note, "__module__": schema.__module__})
    object.__setattr__(config, "__class__", watching)


def _configs(value: Any) -> list[BaseModel]:
    if isinstance(value, Choice):
        return [value.config]
    if isinstance(value, BaseModel):
        return [value]
    if isinstance(value, (list, tuple)):
        return [config for inner in value for config in _configs(inner)]
    if isinstance(value, dict):
        return [config for inner in value.values() for config in _configs(inner)]
    return []
