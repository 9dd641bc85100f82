"""Typed, frozen, closed configurations; the layers they come from; TOML in and out."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, ClassVar, NamedTuple, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from sslrec_core.errors import ConfigError, SslrecError, closest
from sslrec_core.toml import NONE, parse_toml, to_toml, toml_value

__all__ = [
    "Config",
    "Configured",
    "Layer",
    "NonNegative",
    "Rate",
    "Share",
    "Tabular",
    "explain",
    "fields",
    "flattened",
    "leaves",
    "merge",
    "parse_assignment",
    "parse_toml",
    "read_config",
    "to_toml",
    "toml_value",
]

Rate = Annotated[float, Field(ge=0, lt=1)]
"""A probability that may be 0 and is below 1, such as a dropout."""
Share = Annotated[float, Field(gt=0, le=1)]
"""A part of a whole: above 0, up to 1."""
NonNegative = Annotated[float, Field(ge=0)]
"""A number that is 0 or more, such as the weight of a loss."""


class Tabular:
    """A value that is written as a table; as a default it completes a table that gives some of its keys."""

    def table(self) -> dict[str, Any]:
        """The keys that it was given."""
        raise TypeError(f"{type(self).__name__} must say what it is written as")


class Config(BaseModel):
    """A set of typed options: frozen, closed to unknown keys, each field with a docstring under it.

    The word ``"none"`` is read as None wherever None is allowed.  Whole numbers have 64 bits at most.  A table that
    gives some keys of a field keeps the others as the field's default has them; one without a name is about the
    component that the default names.

    Stability: stable for callers and implementers from API 1.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(values, Mapping):
            values = {key: _completed(cls, key, value) for key, value in values.items()}
        try:
            return handler(values)
        except ValidationError as error:
            raise _with_suggestions(error, cls) from None

    @field_validator("*", mode="before")
    @classmethod
    def _in_64_bits(cls, value: Any) -> Any:
        if _too_large(value):
            raise ValueError("too large: a whole number has 64 bits at most, as in TOML")
        return value


def _too_large(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_too_large, value))
    return isinstance(value, int) and not -(2**63) <= value < 2**63


class Configured:
    """Something with a config: a subclass says which options it has in its own ``Config``.

    Classes are abstract or final: subclass an abstract one, never a final one.

    Stability: stable for callers and implementers from API 1.
    """

    class Config(Config):
        """No options."""

    config: Config

    revision: ClassVar[int] = 1
    """Raised by the author when the same config would give different numbers."""

    def __init__(self, config: Any) -> None:
        self.config = config


# ---- layers ------------------------------------------------------------------------------------------------------


class Layer(NamedTuple):
    """Values from one place, and the name of that place."""

    origin: str
    values: dict[str, Any]


def merge(layers: Iterable[Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """Lay each layer over those before it: tables merge, everything else is replaced.

    A table that names a component (``{"name": …}``, or the bare name as a string) starts afresh when a later layer
    gives another name, because the parameters of the one mean nothing to the other.

    Returns:
        The merged values, and for each leaf (``"model.layers"``) the origin of its value.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, given in layers:
        values = _lay(values, given, "", origin, origins)
    return values, origins


def _lay(below: Any, above: Any, path: str, origin: str, origins: dict[str, str]) -> Any:
    plain = isinstance(below, str) and isinstance(above, str)
    if plain or _is_none(above) or not (_tabular(below) and _tabular(above)):
        return _replace(above, path, origin, origins)
    old = {"name": below} if isinstance(below, str) else below
    new = {"name": above} if isinstance(above, str) else above
    if "name" in old and "name" in new and old["name"] != new["name"]:
        return _replace(above, path, origin, origins)
    if isinstance(below, str) and path in origins:
        origins[f"{path}.name"] = origins.pop(path)
    merged = dict(old)
    for key, value in new.items():
        merged[key] = _lay(old.get(key), value, f"{path}.{key}" if path else key, origin, origins)
    return merged


def _replace(value: Any, path: str, origin: str, origins: dict[str, str]) -> Any:
    for known in [known for known in origins if known == path or known.startswith(f"{path}.")]:
        del origins[known]
    origins.update((leaf, origin) for leaf in leaves(value, path))
    return value


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """The dotted keys of everything in nested tables that is not itself a table."""
    return (key for key, _ in flattened(value, path))


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in nested tables that is not itself a table, with its dotted key."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flattened(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _tabular(value: Any) -> bool:
    return isinstance(value, (str, Mapping))


def _is_none(value: Any) -> bool:
    return bool(value == NONE or value == {"name": NONE})


# ---- reading -----------------------------------------------------------------------------------------------------


def parse_assignment(text: str) -> dict[str, Any]:
    """Read ``a.b=1`` into ``{"a": {"b": 1}}``; the value is a TOML literal, a bare word is a string.

    Raises:
        ConfigError: there is no ``=``, the key is not dotted words, or the value starts like TOML and is not.
    """
    key, equals, literal = (part.strip() for part in text.partition("="))
    words = key.split(".")
    if not equals or not literal or not all(re.fullmatch(r"[A-Za-z0-9_-]+", word) for word in words):
        raise ConfigError(f"cannot read the assignment '{text}'", fix="write KEY=VALUE, such as model.layers=2")
    value: Any = _literal(literal, text)
    for word in reversed(words):
        value = {word: value}
    return dict(value)


def _literal(literal: str, text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {literal}")
        if set(table) == {"value"}:
            return table["value"]
        reason = "there is more than one value"
    except tomllib.TOMLDecodeError as error:
        reason = str(error).partition(" (at line")[0]
    if literal[0] in "[{\"'" or "\n" in literal:
        raise ConfigError(
            f"cannot read the value in '{text}'", reason, fix="""quote each string, as in 'eval.metrics=["recall"]'"""
        )
    return literal


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a configuration file: TOML, or YAML with the numbers of YAML 1.2 (``1e-3`` is a number).

    Raises:
        ConfigError: the file is missing, has another ending, or does not parse; with its line.
    """
    path = Path(path)
    if path.suffix not in {".toml", ".yaml", ".yml"}:
        raise ConfigError(f"cannot tell the format of {path}", fix="name it .toml, .yaml or .yml")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"cannot read the configuration file {path}", reason, fix="check the path") from error
    if path.suffix == ".toml":
        return parse_toml(text, str(path))
    from sslrec_core.yaml12 import parse_yaml

    return parse_yaml(text, str(path))


# ---- explaining --------------------------------------------------------------------------------------------------


def explain(
    error: ValidationError,
    what: str,
    origins: Mapping[str, str] | None = None,
    schema: type[BaseModel] | None = None,
    otherwise: str | Mapping[str, str] | None = None,
) -> ConfigError:
    """Say what is wrong with ``what``, one line for each key, with the layer each bad value came from.

    Where ``schema`` is given, an unknown key that it has in another place is pointed to that place.  ``otherwise`` is
    what to do where nothing better is known, or that for each section, where the first bad value decides; default:
    look at what ``what`` has.
    """
    facts: list[str] = []
    fix = None
    details = error.errors()
    if isinstance(otherwise, Mapping):
        otherwise = otherwise.get(str(next(iter(details[0]["loc"]), "")))
    for detail in details:
        path = _path(detail["loc"])
        origin = _origin(detail["loc"], origins or {})
        cause = detail.get("ctx", {}).get("error")
        message = detail["msg"]
        if isinstance(cause, SslrecError):
            message, fix = cause.problem, fix or cause.fix
        elif isinstance(cause, Exception):
            message = str(cause)
        elif detail["type"] == "unknown_key":
            message += _elsewhere(str(detail["loc"][-1]), path, schema)
        elif detail["type"] != "missing":
            message = f"{message}, got {detail['input']!r}"
        facts.append(f"{path + ': ' if path else ''}{message}{f' (from {origin})' if origin else ''}")
        if isinstance(cause, SslrecError):
            facts.extend(f"  {fact}" for fact in cause.facts)
    return ConfigError(f"{what} cannot be configured like this", *facts, fix=fix or otherwise or f"sslrec show {what}")


def _elsewhere(key: str, path: str, schema: type[BaseModel] | None) -> str:
    known = fields(schema) if schema else ()
    places = [place for place in known if place.rpartition(".")[2] == key and place != path]
    return f"; there is {', '.join(places)}" if places else ""


def _path(location: Sequence[str | int]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _origin(location: Sequence[str | int], origins: Mapping[str, str]) -> str:
    words = [str(part) for part in location]
    for length in range(len(words), 0, -1):
        path = ".".join(words[:length])
        if origin := origins.get(path) or origins.get(f"{path}.name"):
            return origin
    inside = f"{_path(location)}."
    return next((origin for path, origin in origins.items() if path.startswith(inside)), "")


def fields(schema: type[BaseModel]) -> Iterator[str]:
    """Every key of ``schema``, those of configs inside it dotted: ``contrast``, ``contrast.temperature``."""
    for name, field in schema.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{name}.{inner}" for inner in fields(field.annotation))


def _with_suggestions(error: ValidationError, schema: type[BaseModel]) -> ValidationError:
    details = [
        InitErrorDetails(
            type=PydanticCustomError("unknown_key", _unknown(str(detail["loc"][0]), schema))
            if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1
            else PydanticCustomError(detail["type"], detail["msg"], detail.get("ctx")),
            loc=detail["loc"],
            input=detail["input"],
        )
        for detail in error.errors()
    ]
    return ValidationError.from_exception_data(error.title, details)


def _unknown(key: str, schema: type[BaseModel]) -> str:
    known = list(fields(schema))
    leaf_of = {path: path.rpartition(".")[2] for path in known if "." in path}
    similar = [*(path for path, leaf in leaf_of.items() if leaf == key), *closest(key, known)]
    similar = similar or [path for path, leaf in leaf_of.items() if closest(key, [leaf])]
    if similar:
        return f"no such key, closest: {', '.join(list(dict.fromkeys(similar))[:3])}"
    return f"no such key, it has: {', '.join(schema.model_fields) or 'none'}"


def _completed(schema: type[BaseModel], key: str, value: Any) -> Any:
    if _is_none(value) and key in _optional_fields(schema):
        return None
    if isinstance(value, Mapping) and key in schema.model_fields:
        default = schema.model_fields[key].get_default(call_default_factory=True, validated_data={})
        return _laid_over(default, value)
    return value


def _laid_over(default: Any, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """``given`` completed by the keys that a field's own default sets, however deep."""
    if isinstance(default, Tabular) and "name" not in given:
        return {**default.table(), **given}
    if isinstance(default, BaseModel):
        below = {key: getattr(default, key) for key in default.model_fields_set}
        return below | {
            key: _laid_over(below[key], value) if key in below and isinstance(value, Mapping) else value
            for key, value in given.items()
        }
    return given


@functools.cache
def _optional_fields(schema: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, field in schema.model_fields.items() if NoneType in get_args(field.annotation))
