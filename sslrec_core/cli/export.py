"""Write what a run found for use without sslrec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from sslrec_core.errors import ConfigError, SslrecError

if TYPE_CHECKING:
    from sslrec_core.running import Run

KINDS = ("embeddings", "onnx", "faiss", "recommendations")


def command(
    run: Annotated[Path, typer.Argument(help="Run directory.", show_default=False)],
    to: Annotated[str, typer.Option(help="embeddings, onnx, faiss or recommendations.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: named so in the run directory.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="Of embeddings: parquet or npz.")] = "parquet",
    k: Annotated[int, typer.Option("-k", min=1, help="Length of the lists, and of those that recall is of.")] = 20,
    index: Annotated[str, typer.Option(help="What faiss calls the index, such as HNSW32 or IVF256,Flat.")] = "HNSW32",
    users: Annotated[int, typer.Option(min=1, help="Users that an index is measured with.")] = 1000,
    recall: Annotated[
        float, typer.Option(min=0, max=1, help="Share of exact search that an index has to find.")
    ] = 0.95,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of datasets; default: where they were.")] = None,
) -> None:
    """Export a run's vectors, scorer, index or lists.

    embeddings: vectors of users and items, whose dot product is the score.  onnx: a program that scores histories,
    checked with onnxruntime.  faiss: an index of the item vectors, measured beside exact search.  recommendations: the
    best items of every user.

    Example: sslrec export runs/lightgcn-demo-… --to faiss --recall 0.98
    """
    if to not in KINDS:
        raise ConfigError(f"there is no export '{to}'", fix=f"--to {', '.join(KINDS)}")
    target = output or run / to

    from sslrec_core.exporting.embeddings import Form

    if form not in get_args(Form):
        raise ConfigError(f"there is no format '{form}'", fix=f"--format {' or '.join(get_args(Form))}")

    from sslrec_core.running import Run

    # A program is checked on the processor that it is run on.
    opened = Run.open(run, device="cpu" if to == "onnx" and device is None else device, data_root=data_dir)
    if to == "faiss":
        _index(opened, target, index, k, users, recall, force)
        return
    if to == "embeddings":
        from sslrec_core.exporting.embeddings import export_embeddings

        said = export_embeddings(opened, target, form, force=force)  # type: ignore[arg-type]
    elif to == "onnx":
        from sslrec_core.exporting.onnx import export_onnx

        said = export_onnx(opened, target, force=force)
    else:
        from sslrec_core.exporting.recommendations import export_recommendations

        said = export_recommendations(opened, target, k, force=force)
    print(f"{said}\nexport {target}")


def _index(run: Run, target: Path, index: str, k: int, users: int, recall: float, force: bool) -> None:
    from sslrec_core.exporting.index import export_index

    found = export_index(run, target, index, k, users, recall, force=force)
    print(f"{found}\nexport {target}")
    if found.recall < recall:
        raise SslrecError(
            f"the index finds {found.recall:.4f} of exact search, less than --recall {recall:g}",
            "it is written, with what it reached",
            fix="--index Flat is exact; HNSW64 and --force, or a lower --recall",
        )
