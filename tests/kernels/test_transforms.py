# SPDX-License-Identifier: BSD-3-Clause
"""Scale, clamp and the dropping of NaN and infinity: equal to their definitions, and nowhere but in the array."""

import math

import numpy as np
import pytest
from buffers import PAINT, SIZES, Frame, offsets, spread
from oracle import same_bits
from strategies import DTYPES, F64, corner_values, nonfinite_values

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
            return (x.astype(np.float64) * c).astype(np.float32)
        return x * np.float32(c)


def clamped(x, lo, hi):
    """Every element above hi becomes hi, then every one below lo lo, every other stays: NaN and -0.0, too."""
    with np.errstate(over="ignore"):
        lo, hi = x.dtype.type(lo), x.dtype.type(hi)
    x = np.where(x > hi, hi, x)
    return np.where(x < lo, lo, x)


def dropped(x):
    return np.where(np.isfinite(x), x, x.dtype.type(0))


OPERATIONS = {
    "scale": (lambda isa, dst, src: _core.kernel_scale(isa, dst, src, 0.3), lambda x: product(x, 0.3)),
    "scale in f64": (
        lambda isa, dst, src: _core.kernel_scale(isa, dst, src, 0.9 * 2.0**-100),
        lambda x: product(x, 0.9 * 2.0**-100),
    ),
    "clamp": (lambda isa, dst, src: _core.kernel_clamp(isa, dst, src, -0.5, 0.25), lambda x: clamped(x, -0.5, 0.25)),
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
            frame = Frame(x, offset, PAINT)
            run(isa, frame.array, frame.array)
            assert frame.array.tobytes() == expected, (n, offset)
            assert frame.untouched(), (n, offset)


@each_operation
@each_dtype
def test_out_of_place_at_every_size_and_pair_of_offsets(isa, dtype, operation):
    run, definition = OPERATIONS[operation]
    for n in SIZES:
        x = spread(dtype, n)
        expected = definition(x).tobytes()
        for offset in offsets(dtype):
            source, target = Frame(x, 64 - dtype.itemsize - offset, PAINT), Frame(np.ones_like(x), offset, PAINT)
            run(isa, target.array, source.array)
            assert target.array.tobytes() == expected, (n, offset)
            assert source.array.tobytes() == x.tobytes(), (n, offset)
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
        e = 300 if dtype == F64 else 120
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
    with np.errstate(over="ignore"):
        expected = np.clip(x, dtype.type(lo), dtype.type(hi))
    out = np.empty_like(x)
    _core.kernel_clamp(isa, out, x, lo, hi)
    assert same_bits(out, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
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
