# SPDX-License-Identifier: BSD-3-Clause
"""Contract, clause 8: clip_by_value. NaN stays, -0.0 as NumPy, min > max as TensorFlow (min), bounds in the dtype.

The kernels have their own tests of every size and corner value: kernels/test_transforms.py.
"""

import math

import numpy as np
import pytest
from buffers import copies
from dtypes import BF16, DTYPES, F16, F32, F64, patterns, rounded
from hypothesis import given
from hypothesis import strategies as st
from oracle import same_bits
from strategies import array_lists, corner_values

import fastclip
from fastclip import _core
from fastclip._backends.reference import Reference

EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def clipped(x, lo, hi):
    """The definition: above hi becomes hi, then below lo becomes lo, all else stays as it is."""
    lo, hi, wide = rounded(lo, x.dtype), rounded(hi, x.dtype), x.astype(F64)
    x, wide = np.where(wide > float(hi), hi, x), np.minimum(wide, float(hi))
    return np.asarray(np.where(wide < float(lo), lo, x))


def in_place(arrays, lo, hi):
    out = copies(arrays)
    fastclip.clip_by_value_(out, lo, hi)
    return out


CORNERS = [0.0, *(v for dtype in DTYPES for v in corner_values(dtype)), math.inf]
TIES = [1 + 2.0**-e + hair for e in (8, 11, 24) for hair in (-(2.0**-40), 0.0, 2.0**-40)]  # of one rounding, not two
bounds = st.one_of(st.sampled_from([s * v for v in (*CORNERS, *TIES) for s in (1, -1)]), st.floats())


@given(array_lists(nonfinite=True), bounds, bounds)
def test_any_list_and_bounds(arrays, lo, hi):
    if math.isnan(lo) or math.isnan(hi):
        expected = [np.full_like(a, math.nan) for a in arrays]
    else:
        expected = [clipped(a, lo, hi) for a in arrays]
    assert same_bits(in_place(arrays, lo, hi), expected)
    for a, b in zip(arrays, expected, strict=True):
        assert same_bits(fastclip.clip_by_value(a, lo, hi), b)


@given(array_lists(nonfinite=True), bounds, bounds)
def test_native_and_reference_agree(arrays, lo, hi):
    native, reference = (copies(arrays) for _ in range(2))
    _core.clamp_list(native, None, lo, hi, True)
    Reference().clamp_list(reference, None, lo, hi, True)
    assert same_bits(native, reference)


@EACH_DTYPE
def test_nan_stays_nan(isa, dtype):
    x = np.array([math.nan, 5.0, -5.0, -math.nan, math.inf, -math.inf], dtype)
    expected = np.array([math.nan, 1.0, -1.0, math.nan, 1.0, -1.0], dtype)
    assert same_bits(in_place([x], -1.0, 1.0)[0], expected)
    assert same_bits(fastclip.clip_by_value(x, -1.0, 1.0), expected)


@EACH_DTYPE
def test_negative_zero_is_kept_as_numpy_keeps_it(isa, dtype):
    for n in (1, 7, 40):
        for zero in (0.0, -0.0):
            x = np.full(n, zero, dtype)
            for lo, hi in ((0.0, 1.0), (-0.0, 1.0), (-1.0, 0.0), (-1.0, -0.0), (0.0, 0.0), (-0.0, -0.0)):
                expected = np.clip(x, dtype.type(lo), dtype.type(hi)).astype(dtype)  # of bfloat16 NumPy makes f32
                assert same_bits(expected, x)
                assert same_bits(in_place([x], lo, hi)[0], x)
                assert same_bits(fastclip.clip_by_value(x, lo, hi), x)


@EACH_DTYPE
@pytest.mark.parametrize(("lo", "hi"), [(2.0, 1.0), (0.0, -1.0), (-0.0, -1.0), (math.inf, -math.inf), (5e-324, 0.0)])
def test_min_above_max_gives_min_as_tensorflow(isa, dtype, lo, hi):
    for value in (-9.0, 0.0, -0.0, 1.5, 2.5, math.inf, -math.inf):
        x = np.full(19, value, dtype)
        expected = np.full(19, rounded(lo, dtype))
        if dtype.type(lo) == dtype.type(hi):  # 5e-324 in f32: no longer min > max
            expected = clipped(x, lo, hi)
        assert same_bits(in_place([x], lo, hi)[0], expected)
        assert same_bits(fastclip.clip_by_value(x, lo, hi), expected)
        reference = x.copy()
        Reference().clamp_list([reference], None, lo, hi, True)
        assert same_bits(reference, expected)
    x = np.array([math.nan, 1.0], dtype)
    assert np.isnan(in_place([x], lo, hi)[0]).tolist() == [True, False]


@EACH_DTYPE
def test_a_nan_bound_gives_nan(isa, dtype):
    x = np.array([-9.0, 0.5, math.inf], dtype)
    for lo, hi in ((math.nan, 1.0), (-1.0, math.nan), (math.nan, math.nan)):
        assert np.isnan(in_place([x], lo, hi)[0]).all()
        assert np.isnan(fastclip.clip_by_value(x, lo, hi)).all()


def test_bounds_are_rounded_to_each_dtype(isa):
    arrays = [np.array([-1.0, 1.0], dtype) for dtype in DTYPES]
    for a in in_place(arrays, -0.1, 0.7):
        assert a.tolist() == [rounded(-0.1, a.dtype), rounded(0.7, a.dtype)]
    assert in_place([np.array([-1.0, 1.0])], -0.1, 0.7)[0].tolist() == [-0.1, 0.7]
    assert in_place([np.array([1e30, math.inf], F32)], -1.0, 1e300)[0].tolist() == [float(np.float32(1e30)), math.inf]


@pytest.mark.parametrize(("dtype", "bits"), [(BF16, 8), (F16, 11), (F32, 24)], ids=["bf16", "f16", "f32"])
def test_bounds_are_rounded_once(isa, dtype, bits):
    """A hair beside a tie of the dtype: by way of f32 the hair is lost, and the tie goes to the even neighbour."""
    for hair, up in ((2.0**-40, 1 + 2.0 ** (1 - bits)), (-(2.0**-40), 1.0), (0.0, 1.0)):
        tie = 1 + 2.0**-bits + hair
        for x in (np.array([3.0, -3.0], dtype), np.array([3.0, -3.0] * 99, dtype)):
            expected = [up, -up] * (x.size // 2)
            assert in_place([x], -tie, tie)[0].astype(F64).tolist() == expected
            assert fastclip.clip_by_value(x, -tie, tie).astype(F64).tolist() == expected
            for each in (np.full(x.size, tie), np.full(1, tie)):
                assert fastclip.clip_by_value(x, -each, each).astype(F64).tolist() == expected
            reference = x.copy()
            Reference().clamp_list([reference], None, -tie, tie, True)
            assert reference.astype(F64).tolist() == expected


@EACH_DTYPE
def test_bounds_in_arrays_of_any_dtype(isa, dtype):
    """NaN among the elements and the bounds; no warning of either."""
    x = np.array([-9.0, 0.3, 9.0, math.nan, -0.0, 9.0], dtype)
    for bound_dtype in DTYPES:
        lo, hi = np.array([-1.0, 0.0, 1.0, -1.0, 0.0, math.nan], bound_dtype), np.full(6, 2.0, bound_dtype)
        expected = np.array([-1.0, 0.3, 2.0, math.nan, -0.0, math.nan], dtype)
        assert same_bits(fastclip.clip_by_value(x, lo, hi), expected)
        assert same_bits(fastclip.clip_by_value(x[:5], lo[:5], bound_dtype.type(2)), expected[:5])
        assert same_bits(fastclip.clip_by_value(x[:3], bound_dtype.type(-1), bound_dtype.type(2)), expected[:3])


@EACH_DTYPE
def test_memory_with_nothing_outside_is_not_written(isa, dtype):
    """Nothing outside: not a bit changes, and even an aliased NaN payload stays as it is."""
    x = np.array([0.5, -1.0, 1.0, -0.0, math.nan], dtype)
    patterns(x)[4] |= 0x15  # the payload
    before = x.tobytes()
    fastclip.clip_by_value_(x, -1.0, 1.0)
    assert x.tobytes() == before
