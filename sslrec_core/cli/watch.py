"""Watch trainings: what runs now, how far it is, and what ended lately."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from sslrec_core.overview.scan import Scanner, Seen

ENDED = 8
"""Runs that ended, at most."""
UNREADABLE = 3
"""Runs that cannot be read, at most."""


def command(
    folder: Annotated[Path, typer.Argument(help="Folder of runs; those of studies and sweeps are found in it.")] = Path(
        "runs"
    ),
    once: Annotated[bool, typer.Option("--once", help="Print what there is and end.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds from one look to the next.")] = 2.0,
) -> None:
    """Watch running trainings in the terminal.

    Where the output is not a terminal it is printed once.  Ctrl-C ends watching; the trainings go on.

    Example: sslrec watch runs
    """
    from rich.console import Console
    from rich.live import Live

    from sslrec_core.overview.scan import Scanner

    scanner = Scanner(folder)
    console = Console(highlight=False)
    if once or not console.is_terminal:
        # Whole lines: whoever reads a file or a pipe can cut them.
        wide = console if console.is_terminal else Console(highlight=False, width=200)
        wide.print(_screen(scanner, wide, None))
        return
    try:
        with Live(_screen(scanner, console, console.height), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(every)
                live.update(_screen(scanner, console, console.height), refresh=True)
    except KeyboardInterrupt:
        return


def _screen(scanner: Scanner, console: Console, height: int | None) -> RenderableType:
    """Everything that is shown, in ``height`` lines where that is given."""
    from rich.console import Group
    from rich.text import Text

    runs, now = scanner.scan(), time.time()
    of = {state: _latest(runs, state) for state in ("running", "complete", "interrupted", "unreadable")}
    counts = ", ".join(f"{len(found)} {state}" for state, found in of.items() if found) or "no runs yet"
    # The folder last: it may be longer than the line.
    lines = [Text.assemble((counts, "bold"), f"  {time.strftime('%H:%M:%S')}  ", (str(scanner.root), "dim"))]
    room = (height or 10_000) - 4
    shown = of["running"][: max(1, room // 3)]
    for seen in shown:
        lines += _running(seen, scanner.root, now)
    if hidden := len(of["running"]) - len(shown):
        lines.append(Text(f"and {hidden} more running", style="dim"))
    ended = sorted([*of["complete"], *of["interrupted"]], key=lambda seen: -seen.changed)
    lines.append(Text())
    lines += [_ended(seen, scanner.root, now) for seen in ended[: max(0, min(ENDED, room - len(lines)))]]
    lines += [
        _unreadable(seen, scanner.root) for seen in of["unreadable"][: max(0, min(UNREADABLE, room - len(lines)))]
    ]
    for line in lines:
        line.truncate(console.width, overflow="ellipsis")
    return Group(*lines)


def _latest(runs: Sequence[Seen], state: str) -> list[Seen]:
    return sorted((seen for seen in runs if seen.state == state), key=lambda seen: -seen.changed)


def _running(seen: Seen, root: Path, now: float) -> list[Text]:
    from rich.text import Text

    title = Text.assemble((seen.model, "bold green"), f" on {seen.dataset}", _label(seen), f"  seed {seen.seed}  ")
    title.append(seen.place(root), "dim")
    events = seen.events
    if events is None or events.epoch is None:
        return [title, Text(f"  no epoch yet  {_ago(now - seen.changed)}")]
    limit = f"/{seen.limit}" if seen.limit is not None else ""
    pace = f"{events.pace:.3g} s an epoch" if events.pace is not None else ""
    left = f"at most {_clock(seen.left)} left" if seen.left is not None else ""
    judged = {name: value for name, value in events.metrics.items() if name == seen.judge}
    best = f"best {seen.best:.4g} at {seen.best_epoch}" if seen.best is not None else ""
    first = [f"{events.stage} {events.epoch}{limit}", pace, left, _ago(now - seen.changed)]
    second = [*_values(events.losses), *_values(judged), best]
    return [title, *(Text("  " + "  ".join(filter(None, parts))) for parts in (first, second))]


def _ended(seen: Seen, root: Path, now: float) -> Text:
    from rich.text import Text

    style = "yellow" if seen.state == "interrupted" else ""
    best = f"{seen.judge} {seen.best:.4g}  " if seen.best is not None else ""
    line = Text.assemble((f"{seen.state:<11}  ", style), (f"{_ago(now - seen.changed):>10}  ", "dim"))
    line.append(seen.model, "bold").append(f" on {seen.dataset}").append(*_label(seen))
    return line.append(f"  {best}{_clock(seen.seconds or 0)}  ").append(seen.place(root), "dim")


def _unreadable(seen: Seen, root: Path) -> Text:
    from rich.text import Text

    return Text.assemble(("unreadable  ", "red"), f"{seen.place(root)}: {seen.why}")


def _label(seen: Seen) -> tuple[str, str]:
    return (f" ({seen.label})" if seen.label else "", "yellow")


def _values(values: Mapping[str, float]) -> list[str]:
    return [f"{name} {value:.4g}" for name, value in values.items()]


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"
