"""The part of a model's contract that is about devices; most of it can be checked without an accelerator."""

from __future__ import annotations

import pytest
import torch

from sslrec_core.testing.bench import Bench, scores
from sslrec_core.testing.guards import GuardedLoop, Placement, Waiting, no_synchronisation


class DeviceChecks:
    """Checks that a model runs wherever its data is, without making the device wait."""

    def bench(self, *assignments: str) -> Bench:
        """The model in its toy world."""
        raise TypeError("this class is a part of ModelContract")

    def test_runs_on_any_device(self) -> None:
        """No tensor is made on a device that is written in the code, or on none in particular."""
        bench = self.bench()
        model = bench.build()
        queries = bench.queries()
        with Placement() as placement:
            bench.train(model, 1)
            scores(model, queries, to_host=False)
        assert not placement.found, "\n".join(["this works on one device only:", *sorted(placement.found)])

    def test_steps_read_nothing_from_the_device(self) -> None:
        """Between a batch and its step no value is read out of a tensor: each such read waits for the device."""
        bench = self.bench()
        model = bench.build()
        waiting = Waiting()
        loop = bench.loop(model, GuardedLoop)
        assert isinstance(loop, GuardedLoop)
        loop.guard = lambda: waiting
        bench.train(model, 1, loop)
        assert not waiting.found, "\n".join(["a training step waits for the device:", *sorted(waiting.found)])

    @pytest.mark.gpu
    def test_no_device_sync_inside_a_step(self) -> None:
        """CUDA itself finds no synchronisation between a batch and its step."""
        bench = self.bench().on(torch.device("cuda"))
        model = bench.build()
        bench.train(model, 1)  # what is made once, in the first steps, may wait
        loop = bench.loop(model, GuardedLoop)
        assert isinstance(loop, GuardedLoop)
        loop.guard = no_synchronisation
        bench.train(model, 1, loop)

    @pytest.mark.gpu
    def test_cpu_and_gpu_agree(self) -> None:
        """The same trained weights give the same scores on both, up to rounding."""
        bench = self.bench()
        model = bench.build()
        bench.train(model, 2)
        there = bench.on(torch.device("cuda"))
        twin = there.build(seed=1)
        twin.load_weights({name: value.to(there.device) for name, value in model.state_dict().items()})
        mine, its = scores(model, bench.queries()), scores(twin, there.queries())
        assert torch.allclose(mine, its, rtol=1e-3, atol=1e-4), f"scores differ by up to {(mine - its).abs().max():.3g}"
