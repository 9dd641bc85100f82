"""``python -m sslrec_core.cli`` is ``sslrec``."""

from __future__ import annotations

from sslrec_core.cli import main

main()
