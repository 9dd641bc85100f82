"""Hypergraphs of users, made of motifs: small patterns of ties and purchases (MHCN, WWW'21, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array, vstack
from torch import Tensor

from sslrec_core.data import Rows
from sslrec_core.graph import SparseGraph

PORTION = 2**24
"""Products of numbers that are made before anything is thrown away; about 200 MB."""


@dataclass(frozen=True, eq=False)
class Hypergraph:
    """How many motifs each two users share; ``hypergraph @ x`` is the mean of ``x`` over them, by those numbers.

    The matrix is symmetric, so the gradient needs no transpose; rows are divided after the product for its sake.
    """

    shared: SparseGraph
    """``[users, users]``, symmetric."""
    inverse: Tensor
    """One by the sum of each row, 0 for an empty one, ``[users, 1]``."""

    @classmethod
    def of(cls, counts: csr_array, device: torch.device) -> Hypergraph:
        """The hypergraph of a symmetric matrix of counts without explicit zeros."""
        counts.sort_indices()
        pointers, columns = (torch.from_numpy(index).to(device) for index in (counts.indptr, counts.indices))
        weight = torch.from_numpy(counts.data).to(device)
        total = torch.from_numpy(np.asarray(counts.sum(1), np.float32)).to(device)
        inverse = torch.where(total > 0, 1 / total, 0).unsqueeze(1)
        return cls(SparseGraph.compressed(pointers, columns, weight, shape=counts.shape, symmetric=True), inverse)

    def __matmul__(self, x: Tensor) -> Tensor:
        """``[users, dim] -> [users, dim]``, with gradient."""
        return (self.shared @ x) * self.inverse


class Channels(NamedTuple):
    """The three hypergraphs of MHCN."""

    social: Hypergraph
    """Friends who have a friend in common."""
    joint: Hypergraph
    """Friends who bought the same."""
    purchase: Hypergraph
    """Users who bought the same and are no friends."""


def motif_channels(ties: Rows, bought: Rows, *, least_common: int = 2, own: bool = True) -> Channels:
    """The hypergraphs of ten motifs, by sparse products of a portion of users at a time.

    Motifs 1 to 7 are the seven ways in which three users can all be tied, one-sidedly or mutually.  What a channel
    needs is their sum, and summed over all ways the directions do not matter: with ``W`` the ties in either direction,
    ``A1 + ... + A7 = (W W) * W``, the triangles over each tie.  In the same way ``A8 + A9 = (Y Y') * W`` for purchases
    ``Y``, and ``A10 = Y Y' - A8 - A9``.

    Args:
        ties: friends of each user, users by users.
        bought: items of each user in training, users by items.
        least_common: the purchase channel keeps users who have at least so many items in common.
        own: whether users are in the purchase channel with themselves, with all of their items.

    Returns:
        Hypergraphs on the device of ``bought``.
    """
    given = _compact(ties.to_scipy())
    either = csr_array(((given + given.T) > 0).astype(np.float32))
    triangles = [common.multiply(either[part]).tocsr() for part, common in overlaps(either)]
    joint, purchase = [], []
    for part, common in overlaps(_compact(bought.to_scipy())):
        of_friends = common.multiply(either[part]).tocsr()
        joint.append(of_friends)
        others = csr_array(common - of_friends)
        few = others.data < least_common
        if not own:
            few |= others.indices == np.repeat(np.arange(part.start, part.stop), np.diff(others.indptr))
        others.data[few] = 0
        others.eliminate_zeros()
        purchase.append(others)
    device = bought.columns.device
    return Channels(*(Hypergraph.of(csr_array(vstack(rows)), device) for rows in (triangles, joint, purchase)))


def overlaps(rows: csr_array) -> Iterator[tuple[slice, csr_array]]:
    """``rows @ rows.T``, how many columns each two rows share, in portions of rows that bound the memory."""
    columns = rows.T.tocsr()
    work = np.cumsum(rows @ columns.sum(1))
    cuts = np.searchsorted(work, np.arange(PORTION, work[-1], PORTION))
    bounds = np.unique(np.concatenate(([0], cuts, [rows.shape[0]])))
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        part = slice(start, stop)
        yield part, rows[part] @ columns


def _compact(matrix: csr_array) -> csr_array:
    """The same matrix with 32-bit indices where they fit, and so all products of it."""
    if max(matrix.nnz, *matrix.shape) < 2**31:
        matrix.indices, matrix.indptr = (index.astype(np.int32) for index in (matrix.indices, matrix.indptr))
    return matrix
