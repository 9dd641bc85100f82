"""Where datasets and prepared data live."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_root() -> Path:
    """The folder of all datasets: ``SSLREC_DATA``, else the user's data folder."""
    return Path(os.environ.get("SSLREC_DATA") or platformdirs.user_data_dir("sslrec", False)).expanduser()


def cache_root() -> Path:
    """The folder of everything that can be made again: ``SSLREC_CACHE``, else the user's cache folder."""
    return Path(os.environ.get("SSLREC_CACHE") or platformdirs.user_cache_dir("sslrec", False)).expanduser()
