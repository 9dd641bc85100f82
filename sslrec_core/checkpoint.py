"""Weights and the state of a training, in safetensors: nothing here can execute code when it is read.

``best.safetensors`` holds what scoring needs.  ``last.safetensors`` holds, besides, the optimisers, the generators,
the callbacks and the place in the training: resuming from it is exact.  Names inside are prefixed by their owner:
``model/``, ``optim/<name>/<parameter>/<field>``, ``rng/<device>``, ``callback/<position>/``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from sslrec_core.choice import Choice
from sslrec_core.data import Array, Data
from sslrec_core.errors import CheckpointError
from sslrec_core.files import write_atomically

FORMAT = 1
"""Grows when checkpoints of an older version can no longer be read."""

Tensors = dict[str, Tensor]


def save(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write ``tensors`` and the JSON-able ``about`` to ``path``, atomically.

    Raises:
        StorageError: the folder cannot be written.
    """
    # safetensors refuses tensors that share memory, and a buffer may be a view of a parameter.
    plain = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    metadata = {"sslrec": json.dumps({"format": FORMAT, **about})}
    write_atomically(path, lambda temporary: _save_file(plain, temporary, metadata), "saving a checkpoint")


def _save_file(tensors: Tensors, path: Path, metadata: dict[str, str]) -> None:
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        # The library wraps the operating system's refusal; give it back its type so that it is explained.
        raise OSError(str(error)) from error


def load(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """The tensors (on the CPU) and the ``about`` of a checkpoint.

    Raises:
        CheckpointError: missing, damaged, or not made by sslrec.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}", fix="train it first, or name another run directory")
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint",
            str(error),
            fix=f"remove it, and result.json if it is there, and sslrec train --resume {path.parent}",
        ) from error
    if "sslrec" not in metadata:
        raise CheckpointError(f"{path} was not made by sslrec", fix="name a run directory of sslrec train")
    about = cast("dict[str, Any]", json.loads(metadata["sslrec"]))
    if about.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {about.get('format')}, this version reads {FORMAT}",
            fix="use the sslrec-core version named in the run's environment.json",
        )
    return tensors, about


def under(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """The tensors whose name begins with ``prefix/``, without it."""
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(prefix + "/")}


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """``tensors`` with ``prefix/`` before each name."""
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def optimizer_state(optimizer: Optimizer) -> Tensors:
    """Everything ``optimizer`` has accumulated; its settings come from the configuration."""
    state = optimizer.state_dict()["state"]
    return {f"{index}/{field}": value for index, fields in state.items() for field, value in fields.items()}


def load_optimizer_state(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give ``optimizer`` back what :func:`optimizer_state` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, field = name.split("/")
        state.setdefault(int(index), {})[field] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def generator_state(device: torch.device) -> Tensors:
    """The state of the CPU's generator and of the device's own."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def load_generator_state(device: torch.device, state: Mapping[str, Tensor]) -> None:
    """Continue chance where :func:`generator_state` left it.

    Raises:
        CheckpointError: the checkpoint was made on another kind of device.
    """
    if device.type != "cpu" and device.type not in state:
        made_on = next((kind for kind in state if kind != "cpu"), "cpu")
        raise CheckpointError(
            f"this training ran on {made_on}, and cannot go on exactly on {device.type}",
            fix=f"resume it where there is {made_on}, or start a new run with -c config.toml",
        )
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state["mps"])


def check_made_by(about: Mapping[str, Any], model: Choice, directory: Path) -> None:
    """Refuse the checkpoint in ``directory`` unless ``model``, as it is installed, made it.

    Raises:
        CheckpointError: another model or another revision of it did.
    """
    if about["model"] != model.name:
        raise CheckpointError(
            f"the checkpoint in {directory} is of {about['model']}, the configuration names {model.name}",
            fix="restore config.toml, or train again",
        )
    revision = model.entry.load().revision
    if about["revision"] != revision:
        raise CheckpointError(
            f"the checkpoint in {directory} was made by another revision of {model.name}",
            f"checkpoint: revision {about['revision']}    installed: revision {revision} ({about['plugin']})",
            fix=f"install the version of {about['plugin']} that environment.json names, or train again",
        )


def known_by(data: Data) -> dict[str, str]:
    """Digests of what weights learn from: which ``ids`` their rows stand for, and the pairs of the ``train`` part."""
    train = data.interactions.parts["train"]
    ids = [array for known in (data.users, data.items) for array in known.arrays().values()]
    pairs = [train.pointers.cpu().numpy(), train.columns.cpu().numpy()]
    return {"ids": _digest(ids), "train": _digest(pairs)}


def _digest(arrays: Iterable[Array]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        found.update(f"{array.dtype} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def check_learned_from(about: Mapping[str, Any], now: Mapping[str, str], directory: Path, *what: str) -> None:
    """Refuse the checkpoint in ``directory`` where ``what`` of :func:`known_by` differs ``now`` from when it was made.

    Raises:
        CheckpointError: the data are others.
    """
    then = about.get("learned_from", {})
    names = {"ids": "users or items are others, or others stand at their numbers", "train": "the training part differs"}
    for part in what:
        # Checkpoints of earlier versions do not tell.
        if part in then and then[part] != now[part]:
            raise CheckpointError(
                f"the data are not those that the checkpoint in {directory} was trained with", names[part],
                fix="restore the files that it was trained with, or train again",
            )  # fmt: skip


def check_settings(
    about: Mapping[str, Any], now: Mapping[str, Any], directory: Path, free: Collection[str] = ()
) -> None:
    """Refuse the checkpoint in ``directory`` where an option of the model or the scenario is another ``now``.

    Options of the dataset may say where its files are, which may change: what is in them is compared by itself.

    Args:
        free: Options, such as ``scenario.hide_met``, that may change.

    Raises:
        CheckpointError: the configuration is another.
    """
    then = about.get("settings", {})
    facts = [
        sentence
        for section in ("model", "scenario")
        for key, sentence in _changed(then.get(section, {}), now[section], f"{section}.")
        if key not in free
    ]
    if facts:
        raise CheckpointError(
            f"the configuration in {directory} is not the one that its checkpoint was trained with", *facts,
            fix="restore config.toml, or train a new run with -c config.toml",
        )  # fmt: skip


def _changed(then: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Each setting that differs ``now`` from what a checkpoint was made with, with a sentence; of those in both."""
    for key, before in then.items():
        after = now.get(key, before)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _changed(before, after, f"{path}{key}.")
        elif before != after:
            yield f"{path}{key}", f"{path}{key} is {after}, and was {before} when it was trained"
