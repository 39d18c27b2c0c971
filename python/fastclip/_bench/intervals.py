# SPDX-License-Identifier: BSD-3-Clause
"""The median of paired ratios and its 95 % interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

MIN_SAMPLES = 6  # from 5 samples not even the smallest and the largest enclose the median in 95 % of cases


class Interval(NamedTuple):
    """Hold a median and the interval that covers the true median with at least 95 % confidence."""

    median: float
    low: float
    high: float


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the sample median and its binomial order-statistic interval.

    The number of samples below the true median is Binomial(n, 1/2) whatever their distribution, so the k-th
    smallest and the k-th largest enclose it with a probability that depends on n and k alone. Taken is the
    largest k that keeps the confidence: 10 of 30. Being ranks, the ends for 1/x are the inverse ends for x,
    so it makes no difference which way up a ratio is judged.
    """
    n = len(samples)
    if n < MIN_SAMPLES:
        raise ValueError(f"median_interval: {n} samples; expected at least {MIN_SAMPLES}.")
    tail = (1 - confidence) / 2
    below = 0.0
    k = 0
    while below + math.comb(n, k) / 2**n <= tail:
        below += math.comb(n, k) / 2**n
        k += 1
    ordered = sorted(samples)
    return Interval(statistics.median(ordered), ordered[k - 1], ordered[n - k])


def spread(samples: Sequence[float]) -> float:
    """Return the width of the middle 80 % of the samples, as a fraction of their median."""
    cuts = statistics.quantiles(samples, n=10, method="inclusive")
    return (cuts[-1] - cuts[0]) / statistics.median(samples)
