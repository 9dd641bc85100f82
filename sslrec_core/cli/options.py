"""The options of a component as rows: key, type, default, meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sslrec_core.choice import Choice, Of
from sslrec_core.config import toml_value

_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def options(schema: type[BaseModel], path: str = "") -> Iterator[dict[str, str]]:
    """Every option of a config class, those of configs inside it by dotted key, with the default that counts there."""
    for name, field in schema.model_fields.items():
        key = f"{path}{name}"
        default = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for option in options(field.annotation, f"{key}."):
                if not field.is_required():
                    option["default"] = toml_text(_inside(default, option["key"].removeprefix(f"{key}.")))
                yield option
            continue
        yield {
            "key": key,
            "type": type_text(field.annotation, field.metadata),
            "default": "required" if field.is_required() else toml_text(default),
            "doc": " ".join((field.description or "").split()),
        }


def toml_text(value: Any) -> str:
    """A value as it is written in a configuration file."""
    if isinstance(value, Choice):
        return toml_value(value.table() if value.parameters else value.name)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_text, value))}]"
    if isinstance(value, BaseModel):
        return toml_value(value.model_dump(mode="json"))
    return toml_value(value)


def type_text(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type with its limits, such as ``float > 0, <= 1``; the kind for a field that names a component."""
    for mark in metadata:
        if isinstance(mark, Of):
            return mark.kind
    limits = ", ".join(_limits(metadata))
    return f"{_base_text(annotation)} {limits}".strip()


def _base_text(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(arguments[0], arguments[1:])
    if annotation is type(None):
        return "none"
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if isinstance(origin, type) and origin.__module__ != "types" and arguments:
        return f"{origin.__name__} of {', '.join(type_text(one) for one in arguments if one is not Ellipsis)}"
    if arguments:
        return " | ".join(map(type_text, arguments))
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _limits(metadata: Sequence[Any]) -> Iterator[str]:
    for mark in metadata:
        if isinstance(mark, FieldInfo):
            yield from _limits(mark.metadata)
        for word, sign in _SIGNS.items():
            if (limit := getattr(mark, word, None)) is not None:
                yield f"{sign} {limit:g}"


def _inside(config: Any, key: str) -> Any:
    for word in key.split("."):
        config = getattr(config, word)
    return config
