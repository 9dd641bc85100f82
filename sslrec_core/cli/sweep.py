"""Make many runs: models by datasets by seeds by settings, as one file asks for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sslrec_core.sweeping import News


def command(
    file: Annotated[Path, typer.Argument(help="TOML file with datasets, seeds and [[models]].")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the runs; default runs/NAME-OF-THE-FILE.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once, each in a process.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each run; default: its share.")] = None,
    only: Annotated[str, typer.Option(help="Only runs whose name contains this.")] = "",
    dry: Annotated[bool, typer.Option("--dry-run", help="Print the commands and run nothing.")] = False,
) -> None:
    """Make the runs that a file asks for.

    Complete runs are not repeated and unfinished ones go on, so the same command can be given again at any time.

    Example: sslrec sweep models.toml --jobs 2
    """
    import shlex

    from sslrec_core.sweeping import Sweep, carry_out

    wanted = [job for job in Sweep.read(file).jobs() if only in job.name]
    if dry:
        for job in wanted:
            print(shlex.join(["sslrec", *job.arguments]))
        return
    folder = output or Path("runs") / file.stem
    counts: dict[str, int] = {}

    def tell(news: News) -> None:
        counts[news.state] = counts.get(news.state, 0) + 1
        why = f"\n{news.why}" if news.why else ""
        print(f"{news.job.name}  {news.state}{why}", file=sys.stderr, flush=True)

    carry_out(wanted, folder, at_once=jobs, threads=threads, tell=tell)
    done = counts.get("is complete", 0) + counts.get("was complete", 0)
    print(f"{done} of {len(wanted)} runs are complete, in {folder}")
    if failed := counts.get("failed"):
        print(f"{failed} failed; the same command tries them again", file=sys.stderr)
        raise typer.Exit(1)
    print(f"compare them: sslrec compare '{folder}/*'")
