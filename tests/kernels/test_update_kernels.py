# SPDX-License-Identifier: BSD-3-Clause
"""The kernels over two buffers: equal to their definitions and on every ISA, and nowhere but in the array."""

import math

import numpy as np
import pytest
from buffers import PAINT, POISON, SIZES, Frame, offsets, spread
from dtypes import DTYPES, F64
from oracle import same_bits

from fastclip import _core

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
WALKS = range(len(_core.walks()))


def pair(dtype, n):
    return spread(dtype, n, 1), spread(dtype, n, 2)


def clipped(x, y, c):
    """The definition, in NumPy, for coefficients that f32 holds."""
    with np.errstate(all="ignore"):
        if x.dtype == F64:
            return y + (x - y) * c
        wide = np.float64 if c < 2.0**-100 else np.float32
        a, b = x.astype(wide), y.astype(wide)
        return (b + (a - b) * wide(c)).astype(np.float32).astype(x.dtype)


@each_dtype
def test_a_sum_is_the_same_on_every_isa_and_reads_nothing_else(dtype):
    for n in SIZES:
        x, y = pair(dtype, n)
        expected = _core.kernel_update_sumsq("baseline", x, y, 1.0)
        for isa in _core.supported_isas():
            for offset in list(offsets(dtype))[: 3 if n > 300 else None]:
                a, b = Frame(x, offset, POISON), Frame(y, (3 * offset) % 64, POISON)
                assert _core.kernel_update_sumsq(isa, a.array, b.array, 1.0) == expected, (isa, n, offset)


@each_dtype
def test_a_sum_is_that_of_the_squares(isa, dtype):
    for n in SIZES:
        x, y = pair(dtype, n)
        differences = x.astype(np.float64) - y.astype(np.float64)
        hi, lo = _core.kernel_update_sumsq(isa, x, y, 1.0)
        # n + 2 roundings of u each, in either sum
        assert math.isclose(hi + lo, math.fsum(differences**2), rel_tol=(n + 2) * 2.0**-52), n


@pytest.mark.parametrize("c", [0.0, 2.0**-101, 0.3125, 1.0, math.nan])
@each_dtype
def test_an_update_is_scaled_in_place_and_nothing_else_is_written(isa, dtype, c):
    for n in SIZES:
        x, y = pair(dtype, n)
        expected = clipped(x, y, c)
        for walk in WALKS if n > 1000 else [0]:
            for offset in list(offsets(dtype))[:: 1 if n < 40 else 13]:
                a, b = Frame(x, offset, PAINT), Frame(y, (3 * offset) % 64, POISON)
                _core.kernel_scale_update(isa, a.array, b.array, c, walk)
                assert same_bits([a.array], [expected]), (n, walk, offset)
                assert a.untouched()
                assert b.untouched()


@each_dtype
def test_what_is_not_finite_becomes_what_was(isa, dtype):
    x, y = pair(dtype, 100)
    x[[3, 50, 99]] = [math.inf, math.nan, -math.inf]
    expected = np.where(np.isfinite(x), x, y)
    frame = Frame(x, 8, PAINT)
    _core.kernel_drop_nonfinite_update(isa, frame.array, y)
    assert same_bits([frame.array], [expected])
    assert frame.untouched()
