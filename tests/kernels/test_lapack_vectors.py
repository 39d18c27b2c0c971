# SPDX-License-Identifier: BSD-3-Clause
"""Norms of extreme values, in the spirit of the vectors that LAPACK tests its nrm2 with (Blue 1978, Anderson 2017).

Every pair of values from 0 over subnormal numbers to the largest ones, infinity and NaN, in counts that fill less
than a row, a row and several, as two arrays of one list: 289 pairs, 4 pairs of counts, 8 pairs of dtypes.
300 elements are what it takes for f16 and bf16 to add four squares as f32.
"""

import functools
import itertools
import math
from fractions import Fraction

import numpy as np
import oracle
import pytest
from dtypes import BF16, F16, F32, F64
from strategies import corner_values

import fastclip

COUNTS = [(1, 1), (1, 7), (8, 1), (33, 300)]
LIMITS = [1.0, 1e-30, 2.0**-101, 1e-250, 2.0**-1021, 1e30, 1e250]


@functools.cache
def lists(first, second):
    """Lists of two arrays with the exact sum of their squares, None if it is not finite."""
    cases = []
    values = {dtype: [0.0, *corner_values(dtype), math.inf, math.nan] for dtype in (first, second)}
    for (a, b), (n, m) in itertools.product(itertools.product(values[first], values[second]), COUNTS):
        x, y = np.full(n, a, first), np.full(m, b, second)
        x[1::2] *= -1
        y[::2] *= -1
        finite = math.isfinite(a) and math.isfinite(b)
        cases.append(([x, y], n * Fraction(a) ** 2 + m * Fraction(b) ** 2 if finite else None))
    return cases


each_pair = pytest.mark.parametrize(
    ("first", "second"),
    [(F32, F32), (F64, F64), (F32, F64), (F64, F32), (F16, F16), (BF16, BF16), (BF16, F64), (F16, BF16)],
    ids=["f32", "f64", "f32 f64", "f64 f32", "f16", "bf16", "bf16 f64", "f16 bf16"],
)


@each_pair
def test_the_norm_is_right(isa, first, second):
    for arrays, square in lists(first, second):
        oracle.check_norm(fastclip.global_norm(arrays), arrays, square)


@each_pair
def test_measure_has_the_same_norms(isa, first, second):
    for arrays, _ in lists(first, second):
        m = fastclip.measure(arrays)
        expected = [fastclip.global_norm(arrays), *(fastclip.global_norm([a]) for a in arrays)]
        assert np.array_equal([m.norm, *m.norms], expected, equal_nan=True), arrays


@each_pair
def test_clipping_is_right_even_where_the_norm_is_beyond_f64(isa, first, second):
    limits = itertools.cycle(LIMITS)  # 7 limits against 4 counts and 17 values: every kind of case meets each
    clipped = 0
    for (arrays, square), limit in zip(lists(first, second), limits, strict=False):
        if square is None:
            continue
        once = [a.copy() for a in arrays]
        fastclip.clip_by_global_norm_(once, limit)
        oracle.check_clipped(arrays, once, limit, square)
        if oracle.all_normal(once):
            twice = [a.copy() for a in once]
            fastclip.clip_by_global_norm_(twice, limit)
            oracle.check_clipped_again(once, twice)
        clipped += oracle.must_clip(arrays, limit, square) is True
    assert clipped > 300


def test_the_worst_norms_of_all(isa):
    """Of sums just within the range of f64, and beyond it in the sum's error alone."""
    largest = math.sqrt(np.finfo(F64).max)
    x = np.zeros(oracle.CHUNK)
    x[0] = largest
    x[8::8] = largest * 2.0**-27  # each square is 2^-54 of the first one: too small for it, all of them too large
    for arrays in ([x], [np.array([largest])], [np.array([largest]), x], [x, np.ones(3, F32)]):
        oracle.check_norm(fastclip.global_norm(arrays), arrays)
        after = [a.copy() for a in arrays]
        fastclip.clip_by_global_norm_(after, 1.0)
        oracle.check_clipped(arrays, after, 1.0)
