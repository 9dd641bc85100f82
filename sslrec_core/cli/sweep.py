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

    from sslrec_core import experiments
    from sslrec_core.sweeping import Sweep

    if dry:
        for job in Sweep.read(file).jobs():
            if only in job.name:
                print(shlex.join(["sslrec", *job.arguments]))
        return

    def tell(news: News) -> None:
        why = f"\n{news.why}" if news.why else ""
        print(f"{news.job.name}  {news.state}{why}", file=sys.stderr, flush=True)

    folder = output or Path("runs") / file.stem
    try:
        made = experiments.sweep(file, directory=folder, jobs=jobs, threads=threads, only=only, tell=tell)
    except KeyboardInterrupt:
        print("sslrec: stopped; the same command goes on", file=sys.stderr)
        raise typer.Exit(130) from None
    print(f"complete: {len(made)} runs, in {folder}")
    print(f"compare them: sslrec compare '{folder}/*'")
