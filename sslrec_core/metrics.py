"""Measures of ranked lists and of embeddings, as plain tensor functions.

The accuracy measures take ``hits`` ``[queries, k]``, whether the item at each rank (best first) is one to find, and
``relevant`` ``[queries]``, how many there are to find, at least one.  They answer one value per query in [0, 1].
All use binary relevance and equal trec_eval's measures of the same name at the same cut-off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

Measure: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def recall(hits: Tensor, relevant: Tensor) -> Tensor:
    """Share of the relevant items that the list holds (trec_eval ``recall_k``)."""
    return hits.sum(1) / relevant


def precision(hits: Tensor, relevant: Tensor) -> Tensor:
    """Share of the k ranks that hold a relevant item; a rank left empty counts as a miss (trec_eval ``P_k``)."""
    return hits.float().mean(1)


def hit(hits: Tensor, relevant: Tensor) -> Tensor:
    """1 if the list holds a relevant item, else 0: the hit rate when averaged (trec_eval ``success_k``)."""
    return hits.any(1).float()


def ndcg(hits: Tensor, relevant: Tensor) -> Tensor:
    """Discounted gain over that of an ideal list of min(k, relevant) hits (trec_eval ``ndcg_cut_k``).

    The discount of rank r, from 1, is 1 / log2(r + 1) (Järvelin and Kekäläinen 2002, binary gains).
    """
    k = hits.shape[1]
    discount = 1 / torch.arange(2, k + 2, device=hits.device, dtype=torch.float32).log2()
    ideal = discount.cumsum(0)
    return (hits * discount).sum(1) / ideal[relevant.clamp(max=k) - 1]


def mrr(hits: Tensor, relevant: Tensor) -> Tensor:
    """1 / rank of the first relevant item, 0 if none is within k (trec_eval ``recip_rank`` of a list cut at k)."""
    first = hits.int().argmax(1)
    return hits.any(1) / (first + 1)


def average_precision(hits: Tensor, relevant: Tensor) -> Tensor:
    """Mean of the precision at each relevant item's rank, 0 for those below k (trec_eval ``map_cut_k``).

    The divisor is the number of relevant items, not min(k, relevant) as some recommender toolkits have it.
    """
    ranks = torch.arange(1, hits.shape[1] + 1, device=hits.device)
    return (hits.cumsum(1) / ranks * hits).sum(1) / relevant


ACCURACY: Mapping[str, Measure] = {
    "recall": recall,
    "ndcg": ndcg,
    "precision": precision,
    "hit": hit,
    "mrr": mrr,
    "map": average_precision,
}
"""Accuracy measures by the name they have in keys such as ``recall@20``."""


def coverage(recommended: Tensor) -> float:
    """Share of the catalogue that is recommended to anyone.

    Args:
        recommended: How often each item was recommended, ``[items]``.
    """
    return (recommended > 0).double().mean().item()


def gini(recommended: Tensor) -> float:
    """Gini coefficient of how often each item of the catalogue is recommended: 0 all alike, towards 1 a single one.

    Items that are never recommended count.  0 if nothing was recommended at all.

    Args:
        recommended: How often each item was recommended, ``[items]``.
    """
    ordered = recommended.double().sort().values
    total = ordered.sum()
    if total == 0:
        return 0.0
    n = len(ordered)
    place = 2 * torch.arange(1, n + 1, dtype=torch.float64, device=ordered.device) - n - 1
    return ((place * ordered).sum() / (n * total)).item()


def average_popularity(recommended: Tensor, popularity: Tensor) -> float:
    """Mean training interactions of a recommended item; an item counts as often as it was recommended.

    Args:
        recommended: How often each item was recommended, ``[items]``.
        popularity: Training interactions of each item, ``[items]``.
    """
    return _mean_over_recommendations(recommended, popularity)


def tail_share(recommended: Tensor, tail: Tensor) -> float:
    """Share of the recommendations that fall on tail items.

    Args:
        recommended: How often each item was recommended, ``[items]``.
        tail: Whether the item belongs to the tail, ``[items]``; see :func:`leading`.
    """
    return _mean_over_recommendations(recommended, tail)


def _mean_over_recommendations(recommended: Tensor, value: Tensor) -> float:
    counts = recommended.double()
    total = counts.sum()
    return ((counts * value.double()).sum() / total).item() if total > 0 else 0.0


def leading(popularity: Tensor, share: float) -> Tensor:
    """Mask of the most popular items that together hold ``share`` of all interactions: the fewest that do.

    Items of equal popularity are taken lowest index first.

    Args:
        popularity: Training interactions of each item, ``[items]``.
        share: Above 0, up to 1.
    """
    ordered, items = popularity.double().sort(descending=True, stable=True)
    before = ordered.cumsum(0) - ordered
    mask = torch.zeros_like(popularity, dtype=torch.bool)
    mask[items] = (before < share * ordered.sum()) & (ordered > 0)
    return mask


def alignment(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared distance of paired vectors on the unit sphere, lower is better (Wang and Isola 2020, alpha = 2).

    Args:
        a: ``[pairs, dim]``, not yet normalised.
        b: ``[pairs, dim]``, not yet normalised; row i belongs to row i of ``a``.
    """
    return (F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).square().sum(1).mean()


def uniformity(x: Tensor, chunk: int = 1024) -> Tensor:
    """log of the mean of exp(-2 d²) over distinct pairs on the unit sphere, lower is better (Wang and Isola 2020).

    Args:
        x: ``[vectors, dim]``, at least two, not yet normalised.
        chunk: Vectors compared with all others at a time; the value does not depend on it but for rounding.
    """
    x = F.normalize(x.float(), dim=1)
    # A vector of zeros stays one: squares are summed rather than taken for 1.
    square = x.square().sum(1)
    n = len(x)
    parts = []
    for start in range(0, n, chunk):
        rows = x[start : start + chunk]
        distance = square[start : start + chunk, None] + square - 2 * rows @ x.T
        exponent = -2 * distance.clamp(min=0)
        own = torch.arange(len(rows), device=x.device)
        exponent[own, start + own] = -torch.inf
        parts.append(exponent.flatten().logsumexp(0))
    return torch.stack(parts).logsumexp(0) - torch.tensor(n * (n - 1.0), device=x.device).log()
