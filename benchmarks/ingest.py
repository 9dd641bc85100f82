"""Time a large CSV from bytes to a dataset: 5-core, ids, split at one moment; print seconds and peak memory.

    python benchmarks/ingest.py --rows 50000000 --folder /tmp/ingest

The table is generated once (users and items drawn from skewed distributions) and kept in the folder; the timed part
runs in a process of its own with an empty cache, so that the peak is its own.  Processor seconds beside wall seconds
show whether the machine was busy with something else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

PORTION = 5_000_000


def generate(path: Path, rows: int) -> None:
    """Write ``rows`` lines ``user,item,rating,timestamp``: popularity falls off as a power, ids are not contiguous."""
    import polars as pl
    import torch

    generator = torch.Generator().manual_seed(0)
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as sink:
        for start in range(0, rows, PORTION):
            size = min(PORTION, rows - start)
            users = torch.rand(size, generator=generator).pow(2).mul(2_000_000).long() * 3 + 17
            items = torch.rand(size, generator=generator).pow(3).mul(500_000).long() * 7 + 1_000
            rating = torch.randint(1, 6, (size,), generator=generator)
            moment = torch.randint(1_500_000_000, 1_700_000_000, (size,), generator=generator)
            frame = pl.DataFrame(
                {
                    "user": users.numpy(),
                    "item": items.numpy(),
                    "rating": rating.numpy(),
                    "timestamp": moment.numpy(),
                }
            )
            frame.write_csv(sink, include_header=start == 0)
    temporary.rename(path)


def measure(path: Path, cache: Path) -> dict[str, object]:
    """Prepare ``path`` in this process and say how long each stage took."""
    from sslrec_core.builtin.datasets import Table
    from sslrec_core.cli.loading import Plain
    from sslrec_core.data import load_prepared

    stages: list[tuple[str, float]] = []
    began, busy = time.perf_counter(), time.process_time()
    load_prepared(
        Table(Table.Config(path=str(path))),
        Plain(Plain.Config(k_core=5, split="time")),
        name="benchmark",
        cache=cache,
        say=lambda text: stages.append((text, time.perf_counter() - began)),
    )
    cold, busy = time.perf_counter() - began, time.process_time() - busy
    again = time.perf_counter()
    prepared = load_prepared(
        Table(Table.Config(path=str(path))), Plain(Plain.Config(k_core=5, split="time")), name="benchmark", cache=cache
    )
    return {
        "seconds": round(cold, 2),
        "processor seconds, all cores": round(busy, 2),
        "seconds, second time": round(time.perf_counter() - again, 2),
        "begun at": {text: round(when, 2) for text, when in stages},
        "peak GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "counts": prepared.meta["counts"],
        "notes": prepared.meta["notes"],
    }


def main() -> None:
    """Generate if needed, measure in a fresh process, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--folder", type=Path, default=Path("ingest-benchmark"))
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    path, cache = options.folder / f"{options.rows}.csv", options.folder / "cache"
    if options.inside:
        print(json.dumps(measure(path, cache), indent=1))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        print(f"writing {path}", file=sys.stderr)
        generate(path, options.rows)
    shutil.rmtree(cache, ignore_errors=True)
    size = round(path.stat().st_size / 1e9, 2)
    print(json.dumps({"cores": os.cpu_count(), "file GB": size, "load": os.getloadavg()[0]}), flush=True)
    command = [sys.executable, __file__, "--rows", str(options.rows), "--folder", str(options.folder), "--inside"]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
