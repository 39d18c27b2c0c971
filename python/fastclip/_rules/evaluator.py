# SPDX-License-Identifier: BSD-3-Clause
"""The evaluator of rules in Python, the twin of `csrc/core/rule.hpp`, to the bit: change both or neither."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from typing import NamedTuple

from fastclip._rules.record import Rule

SHRINK, GROW = 2.0**-600, 2.0**600
SAFE_MIN, SAFE_MAX = 2.0**-900, 2.0**1000
PLAIN_BELOW = 2.0**-100
SPLIT_BELOW = 2.0**-900


class Norm(NamedTuple):
    """The norm hi + lo of elements that were multiplied with `scale` first."""

    hi: float
    lo: float
    scale: float

    def value(self) -> float:
        """Return the norm as a number: infinity when it is beyond f64."""
        return self.hi * (1.0 / self.scale)


class Coefficient(NamedTuple):
    """What elements are multiplied with: `plain`, or `pre` and then `factor`, whose product it is."""

    clip: bool
    plain: float
    pre: float
    factor: float


KEEP = Coefficient(False, 1.0, 1.0, 1.0)
ALL_NAN = Coefficient(True, math.nan, 1.0, math.nan)


def two_sum(a: float, b: float) -> tuple[float, float]:
    """Return a + b as a rounded sum and its error, exactly (Knuth, TAOCP 2, 4.2.2)."""
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def _fma(a: float, b: float, c: float) -> float:  # math.fma is Python 3.13's
    return float(Fraction(a) * Fraction(b) + Fraction(c))


def norm_of(hi: float, lo: float, scale: float) -> Norm:
    """Return the norm for a sum of squares hi + lo."""
    s, rest = two_sum(hi, lo)
    if not s > 0.0 or not math.isfinite(s):
        return Norm(0.0 if math.isfinite(s) else hi, 0.0, scale)
    root = math.sqrt(s)
    return Norm(*two_sum(root, (_fma(-root, root, s) + rest) / (2.0 * root)), scale)


def _quotient(limit: float, norm: Norm) -> float:
    q = limit / norm.hi
    if not math.isfinite(q) or q == 0.0:
        return q
    return q + (_fma(-q, norm.hi, limit) - q * norm.lo) / norm.hi


def coefficient(rule: Rule, norm: Norm, limit: float, round_: float) -> Coefficient:
    """Return what to multiply with; `round_` is the unit roundoff of the coarsest dtype in the list."""
    if limit == math.inf:
        return KEEP
    bound = limit * norm.scale
    if bound == math.inf or (norm.hi - bound) + norm.lo <= rule.slack * round_ * bound:
        return KEEP
    if limit == 0.0 or norm.hi == math.inf:
        return Coefficient(True, 0.0, 1.0, 0.0)
    up = norm.scale if norm.scale > 1.0 else 2.0**500 if limit < 2.0**-500 else 1.0
    c = _quotient(limit * up, norm) * (norm.scale / up)
    if not c < SPLIT_BELOW:
        return Coefficient(True, c, 1.0, c)
    factor = _quotient(limit * 2.0**512, norm) * norm.scale
    if factor >= 2.0**-988:
        return Coefficient(True, c, 2.0**-512, factor)
    return Coefficient(True, c, 2.0**-1060, _quotient(limit * 2.0**530, norm) * (norm.scale * 2.0**530))


def judge(rule: Rule, norm: Norm, nonfinite: bool, limit: float, count: int, round_: float) -> Coefficient:
    """Apply the rule's policy and unit to the norm of `count` elements, some not finite perhaps, then evaluate it."""
    if limit == math.inf:
        return KEEP
    if rule.average:
        limit = min(limit * count, sys.float_info.max)
    if nonfinite and rule.nonfinite == "nan":
        return ALL_NAN
    return coefficient(rule, norm, limit, round_)
