"""The command line: ``sslrec``, or ``python -m sslrec_core.cli``."""

from __future__ import annotations

# The code is elsewhere because importing the command ``list`` puts a module of that name into this package.
from sslrec_core.cli.lazy import COMMANDS, group, main

__all__ = ["COMMANDS", "group", "main"]
