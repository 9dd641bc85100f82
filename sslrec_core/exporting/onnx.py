"""A model that scores histories as an ONNX program, checked with onnxruntime against the model itself."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.errors import ConfigError, SslrecError
from sslrec_core.evaluate import judging
from sslrec_core.exporting.folder import new_folder, write_about, write_ids
from sslrec_core.model import Portable
from sslrec_core.recommending import askable
from sslrec_core.running import Run

try:
    import onnxruntime
    import onnxscript  # noqa: F401 (torch translates with it)
except ImportError as error:
    raise ConfigError(
        "a program needs onnx, onnxruntime and onnxscript", fix="pip install 'sslrec-core[export]'"
    ) from error

TOLERANCE = 1e-4
"""How far a score of the program may be from the model's."""
CHECKED = 1000
"""Users whose histories are scored by both."""
AT_ONCE = (1, 7, 64)
"""How many histories are scored together, in turn: the program has to serve batches of any size."""
ONE_FILE = 1 << 30
"""Bytes of weights up to which the program is one file; the format allows 2 GiB."""


def export_onnx(run: Run, target: Path, *, force: bool = False) -> str:
    """Write the scorer to the new folder ``target``: ``model.onnx``, and what its numbers mean.

    The program takes histories as plain tensors and gives scores for all items, ``[batch, items]``.  It is run on real
    histories of the data, and kept only if its scores are the model's.

    Returns:
        What was written, in words.

    Raises:
        ConfigError: the model has no such form.
        SslrecError: the program's scores are not the model's; nothing is kept.
        StorageError: the folder exists or cannot be written.
    """
    name, portable = run.config.model.name, run.model.portable()
    if portable is None:
        other = "embeddings" if run.model.towers() is not None else "recommendations"
        raise ConfigError(f"{name} has no form that can be written as a program", fix=f"--to {other}")
    known = askable(run.data)
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[:CHECKED]
    users = known[order.to(known.device)]
    with new_folder(target, force) as folder, judging(run.model):
        example = portable.inputs(next(run.data.queries("test", 8, users=users[:8])))
        path = folder / "model.onnx"
        _write(portable, example, path, name)
        difference, checked = _difference(run, portable, path, users)
        if not difference <= TOLERANCE:
            raise SslrecError(
                f"the program's scores are not those of {name}: they differ by up to {difference:.1e}",
                f"{TOLERANCE:.0e} is allowed; nothing is kept",
                fix="--to recommendations; and please report it, with the model's settings",
            )
        write_ids(folder / "items.parquet", "item", run.data.items)
        if "users" in example:
            write_ids(folder / "users.parquet", "user", run.data.users)
        write_about(
            folder, run, "onnx", inputs=portable.facts, output="scores [batch, items], higher is better",
            numbers="those of items.parquet", checked=checked, largest_difference=difference,
        )  # fmt: skip
    return f"{name} as model.onnx; on {checked:,} histories its scores differ by at most {difference:.1e}"


def _write(portable: Portable, example: Mapping[str, Tensor], path: Path, name: str) -> None:
    inputs = tuple(_two(value, portable.axes[key]) for key, value in example.items())
    size = sum(value.nbytes for value in portable.module.state_dict().values())
    try:
        with _quiet():
            program = torch.onnx.export(
                portable.module, inputs, dynamo=True, verbose=False, input_names=list(example),
                output_names=["scores"], dynamic_shapes=dict(portable.axes),
            )  # fmt: skip
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise ConfigError(
            f"{name} cannot be written as an ONNX program", str(error).strip().splitlines()[-1],
            fix="--to recommendations; --traceback shows what torch could not translate",
        ) from error  # fmt: skip
    assert program is not None
    program.save(path, external_data=size > ONE_FILE)


def _two(value: Tensor, axes: Mapping[int, str]) -> Tensor:
    """``value`` with at least two along each of ``axes``: a size of one would be taken for fixed."""
    for axis in axes:
        if value.shape[axis] < 2:
            behind = 2 * (value.dim() - 1 - axis)
            value = F.pad(value, (*[0] * behind, 0, 2 - value.shape[axis]))
    return value


def _difference(run: Run, portable: Portable, path: Path, users: Tensor) -> tuple[float, int]:
    """How far scores of the program are from the model's at most, and on how many histories that was seen."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    scorer, largest = run.model.scorer(), 0.0
    for some, size in zip(users.chunk(len(AT_ONCE)), AT_ONCE, strict=False):
        for queries in run.data.queries("test", size, users=some):
            inputs: dict[str, Any] = {key: value.cpu().numpy() for key, value in portable.inputs(queries).items()}
            found = torch.from_numpy(session.run(None, inputs)[0])
            gap = (found - scorer(queries).float().cpu()).abs().max()
            largest = float("nan") if gap.isnan() else max(largest, float(gap))
    return largest, len(users)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of itself: deprecations inside of torch, and packages that it does not find."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
