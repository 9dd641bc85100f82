"""Which items are alike: by who met them both, and by their vectors (Liu et al., CoSeRec, 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array
from torch import Tensor

from sslrec_core.builtin.neighbours import Floats, strongest
from sslrec_core.builtin.softmax import full_precision
from sslrec_core.evaluate import portion
from sslrec_core.rows import Rows
from sslrec_seq.data import SeqData


@dataclass(frozen=True, eq=False)
class Similar:
    """The item most similar to each item."""

    items: Tensor
    """-1 for none.  ``Long[items]``"""
    scores: Tensor
    """How similar it is, from 0 for the least similar pair of all to 1 for the most similar one.  ``[items]``"""


_KNOWN: WeakKeyDictionary[SeqData, Similar] = WeakKeyDictionary()


def item_correlation(data: SeqData) -> Similar:
    """The most similar item by the users that met both in training, those of few items counting more.

    The similarity of two items is the sum of ``1 / log(1 + items of the user)`` over the users of both, divided by the
    root of the product of how many users each has: item-based collaborative filtering with inverse user frequency,
    ItemCF-IUF in CoSeRec.  Each user's last training item, which is a target and in no history, does not count, as in
    the authors' code.  Computed once for the same data.
    """
    if data not in _KNOWN:
        _KNOWN[data] = _correlation(data)
    return _KNOWN[data]


def _correlation(data: SeqData) -> Similar:
    matrix = _histories(data).to_scipy()
    per_user, per_item = matrix.sum(1), matrix.sum(0)
    weighted = csr_array(diags_array(1 / np.log1p(np.maximum(per_user, 1))) @ matrix).astype(np.float32)
    root = np.sqrt(np.maximum(per_item, 1)).astype(np.float32)
    least = [np.float32(np.inf)]

    def finish(common: Floats, part: slice) -> Floats:
        similarity: Floats = common / (root[part, None] * root)
        others = similarity.copy()
        others[np.arange(len(others)), np.arange(part.start, part.stop)] = 0
        least.append(np.min(others, where=others > 0, initial=np.float32(np.inf)))
        return similarity

    best = strongest(matrix.T.tocsr().astype(np.float32), weighted, finish, 1)
    found = np.diff(best.indptr) > 0
    items, scores = np.full(data.n_items, -1, np.int64), np.zeros(data.n_items, np.float32)
    items[found], scores[found] = best.indices, best.data
    if found.any():
        lowest, highest = min(least), scores.max()
        scores[found] = (scores[found] - lowest) / max(highest - lowest, np.finfo(np.float32).tiny)
    device = data.sequences.items.device
    return Similar(torch.from_numpy(items).to(device), torch.from_numpy(scores).to(device))


def _histories(data: SeqData) -> Rows:
    """The items of each user's training but the last one."""
    pointers, items = data.sequences.pointers, data.sequences.items
    users = torch.arange(data.n_users, device=items.device).repeat_interleave(pointers.diff())
    inside = torch.arange(len(items), device=items.device) < data.sequences.ends[users] - 1
    return Rows.of(users[inside], items[inside], data.n_users, data.n_items)


@torch.no_grad()
def nearest(vectors: Tensor) -> Similar:
    """The item whose vector has the largest dot product with each item's own, ``[items, dim]``, itself left out.

    In the precision of the vectors, under autocast too: in half precision many items would be equally near.
    """
    n = len(vectors)
    best, items = vectors.new_empty(n), torch.empty(n, dtype=torch.long, device=vectors.device)
    lowest, highest = [], []
    with full_precision(vectors):
        for own in torch.split(torch.arange(n, device=vectors.device), portion(n, vectors.device)):
            scores = vectors[own] @ vectors.T
            lowest.append(scores.amin())
            highest.append(scores.amax())
            best[own], items[own] = scores.scatter(1, own[:, None], -torch.inf).max(1)
    low, high = torch.stack(lowest).amin(), torch.stack(highest).amax()
    return Similar(items, (best - low) / (high - low).clamp(min=torch.finfo(vectors.dtype).tiny))


def hybrid(correlation: Similar, vectors: Tensor) -> Similar:
    """For each item the one that is more similar of two: by correlation and by vectors ``[items, dim]``."""
    by_vectors = nearest(vectors)
    first = (correlation.items >= 0) & (correlation.scores >= by_vectors.scores)
    return Similar(
        torch.where(first, correlation.items, by_vectors.items),
        torch.where(first, correlation.scores, by_vectors.scores),
    )
