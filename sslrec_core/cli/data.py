"""Look at datasets, check them, and make one of your own files."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sslrec_core.ingest.places import data_root
from sslrec_core.registry import registry

HELP = "Look at datasets, check them, and make one of your own files."
app = typer.Typer(help=HELP, no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A dataset's name, or your own file or folder.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="An option, such as data.user=uid or scenario.k_core=5; may repeat.", metavar="KEY=VALUE"
    ),
]
Root = Annotated[Path | None, typer.Option("--data-dir", help="Folder of datasets; default $SSLREC_DATA.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _group() -> None:
    """Look at datasets, check them, and make one of your own files."""


@app.command("list")
def list_datasets(data_dir: Root = None, as_json: AsJson = False) -> None:
    """List the named datasets and whether they are here.

    Example: sslrec data list
    """
    root = data_dir or data_root()
    rows = [
        {
            "name": registry().written(entry),
            "here": (root / entry.name).is_dir(),
            "plugin": entry.plugin,
            "summary": entry.summary,
        }
        for entry in registry().entries("dataset")
    ]
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    table = _table("dataset", "here", "")
    for row in rows:
        table.add_row(str(row["name"]), "yes" if row["here"] else "", escape(str(row["summary"])))
    _print(table)
    print(f"\ndatasets live in {root} (SSLREC_DATA or --data-dir)")


@app.command()
def show(dataset: Name, settings: Set = None, data_dir: Root = None, as_json: AsJson = False) -> None:
    """Show what a dataset is: statistics, licence, citation, its files and where they are.

    Example: sslrec data show cf/gowalla
    """
    from sslrec_core.cli.loading import Source, statistics

    source = Source(dataset, settings or [], data_dir)
    kind = type(source.dataset)
    files = list(source.files())
    ready = not source.missing and not any(file["state"] == "wrong" for file in files)
    prepared = source.prepare(_say(as_json)) if ready else None
    facts = {
        "name": source.name,
        "doc": (kind.__doc__ or "").strip(),
        "licence": kind.licence,
        "citation": kind.citation,
        "homepage": kind.homepage,
        "folder": str(source.folder) if kind.files else None,
        "files": files,
        "statistics": statistics(prepared) if prepared else None,
        "notes": prepared.meta["notes"] if prepared else [],
    }
    if as_json:
        print(json.dumps(facts))
        return
    _print(escape(f"{source.name}\n{' '.join(str(facts['doc']).split())}\n"))
    about = _table("", "")
    for key in ("licence", "citation", "homepage", "folder"):
        if facts[key]:
            about.add_row(key, escape(str(facts[key])))
    _print(about)
    _print(_files(files))
    if prepared is None:
        _print(f"\nsslrec data check {source.name}    fetches what is missing and says what is wrong")
    else:
        _report(statistics(prepared), prepared.meta["notes"])


@app.command()
def check(dataset: Name, settings: Set = None, data_dir: Root = None, as_json: AsJson = False) -> None:
    """Fetch what is missing, verify and read every file, and report counts and what was decided.

    Example: sslrec data check ./ratings.csv --set data.user=uid --set scenario.split=time
    """
    from sslrec_core.cli.loading import Source, statistics

    source = Source(dataset, settings or [], data_dir)
    prepared = source.prepare(_say(as_json))
    files = list(source.files())
    if as_json:
        print(json.dumps({
            "name": source.name, "scenario": source.scenario_name, "files": files,
            "statistics": statistics(prepared), "notes": prepared.meta["notes"],
        }))  # fmt: skip
        return
    _print(_files(files))
    _report(statistics(prepared), prepared.meta["notes"])
    _print(escape(f"\n{dataset} is fine"))


@app.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(help="Files or folders of interactions.", show_default=False)],
    to: Annotated[Path, typer.Option("--to", help="The new folder.", show_default=False)],
    layout: Annotated[
        str, typer.Option(help="parquet keeps your ids; lists are train.txt, test.txt with numbers.")
    ] = "parquet",
    settings: Set = None,
    as_json: AsJson = False,
) -> None:
    """Filter and split your files once and write the result as a folder that is a dataset.

    Example: sslrec data import ratings.csv --to ./mine --set scenario.k_core=5
    """
    from sslrec_core.cli.loading import read_tables
    from sslrec_core.errors import ConfigError
    from sslrec_core.ingest.export import export

    if layout not in ("parquet", "lists"):
        raise ConfigError(f"no layout is called '{layout}'", fix="--layout parquet or --layout lists")
    form: Literal["parquet", "lists"] = "lists" if layout == "lists" else "parquet"
    raw, config = read_tables(files, settings or [])
    meta = export(raw, config, to, form)
    if as_json:
        print(json.dumps({"folder": str(to), "files": sorted(path.name for path in to.iterdir()), **meta}))
        return
    counts, notes = meta["counts"], meta["notes"]
    assert isinstance(counts, dict) and isinstance(notes, list)
    _report(counts, notes)
    name = str(to) if to.is_absolute() else f"./{to}"
    print(f"\nwrote {to}\n  sslrec train MODEL --dataset {name}")


def _files(files: list[dict[str, Any]]) -> Table:
    table = _table("file", "bytes", "state")
    table.columns[1].justify = "right"
    for file in files:
        size = "" if file["size"] is None else f"{file['size']:,}"
        table.add_row(escape(file["name"]), size, file["state"] + (" (optional)" if file.get("optional") else ""))
    return table


def _report(statistics: Mapping[str, Any], notes: list[str]) -> None:
    table = _table("", "")
    table.columns[1].justify = "right"
    for key, value in statistics.items():
        table.add_row(key, f"{value:,}" if isinstance(value, int) else f"{value:.4g}")
    _print(table)
    for note in notes:
        _print(escape(f"- {note}"))


def _table(*headers: str) -> Table:
    table = Table(box=None, show_header=any(headers), pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def _print(what: Any) -> None:
    Console(highlight=False).print(what)


def _say(quiet: bool) -> Any:
    """Tells what takes time, on standard error, unless the answer is for a program."""
    return (lambda text: None) if quiet else (lambda text: print(text, file=sys.stderr))
