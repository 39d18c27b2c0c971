# SPDX-License-Identifier: BSD-3-Clause
"""From the statistics of each array to those of the list, in the form that `measure_list` has."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from fastclip._rules import Norm, norm_of
from fastclip._rules.evaluator import GROW, SAFE_MAX, SAFE_MIN, SHRINK

#: what elements were multiplied with, by `level` in `_cuda/total.cuh`
FACTORS = (GROW, 1.0, SHRINK)


def _total(parts: list[float]) -> tuple[float, float]:
    """Add, as one rounded number and the rest."""
    if not all(map(math.isfinite, parts)):
        return sum(part for part in parts if not math.isfinite(part)), 0.0
    hi = math.fsum(parts)
    return hi, math.fsum([*parts, -hi])


def _norm(totals: list[tuple[float, float, int]]) -> Norm:
    """Return the norm of all elements of which these are the sums of squares, as `norm_of_total` does."""
    level = max((level for _, _, level in totals), default=1)
    parts = []
    for hi, lo, own in totals:
        down = SHRINK ** (level - own)
        parts += [hi * down * down] if not math.isfinite(hi) else [hi * down * down, lo * down * down]
    hi, lo = _total(parts)
    back = 1.0 / FACTORS[level]
    if level != 1 and SAFE_MIN <= hi * back * back <= SAFE_MAX:
        return norm_of(hi * back * back, lo * back * back, 1.0)
    return norm_of(hi, lo, FACTORS[level] if hi and math.isfinite(hi) else 1.0)


def of_list(arrays: NDArray[Any]) -> tuple[float, float, float, list[tuple[float, float, float, int, int]]]:
    """Return (norm, sumabs, maxabs, [(norm, sumabs, maxabs, nonfinite, zeros) for each array])."""
    each, totals, magnitudes = [], [], []
    for squares, hi, lo, largest, nonfinite, zeros in arrays.tolist():
        totals.append(squares[:3])
        part = [hi, lo] if math.isfinite(hi) else [hi]
        magnitudes += part
        each.append((_norm([squares[:3]]).value(), sum(part), largest, nonfinite, zeros))
    hi, lo = _total(magnitudes) if magnitudes else (0.0, 0.0)
    largest = math.nan if any(math.isnan(row[2]) for row in each) else max((row[2] for row in each), default=0.0)
    return _norm(totals).value(), hi + lo, largest, each
