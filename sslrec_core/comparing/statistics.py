"""Paired comparisons of users: differences, tests, intervals.

Two models are measured on the same users, so what is tested is each user's difference.  Values are numpy arrays of one
number for each user, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]

RESAMPLES = 10_000
"""Of the bootstrap."""
AT_ONCE = 2**22
"""Numbers drawn at once; bounds memory."""


@dataclass(frozen=True)
class Paired:
    """How much better one model is than another on the same users."""

    difference: float
    """Mean over users."""
    effect: float
    """Mean over the standard deviation of the differences (Cohen's d for pairs); 0 where all users are alike."""
    t_test: float
    """p-value of the paired t-test, two-sided; 1 where no user differs."""
    low: float
    """Lower end of the bootstrap's 95 % interval of the difference."""
    high: float
    """Its upper end."""


def paired(values: Values, baseline: Values, seed: int = 0) -> Paired:
    """Compare two models' ``values`` of the same users, ``[users]`` each, at least two."""
    difference = values - baseline
    mean, spread = float(difference.mean()), float(difference.std(ddof=1))
    if spread == 0:
        p = 1.0 if mean == 0 else 0.0
        return Paired(mean, 0.0, p, mean, mean)
    low, high = bootstrap(difference, seed)
    return Paired(mean, mean / spread, float(stats.ttest_rel(values, baseline).pvalue), low, high)


def bootstrap(values: Values, seed: int = 0, share: float = 0.95) -> tuple[float, float]:
    """The percentile interval of the mean over users who are drawn again, with replacement (Efron 1979)."""
    generator = torch.Generator().manual_seed(seed)
    known = torch.from_numpy(np.ascontiguousarray(values))
    size = max(1, AT_ONCE // len(known))
    means = []
    for start in range(0, RESAMPLES, size):
        draws = torch.randint(len(known), (min(size, RESAMPLES - start), len(known)), generator=generator)
        means.append(known[draws].mean(1))
    tail = (1 - share) / 2
    low, high = torch.cat(means).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for how many there are (Holm 1979), in the given order."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    result = np.empty(len(p_values))
    result[order] = corrected
    return [float(p) for p in result]
