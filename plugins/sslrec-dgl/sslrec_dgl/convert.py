"""DGL itself, imported when it is needed, and graphs in its own type."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sslrec_core.errors import PluginError

if TYPE_CHECKING:
    from sslrec_core.graph import SparseGraph, Structure

KIND = ("source", "to", "target")
"""Node and edge types of a graph whose two sides differ."""


def load_dgl() -> Any:
    """The module ``dgl``.

    Raises:
        PluginError: it is not installed, or cannot be imported here.
    """
    # Without this DGL writes a file into the home directory, and talks.
    os.environ.setdefault("DGLBACKEND", "pytorch")
    try:
        return import_module("dgl")
    except Exception as error:  # a broken build fails in ways of its own, such as FileNotFoundError and OSError
        raise PluginError(
            "DGL cannot be imported here",
            f"{type(error).__name__}: {error}",
            "its last usable release, 1.1.3, has wheels for Python 3.11 and older",
            fix="pip install 'dgl==1.1.3' packaging, or go on without it: --set run.graph=torch",
        ) from error


def to_dgl(graph: SparseGraph) -> Any:
    """The same graph as a ``dgl.DGLGraph``: messages run from sources to targets, weights are ``edata["weight"]``.

    A square graph has one type of node; another has the types ``source`` and ``target``.  Edges keep their order;
    edges that were dropped from a view are left out.

    Raises:
        PluginError: DGL cannot be imported here.
    """
    dgl = load_dgl()
    graph = graph.compacted()
    if graph.shape[0] == graph.shape[1]:
        converted = dgl.graph((graph.source, graph.target), num_nodes=graph.shape[0])
    else:
        converted = two_sided(dgl, graph.structure)
    converted.edata["weight"] = graph.weight
    return converted


def two_sided(dgl: Any, structure: Structure) -> Any:
    """A graph whose sources and targets are nodes of different types, even where they are the same things."""
    targets, sources = structure.shape
    ends = {KIND: (structure.columns, structure.rows)}
    return dgl.heterograph(ends, num_nodes_dict={"source": sources, "target": targets})
