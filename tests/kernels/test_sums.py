# SPDX-License-Identifier: BSD-3-Clause
"""Sums of squares and magnitudes: against exact sums, and against the order of additions that fixes their bits."""

import math
from fractions import Fraction

import numpy as np
import oracle
import pytest
from buffers import POISON, SIZES, Frame, offsets, spread
from strategies import DTYPES, F32, F64

from fastclip import _core

KERNELS = {
    "sumsq": (lambda isa, x: _core.kernel_sumsq(isa, x, 1.0), oracle.sum_of_squares),
    "sumabs": (_core.kernel_sumabs, oracle.sum_of_magnitudes),
}
each_kernel = pytest.mark.parametrize("kernel", KERNELS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def bound(kernel, x, exact):
    """How far from the exact sum hi + lo may be: see oracle.py."""
    if x.dtype == F32:
        return oracle.sum_bound_f32(x.size) * exact
    return oracle.sum_bound_f64(x.size) * exact + (oracle.dropped_f64(x.size) if kernel == "sumsq" else 0)


def check(kernel, isa, x):
    run, exact_sum = KERNELS[kernel]
    hi, lo = run(isa, x)
    exact = exact_sum([x])
    off = abs(Fraction(hi) + Fraction(lo) - exact)
    assert off <= bound(kernel, x, exact), (x.size, hi, lo, float(exact), float(off))


def split(a):
    """The halves of each mantissa, of at most 26 bits (Veltkamp, 1968)."""
    t = a * 134217729.0
    high = t - (t - a)
    return high, a - high


def two_sum(a, b):
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def fold(a, add):
    while a[0].size > 1:
        half = a[0].size // 2
        a = add([part[:half] for part in a], [part[half:] for part in a])
    return tuple(float(part[0]) for part in a)


def order_f32(terms):
    """The sum as 32 lanes of f64: four streams of 8 lanes, an odd number of lines long, then the rest in turn."""
    lines = terms.size // (4 * 16)
    length = 16 * ((lines - 1) | 1) if lines else 0
    streams, rest = terms[: 4 * length].reshape(4, -1, 8), terms[4 * length :]
    tail = np.zeros((-(-rest.size // 32), 32))
    tail.reshape(-1)[: rest.size] = rest
    rows = [streams[:, i].ravel() for i in range(length // 8)] + list(tail)
    lanes = np.zeros(32)
    for row in rows:
        lanes = lanes + row
    return (*fold([lanes], lambda a, b: [a[0] + b[0]]), 0.0)


def order_f64(terms, errors):
    """The sum as 8 lanes of hi + lo, element i to lane i % 8; lo takes (square's error + addition's error)."""
    rows = np.zeros((2, -(-terms.size // 8), 8))
    rows[0].reshape(-1)[: terms.size] = terms
    rows[1].reshape(-1)[: terms.size] = errors
    hi, lo = np.zeros(8), np.zeros(8)
    for term, error in zip(*rows, strict=True):
        hi, lost = two_sum(hi, term)
        lo = lo + (error + lost)

    def add(a, b):
        s, lost = two_sum(a[0], b[0])
        return [s, (a[1] + b[1]) + lost]

    return fold([hi, lo], add)


def in_order(kernel, x):
    """What the kernel must return, to the bit: the order is a promise (contract, clause 2)."""
    wide = x.astype(np.float64)
    if x.dtype == F32:
        return order_f32(wide * wide if kernel == "sumsq" else np.abs(wide))
    if kernel == "sumabs":
        return order_f64(np.abs(x), np.zeros(x.size))
    square = x * x
    high, low = split(x)
    error = ((high * high - square) + 2.0 * high * low) + low * low
    return order_f64(square, np.where(square >= 2.0**-960, error, 0.0))


@each_kernel
@each_dtype
def test_is_exact_to_the_derived_bound(isa, dtype, kernel):
    for n in SIZES:
        check(kernel, isa, spread(dtype, n))
        check(kernel, isa, np.full(n, 0.1, dtype))  # constants: the worst case of sequential sums


@each_kernel
@each_dtype
def test_adds_in_the_promised_order(isa, dtype, kernel):
    run = KERNELS[kernel][0]
    for n in SIZES:
        x = spread(dtype, n, seed=1)
        assert run(isa, x) == in_order(kernel, x), n


@each_kernel
@each_dtype
def test_no_offset_changes_a_bit(isa, dtype, kernel):
    run = KERNELS[kernel][0]
    for n in SIZES:
        x = spread(dtype, n, seed=2)
        expected = run(isa, x)
        for offset in offsets(dtype):
            frame = Frame(x, offset, POISON)  # an element too many would give NaN
            assert run(isa, frame.array) == expected, (n, offset)
            assert frame.untouched()


@each_kernel
@each_dtype
def test_each_place_counts(isa, dtype, kernel):
    run = KERNELS[kernel][0]
    for n in (1, 7, 8, 9, 31, 33, 64, 65, 129):
        for place in range(n):
            x = np.zeros(n, dtype)
            x[place] = -3.0
            assert run(isa, x) == ({"sumsq": 9.0, "sumabs": 3.0}[kernel], 0.0), (n, place)


@each_kernel
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@each_dtype
def test_nan_and_infinity_reach_the_sum(isa, dtype, bad, kernel):
    run = KERNELS[kernel][0]
    for n in (1, 8, 9, 33, 70, 300):
        for place in range(n):
            x = spread(dtype, n)
            x[place] = bad
            hi, lo = run(isa, x)
            assert math.isnan(hi) if math.isnan(bad) else hi == math.inf, (n, place)
            assert lo == 0.0


@pytest.mark.parametrize("exponent", [-600, 600])
def test_scaled_squares_are_those_of_scaled_elements(isa, exponent):
    """What brings squares of f64 back into range: x * 2^-600 for large, x * 2^600 for small elements."""
    scale = 2.0**exponent
    for n in (0, 1, 7, 8, 9, 100, 4097):
        x = np.ldexp(spread(F64, n), -exponent)
        hi, lo = _core.kernel_sumsq(isa, x, scale)
        exact = oracle.sum_of_squares([x]) * Fraction(2) ** (2 * exponent)
        assert abs(Fraction(hi) + Fraction(lo) - exact) <= oracle.sum_bound_f64(n) * exact, n


def test_a_sum_beyond_f64_is_infinite_and_nothing_else(isa):
    for n in (1, 8, 9, 100):
        assert _core.kernel_sumsq(isa, np.full(n, 1e200), 1.0) == (math.inf, 0.0)
        assert _core.kernel_sumabs(isa, np.full(n + 1, 1.5e308)) == (math.inf, 0.0)


def test_f32_never_leaves_the_range(isa):
    most, least = np.finfo(F32).max, np.finfo(F32).smallest_subnormal
    for n in (1, 33, 32768):
        for value in (most, least):
            check("sumsq", isa, np.full(n, value))
            check("sumabs", isa, np.full(n, value))


@pytest.mark.parametrize("dtype", [np.int32, np.int16, np.complex64, ">f4", ">f2"])
def test_other_dtypes_are_refused(isa, dtype):
    with pytest.raises(TypeError, match="one dense array"):
        _core.kernel_sumabs(isa, np.zeros(3, dtype))
