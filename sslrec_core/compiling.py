"""Losses compiled by ``torch.compile``: what may stay out of it, and what is said where it fails."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

from sslrec_core.errors import ConfigError

P = ParamSpec("P")
T = TypeVar("T")


def untraced(function: Callable[P, T]) -> Callable[P, T]:
    """``function``, which compiled losses call as it is: for what torch.compile cannot trace where sizes vary.

    Stability: stable for callers from API 1.
    """
    left: list[Callable[P, T]] = []

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> T:
        # Not before it is called: this imports what takes a second, for which a command that only looks need not wait.
        if not left:
            left.append(torch.compiler.disable(function))  # type: ignore[no-untyped-call]
        return left[0](*arguments, **options)

    return call


@contextmanager
def compiling() -> Iterator[None]:
    """Let torch.compile work in silence: what it says is of parts that it leaves as they are.

    Raises:
        ConfigError: it cannot do without something that it could not trace, or there is no compiler that works.
    """
    from torch._dynamo.exc import TorchDynamoException

    log = logging.getLogger("torch._dynamo")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"torch\.")
            yield
    except TorchDynamoException as error:
        facts = str(error).partition("\n\n")[0].splitlines()[:2]
        raise ConfigError(
            "train.compile: torch.compile fails", *(fact.strip() for fact in facts), fix="--set train.compile=false"
        ) from error
    finally:
        log.setLevel(level)
