"""TOML in and out, with a word for None."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from enum import Enum
from pathlib import Path
from typing import Any

from sslrec_core.errors import ConfigError

NONE = "none"
"""How None is written in TOML and on the command line, which have no word for it."""


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Read TOML that came from ``source``, which an error names with the line.

    Raises:
        ConfigError: it does not parse.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        raise ConfigError(f"{source} is not TOML", f"{where.rstrip(')') or 'end of file'}: {what}") from error


def to_toml(values: Mapping[str, Any], comments: Mapping[str, str] | None = None) -> str:
    """Write nested tables as TOML; ``comments`` maps dotted keys to a remark at the end of their line.

    None is written as the word ``"none"``, which :class:`sslrec_core.config.Config` reads back.
    """
    blocks = ["\n".join(_aligned(rows)) for rows in _tables(values, (), comments or {})]
    return "\n\n".join(blocks) + "\n" if blocks else ""


def remarks(text: str) -> dict[str, str]:
    """The ``comments`` that :func:`to_toml` wrote ``text`` with."""
    found: dict[str, str] = {}
    path = ""
    for line in text.splitlines():
        if line.startswith("["):
            path = line.strip("[]") + "."
            continue
        key, _, rest = line.partition(" = ")
        value, mark, comment = rest.rpartition("  # ")
        if mark and _is_value(value):
            found[path + key] = comment
    return found


def _is_value(text: str) -> bool:
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return False
    return True


def _tables(
    table: Mapping[str, Any], path: tuple[str, ...], comments: Mapping[str, str]
) -> Iterator[list[tuple[str, str]]]:
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    rows = [
        (f"{_key(key)} = {toml_value(value)}", comments.get(".".join((*path, key)), ""))
        for key, value in table.items()
        if key not in inner
    ]
    if path and (rows or not inner):
        rows.insert(0, (f"[{'.'.join(map(_key, path))}]", ""))
    if rows:
        yield rows
    for key, value in inner.items():
        yield from _tables(value, (*path, key), comments)


def _aligned(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max((len(text) for text, comment in rows if comment and len(text) <= 60), default=0)
    for text, comment in rows:
        yield f"{text:<{width}}  # {comment}" if comment else text


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_value(value: Any) -> str:
    """One value as TOML; None is the word ``"none"``.

    Raises:
        TypeError: TOML has nothing for this type.
    """
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, Enum):
        return toml_value(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (str, Path)):
        return _string(str(value))
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {toml_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple, set, frozenset)):
        members = sorted(value) if isinstance(value, (set, frozenset)) else value
        return "[" + ", ".join(map(toml_value, members)) + "]"
    raise TypeError(f"a {type(value).__name__} cannot be written as TOML")
