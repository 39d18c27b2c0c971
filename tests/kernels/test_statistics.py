# SPDX-License-Identifier: BSD-3-Clause
"""Largest magnitude, counts, and the first block with an element outside bounds."""

import math

import numpy as np
import pytest
from buffers import POISON, SIZES, Frame, offsets, spread
from dtypes import DTYPES, F64, FORMAT, patterns
from strategies import corner_values, nonfinite_values

from fastclip import _core

BLOCK = 64  # first_outside looks at up to so many elements before it decides: four vectors of 16

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def corners(dtype):
    return np.array([sign * x for x in (0.0, *corner_values(dtype)) for sign in (1, -1)], dtype)


def mixed(dtype, n):
    """Ordinary numbers with zeros of both signs, NaN and infinities among them."""
    x = spread(dtype, n, seed=3)
    rng = np.random.default_rng(n)
    odd = np.array([0.0, -0.0, *nonfinite_values()], dtype)
    places = rng.random(n) < 0.3
    x[places] = rng.choice(odd, int(places.sum()))
    return x


@each_dtype
def test_maxabs_is_the_largest_magnitude(isa, dtype):
    for n in SIZES:
        x = spread(dtype, n)
        expected = float(np.max(np.abs(x.astype(F64)), initial=0.0))
        for offset in offsets(dtype):
            frame = Frame(x, offset, POISON)
            assert _core.kernel_maxabs(isa, frame.array) == expected, (n, offset)
            assert frame.untouched()


@each_dtype
def test_maxabs_takes_every_place_and_every_corner_value(isa, dtype):
    for n in (1, 5, 16, 17, 33, 70):
        for place in range(n):
            for value in corners(dtype):
                x = np.zeros(n, dtype)
                x[place] = value
                assert _core.kernel_maxabs(isa, x) == abs(float(value)), (n, place, value)


@each_dtype
def test_maxabs_of_nan_is_nan_and_of_infinity_infinity(isa, dtype):
    for n in (1, 8, 33, 70, 300):
        for place in range(n):
            x = spread(dtype, n)
            x[place] = -math.inf
            assert _core.kernel_maxabs(isa, x) == math.inf, (n, place)
            x[n - 1 - place] = math.nan
            assert math.isnan(_core.kernel_maxabs(isa, x)), (n, place)


@each_dtype
def test_counts_of_nonfinite_and_of_zeros(isa, dtype):
    for n in SIZES:
        x = mixed(dtype, n)
        expected = (int(np.count_nonzero(~np.isfinite(x))), int(np.count_nonzero(x == 0)))
        for offset in offsets(dtype):
            frame = Frame(x, offset, POISON)
            assert _core.kernel_counts(isa, frame.array) == expected, (n, offset)
            assert frame.untouched()


@each_dtype
def test_counts_tell_corner_values_from_zero_and_infinity(isa, dtype):
    finite = corners(dtype)
    assert _core.kernel_counts(isa, finite) == (0, 2)
    payloads = np.full(3, math.inf, dtype)
    patterns(payloads)[1:] += np.array([1, 2 ** (FORMAT[dtype][0] - 2)], patterns(payloads).dtype)  # signalling, quiet
    assert _core.kernel_counts(isa, payloads) == (3, 0)


def counted_outside(dtype, n, lo, hi):
    """Elements all inside [lo, hi], bounds, NaN and zeros among them."""
    rng = np.random.default_rng([4, n])
    x = rng.uniform(lo, hi, n).astype(dtype)
    inside = np.array([lo, hi, math.nan, 0.0, -0.0], dtype)
    places = rng.random(n) < 0.3
    x[places] = rng.choice(inside, int(places.sum()))
    return x


@each_dtype
def test_first_outside_of_none_is_the_size(isa, dtype):
    for n in SIZES:
        x = counted_outside(dtype, n, -1.5, 2.5)
        for offset in offsets(dtype):
            frame = Frame(x, offset, 0x7B)  # 61280 in f16, 1.3e36 in bf16 and f32, 1.4e286 in f64: outside
            assert _core.kernel_first_outside(isa, frame.array, -1.5, 2.5) == n, (n, offset)
            assert frame.untouched()


@each_dtype
@pytest.mark.parametrize("walk", range(len(_core.walks())), ids=_core.walks())
def test_first_outside_finds_whatever_is_outside(isa, dtype, walk):
    for n in (1, 7, 70, 255, 256, 257, 300, 513, 1023):
        inside = counted_outside(dtype, n, -1.5, 2.5)
        for place in range(n):
            for value in (np.nextafter(dtype.type(-1.5), dtype.type(-2)), math.inf):
                x = inside.copy()
                x[place] = value
                x[n - 1] = -math.inf  # a later one changes nothing
                found = _core.kernel_first_outside(isa, x, -1.5, 2.5, walk)
                assert found <= place, (n, place)  # clamping begins there
                if walk == 0:
                    assert found > place - BLOCK, (n, place)  # and not before its block


@each_dtype
def test_zeros_of_either_sign_are_inside_bounds_of_zero(isa, dtype):
    x = np.array([0.0, -0.0] * 40, dtype)
    for lo in (0.0, -0.0):
        for hi in (0.0, -0.0):
            assert _core.kernel_first_outside(isa, x, lo, hi) == x.size
