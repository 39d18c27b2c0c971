# SPDX-License-Identifier: BSD-3-Clause
"""Sums of squares and magnitudes: against exact sums, and against the order of additions that fixes their bits."""

import math
from fractions import Fraction

import numpy as np
import oracle
import pytest
from buffers import POISON, SIZES, Frame, offsets, spread
from dtypes import BF16, DTYPES, F16, F32, F64, HALVES, NARROW, finfo
from exact import sum_of_magnitudes, sum_of_squares

from fastclip import _core

KERNELS = {
    "sumsq": (lambda isa, x: _core.kernel_sumsq(isa, x, 1.0), sum_of_squares),
    "sumabs": (_core.kernel_sumabs, sum_of_magnitudes),
}
each_kernel = pytest.mark.parametrize("kernel", KERNELS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def bound(kernel, x, exact):
    """How far from the exact sum hi + lo may be: see oracle.py."""
    if x.dtype in HALVES and kernel == "sumsq":
        return oracle.sum_bound_halves(x.size) * exact
    if x.dtype in NARROW:
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


def stream_length(x):
    """Four streams, each an odd number of cache lines long, if that makes at least 8 KB."""
    line = 64 // x.dtype.itemsize
    lines = x.size // (4 * line)
    return line * ((lines - 1) | 1) if lines >= 128 else 0


def order_lanes(streams, rest):
    """The sum as 32 lanes of f64: four streams of 8 lanes (stream, row, lane), then the rest in turn."""
    tail = np.zeros((-(-rest.size // 32), 32))
    tail.reshape(-1)[: rest.size] = rest
    rows = [*streams.transpose(1, 0, 2).reshape(-1, 32), *tail]
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


def fours(streams):
    """In each 32 of a stream two pairs of squares added as f32: i and i + 8 (f16), or 2 i and 2 i + 1 (bf16), of 16.

    The second square is rounded to f32 first; its sum with the first is rounded once, and once that of two pairs.
    """
    with np.errstate(over="ignore", under="ignore"):
        shape, axis = ((4, -1, 2, 2, 8), 3) if streams.dtype == F16 else ((4, -1, 2, 8, 2), 4)
        first, second = (streams.astype(F64).reshape(shape).take(i, axis) for i in (0, 1))
        pairs = (np.square(first) + np.square(second).astype(F32)).astype(F32)
        return (pairs[:, :, 0] + pairs[:, :, 1]).astype(F64)


def in_order(kernel, x):
    """What the kernel must return, to the bit: the order is a promise (contract, clause 2)."""
    if x.dtype in NARROW:
        wide = x.astype(F64)
        terms, length = wide * wide if kernel == "sumsq" else np.abs(wide), stream_length(x)
        rest = terms[4 * length :]
        if kernel == "sumsq" and x.dtype in HALVES:
            sum_of_fours = order_lanes(fours(x[: 4 * length]), rest)
            if x.dtype == F16 or (math.isfinite(sum_of_fours[0]) and sum_of_fours[0] >= x.size * 2.0**-100):
                return sum_of_fours
        return order_lanes(terms[: 4 * length].reshape(4, -1, 8), rest)
    if kernel == "sumabs":
        return order_f64(np.abs(x), np.zeros(x.size))
    square = x * x
    high, low = split(x)
    error = ((high * high - square) + 2.0 * high * low) + low * low
    return order_f64(square, np.where(square >= 2.0**-960, error, 0.0))


def exact_squares(x):
    """The sum of squares of bf16 as f64, none added as f32."""
    squares, length = np.square(x.astype(F64)), stream_length(x)
    return order_lanes(squares[: 4 * length].reshape(4, -1, 8), squares[4 * length :])


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
        exact = sum_of_squares([x]) * Fraction(2) ** (2 * exponent)
        assert abs(Fraction(hi) + Fraction(lo) - exact) <= oracle.sum_bound_f64(n) * exact, n


def test_a_sum_beyond_f64_is_infinite_and_nothing_else(isa):
    for n in (1, 8, 9, 100):
        assert _core.kernel_sumsq(isa, np.full(n, 1e200), 1.0) == (math.inf, 0.0)
        assert _core.kernel_sumabs(isa, np.full(n + 1, 1.5e308)) == (math.inf, 0.0)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_f32_and_narrower_never_leave_the_range(isa, dtype):
    for n in (1, 33, 127, 128, 200, 32768):
        for value in (finfo(dtype).max, finfo(dtype).smallest_subnormal):
            check("sumsq", isa, np.full(n, value, dtype))
            check("sumabs", isa, np.full(n, value, dtype))


def test_squares_of_bf16_beyond_f32_are_added_as_f64(isa):
    """On either side of both bounds: where four overflow, and where what they lose could be seen in the sum."""
    orders = set()
    for n in (500, 16383, 16384, 20000, 32768):
        x = spread(BF16, n).astype(F64)
        for exponent in (*range(-90, -9, 4), *range(30, 64, 2), *range(64, 96, 4)):
            y = np.ldexp(x, exponent).astype(BF16)
            check("sumsq", isa, y)
            assert _core.kernel_sumsq(isa, y, 1.0) == in_order("sumsq", y), (n, exponent)
            orders.add((n >= 16384, exact_squares(y) == in_order("sumsq", y)))
    assert orders == {(False, True), (True, True), (True, False)}


def test_one_square_of_bf16_beyond_f32_is_enough(isa):
    for n in (16384, 16500, 32768):
        for place in (0, 8, 31, 40, 4063, 4064, 16383):
            x = np.ones(n, BF16)
            x[place] = 2.0**64
            assert _core.kernel_sumsq(isa, x, 1.0) == (2.0**128, 0.0), (n, place)
            x[:] = 2.0**-80
            assert _core.kernel_sumsq(isa, x, 1.0) == (n * 2.0**-160, 0.0)


def test_the_bound_below_which_squares_of_bf16_are_added_as_f64(isa):
    """A sum of exactly n * 2^-100 is made of fours, one an ULP below it is not: what 2^-150 rounds to tells."""
    n = 16384  # four streams of 127 lines of 32 elements, and 128 elements after them
    x = np.full(n, 2.0**-75, BF16)  # squares: 2^-150, a tie, which f32 makes 0
    x[-128:] = 0.0
    x[0] = x[9] = 1.5 * 2.0**-44  # 2 * 2.25 * 2^-88 = 4.5 * 2^-88 >= 16384 * 2^-100 = 4 * 2^-88
    assert _core.kernel_sumsq(isa, x, 1.0) == (4.5 * 2.0**-88, 0.0) != exact_squares(x)
    x[9] = 2.0**-44  # 3.25 * 2^-88
    assert _core.kernel_sumsq(isa, x, 1.0) == in_order("sumsq", x) == exact_squares(x)
    assert exact_squares(x)[0] != order_lanes(fours(x[:-128]), x[-128:].astype(F64))[0]


def test_the_first_square_of_a_pair_of_bf16_is_not_rounded(isa):
    """A pair of 2^-150 and 2.25 * 2^-150, of which f32 makes 2^-149, is 1.5 * 2^-149, a tie, hence 2^-148.

    Were the first square rounded, too, it would be 0, and the pair 2^-149. Two pairs are added without an error.
    """
    n = 16384
    x = np.zeros(n, BF16)
    x[:-128:2], x[1:-128:2] = 2.0**-75, 1.5 * 2.0**-75
    x[-1] = 2.0**-43  # the sum just reaches n * 2^-100, so fours count
    rest = np.square(x[-128:].astype(F64))
    fused, rounded = (order_lanes(np.full((4, 127, 8), 2 * pair), rest) for pair in (2.0**-148, 2.0**-149))
    assert _core.kernel_sumsq(isa, x, 1.0) == in_order("sumsq", x) == fused
    assert fused[0] >= n * 2.0**-100
    assert len({fused, rounded, exact_squares(x)}) == 3


@pytest.mark.parametrize("dtype", [np.int32, np.int16, np.uint16, "V2", np.complex64, ">f4", ">f2"])
def test_other_dtypes_are_refused(isa, dtype):
    with pytest.raises(TypeError, match="one dense array"):
        _core.kernel_sumabs(isa, np.zeros(3, dtype))
