"""What a model needs to know of a part it has never seen."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def accepts(function: Callable[..., Any], arguments: int, *keywords: str) -> bool:
    """Whether ``function`` can be called with so many ``arguments`` and with ``keywords``."""
    try:
        inspect.signature(function).bind(*range(arguments), **dict.fromkeys(keywords))
    except TypeError:
        return False
    return True
