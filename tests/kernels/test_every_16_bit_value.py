# SPDX-License-Identifier: BSD-3-Clause
"""All 65,536 values of f16 and of bf16, through every ISA's loads, arithmetic and stores, on every walk.

Definitions are NumPy's and ml_dtypes' conversions between f32 and 16 bits, of which `test_the_definitions` checks the
roundings by integers; bounds are rounded by `dtypes.rounded`, in fractions. Payloads of NaN are left aside.
"""

import functools
import math

import numpy as np
import pytest
from dtypes import F16, F32, F64, FORMAT, HALVES, finfo, patterns, rounded
from strategies import corner_values

from fastclip import _core

WALKS = range(len(_core.walks()))
each_dtype = pytest.mark.parametrize("dtype", HALVES, ids=str)
each_walk = pytest.mark.parametrize("walk", WALKS, ids=_core.walks())


@functools.cache
def every(dtype):
    """Every value, in an order in which neighbours differ, so that no vector is of one kind; and 37 more of them.

    The sizes of streams and vectors then leave a rest, which has its own loads and stores.
    """
    order = np.arange(65536 + 37, dtype=np.uint64) * 40503 % 65536  # odd: a permutation
    x = order.astype(np.uint16).view(dtype)
    x.flags.writeable = False
    return x


def f64(a):
    with np.errstate(invalid="ignore"):  # signalling NaNs of bf16
        return a.astype(F64)


def same(a, b):
    """Tell whether arrays have the same bits, NaN of any payload in the same places."""
    nan = np.isnan(f64(a))
    return np.array_equal(nan, np.isnan(f64(b))) and np.array_equal(patterns(a)[~nan], patterns(b)[~nan])


def factors(dtype):
    """What sends some values to subnormal numbers, some to infinity and some to ties; and below 2^-100, by f64."""
    u, least = float(2.0 ** -FORMAT[dtype][0]), 2.0 ** FORMAT[dtype][1]
    ties = [1 + u, 1 - u, 1 + 3 * u, 1.5, 1.25, 0.75, 1 + 2 * u, 1 - 2 * u, 3 * u, 5.0, 0.625, 0.5]
    near = [math.nextafter(float(np.float32(t)), s) for t in (1 + u, 1 - u, 1.5, 0.75) for s in (0.0, 2.0)]
    powers = [2.0**e for e in (-20, -14, -11, -10, -8, -5, -2, -1, 0, 1, 4, 8, 15, 30)]
    plain = [0.1, 1 / 3, 0.7, 0.999, 1e-3, 1e-5, 3e-7, 1e-20, 17.3, 1000.1, 65504.0, 3e38, math.nan, math.inf]
    tiny = [0.0, 5e-324, 2.0**-149, 2.0**-133, 1.3 * 2.0**-126, 1e-40, 2.0**-101, 2.0**-100, 2.0**-99 * 1.1]
    to_the_least = [least * v for v in (0.5, 0.7, 1.0, 1.5, 2.5, 3.5)] if dtype == F16 else [2.0**-120, 2.0**-90 * 1.7]
    below = [math.nextafter(2.0**-100, 0.0), 1.9 * 2.0**-110, 0.7 * 2.0**-125, 1.01 * 2.0**-131, 3e-39]
    return [*ties, *near, *powers, *plain, *tiny, *to_the_least, *below]


@functools.cache
def products(dtype):
    """(factor, RN_dtype(RN_f32(x * c))) for every factor; below 2^-100 the product is one of f64."""
    x, results = every(dtype), []
    with np.errstate(all="ignore"):
        for c in factors(dtype):
            wide = (f64(x) * c).astype(F32) if c < 2.0**-100 else x.astype(F32) * np.float32(c)
            results.append((c, wide, wide.astype(dtype)))
    return results


def bounds(dtype):
    """Pairs of bounds: zeros, subnormal numbers, infinities, NaN, and numbers that must be rounded, once, on ties."""
    u = 2.0 ** -FORMAT[dtype][0]
    least, most = 2.0 ** FORMAT[dtype][1], float(finfo(dtype).max)
    tie = 1 + u
    hair = 2.0**-45  # lost in f32
    beyond = most * (1 + u / 2) + most * u / 2 * 0.999
    values = [*corner_values(dtype), 0.0, 0.1, 0.7, 3.3, 1e-3, tie, tie + hair, tie - hair, 3 * u + 1, 1 + 3 * u - hair]
    values += [least / 2, least / 2 * (1 + hair), least * 1.5, least * 1.5 * (1 - hair), least * 0.49, 5e-324, 1e-50]
    values += [beyond, most * 1.5, 1e300, math.inf, 2.0**-14 - 2.0**-25, 2.0**-14 - 2.0**-25 - 2.0**-60]
    pairs = [(-v, v) for v in values] + [(v, v) for v in values[::4]] + [(v, math.inf) for v in values[1::4]]
    nan = [(math.nan, 1.0), (-1.0, math.nan), (math.nan, math.nan)]
    crossed = [(1.0, -1.0), (0.0, -0.0), (-0.0, 0.0), (-0.0, -0.0), (0.0, 0.0), (0.0, -1.0), (-0.0, -least)]
    return pairs + nan + crossed + [(-math.inf, -least), (-1.0, -0.0), (0.0, 1.0), (-math.inf, 0.3)]


def clamped(x, lo, hi):
    """Above hi becomes hi, then below lo becomes lo; whatever compares with neither stays as it is."""
    wide, lo, hi = f64(x), rounded(lo, x.dtype), rounded(hi, x.dtype)
    over = wide > float(hi)
    x, wide = np.where(over, hi, x), np.where(over, float(hi), wide)
    return np.where(wide < float(lo), lo, x)


@functools.cache
def clamps(dtype):
    return [(lo, hi, clamped(every(dtype), lo, hi)) for lo, hi in bounds(dtype) if not math.isnan(lo + hi)]


def exact(dtype, bits):
    """The value of a pattern as a Python float, from its fields; NaN for NaN."""
    digits, least = FORMAT[dtype]
    magnitude = bits & 0x7FFF
    exponent, fraction = magnitude >> (digits - 1), magnitude & ((1 << (digits - 1)) - 1)
    if exponent == (0x7FFF >> (digits - 1)):
        value = math.nan if fraction else math.inf
    elif exponent == 0:
        value = math.ldexp(fraction, least)
    else:
        value = math.ldexp(fraction + (1 << (digits - 1)), least + exponent - 1)
    return -value if bits & 0x8000 else value


@each_dtype
def test_the_definitions(dtype):
    """NumPy and ml_dtypes read every pattern by its fields, and round what we ask them to as fractions do."""
    x = every(dtype)
    fields = np.array([exact(dtype, int(b)) for b in patterns(x)])
    assert np.array_equal(f64(x), fields, equal_nan=True)
    assert np.array_equal(np.signbit(x), patterns(x) >= 0x8000)
    kinds = dict.fromkeys(("tie", "subnormal", "infinite", "zero"), 0)
    for c, wide, narrow in products(dtype):
        some = slice(0, None, 331)
        for w, n in zip(wide[some].tolist(), narrow[some], strict=True):
            assert same(np.array([rounded(w, dtype)]), np.array([n])), (c, w)
        with np.errstate(invalid="ignore"):
            w, n = f64(wide), f64(narrow)
            # halfway: the narrow number on the other side is as far away
            kinds["tie"] += np.count_nonzero(np.isfinite(n) & (w != n) & same_distance(w, narrow))
            kinds["subnormal"] += np.count_nonzero((n != 0) & (np.abs(n) < float(finfo(dtype).tiny)))
            kinds["infinite"] += np.count_nonzero(np.isinf(n) & np.isfinite(w))
            kinds["zero"] += np.count_nonzero((n == 0) & (w != 0))
    assert kinds.pop("infinite") > 10  # of bf16, most that would be are infinite as f32
    assert min(kinds.values()) > 1000, kinds
    assert len(products(dtype)) >= 64
    assert len(bounds(dtype)) >= 50


def same_distance(wide, narrow):
    """Where f32 numbers lie exactly between two numbers of the dtype: the one that they round to and its neighbour."""
    away = np.where(np.abs(wide) > np.abs(f64(narrow)), 1, -1).astype(np.int32)
    neighbour = (patterns(narrow) + away).astype(np.uint16).view(narrow.dtype)
    return np.abs(wide - f64(neighbour)) == np.abs(wide - f64(narrow))


@each_dtype
def test_every_value_alone_in_the_statistics(isa, dtype):
    for bits in range(65536):
        x = np.array([bits], np.uint16).view(dtype)
        value = exact(dtype, bits)
        if math.isnan(value):
            assert math.isnan(_core.kernel_sumsq(isa, x, 1.0)[0]), bits
            assert math.isnan(_core.kernel_sumabs(isa, x)[0]), bits
            assert math.isnan(_core.kernel_maxabs(isa, x)), bits
        else:
            assert _core.kernel_sumsq(isa, x, 1.0) == (value * value, 0.0), bits
            assert _core.kernel_sumabs(isa, x) == (abs(value), 0.0), bits
            assert _core.kernel_maxabs(isa, x) == abs(value), bits
        assert _core.kernel_counts(isa, x) == (int(not math.isfinite(value)), int(value == 0)), bits


@each_dtype
def test_every_value_in_vectors_of_a_sum(isa, dtype):
    """16,384 times the same value: the shortest streams, their pairs all exact, and so is the total."""
    for bits in range(0, 0x8000, 3):
        value = exact(dtype, bits)
        x = np.full(16384, bits, np.uint16).view(dtype)
        hi, lo = _core.kernel_sumsq(isa, x, 1.0)
        assert hi == 16384 * value * value or (math.isnan(hi) and math.isnan(value)), bits
        assert lo == 0.0


@each_walk
@each_dtype
def test_times_one_is_a_load_and_a_store(isa, dtype, walk):
    x = every(dtype)
    out = np.zeros_like(x)
    _core.kernel_scale(isa, out, x, 1.0, walk)
    assert same(out, x)
    out[:] = 0
    _core.kernel_copy(isa, out, x, walk)
    assert out.tobytes() == x.tobytes(), "a copy keeps payloads, too"


@each_walk
@each_dtype
def test_scale(isa, dtype, walk):
    x = every(dtype)
    out = np.empty_like(x)
    for c, _, expected in products(dtype):
        _core.kernel_scale(isa, out, x, c, walk)
        assert same(out, expected), c


@each_dtype
def test_scale_in_incomplete_vectors(isa, dtype):
    """The loads and stores of fewer elements than a vector has."""
    x = every(dtype)[: 65536 // 7 * 7].reshape(-1, 7)
    for c, _, expected in products(dtype)[::23]:
        expected = expected[: x.size].reshape(-1, 7)
        for row, want in zip(x[::9], expected[::9], strict=True):
            out = np.empty_like(row)
            _core.kernel_scale(isa, out, row, c)
            assert same(out, want), (c, row)


@each_walk
@each_dtype
def test_clamp(isa, dtype, walk):
    x = every(dtype)
    out = np.empty_like(x)
    for lo, hi, expected in clamps(dtype):
        _core.kernel_clamp(isa, out, x, lo, hi, walk)
        assert same(out, expected), (lo, hi)


@each_walk
@each_dtype
def test_first_outside(isa, dtype, walk):
    """Beginning at each hundredth value: what it passes over is inside."""
    x = every(dtype)
    for lo, hi, expected in clamps(dtype)[::5]:
        outside = np.append(np.flatnonzero(~((patterns(x) == patterns(expected)) | np.isnan(f64(x)))), x.size)
        for start in range(0, x.size, 6553):
            first = start + _core.kernel_first_outside(isa, x[start:], lo, hi, walk)
            assert first <= outside[np.searchsorted(outside, start)], (lo, hi, start)
        inside = x[(patterns(x) == patterns(expected)) | np.isnan(f64(x))]
        if lo <= hi:
            assert _core.kernel_first_outside(isa, inside, lo, hi, walk) == inside.size, (lo, hi)


@each_walk
@each_dtype
def test_clamp_between_against_every_value(isa, dtype, walk):
    """Bounds in other orders of every value: hi wins over lo, NaN over both. On zeros f16 keeps the element."""
    x = every(dtype)
    rng = np.random.default_rng(14)
    for k in range(10):
        lo, hi = rng.permutation(x), rng.permutation(x)
        if k % 2:  # most within, and ties
            crossed = f64(hi) < f64(lo)
            lo, hi = np.where(crossed, hi, lo), np.where(crossed, lo, hi)
            lo, hi = np.where(rng.random(x.size) < 0.2, x, lo), np.where(rng.random(x.size) < 0.2, x, hi)
        v, low, high = (f64(a) for a in (x, lo, hi))
        keeps = dtype == F16
        stays = np.isnan(v) | (~np.isnan(low) & ((v > low) | (keeps & (v == low))))
        expected, v = np.where(stays, x, lo), np.where(stays, v, low)
        stays = np.isnan(v) | (~np.isnan(high) & ((v < high) | (keeps & (v == high))))
        expected = np.where(stays, expected, hi)
        out = np.empty_like(x)
        _core.kernel_clamp_between(isa, out, x, lo, hi, walk)
        assert same(out, expected)


@each_dtype
def test_drop_nonfinite(isa, dtype):
    x = every(dtype).copy()
    finite = np.isfinite(f64(x))
    _core.kernel_drop_nonfinite(isa, x)
    assert np.array_equal(patterns(x), np.where(finite, patterns(every(dtype)), 0))
