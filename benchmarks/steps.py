"""Some training steps of any model on any dataset: data ready, seconds a step, an epoch at that rate, peak memory.

For sets whose whole epoch takes long.  Steps are timed through the product's own loop and each phase of an epoch apart
(a knowledge graph's, the interactions'); an epoch is steps times the median, plus what happens once in it.

    python benchmarks/steps.py kgcl kg/alibaba-fashion --steps 10 --data-dir DATA
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from sslrec_core.data import load_data
from sslrec_core.environment import pick_device
from sslrec_core.loop import Loop
from sslrec_core.memory import steady_memory
from sslrec_core.settings import resolve


class TimedLoop(Loop):
    """A loop that ends each phase of an epoch after some steps and notes how long each took, the first left out."""

    limit: int
    phases: list[tuple[int, list[float]]]

    def batches(self, source: Any = None) -> Iterator[Any]:
        """The first batches of a phase; the others are counted and not learned from."""
        seconds: list[float] = []
        total = 0
        began = None
        for batch in super().batches(source):
            total += 1
            if total > self.limit + 1:
                continue
            if began is not None:
                self._wait()
                seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
            yield batch
        self.phases.append((total, seconds[1:]))

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def main() -> None:
    """Load twice, time the steps, print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("--steps", type=int, default=10, help="steps timed of each phase, after one to warm up")
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("SSLREC_DATA"), help="default: SSLREC_DATA")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", dest="assignments", action="append", default=[], help="as in sslrec train")
    given = parser.parse_args()
    if given.steps < 2:
        parser.error("--steps must be at least 2: the first is left out of the median")
    config = resolve(given.model, given.dataset, assignments=given.assignments).config
    device = pick_device(given.device)
    steady_memory()
    for _ in range(2):
        began = time.perf_counter()
        data = load_data(config.data.build(), config.scenario.build(), name=config.data.name, root=given.data_dir)
        print(f"data ready            {time.perf_counter() - began:10.2f} s")
    torch.manual_seed(0)
    model = config.model.build(data.to(device)).to(device)
    loop = TimedLoop(model, config.train, config.optim, device)
    loop.limit, loop.phases = given.steps, []
    began = time.perf_counter()
    model.epoch(loop)
    loop.means()
    whole = time.perf_counter() - began
    epoch = whole
    for number, (total, seconds) in enumerate(loop.phases):
        median = statistics.median(seconds)
        spent = (min(total, given.steps + 1)) * median
        epoch += total * median - spent
        print(f"phase {number}: a step       {median:10.3f} s  of {total:,} steps")
    print(f"an epoch at that rate {epoch:10.1f} s")
    if device.type == "cuda":
        print(f"peak on the device    {torch.cuda.max_memory_allocated(device) / 2**30:10.2f} GiB")
    print(f"peak memory           {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:10.2f} GiB")


if __name__ == "__main__":
    main()
