"""The graph backend ``dgl``."""

from __future__ import annotations

from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from sslrec_core.graph import GraphBackend, SparseGraph, Structure
from sslrec_dgl.convert import load_dgl, two_sided


class DGLBackend(GraphBackend):
    """Kernels, neighbour sampler and random walks of DGL, on the CPU."""

    name: ClassVar[str] = "dgl"
    devices: ClassVar[frozenset[str]] = frozenset({"cpu"})

    def __init__(self) -> None:
        self._dgl = load_dgl()
        self._graphs: WeakKeyDictionary[Structure, Any] = WeakKeyDictionary()

    def spmm(self, graph: SparseGraph, weight: Tensor, x: Tensor) -> Tensor:
        """Weighted sums over each target's sources."""
        out: Tensor = self._dgl.ops.u_mul_e_sum(self._converted(graph.structure), x, weight.unsqueeze(1))
        return out

    def edge_dot(self, graph: SparseGraph, a: Tensor, b: Tensor) -> Tensor:
        """Dot product of both ends."""
        out: Tensor = self._dgl.ops.u_dot_v(self._converted(graph.structure), b, a)
        return out.squeeze(1)

    def edge_softmax(self, graph: SparseGraph, logits: Tensor) -> Tensor:
        """Softmax over the edges of one target."""
        out: Tensor = self._dgl.ops.edge_softmax(self._converted(graph.structure), logits.unsqueeze(-1))
        return out.squeeze(-1)

    def sample(self, graph: SparseGraph, seeds: Tensor, fanout: int, generator: torch.Generator | None) -> Tensor:
        """Up to ``fanout`` different edges of each seed, by DGL's neighbour sampler."""
        structure = graph.compacted().structure
        nodes = {"target": seeds.to(structure.columns.dtype)}
        self._seed(generator)
        drawn = self._dgl.sampling.sample_neighbors(self._converted(structure), nodes, fanout)
        edges = drawn.edata[self._dgl.EID].long()
        if graph.alive is not None:
            edges = graph.alive.nonzero().squeeze(1).index_select(0, edges)
        # DGL lists the edges seed by seed: the n-th seed owns as many as it has, up to the fanout.
        taken = structure.counts.index_select(0, seeds).clamp(max=fanout)
        slots = torch.arange(fanout) < taken.unsqueeze(1)
        return torch.full(slots.shape, -1).masked_scatter(slots, edges)

    def random_walk(self, graph: SparseGraph, seeds: Tensor, length: int, generator: torch.Generator | None) -> Tensor:
        """Walks from targets to sources, by DGL."""
        structure = graph.compacted().structure
        # DGL walks along edges, from where a message starts to where it goes; ours walk from targets to sources.
        turned = self._dgl.graph((structure.target, structure.source), num_nodes=structure.shape[0])
        self._seed(generator)
        walks: Tensor = self._dgl.sampling.random_walk(turned, seeds, length=length)[0]
        return walks

    def _converted(self, structure: Structure) -> Any:
        if structure not in self._graphs:
            self._graphs[structure] = two_sided(self._dgl, structure)
        return self._graphs[structure]

    def _seed(self, generator: torch.Generator | None) -> None:
        # DGL has generators of its own; torch's stays the one source of chance.
        self._dgl.seed(int(torch.randint(2**31 - 1, (1,), generator=generator)))
