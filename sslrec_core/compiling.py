"""Losses compiled by ``torch.compile``: what may stay out of it, and what is said where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from sslrec_core.errors import ConfigError


@cache
def untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, which compiled losses call as it is: for what torch.compile cannot trace where sizes vary.

    Stability: stable for callers from API 1.
    """
    # Not as a decorator: what that imports takes a second, which a command that trains nothing need not wait.
    left: Callable[..., Any] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return left


@contextmanager
def failures_explained() -> Iterator[None]:
    """Say in the user's words that losses cannot be compiled.

    Raises:
        ConfigError: torch.compile cannot trace them, or there is no compiler that works.
    """
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        facts = str(error).partition("\n\n")[0].splitlines()[:2]
        raise ConfigError(
            "train.compile: torch.compile fails", *(fact.strip() for fact in facts), fix="--set train.compile=false"
        ) from error
