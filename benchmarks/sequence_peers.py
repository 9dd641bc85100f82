"""Steps of sequence models in clones of other frameworks; ``benchmarks/sequences.py`` starts it.

Their code is run as it is.  What is changed from outside: the device, the place of the data, sizes and batch as ours,
and names that newer versions of NumPy no longer have.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sequences import (
    DIM,
    DROPOUT,
    HEADS,
    LAYERS,
    LENGTH,
    MASKED,
    TEMPERATURE,
    WEIGHT,
    learned,
    timed,
    training_sequences,
)


def main() -> None:
    """Time one model and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=("sslrec", "recbole"))
    parser.add_argument("model")
    parser.add_argument("clone", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    given = parser.parse_args()
    sys.path.insert(0, str(given.clone))
    start = sslrec if given.peer == "sslrec" else recbole
    with tempfile.TemporaryDirectory() as folder:
        steps, epoch = start(given.model, training_sequences(given.data_dir), given.batch, given.clone, Path(folder))
        print(json.dumps(timed(steps, epoch, given.steps)))


def sslrec(name: str, sequences: list[list[int]], batch: int, clone: Path, folder: Path) -> tuple[Iterator[None], int]:
    """SSLRec reads its options from the command line and everything else from where it is started."""
    for part in clone.iterdir():
        if part.name != "datasets":
            (folder / part.name).symlink_to(part)
    place = folder / "datasets" / "sequential" / "sports_seq"
    place.mkdir(parents=True)
    rows = [(user, items) for user, items in enumerate(sequences, 1) if len(items) > 1]
    lines = [f"{user}\t{' '.join(map(str, items[:-1]))}\t{items[-1]}" for user, items in rows]
    for part in ("train", "test"):
        (place / f"{part}.tsv").write_text("\n".join(["uid\titem_seq\tlast_item", *lines]) + "\n")
    os.chdir(folder)
    sys.argv = ["main.py", "--model", name, "--dataset", "sports", "--device", "cpu"]
    configs: Any = importlib.import_module("config.configurator").configs
    configs["train"]["batch_size"] = batch
    configs["model"].update(embedding_size=DIM, n_layers=LAYERS, n_heads=HEADS, max_seq_len=LENGTH)
    configs["model"].update(dropout_rate=DROPOUT, mask_prob=MASKED, tau=TEMPERATURE, lmd=WEIGHT, lmd_sem=WEIGHT)
    handler: Any = importlib.import_module("data_utils.build_data_handler").build_data_handler()
    handler.load_data()
    model: Any = importlib.import_module("models.bulid_model").build_model(handler)
    loader = handler.train_dataloader
    return learned(model, loader, lambda drawn: model.cal_loss(drawn)[0]), len(loader)


def recbole(name: str, sequences: list[list[int]], batch: int, clone: Path, folder: Path) -> tuple[Iterator[None], int]:
    """RecBole reads an atomic file."""
    for old, new in {
        "float_": np.float64,
        "int_": np.int64,
        "complex_": np.complex128,
        "unicode_": np.str_,
        "bool8": np.bool_,
    }.items():
        if not hasattr(np, old):
            setattr(np, old, new)
    place = folder / "sports"
    place.mkdir()
    lines = [f"{user}\t{item}\t{at}" for user, items in enumerate(sequences, 1) for at, item in enumerate(items)]
    (place / "sports.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *lines]) + "\n")
    os.chdir(folder)
    sys.argv = sys.argv[:1]
    options = {
        "data_path": str(folder), "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "use_gpu": False,
        "MAX_ITEM_LIST_LENGTH": LENGTH, "train_batch_size": batch, "train_neg_sample_args": None, "loss_type": "CE",
        "hidden_size": DIM, "inner_size": 4 * DIM, "n_layers": LAYERS, "n_heads": HEADS, "mask_ratio": MASKED,
        "hidden_dropout_prob": DROPOUT, "attn_dropout_prob": DROPOUT, "state": "ERROR", "show_progress": False,
        # Sequences come without what is for validation and test, and RecBole needs something there.
        "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "TO", "mode": "full", "group_by": "user"},
    }  # fmt: skip
    config: Any = importlib.import_module("recbole.config").Config(model=name, dataset="sports", config_dict=options)
    data: Any = importlib.import_module("recbole.data")
    dataset = data.create_dataset(config)
    loader = data.data_preparation(config, dataset)[0]
    model = importlib.import_module("recbole.utils").get_model(name)(config, loader.dataset)
    return learned(model, loader, model.calculate_loss), len(loader)


if __name__ == "__main__":
    main()
