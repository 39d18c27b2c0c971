# SPDX-License-Identifier: BSD-3-Clause
"""fastclip.tensorflow beside TensorFlow's own functions: the same bits given the same norm, and exact norms."""

import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflowcases import BF16, DTYPES, EACH_DTYPE, F16, F32, F64, STOCK, bits, exact_norm, served, tensors

import fastclip.tensorflow as ours

INF, NAN = math.inf, math.nan
LIMITS = [1e-25, 1e-4, 0.3, 1.0, 7.5, 0.0, -1.0, NAN]


@pytest.fixture
def native():
    """Assert that fastclip itself served the calls of the test."""
    before = served()
    yield
    assert served() > before


def eps(dtype):
    return float(tf.experimental.numpy.finfo(dtype).eps) if dtype != BF16 else 2.0**-7


def values(result):
    return [t.numpy() for t in result if t is not None]


def subnormal(dtype, coefficient):
    """TensorFlow's coefficient in float16 has but a few bits there: fastclip's is then formed in float64."""
    return dtype == F16 and 0.0 < coefficient < 1.01 * 2.0**-14


@EACH_DTYPE
@pytest.mark.parametrize("limit", LIMITS)
def test_given_the_same_norm_the_bits_are_tensorflows(native, dtype, limit):
    for scale in (1e-3, 1.0, 30.0):
        given = tensors([dtype], scale)
        for norm in (0.37, 3.0, 55.0, 1e3):
            use_norm = tf.constant(norm, dtype)
            mine, same = ours.clip_by_global_norm(given, limit, use_norm)
            assert same is use_norm
            if limit >= 0.0 and norm <= limit:  # there 1 / limit * limit, which may not be 1
                assert all(a is b for a, b in zip(mine, given, strict=True))
            elif not subnormal(dtype, limit / norm):
                theirs = STOCK["clip_by_global_norm"](given, limit, use_norm)[0]
                assert bits(mine) == bits(theirs), (scale, norm)


@EACH_DTYPE
def test_every_norm_gives_tensorflows_coefficient(native, dtype):
    """A gradient of 1 shows it: 400 norms, all above the limit."""
    one = [tf.ones([1], dtype)]
    for norm in np.geomspace(1.1, 3e4, 400):
        use_norm = tf.constant(norm, dtype)
        for limit in (0.1, 0.7, 1.0):
            mine = ours.clip_by_global_norm(one, limit, use_norm)[0]
            if not subnormal(dtype, limit / norm):
                assert bits(mine) == bits(STOCK["clip_by_global_norm"](one, limit, use_norm)[0]), (norm, limit)


@pytest.mark.parametrize("dtypes", [*([d] for d in DTYPES), [F32, F16], [F16, BF16], [F32, F64], DTYPES], ids=str)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e2])
def test_the_norm_is_the_exact_one_rounded(native, dtypes, scale):
    given = tensors(dtypes, scale)
    wide = F64 if F64 in dtypes else dtypes[0] if len(dtypes) == 1 else F32
    wanted = tf.constant(exact_norm(given), wide)
    for norm in (ours.global_norm(given), ours.clip_by_global_norm(given, 1e-3)[1]):
        assert norm.dtype == wide
        assert norm.shape == ()
        # one rounding to the dtype; what it is of is off by 2^-24 at most (16-bit fours): a tie may fall otherwise
        assert abs(float(norm) - float(wanted)) <= eps(wide) * float(wanted)
        assert wide not in (F32, F64) or float(norm) == float(wanted)


@EACH_DTYPE
def test_it_clips_as_tensorflow_does(native, dtype):
    """TensorFlow adds n squares in the dtype (of f16, partial sums as f32): off by n / 2 of its roundings at most."""
    given = tensors([dtype], 0.1, shapes=[(3, 5), (), (7,), (0,)])
    mine, norm = ours.clip_by_global_norm([None, *given], 0.25)
    theirs, their_norm = STOCK["clip_by_global_norm"]([None, *given], 0.25)
    n, u = 23, eps(dtype) / 2
    np.testing.assert_allclose(float(norm), float(their_norm), rtol=(n / 2 + 2) * u)
    assert mine[0] is theirs[0] is None
    for a, b in zip(values(mine), values(theirs), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a.astype(F64.as_numpy_dtype), b.astype(np.float64), rtol=(n / 2 + 7) * u, atol=1e-8)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("axes", [None, 0, 1, -1, [0], (0, 2), [0, 1, 2], [], np.array([1])], ids=str)
def test_clip_by_norm(native, dtype, axes):
    """Off by TensorFlow's n / 2 roundings of the norm, its two and our two of the elements."""
    for seed in range(5):
        (t,) = tensors([dtype], shapes=[(3, 4, 5)], seed=seed)
        mine, theirs = ours.clip_by_norm(t, 0.75, axes), STOCK["clip_by_norm"](t, 0.75, axes)
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=(60 / 2 + 5) * eps(dtype) / 2)


def test_given_an_exact_norm_clip_by_norm_is_within_2_ulp_of_tensorflow(native):
    """Integers whose squares add up to a square. Two roundings there and two here: below 3 ULP, and so 2."""
    for numbers in ([3, 4], [2, 3, 6], [1, 4, 8], [10, 24], [1, 1, 1, 1]):
        x = tf.constant(numbers, F32)
        for limit in np.random.default_rng(0).uniform(1e-3, 2.0, 200).astype(np.float32):
            a, b = ours.clip_by_norm(x, limit).numpy(), STOCK["clip_by_norm"](x, limit).numpy()
            assert np.abs(a.view(np.int32) - b.view(np.int32)).max() <= 2


@pytest.mark.parametrize("shape", [(7,), (3, 5), ()], ids=str)
def test_clip_by_average_norm(native, shape):
    (t,) = tensors(shapes=[shape])
    n = max(1, math.prod(shape))
    for limit in (0.001, 0.05, 10.0, -1.0, 0.0):
        mine, theirs = ours.clip_by_average_norm(t, limit), STOCK["clip_by_average_norm"](t, limit)
        # n / norm, its product with the limit, two with the element, min(., 1 / limit), and its approximate root
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=(n / 2 + 10) * 2.0**-24)
    for dtype in (F16, BF16, F64):  # TensorFlow refuses these
        wide = tf.cast(t, dtype)
        clipped = ours.clip_by_average_norm(wide, 0.01)
        assert clipped.dtype == dtype
        assert exact_norm([clipped]) <= 0.01 * n * (1 + 2 * eps(dtype))


SPECIAL = [0.5, -0.5, 2.5, -2.5, 1e-3, -1e-3, 3e4, 0.1, INF, -INF, NAN]
BOUNDS = [-INF, -3e4, -1.0, -0.1, 0.1, 0.3, 1.0, 1e6, INF, NAN]


@EACH_DTYPE
@pytest.mark.parametrize("lo", BOUNDS)
def test_clip_by_value_has_tensorflows_bits(native, dtype, lo):
    x = tf.constant(SPECIAL * 7, dtype)
    for hi in BOUNDS:  # min > max, NaN and what f16 can't hold included
        assert bits([ours.clip_by_value(x, lo, hi)]) == bits([STOCK["clip_by_value"](x, lo, hi)]), hi
        lo_tensor, hi_tensor = tf.constant(lo, dtype), tf.constant(hi, dtype)
        assert bits([ours.clip_by_value(x, lo_tensor, hi_tensor)]) == bits([STOCK["clip_by_value"](x, lo, hi)])


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
def test_bounds_are_rounded_as_tensorflow_rounds_them(native, dtype):
    """It rounds a Python number to float32 and then again; this one is a tie only after the first."""
    step = eps(dtype)
    for bound in (1 + step / 2 + 2.0**-40, 1 + 3 * step / 2 - 2.0**-40, 1 / 3, 0.1):
        x = tf.constant([9.0], dtype)
        assert bits([ours.clip_by_value(x, -1.0, bound)]) == bits([STOCK["clip_by_value"](x, -1.0, bound)])


@EACH_DTYPE
def test_within_the_limit_the_tensors_come_back(native, dtype):
    given = [None, *tensors([dtype])]
    clipped, norm = ours.clip_by_global_norm(given, 1e4)
    assert all(a is b for a, b in zip(clipped, given, strict=True))
    assert clipped is not given
    assert ours.clip_by_norm(given[1], 1e4) is given[1]
    assert ours.clip_by_average_norm(given[1], 1e4) is given[1]
    assert ours.clip_by_global_norm(tuple(given), float(norm))[0][1] is given[1]


def one(function, *arguments):
    return lambda t: function(t, *arguments).numpy().tolist()


def listed(function, limit):
    return lambda t: function([t], limit)[0][0].numpy().tolist()


def global_of(limit):
    return listed(STOCK["clip_by_global_norm"], limit), listed(ours.clip_by_global_norm, limit)


def norm_of(limit):
    return one(STOCK["clip_by_norm"], limit), one(ours.clip_by_norm, limit)


def average_of(limit):
    return one(STOCK["clip_by_average_norm"], limit), one(ours.clip_by_average_norm, limit)


# what, (their function, ours), elements, dtype, their result, ours
DIFFERENCES = [
    ("squares overflow", global_of(5.0), [3e20, 4e20], F32, [NAN, NAN], [3.0, 4.0]),
    ("squares overflow", norm_of(5.0), [3e20, 4e20], F32, [0.0, 0.0], [3.0, 4.0]),
    ("squares overflow", average_of(2.5), [3e20, 4e20], F32, [0.0, 0.0], [3.0, 4.0]),
    ("squares overflow", global_of(5.0), [300.0, 400.0], F16, [NAN, NAN], [3.0, 4.0]),
    ("the norm overflows", global_of(5.0), [49152.0, 65504.0], F16, [NAN, NAN], [3.0, 4.0]),
    ("squares overflow", global_of(5.0), [3e200, 4e200], F64, [NAN, NAN], [3.0, 4.0]),
    ("the norm overflows", global_of(5.0), [1.5e308, 1.5e308], F64, [NAN, NAN], [5 / 2**0.5] * 2),
    ("squares underflow", norm_of(5e-32), [3e-30, 4e-30], F32, [0.0, 0.0], [3e-32, 4e-32]),
    ("squares underflow", global_of(5e-32), [3e-30, 4e-30], F32, [3e-30, 4e-30], [3e-32, 4e-32]),
    ("products overflow", norm_of(1e30), [3e10, 4e10], F32, [INF, INF], [3e10, 4e10]),
    ("clip_norm is inf", global_of(INF), [3.0, 4.0], F32, [NAN, NAN], [3.0, 4.0]),
    ("clip_norm is inf", norm_of(INF), [3.0, 4.0], F32, [NAN, NAN], [3.0, 4.0]),
    ("clip_norm is inf", average_of(INF), [3.0, 4.0], F32, [NAN, NAN], [3.0, 4.0]),
    ("clip_norm rounds to inf", global_of(1e6), [3.0, 4.0], F16, [NAN, NAN], [3.0, 4.0]),
    ("zeros by 0", global_of(0.0), [0.0, 0.0], F32, [NAN, NAN], [0.0, 0.0]),
    ("zeros by 0", norm_of(0.0), [0.0, 0.0], F32, [NAN, NAN], [0.0, 0.0]),
    ("zeros by 0", average_of(0.0), [0.0, 0.0], F32, [NAN, NAN], [0.0, 0.0]),
]
SAME = [
    ("an element is inf", global_of(1.0), [INF, 1.0], F32, [NAN, NAN]),
    ("an element is inf", global_of(INF), [INF, 1.0], F32, [NAN, NAN]),
    ("an element is inf", norm_of(1.0), [INF, 1.0], F32, [NAN, 0.0]),
    ("an element is inf", average_of(1.0), [-INF, 1.0], F32, [NAN, 0.0]),
    ("an element is NaN", global_of(1.0), [NAN, 1.0], F32, [NAN, NAN]),
    ("an element is NaN", norm_of(9.0), [NAN, 1.0], F32, [NAN, NAN]),
    ("clip_norm is NaN", global_of(NAN), [3.0, 4.0], F32, [NAN, NAN]),
    ("clip_norm is NaN", norm_of(NAN), [3.0, 4.0], F32, [NAN, NAN]),
    ("clip_norm is negative", global_of(-1.0), [3.0, 4.0], F32, [3.0, 4.0]),
    ("clip_norm is negative", norm_of(-1.0), [3.0, 4.0], F32, [0.0, 0.0]),
    ("clip_norm is negative", average_of(-1.0), [3.0, 4.0], F32, [3.0, 4.0]),
    ("clip_norm is an integer", global_of(5), [30.0, 40.0], F32, [3.0, 4.0]),
    ("clip_norm is NumPy's", global_of(np.float64(5.0)), [30.0, 40.0], F32, [3.0, 4.0]),
    ("clip_norm is a tensor", global_of(tf.constant(5.0)), [30.0, 40.0], F32, [3.0, 4.0]),
    ("clip_norm is a variable", global_of(tf.Variable(5.0)), [30.0, 40.0], F32, [3.0, 4.0]),
    ("clip_norm is of another dtype", norm_of(tf.constant(5.0, F64)), [30.0, 40.0], F32, [3.0, 4.0]),
]


@pytest.mark.parametrize(
    ("what", "functions", "x", "dtype", "theirs", "right"), [*DIFFERENCES, *((*row, row[-1]) for row in SAME)]
)
def test_what_tensorflow_makes_of_it_and_what_is_right(native, what, functions, x, dtype, theirs, right):
    # four roundings of TensorFlow's coefficient and product, of f16 in the worst case
    for function, wanted in zip(functions, (theirs, right), strict=True):
        np.testing.assert_allclose(function(tf.constant(x, dtype)), wanted, rtol=4 * eps(dtype), atol=0)
