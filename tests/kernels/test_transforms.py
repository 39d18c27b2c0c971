# SPDX-License-Identifier: BSD-3-Clause
"""Scale, clamp and the dropping of NaN and infinity: equal to their definitions, and nowhere but in the array."""

import functools
import itertools
import math

import numpy as np
import pytest
from buffers import PAINT, SIZES, Frame, offsets, spread
from dtypes import DTYPES, F16, F32, F64, rounded
from oracle import same_bits
from strategies import corner_values, nonfinite_values

from fastclip import _core

COEFFICIENTS = [
    0.0,
    5e-324,
    2.0**-1022,
    2.0**-150,
    1.3 * 2.0**-126,
    math.nextafter(2.0**-100, 0.0),
    2.0**-100,
    1.7 * 2.0**-100,
    1e-20,
    0.1,
    1 / 3,
    1 - 2.0**-53,
    1 - 2.0**-25,  # halfway between two f32 numbers
    1.0,
    math.nan,
]

BOUNDS = [
    (-1.0, 1.0),
    (-0.1, 0.7),  # no f32 numbers: rounded first
    (-(1 + 2.0**-8 + 2.0**-40), 1 + 2.0**-11 + 2.0**-40),  # ties of bf16 and f16, if rounded to f32 first
    (2.0**-25, 65520.0),  # ties of f16: to 0 and to infinity
    (0.0, 1.0),
    (-0.0, 0.0),
    (-1.0, -0.0),
    (0.0, 0.0),
    (2.0, 2.0),
    (-math.inf, 0.5),
    (0.5, math.inf),
    (-math.inf, math.inf),
    (math.inf, math.inf),
    (-math.inf, -math.inf),
    (-5e-324, 5e-324),
    (1e-40, 1e39),  # subnormal and infinite in f32
    (-1.7e308, 1.7e308),
    (2.0, 1.0),  # min > max: min, as in TensorFlow
    (0.0, -0.5),
    (-0.0, -0.5),
]

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
IN_CACHE, WALKS = 0, range(len(_core.walks()))
STREAMS_FROM = 1024  # elements; below it every walk is the same


def walks(n):
    return WALKS if n >= STREAMS_FROM else [IN_CACHE]


def specials(dtype):
    """All corner values of both signs, zeros, infinities and NaN, 70 and more in an order of no pattern."""
    x = [sign * v for v in (0.0, *corner_values(dtype), math.inf) for sign in (1, -1)]
    x = np.array([*x, *nonfinite_values(), *spread(dtype, 40)], dtype)
    np.random.default_rng(5).shuffle(x)
    return x


def product(x, c):
    """The contract's clause 3, in NumPy."""
    with np.errstate(all="ignore"):
        if x.dtype == F64:
            return x * c
        if c < 2.0**-100:
            return (x.astype(F64) * c).astype(F32).astype(x.dtype)
        return (x.astype(F32) * np.float32(c)).astype(x.dtype)


def clamped(x, lo, hi):
    """Every element above hi becomes hi, then every one below lo lo, every other stays: NaN and -0.0, too."""
    lo, hi, wide = rounded(lo, x.dtype), rounded(hi, x.dtype), x.astype(F64)
    x, wide = np.where(wide > float(hi), hi, x), np.minimum(wide, float(hi))
    return np.where(wide < float(lo), lo, x)


def between(x, lo, hi):
    """NumPy's order, element by element: hi wins, NaN wins; on a tie of zeros the bound is taken, f16 keeps its own."""
    keeps = x.dtype == F16
    v, low, high = (a.astype(F64) for a in (x, lo, hi))
    with np.errstate(invalid="ignore"):
        stays = np.isnan(v) | (~np.isnan(low) & ((v > low) | (keeps & (v == low))))
        x, v = np.where(stays, x, lo), np.where(stays, v, low)
        stays = np.isnan(v) | (~np.isnan(high) & ((v < high) | (keeps & (v == high))))
    return np.where(stays, x, hi)


def dropped(x):
    return np.where(np.isfinite(x), x, x.dtype.type(0))


@functools.cache
def bounds(dtype, n):
    """Bounds of no pattern for n elements."""
    return spread(dtype, n, seed=11), spread(dtype, n, seed=12)


OPERATIONS = {
    "scale": (lambda isa, dst, src, walk: _core.kernel_scale(isa, dst, src, 0.3, walk), lambda x: product(x, 0.3)),
    "scale in f64": (
        lambda isa, dst, src, walk: _core.kernel_scale(isa, dst, src, 0.9 * 2.0**-100, walk),
        lambda x: product(x, 0.9 * 2.0**-100),
    ),
    "clamp": (
        lambda isa, dst, src, walk: _core.kernel_clamp(isa, dst, src, -0.5, 0.25, walk),
        lambda x: clamped(x, -0.5, 0.25),
    ),
    "clamp between": (
        lambda isa, dst, src, walk: _core.kernel_clamp_between(isa, dst, src, *bounds(src.dtype, src.size), walk),
        lambda x: between(x, *bounds(x.dtype, x.size)),
    ),
}
each_operation = pytest.mark.parametrize("operation", OPERATIONS)


@each_operation
@each_dtype
def test_in_place_at_every_size_and_offset(isa, dtype, operation):
    run, definition = OPERATIONS[operation]
    for n in SIZES:
        x = spread(dtype, n)
        expected = definition(x).tobytes()
        for offset in offsets(dtype):
            for walk in walks(n):
                frame = Frame(x, offset, PAINT)
                run(isa, frame.array, frame.array, walk)
                assert frame.array.tobytes() == expected, (n, offset, walk)
                assert frame.untouched(), (n, offset, walk)


@each_operation
@each_dtype
def test_out_of_place_at_every_size_and_pair_of_offsets(isa, dtype, operation):
    run, definition = OPERATIONS[operation]
    for n in SIZES:
        x = spread(dtype, n)
        expected = definition(x).tobytes()
        for offset in offsets(dtype):
            for walk in walks(n):
                source, target = Frame(x, 64 - dtype.itemsize - offset, PAINT), Frame(np.ones_like(x), offset, PAINT)
                run(isa, target.array, source.array, walk)
                assert target.array.tobytes() == expected, (n, offset, walk)
                assert source.array.tobytes() == x.tobytes(), (n, offset, walk)
                assert source.untouched(), (n, offset, walk)
                assert target.untouched(), (n, offset, walk)


@pytest.mark.parametrize("walk", WALKS, ids=_core.walks())
@each_dtype
def test_copy_at_every_size_and_offset(isa, dtype, walk):
    """A copy of f16 and bf16 may be of an odd number of them; it goes to an address divisible by 4."""
    for n in SIZES:
        x = spread(dtype, n)
        x[::5] = math.nan
        for offset in range(0, 64, max(4, dtype.itemsize)):
            source, target = Frame(x, 64 - dtype.itemsize - offset, PAINT), Frame(np.ones_like(x), offset, PAINT)
            _core.kernel_copy(isa, target.array, source.array, walk)
            assert target.array.tobytes() == x.tobytes(), (n, offset)
            assert source.untouched(), (n, offset)
            assert target.untouched(), (n, offset)


@each_dtype
def test_drop_nonfinite_at_every_size_and_offset(isa, dtype):
    for n in SIZES:
        x = spread(dtype, n)
        x[::3] = np.resize(np.array(nonfinite_values(), dtype), x[::3].size)
        expected = dropped(x).tobytes()
        for offset in offsets(dtype):
            frame = Frame(x, offset, 0xFF)  # NaN: would become 0
            _core.kernel_drop_nonfinite(isa, frame.array)
            assert frame.array.tobytes() == expected, (n, offset)
            assert frame.untouched(), (n, offset)


@pytest.mark.parametrize("c", COEFFICIENTS)
@each_dtype
def test_scale_of_corner_values(isa, dtype, c):
    x = specials(dtype)
    out = np.empty_like(x)
    _core.kernel_scale(isa, out, x, c)
    assert same_bits(out, product(x, c))


@each_dtype
def test_scale_of_many_values_and_coefficients(isa, dtype):
    rng = np.random.default_rng(6)
    for _ in range(200):
        e = {F16: 12, F64: 300}.get(dtype, 120)
        x = np.ldexp(rng.uniform(-2, 2, 1000), rng.integers(-e, e, 1000)).astype(dtype)
        c = float(np.ldexp(rng.uniform(0.5, 1), rng.integers(-130, 1)))
        out = np.empty_like(x)
        _core.kernel_scale(isa, out, x, c)
        assert out.tobytes() == product(x, c).tobytes(), c


@pytest.mark.parametrize(("lo", "hi"), BOUNDS)
@each_dtype
def test_clamp_of_corner_values(isa, dtype, lo, hi):
    x = specials(dtype)
    out = np.empty_like(x)
    _core.kernel_clamp(isa, out, x, lo, hi)
    assert same_bits(out, clamped(x, lo, hi))


@pytest.mark.parametrize(("lo", "hi"), [(lo, hi) for lo, hi in BOUNDS if lo <= hi])
@each_dtype
def test_clamp_is_that_of_numpy(isa, dtype, lo, hi):
    x = specials(dtype)
    expected = np.clip(x, rounded(lo, dtype), rounded(hi, dtype)).astype(dtype)  # of bfloat16 NumPy makes f32
    out = np.empty_like(x)
    _core.kernel_clamp(isa, out, x, lo, hi)
    assert same_bits(out, expected)


@each_dtype
def test_clamp_between_is_that_of_numpy(isa, dtype):
    """Corner values against corner values as bounds, lo above hi, zeros of both signs and NaN among them."""
    x = specials(dtype)
    rng = np.random.default_rng(8)
    for lo, hi in ((rng.permutation(x), rng.permutation(x)) for _ in range(100)):
        with np.errstate(invalid="ignore"):
            expected = np.clip(x, lo, hi).astype(dtype)
        assert same_bits(between(x, lo, hi), expected)
        out = np.empty_like(x)
        _core.kernel_clamp_between(isa, out, x, lo, hi)
        assert same_bits(out, expected)


@each_dtype
def test_clamp_between_zeros_and_nan_in_every_place(isa, dtype):
    zeros = (0.0, -0.0, 1.0, -1.0, math.nan)
    for n in (1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 70):
        for value, lo, hi in itertools.product(zeros, zeros, zeros):
            x, low, high = (np.full(n, v, dtype) for v in (value, lo, hi))
            out = np.empty_like(x)
            _core.kernel_clamp_between(isa, out, x, low, high)
            assert same_bits(out, between(x, low, high)), (n, value, lo, hi)


@each_dtype
def test_clamp_keeps_the_sign_of_zero_and_nan_in_every_place(isa, dtype):
    """Vector instructions take one of their operands on NaN and on two zeros: here it must always be the element."""
    for n in (1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 70):
        for value in (0.0, -0.0, math.nan):
            x = np.full(n, value, dtype)
            for lo, hi in ((0.0, 0.0), (-0.0, -0.0), (-0.0, 0.0), (0.0, 1.0), (-1.0, -0.0), (-1.0, 1.0)):
                y = x.copy()
                _core.kernel_clamp(isa, y, y, lo, hi)
                assert same_bits(y, x), (n, value, lo, hi)


@each_dtype
def test_drop_nonfinite_leaves_every_finite_value(isa, dtype):
    x = specials(dtype)
    y = x.copy()
    _core.kernel_drop_nonfinite(isa, y)
    assert y.tobytes() == dropped(x).tobytes()
    assert np.isfinite(y).all()
