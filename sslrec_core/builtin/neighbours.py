"""Item-to-item similarities of sparse data: made in portions, only the strongest kept.

Everything here is arithmetic on the host, so that the result does not depend on the device, and never holds more than
a portion of the items-by-items matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from sslrec_core.evaluate import portion, top

Floats: TypeAlias = NDArray[np.float32]
Finish: TypeAlias = Callable[[Floats, slice], Floats]
Weighting: TypeAlias = Literal["none", "tf-idf", "bm25"]

BM25_K1 = 1.2
BM25_B = 0.75
"""Saturation and length normalisation of BM25: the usual values (Robertson and Zaragoza 2009, section 3.5)."""


def strongest(left: csr_array, right: csr_array, finish: Finish, k: int) -> csr_array:
    """The ``k`` largest positive values of each row of ``finish(left @ right)``, the diagonal left out.

    Args:
        left: ``[items, users]``
        right: ``[users, items]``
        finish: Turns a portion of rows of the product into similarities, told which rows they are.
        k: Values to keep in each row; of equal ones, those of the lowest columns.
    """
    n = right.shape[1]
    size = portion(n, torch.device("cpu"))
    rows, columns, values = [], [], []
    for start in range(0, left.shape[0], size):
        part = slice(start, min(start + size, left.shape[0]))
        similarity = torch.from_numpy(finish((left[part] @ right).toarray(), part))
        own = torch.arange(len(similarity), device=similarity.device)
        similarity[own, start + own] = 0
        best, value = top(similarity.masked_fill_(similarity <= 0, -torch.inf), min(k, n))
        kept = value > 0
        rows.append((own[:, None] + start).expand_as(best)[kept])
        columns.append(best[kept])
        values.append(value[kept])
    place = (torch.cat(rows).numpy(), torch.cat(columns).numpy())
    return csr_array(coo_array((torch.cat(values).numpy(), place), shape=(left.shape[0], n)))


def weighted(matrix: csr_array, how: Weighting) -> csr_array:
    """A binary ``[users, items]`` matrix with weights for similarity: items are texts, users the words in them.

    A user of many items says little about each of them: ``tf-idf`` is log((items + 1) / (items of the user + 1)).
    ``bm25`` also divides by the length of the item's text, 1 - b + b * users of the item / mean, with saturation k1.
    """
    if how == "none":
        return matrix
    per_user = matrix.sum(1)
    rarity = np.log((matrix.shape[1] + 1) / (per_user + 1))
    entries = coo_array(matrix)
    values = rarity[entries.row]
    if how == "bm25":
        per_item = matrix.sum(0)
        length = 1 - BM25_B + BM25_B * per_item / per_item.mean()
        values = values * (BM25_K1 + 1) / (BM25_K1 * length[entries.col] + 1)
    return csr_array((values.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
