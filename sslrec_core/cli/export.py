"""Write what a run found for use without sslrec."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sslrec_core.errors import SslrecError


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
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of datasets; default: the one given to train, else $SSLREC_DATA.")
    ] = None,
) -> None:
    """Export a run's vectors, scorer, index or lists.

    embeddings: vectors of users and items, whose dot product is the score.  onnx: a program that scores histories,
    checked with onnxruntime.  faiss: an index of the item vectors, measured beside exact search.  recommendations: the
    best items of every user.

    Example: sslrec export runs/lightgcn-demo-… --to faiss --recall 0.98
    """
    from sslrec_core import experiments

    target = output or run / to
    found = experiments.export(
        run, to, target, form=form, k=k, index=index, users=users, recall=recall, force=force, device=device,
        data_root=data_dir,
    )  # fmt: skip
    print(f"{found}\nexport {target}")
    if not isinstance(found, str) and found.recall < recall:
        raise SslrecError(
            f"the index finds {found.recall:.4f} of exact search, less than --recall {recall:g}",
            "it is written, with what it reached",
            fix="--index Flat is exact; HNSW64 and --force, or a lower --recall",
        )
