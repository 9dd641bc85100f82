"""The tensors inside anything: batches, graphs, tuples, data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor


def tensors(value: Any, _seen: set[int] | None = None) -> Iterator[Tensor]:
    """Every tensor that can be reached from ``value``, in a fixed order, each once."""
    seen = set() if _seen is None else _seen
    if id(value) in seen or isinstance(value, (str, bytes, int, float, type)):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tensors(inner, seen)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield from tensors(inner, seen)
    elif is_dataclass(value):  # its fields alone: what a cached property has kept since is no part of the value
        for field in fields(value):
            yield from tensors(getattr(value, field.name), seen)
    elif hasattr(value, "__dict__") and type(value).__module__ != "builtins":
        yield from tensors(vars(value), seen)


def same(first: Any, second: Any) -> bool:
    """Whether two structures hold equal tensors in the same places."""
    mine, its = list(tensors(first)), list(tensors(second))
    return len(mine) == len(its) and all(torch.equal(a, b) for a, b in zip(mine, its, strict=True))
