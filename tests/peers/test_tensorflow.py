# SPDX-License-Identifier: BSD-3-Clause
"""TensorFlow's functions beside ours: equal where they can be, and every documented difference shown on both sides."""

import math

import numpy as np
import oracle
import pytest
import tensorflow as tf
from oracle import same_bits

import fastclip

tf.get_logger().setLevel("ERROR")  # of deprecated functions

INF, NAN = math.inf, math.nan
F32, F64 = np.float32, np.float64
DTYPES = pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
average_norm = tf.compat.v1.clip_by_average_norm


def arrays_of(result):
    return [None if t is None else t.numpy() for t in result]


def ulps(a, b):
    """The largest distance of two arrays of one dtype, counted in numbers between."""
    whole = np.int32 if a.dtype == F32 else np.int64
    x, y = (np.asarray(v).view(whole).astype(object) for v in (a, b))
    return max((abs(p - q) for p, q in zip(np.abs(x).flat, np.abs(y).flat, strict=True)), default=0)


def check_near(ours, theirs, n, roundings):
    """Compare a result with TensorFlow's, which takes everything in the arrays' dtype.

    Its squares round once and its sum in n - 1 additions in whatever order: of the norm half of that, n / 2
    roundings, and the root's. `roundings` are those of its coefficient and product; 2.01 are ours.
    """
    u = np.finfo(ours.dtype).eps / 2
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=(n / 2 + 1 + roundings + 2.01) * u, atol=0)


def sample(dtype, n, seed=0):
    return np.random.default_rng(seed).normal(size=n).astype(dtype)


# ---- clip_by_value: equal to the bit

VALUES = [1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 1e-30, -1e-30, 3e38, -3e38, 0.1, INF, -INF, NAN]
BOUNDS = [-INF, -3e38, -1.0, -0.5, -0.1, 0.1, 0.3, 1.0, 3e38, INF, NAN]


@DTYPES
@pytest.mark.parametrize("lo", BOUNDS)
def test_clip_by_value_has_the_same_bits(dtype, lo):
    x = np.array(VALUES * 3, dtype)
    for hi in BOUNDS:  # min > max and NaN included
        theirs = tf.clip_by_value(x, dtype(lo), dtype(hi)).numpy()
        assert same_bits(fastclip.clip_by_value(x, lo, hi), theirs), hi
        arrays = fastclip.clip_by_value(x, np.full(x.shape, lo, dtype), np.full(x.shape, hi, dtype))
        assert same_bits(arrays, theirs), hi


@DTYPES
def test_clip_by_value_with_array_bounds_has_the_same_bits(dtype):
    x = 3 * sample(dtype, (4, 5))
    rng = np.random.default_rng(1)
    for shape in [(5,), (4, 1), (1, 5), (4, 5), (1, 1)]:
        lo, hi = (rng.normal(size=shape).astype(dtype) for _ in range(2))  # min > max in about half of them
        assert same_bits(fastclip.clip_by_value(x, lo, hi), tf.clip_by_value(x, lo, hi).numpy())
        assert same_bits(fastclip.clip_by_value(x, lo, 0.5), tf.clip_by_value(x, lo, dtype(0.5)).numpy())


@DTYPES
def test_zeros_are_equal_whatever_their_sign(dtype):
    # TensorFlow's sign depends on the element's place in its vectors; ours is the element's.
    for x in (np.zeros(40, dtype), np.full(40, -0.0, dtype)):
        for lo, hi in ((0.0, 1.0), (-0.0, 1.0), (-1.0, 0.0), (-1.0, -0.0)):
            theirs = tf.clip_by_value(x, dtype(lo), dtype(hi)).numpy()
            np.testing.assert_array_equal(fastclip.clip_by_value(x, lo, hi), theirs)
            assert (np.signbit(fastclip.clip_by_value(x, lo, hi)) == np.signbit(x)).all()


def test_bounds_that_would_make_the_result_larger_are_refused_by_both():
    x = np.ones((2, 3), F32)
    for lo in (np.zeros((2, 2, 3), F32), np.zeros((4,), F32)):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            tf.clip_by_value(x, lo, F32(1.0))
        with pytest.raises(ValueError, match="broadcast"):
            fastclip.clip_by_value(x, lo, 1.0)


# ---- norms

# integers whose squares add up to a square, so that the norm is exact in every arithmetic
EXACT = {5: [3, 4], 7: [2, 3, 6], 9: [1, 4, 8], 15: [2, 5, 14], 26: [10, 24], 2: [1, 1, 1, 1], 11: [2, 6, 9]}


@DTYPES
@pytest.mark.parametrize("norm", EXACT)
def test_given_the_same_norm_clip_by_norm_is_within_2_ulp(dtype, norm):
    # The first rounding of each side is below 1 ULP of the result and the last at most half of one: together
    # below 3, and a distance of two numbers of one binade is whole.
    x = np.array(EXACT[norm], dtype)
    for limit in sample(F32, 200, seed=norm) ** 2 + F32(1e-3):
        theirs = tf.clip_by_norm(x, dtype(limit)).numpy()
        ours = fastclip.clip_by_norm(x, limit)
        assert ulps(ours, theirs) <= 2
        rows = fastclip.clip_by_norm(np.stack([x, 2 * x]), limit, axes=1)
        assert ulps(rows, tf.clip_by_norm(np.stack([x, 2 * x]), dtype(limit), axes=[1]).numpy()) <= 2


@DTYPES
@pytest.mark.parametrize("n", [1, 2, 7, 33, 64])
def test_clip_by_norm(dtype, n):
    for seed in range(20):
        x = sample(dtype, n, seed)
        for share in (0.001, 0.5, 0.999):
            limit = F32(share * oracle.norm([x]))
            check_near(fastclip.clip_by_norm(x, limit), tf.clip_by_norm(x, dtype(limit)).numpy(), n, 2)


@DTYPES
@pytest.mark.parametrize("axes", [None, 0, 1, 2, -1, [0], [0, 2], (-1, -2), [0, 1, 2], []], ids=str)
def test_clip_by_norm_with_axes(dtype, axes):
    x = sample(dtype, (3, 4, 5))
    check_near(fastclip.clip_by_norm(x, 0.75, axes), tf.clip_by_norm(x, dtype(0.75), axes).numpy(), 60, 2)


def test_axes_that_both_refuse():
    x = np.ones((2, 3), F32)
    for axes in (2, -3, [0, 0], [0, -2], [1, 2]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            tf.clip_by_norm(x, 1.0, axes)
        with pytest.raises(ValueError, match="axes"):
            fastclip.clip_by_norm(x, 1.0, axes)


@pytest.mark.parametrize("n", [1, 2, 7, 33, 64])
def test_clip_by_average_norm(n):  # float32 only, there
    for seed in range(20):
        x = sample(F32, n, seed)
        for share in (0.001, 0.5, 0.999, 2.0):
            limit = F32(share * oracle.norm([x]) / n)
            # n / norm, its product with the limit, two with the element, and min(., 1 / limit)
            check_near(fastclip.clip_by_average_norm(x, limit), average_norm(x, limit).numpy(), n, 5)


@DTYPES
def test_clip_by_global_norm_and_global_norm(dtype):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        t_list = [rng.normal(size=s).astype(dtype) for s in ((4,), (2, 3), (), (5, 1))]
        given = [t_list[0], None, *t_list[1:], None]
        for share in (0.001, 0.5, 0.999, 2.0):
            limit = F32(share * oracle.norm(t_list))
            theirs, norm = tf.clip_by_global_norm(given, dtype(limit))
            ours, our_norm = fastclip.clip_by_global_norm(given, limit)
            assert type(ours) is type(theirs) is list
            assert [t is None for t in ours] == [t is None for t in theirs]
            for a, b in zip(ours, arrays_of(theirs), strict=True):
                if a is not None:
                    check_near(a, b, 16, 4)  # 1 / norm, 1 / limit, times limit, times x
            # l2_loss halves and the sum is doubled, exactly
            np.testing.assert_allclose(our_norm, norm.numpy(), rtol=(16 / 2 + 2) * np.finfo(dtype).eps / 2)
            np.testing.assert_allclose(fastclip.global_norm(given), tf.linalg.global_norm(given).numpy(), rtol=1e-5)


@DTYPES
def test_use_norm(dtype):
    x = np.array([3.0, 4.0], dtype)
    for use_norm in (0.0, 0.25, 1.0, 3.0, 10.0):
        theirs, norm = tf.clip_by_global_norm([x], dtype(1.0), use_norm=tf.constant(use_norm, dtype))
        ours, our_norm = fastclip.clip_by_global_norm([x], 1.0, use_norm=use_norm)
        assert our_norm == norm.numpy()
        assert ulps(ours[0], theirs[0].numpy()) <= 3


def test_nothing_to_clip():
    assert fastclip.clip_by_global_norm([], 1.0) == ([], tf.clip_by_global_norm([], 1.0)[1].numpy())
    assert tf.clip_by_global_norm([None], 1.0)[0] == fastclip.clip_by_global_norm([None], 1.0)[0] == [None]
    assert tf.linalg.global_norm([None]).numpy() == fastclip.global_norm([None]) == 0.0


@DTYPES
@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_a_nonfinite_element_makes_every_element_nan(dtype, value):
    t_list = [np.array([value, 1.0], dtype), None, np.array([2.0], dtype)]
    theirs, norm = tf.clip_by_global_norm(t_list, dtype(1.0))
    ours, our_norm = fastclip.clip_by_global_norm(t_list, 1.0)
    np.testing.assert_equal(our_norm, float(norm.numpy()))
    for a, b in zip(ours, arrays_of(theirs), strict=True):
        assert (a is None and b is None) or (np.isnan(a).all() and np.isnan(b).all())
    assert np.isnan(tf.clip_by_norm(np.array([NAN, 1.0], dtype), dtype(1.0)).numpy()).all()
    assert np.isnan(fastclip.clip_by_norm(np.array([NAN, 1.0], dtype), 1.0)).all()
