"""A configuration field that names a component, so that a model can be a frame for parts it has never seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pydantic import GetCoreSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from sslrec_core.config import Config, Tabular
from sslrec_core.errors import AmbiguousName, UnknownName
from sslrec_core.registry import registry

if TYPE_CHECKING:
    from sslrec_core.registry import Entry


@dataclass(frozen=True)
class Choice(Tabular):
    """A component by name, with its parameters; written ``"name"`` or ``{name = "name", key = value}``.

    As the default of a field it is a name that is looked up when the configuration is built; in a built
    configuration ``entry`` and ``config`` are there.

    Stability: stable for callers from API 1.
    """

    name: str
    """The name to write down: ``scenario/name``, or with its plugin in front where another plugin owns that."""
    parameters: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What was given beside the name, before defaults."""
    config: Any = None
    """An instance of the component's ``Config``."""
    entry: Entry = field(default=cast("Entry", None), compare=False, repr=False)
    """Where the component comes from."""

    @classmethod
    def of(cls, name: str, **parameters: Any) -> Choice:
        """A default for a field: ``encoder: Annotated[Choice, Of("encoder")] = Choice.of("lightgcn", layers=2)``."""
        return cls(name, parameters)

    def table(self) -> dict[str, Any]:
        """The name and the parameters that were given beside it."""
        return {"name": self.name, **self.parameters}

    def build(self, *args: Any, **keywords: Any) -> Any:
        """The component itself: its class called with its config and then ``args`` and ``keywords``.

        Raises:
            PluginError: the component cannot be imported, or is not of its kind.
        """
        return self.entry.load()(self.config, *args, **keywords)

    def dump(self) -> dict[str, Any]:
        """The name and every parameter, as a table that can be read back."""
        return {"name": self.name, **self.config.model_dump()}


@dataclass(frozen=True)
class Of:
    """Which kind of component a :class:`Choice` chooses among: ``Annotated[Choice, Of("encoder")]``."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self._choose, serialization=core_schema.plain_serializer_function_ser_schema(Choice.dump)
        )

    def _choose(self, given: Any, info: ValidationInfo) -> Choice:
        if isinstance(given, Choice):
            if given.config is not None and given.entry.kind == self.kind:
                return given
            given = given.table()
        if isinstance(given, str):
            given = {"name": given}
        if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
            raise PydanticCustomError("choice", f'name one, as "name" or {{name = "name", …}}: {self._known()}')
        scenario = (info.context or {}).get("scenario")
        parameters = {key: value for key, value in given.items() if key != "name"}
        try:
            entry = registry().find(self.kind, given["name"], scenario)
        except (UnknownName, AmbiguousName) as error:
            raise PydanticCustomError("choice", "{problem}", {"problem": error.problem, "error": error}) from error
        schema: type[Config] = entry.load().Config
        try:
            config = schema.model_validate(parameters, context=info.context)
        except ValidationError as error:
            # Raised again as it is: pydantic puts the place of this field in front of each of its places.
            raise error
        return Choice(registry().written(entry), parameters, config, entry)

    def _known(self) -> str:
        return ", ".join(entry.name for entry in registry().entries(self.kind)) or f"no {self.kind} is installed"
