"""A group of commands, each imported when it is chosen; and how errors are printed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from sslrec_core.errors import AmbiguousName, ConfigError, PluginError, SslrecError, closest
from sslrec_core.summary import module_summary, summary_of

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

COMMANDS = {
    "train": "sslrec_core.cli.train:command",
    "tune": "sslrec_core.cli.tune:command",
    "sweep": "sslrec_core.cli.sweep:command",
    "evaluate": "sslrec_core.cli.evaluate:command",
    "compare": "sslrec_core.cli.compare:command",
    "report": "sslrec_core.cli.report:command",
    "watch": "sslrec_core.cli.watch:command",
    "board": "sslrec_core.cli.board:command",
    "recommend": "sslrec_core.cli.recommend:command",
    "export": "sslrec_core.cli.export:command",
    "data": "sslrec_core.cli.data:app",
    "list": "sslrec_core.cli.list:command",
    "show": "sslrec_core.cli.show:command",
    "config": "sslrec_core.cli.config:command",
    "plugins": "sslrec_core.cli.plugins:command",
    "new": "sslrec_core.cli.new:app",
}
"""Each command and its function, or the ``typer.Typer`` that groups its own commands."""

GROUP = "sslrec.commands"
"""The entry-point group in which a plugin names further commands, of the same two shapes."""


class Commands(TyperGroup):
    """The commands of sslrec and of installed plugins; help lists them without importing them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order in which a user needs them, those of plugins last."""
        return [*COMMANDS, *_extra()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one command, or None if there is none of this name."""
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name].partition(":")
            return _built(getattr(import_module(module), attribute), cmd_name)
        points = _extra().get(cmd_name, [])
        if len(points) > 1:
            raise AmbiguousName(
                f"the command '{cmd_name}' is offered by {' and '.join(map(_giver, points))}",
                fix="uninstall one of them",
            )
        return _built(_imported(points[0]), cmd_name) if points else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that ``args`` begins with.

        Raises:
            ConfigError: there is none of this name.
        """
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            similar = closest(args[0], known)
            facts = [f"closest: {', '.join(similar)}"] if similar else []
            raise ConfigError(f"no command is called '{args[0]}'", *facts, fix="sslrec --help")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands, each with the first line of its docstring."""
        rows = [(name, _summary(target)) for name, target in COMMANDS.items()]
        rows += [(name, _summary(points[0].value)) for name, points in _extra().items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; what goes wrong by the user's own doing is explained, not traced."""
        try:
            return super().invoke(ctx)
        except SslrecError as error:
            if ctx.params["traceback"]:
                traceback.print_exception(error)
            else:
                print(f"sslrec: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None


def _version(wanted: bool) -> None:
    if wanted:
        from sslrec_core import __version__

        print(f"sslrec {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
    plugin_file: Annotated[
        list[Path] | None,
        typer.Option("--plugin-file", "-p", help="Load a plugin from one Python file; may repeat.", metavar="FILE"),
    ] = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error comes from.")] = False,
) -> None:
    """Self-supervised learning for recommendation.

    Example: sslrec train kgcl --dataset amazon-book
    """
    if plugin_file:
        from sslrec_core.registry import registry

        for path in plugin_file:
            registry().add_file(path)


def group() -> Any:
    """The command line as a click group, for documentation and tests."""
    app = _app(cls=Commands, no_args_is_help=True)
    app.callback()(_options)
    return _built(app, "sslrec")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code: 0, 1 for a failed run, 2 for a mistake, 3 for a broken plugin."""
    group().main(args=None if arguments is None else list(arguments), prog_name="sslrec")


def _app(**options: Any) -> typer.Typer:
    # Rich help would cost more start-up time than everything else together.
    return typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False, **options)


def _built(command: Any, name: str) -> Any:
    if isinstance(command, typer.Typer):
        command.rich_markup_mode = None
        built: Any = typer.main.get_group(command)
    else:
        app = _app()
        app.command(name)(command)
        built = typer.main.get_command(app)
    built.name = name
    return built


def _extra() -> dict[str, list[EntryPoint]]:
    """Commands of plugins, from metadata alone; a plugin cannot take the name of one of the core's."""
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda one: (one.name, one.value)):
        if point.name not in COMMANDS:
            found.setdefault(point.name, []).append(point)
    return found


def _imported(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        raise PluginError(
            f"the command '{point.name}' is installed but cannot be imported",
            f"{point.value}, offered by {_giver(point)}",
            f"{type(error).__name__}: {error}",
            fix="install what it needs, or uninstall it",
        ) from error


def _giver(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.name


def _summary(target: str) -> str:
    return summary_of(target) or module_summary(target.partition(":")[0])
