# SPDX-License-Identifier: BSD-3-Clause
import math

import numpy as np
import pytest
from oracle import same_bits

import fastclip

INF, NAN = math.inf, math.nan
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 1e-45, -1e-45, 1e-320, 3e38, -3e38, INF, -INF, NAN]
BOUNDS = [-INF, -1.0, -0.5, -1e-45, -0.0, 0.0, 1e-45, 0.1, 0.5, 1.0, 1e300, INF, NAN]


def clip_one(x, lo, hi):
    """max(min(x, hi), lo), the first operand where neither is the larger; NaN from anywhere stays."""
    if math.isnan(x) or math.isnan(lo) or math.isnan(hi):
        return NAN
    least = hi if hi < x else x
    return lo if lo > least else least


def expected(x, lo, hi):
    with np.errstate(over="ignore"):  # bounds are rounded to the dtype
        lo, hi = (np.broadcast_to(np.asarray(b, np.float64).astype(x.dtype), x.shape) for b in (lo, hi))
    flat = [clip_one(*(float(v) for v in e)) for e in zip(x.flat, lo.flat, hi.flat, strict=True)]
    return np.array(flat, x.dtype).reshape(x.shape)


def special(dtype):
    with np.errstate(over="ignore"):
        return np.array(SPECIAL * 3, np.float64).astype(dtype)  # 45: whole vectors and a rest


@pytest.mark.parametrize("lo", BOUNDS)
def test_every_bound_on_every_kind_of_element(dtype, lo):
    for hi in BOUNDS:
        x = special(dtype)
        before = x.copy()
        out = fastclip.clip_by_value(x, lo, hi)
        assert same_bits(x, before)
        assert same_bits(out, expected(x, lo, hi)), hi
        assert fastclip.clip_by_value_(x, lo, hi) is None
        assert same_bits(x, out), hi


@pytest.mark.parametrize("kind", [np.asarray, lambda b: np.array([b]), lambda b: [b]], ids=["0-d", "array", "list"])
@pytest.mark.parametrize("lo", BOUNDS)
def test_array_bounds_give_the_same_bits_as_numbers(dtype, lo, kind):
    x = special(dtype)
    for hi in BOUNDS:
        as_numbers = fastclip.clip_by_value(x, lo, hi)
        for least, most in ((kind(lo), kind(hi)), (lo, kind(hi)), (kind(lo), hi)):
            assert same_bits(fastclip.clip_by_value(x, least, most), as_numbers), hi


@pytest.mark.parametrize("n", [*range(1, 70), 255, 256, 257, 32767, 32768, 32769, 40000])
def test_one_element_outside_is_found_wherever_it_is(dtype, n):
    for at in {0, n // 2, n - 1}:
        for value, clipped in ((7.0, 1.0), (-7.0, -1.0)):
            x = np.full(n, 0.5, dtype)
            x[at] = value
            out = fastclip.clip_by_value(x, -1.0, 1.0)
            fastclip.clip_by_value_(x, -1.0, 1.0)
            assert out[at] == x[at] == clipped
            assert np.count_nonzero(x == 0.5) == np.count_nonzero(out == 0.5) == n - 1


@pytest.mark.parametrize("bound", [1, np.int64(1), np.float32(1.0), np.array(1.0), True])
def test_bounds_are_any_real_numbers_but_no_bools(dtype, bound):
    x = np.array([5.0, 0.5], dtype)
    if bound is True:
        with pytest.raises(TypeError, match=r"^clip_by_value: clip_value_max is True \(bool\)"):
            fastclip.clip_by_value(x, 0, bound)
        return
    out = fastclip.clip_by_value(x, 0, bound)
    assert out.tolist() == [1.0, 0.5]
    assert out.dtype == dtype


def test_bounds_are_rounded_to_the_dtype():
    x = np.array([1.0, 0.1], np.float32)
    assert fastclip.clip_by_value(x, -INF, 0.1)[0] == np.float32(0.1)
    assert fastclip.clip_by_value(x, -1e300, 1e300).tolist() == x.tolist()
    assert fastclip.clip_by_value(x, np.array([-1e300, 0.0]), np.full(2, 1e300)).tolist() == x.tolist()
    assert fastclip.clip_by_value(np.array([INF], np.float32), 0, 1e39).tolist() == [INF]
    assert fastclip.clip_by_value(np.array([INF]), 0, 1e39).tolist() == [1e39]


@pytest.mark.parametrize("shape", [(), (4,), (1, 4), (3, 1), (3, 4), (2, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize("bound_dtype", [np.float32, np.float64, np.int32, np.uint8, np.float16])
def test_array_bounds_broadcast_to_the_array(dtype, shape, bound_dtype):
    rng = np.random.default_rng(3)
    x = (10 * rng.normal(size=(2, 3, 4))).astype(dtype)
    before = x.copy()
    lo = rng.integers(0, 3, shape).astype(bound_dtype)
    hi = lo + bound_dtype(2)
    bounds = [b.copy() for b in (lo, hi)]
    out = fastclip.clip_by_value(x, lo, hi)
    assert out.dtype == dtype
    assert same_bits(out, expected(before, lo, hi))
    assert same_bits(x, before)
    assert (lo == bounds[0]).all()
    assert (hi == bounds[1]).all()
    assert not any(np.shares_memory(out, other) for other in (x, lo, hi))
    one_sided = fastclip.clip_by_value(x, lo, INF)
    assert same_bits(one_sided, expected(before, lo, INF))


def test_min_above_max_gives_min(dtype):
    x = np.array([1.0, 5.0, 9.0, NAN], dtype)
    for out in (
        fastclip.clip_by_value(x, 6.0, 4.0),
        fastclip.clip_by_value(x, [6.0], [4.0]),
    ):
        np.testing.assert_array_equal(out, [6.0, 6.0, 6.0, NAN])
    fastclip.clip_by_value_([x], 6.0, 4.0)
    np.testing.assert_array_equal(x, [6.0, 6.0, 6.0, NAN])


def test_negative_zero_stays_against_a_bound_of_zero(dtype):
    x = np.full(33, -0.0, dtype)
    for lo, hi in ((0.0, 1.0), (-1.0, 0.0), (0.0, 0.0), (-0.0, -0.0)):
        assert np.signbit(fastclip.clip_by_value(x, lo, hi)).all()
        assert np.signbit(fastclip.clip_by_value(x, np.full(33, lo), np.full(33, hi))).all()
        assert not np.signbit(fastclip.clip_by_value(-x, lo, hi)).any()
        assert not np.signbit(fastclip.clip_by_value(-x, np.full(33, lo), np.full(33, hi))).any()


def test_whole_lists_in_place(dtype):
    g = {"a": [np.array([5.0], dtype), None], "b": np.array([[-5.0, 0.5]], dtype)}
    fastclip.clip_by_value_(g, -1.0, 1.0)
    assert g["a"][0].tolist() == [1.0]
    assert g["b"].tolist() == [[-1.0, 0.5]]


def test_mixed_dtypes_round_the_bound_each_for_itself():
    g = [np.array([1.0], np.float32), np.array([1.0])]
    fastclip.clip_by_value_(g, -0.1, 0.1)
    assert g[0][0] == np.float32(0.1)
    assert g[1][0] == 0.1


def test_takes_what_asarray_takes():
    out = fastclip.clip_by_value([[-2.0, 0.5], [7.0, 1.0]], -1.0, 1.0, "name")
    assert out.tolist() == [[-1.0, 0.5], [1.0, 1.0]]
    assert fastclip.clip_by_value(7.0, -1.0, 1.0, name="name") == 1.0
    assert fastclip.clip_by_value(np.float32(7.0), -1.0, 1.0).dtype == np.float32
    assert type(fastclip.clip_by_value(7.0, -1.0, 1.0)) is np.ndarray


def test_size_zero(dtype):
    x = np.zeros((0, 3), dtype)
    assert fastclip.clip_by_value(x, 0.0, 1.0).shape == (0, 3)
    assert fastclip.clip_by_value(x, np.zeros(3), 1.0).shape == (0, 3)
    fastclip.clip_by_value_([x, None], 0.0, 1.0)
