"""What every contract checks: the docstring, the way through TOML, and that each option is read."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from sslrec_core.config import Config, to_toml
from sslrec_core.testing.bench import offer_worlds, separate_cache


class Contract:
    """Checks that hold for anything with a config."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _surroundings(cls) -> Iterator[None]:
        offer_worlds()
        with separate_cache():
            yield

    def component_class(self) -> type[Any]:
        """The class under test."""
        raise TypeError(f"{type(self).__name__} must say what it tests")

    def component_config(self) -> Any:
        """The config under test; it need not be the default one."""
        return self.component_class().Config()

    def test_first_docstring_line_is_a_sentence(self) -> None:
        """It is shown in lists, so it must make sense there."""
        found = self.component_class()
        line = (found.__dict__.get("__doc__") or "").strip().partition("\n")[0]
        assert line, f"{found.__name__} has no docstring of its own"
        assert line[0].isupper() or line[0].isdigit(), f"the first docstring line begins in lower case: {line!r}"
        assert line.endswith((".", "!", "?")), f"the first docstring line does not end like a sentence: {line!r}"
        assert len(line.split()) >= 3, f"the first docstring line says too little: {line!r}"

    def test_every_option_is_documented(self) -> None:
        """Each field has a docstring under it, which ``sslrec show`` prints."""
        silent = [path for path, schema, name in _fields(type(self.component_config())) if not _said(schema, name)]
        assert not silent, f"options without a docstring under them: {', '.join(silent)}"

    def test_config_round_trips_through_toml(self) -> None:
        """What is written into ``config.toml`` builds the same thing again."""
        config = self.component_config()
        values = config.model_dump(mode="json")
        read = tomllib.loads(to_toml(values))
        again = type(config).model_validate(read)
        assert again.model_dump(mode="json") == values, "the config that was written is read as another one"
        assert again == config, "the config that was written is read as another one"


def _fields(schema: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel], str]]:
    for name, field in schema.model_fields.items():
        yield f"{path}{name}", schema, name
        inner = field.annotation
        if inspect.isclass(inner) and issubclass(inner, Config):
            yield from _fields(inner, f"{path}{name}.")


def _said(schema: type[BaseModel], name: str) -> str:
    return (schema.model_fields[name].description or "").strip()
