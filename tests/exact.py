# SPDX-License-Identifier: BSD-3-Clause
"""Exact sums, integers times a power of two; square roots to 200 bits; distances in ULPs of f64."""

import math
from fractions import Fraction

import numpy as np

_BLOCK = 1 << 20  # elements at a time: sums of so many 32-bit pieces are exact in f64


# ---- exact sums


def _pieces(block, power):
    """Yield integer pieces below 2^32 and the power of two that each stands for, over 2^53 (squares: 2^106)."""
    mantissa = np.abs(np.ldexp(np.frexp(block)[0], 53)).astype(np.int64)
    if power == 1:
        yield mantissa & 0x7FFFFFF, 0
        yield mantissa >> 27, 27
        return
    low, high = mantissa & 0x7FFFFFF, mantissa >> 27  # 27 and 26 bits
    for product, shift in ((low * low, 0), (low * high, 28), (high * high, 54)):  # 28: the middle term counts twice
        yield product & 0x7FFFFFF, shift
        yield product >> 27, shift + 27


def _exact_sum(arrays, power):
    total = Fraction(0)
    for a in arrays:
        flat = np.asarray(a).reshape(-1)
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK].astype(np.float64)
            exponent = np.frexp(block)[1].astype(np.int64)
            least = int(exponent.min())
            sums = [0] * int(exponent.max() - least + 1)
            for piece, shift in _pieces(block, power):
                for i, s in enumerate(np.bincount(exponent - least, weights=piece.astype(np.float64))):
                    sums[i] += int(s) << shift
            whole = sum(s << (power * i) for i, s in enumerate(sums))
            total += Fraction(whole) * Fraction(2) ** (power * (least - 53))
    return total


def sum_of_squares(arrays):
    """The sum of the squares of all elements (finite ones), exactly."""
    return _exact_sum(arrays, 2)


def sum_of_magnitudes(arrays):
    """The sum of the magnitudes of all elements (finite ones), exactly."""
    return _exact_sum(arrays, 1)


# ---- square roots and roundings


def root(square):
    """The square root of a Fraction, below it by less than 2^-200 of it."""
    if square == 0:
        return Fraction(0)
    bits = square.numerator.bit_length() - square.denominator.bit_length()
    shift = 2 * max(0, 201 - bits // 2)
    return Fraction(math.isqrt((square.numerator << shift) // square.denominator), 1 << (shift // 2))


def to_float(x):
    """The f64 number nearest to a Fraction: infinity from half an ULP beyond the largest one."""
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def ulp(x):
    """The distance of f64 numbers around a positive Fraction (2^-1074 where they are subnormal)."""
    exponent = x.numerator.bit_length() - x.denominator.bit_length()
    if Fraction(2) ** exponent > x:
        exponent -= 1
    return Fraction(2) ** max(exponent - 52, -1074)


def ulps(value, exact):
    """How far a finite f64 number is from a positive Fraction, in ULPs of f64 there."""
    return float(abs(Fraction(value) - exact) / ulp(exact))
