"""DGL as a backend keeps the same contract as the default one; without DGL only DGL is missing."""

from __future__ import annotations

import sys

import pytest
import torch

from sslrec_core.errors import DeviceError, PluginError
from sslrec_core.graph import SparseGraph, use_backend
from sslrec_core.registry import registry
from sslrec_core.testing import BackendContract
from sslrec_dgl import to_dgl
from sslrec_dgl.backend import DGLBackend

try:
    DGLBackend()
    reason = ""
except PluginError as error:
    reason = str(error)
needs_dgl = pytest.mark.skipif(bool(reason), reason=reason)


@needs_dgl
class TestDGL(BackendContract):
    backend = "dgl"


def graph_of(shape: tuple[int, int]) -> SparseGraph:
    target, source = torch.tensor([2, 0, 2, 2, 1]), torch.tensor([1, 0, 1, 3, 2])
    return SparseGraph.of(target, source, torch.arange(1.0, 6.0), shape=shape)


@needs_dgl
def test_to_dgl_sends_messages_from_sources_to_targets() -> None:
    import dgl.function as fn

    graph, x = graph_of((4, 4)), torch.randn(4, 3)
    converted = to_dgl(graph)
    converted.ndata["x"] = x
    converted.update_all(fn.u_mul_e("x", "weight", "m"), fn.sum("m", "y"))
    torch.testing.assert_close(converted.ndata["y"], graph.dense() @ x)


@needs_dgl
def test_to_dgl_of_a_graph_with_two_sides() -> None:
    converted = to_dgl(graph_of((3, 5)))
    assert (converted.num_nodes("source"), converted.num_nodes("target"), converted.num_edges()) == (5, 3, 5)


@needs_dgl
def test_to_dgl_leaves_out_dropped_edges() -> None:
    graph = graph_of((4, 4))
    mask = torch.tensor([True, False, True, False, True])
    converted = to_dgl(graph.keep(mask))
    assert torch.equal(converted.edges()[0], graph.source[mask])
    assert torch.equal(converted.edata["weight"], graph.weight[mask])


@needs_dgl
def test_refused_on_another_device() -> None:
    with pytest.raises(DeviceError, match="backend 'dgl' runs on cpu, this run is on cuda:0"):
        use_backend(DGLBackend(), torch.device("cuda:0"))


def test_without_dgl_it_says_so_and_the_rest_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dgl", None)
    found = registry().find("backend", "dgl")
    assert "dgl" in [entry.name for entry in registry().entries("backend")]
    with pytest.raises(PluginError, match=r"DGL cannot be imported here(.|\n)*dgl==1.1.3(.|\n)*run.graph=torch"):
        found.load()()
    with pytest.raises(PluginError, match="DGL cannot be imported here"):
        to_dgl(graph_of((4, 4)))
    x = torch.randn(4, 2)
    torch.testing.assert_close(graph_of((4, 4)) @ x, graph_of((4, 4)).dense() @ x)
