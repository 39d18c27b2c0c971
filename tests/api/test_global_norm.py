# SPDX-License-Identifier: BSD-3-Clause
import math

import numpy as np
import oracle
import pytest
from oracle import same_bits

import fastclip

F32, F64 = np.float32, np.float64


def random_list(seed, *dtypes):
    rng = np.random.default_rng(seed)
    shapes = [(), (1,), (7,), (3, 5), (2, 0, 4), (2, 3, 4), (33,)]
    return [np.asarray(rng.normal(size=s), dtypes[i % len(dtypes)]) for i, s in enumerate(shapes)]


def copies(arrays):
    return [a.copy() for a in arrays]


def test_clips_in_place_and_returns_the_norm_before(dtype):
    g = [np.array([3.0, 0.0], dtype), np.array([[4.0]], dtype)]
    norm = fastclip.clip_by_global_norm_(g, 2.5)
    assert norm == 5.0
    assert type(norm) is float
    assert g[0].tolist() == [1.5, 0.0]
    assert g[1].tolist() == [[2.0]]


@pytest.mark.parametrize("dtypes", [(F32,), (F64,), (F32, F64)])
@pytest.mark.parametrize("limit", [1e-30, 0.1, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_exact_arithmetic(dtypes, limit, seed, exact_norm, check_scaled):
    before = random_list(seed, *dtypes)
    norm = exact_norm(before)
    inplace = copies(before)
    returned = fastclip.clip_by_global_norm_(inplace, limit)
    outofplace, returned_too = fastclip.clip_by_global_norm(before, limit)
    oracle.check_norm(returned, before)
    assert returned_too == returned == fastclip.global_norm(before)
    assert same_bits(inplace, outofplace)
    for a, x in zip(inplace, before, strict=True):
        check_scaled(a, x, norm, limit)


@pytest.mark.parametrize("seed", range(20))
def test_float64_norm_is_correctly_rounded(seed):
    arrays = random_list(seed, F64)
    assert fastclip.global_norm(arrays) == oracle.norm(arrays)


@pytest.mark.parametrize("limit", [5.0, 5, 1e9, math.inf, np.float32(5), np.int64(5), np.array(5.0)])
def test_within_the_limit_nothing_changes(dtype, limit):
    g = [np.array([3.0, -0.0], dtype), np.array([4.0], dtype)]
    before = copies(g)
    assert fastclip.clip_by_global_norm_(g, limit) == 5.0
    assert same_bits(g, before)
    out, norm = fastclip.clip_by_global_norm(g, limit)
    assert norm == 5.0
    assert same_bits(out, before)


def test_the_coefficient_is_limit_over_norm_in_float64_and_rounded_once_to_float32(dtype):
    g = [np.array([3.0, 4.0, 0.1, 1e-5], dtype)]
    x = g[0].copy()
    fastclip.clip_by_global_norm_(g, 0.7, use_norm=11.0)
    c = F32(0.7 / 11.0) if dtype is F32 else 0.7 / 11.0
    np.testing.assert_array_equal(g[0], x * c)


def test_mixed_dtypes_take_each_its_own_coefficient():
    g = [np.array([3.0, 0.1], F32), np.array([4.0, 0.1], F64)]
    x = copies(g)
    fastclip.clip_by_global_norm_(g, 0.7, use_norm=11.0)
    np.testing.assert_array_equal(g[0], x[0] * F32(0.7 / 11.0))
    np.testing.assert_array_equal(g[1], x[1] * (0.7 / 11.0))


@pytest.mark.parametrize("dtypes", [(F32,), (F64,), (F32, F64)])
def test_what_was_clipped_is_never_clipped_again(dtypes):
    for seed in range(100):
        g = random_list(seed, *dtypes)
        fastclip.clip_by_global_norm_(g, 0.3)
        once = copies(g)
        assert fastclip.clip_by_global_norm_(g, 0.3) <= 0.3 * (1 + 2 * 2.0**-24)
        assert same_bits(g, once)


def test_limit_zero_gives_zeros_and_never_nan(dtype):
    for values in ([3.0, -4.0], [0.0, 0.0], [5e-324, 0.0]):
        g = [np.array(values, dtype)]
        fastclip.clip_by_global_norm_(g, 0.0)
        assert not g[0].any()
        out, _ = fastclip.clip_by_global_norm([np.array(values, dtype)], 0)
        assert not out[0].any()


@pytest.mark.parametrize(
    ("dtype", "value", "limit"),
    [
        (F32, 1e20, 1.0),
        (F32, 3e38, 1e-3),
        (F32, 1e20, 1e-30),
        (F32, 1e-30, 1e-32),
        (F32, 1e-44, 1e-44),
        (F64, 1e200, 1.0),
        (F64, 8e307, 1.0),
        (F64, 1e300, 1e-7),
        (F64, 1e-200, 1e-210),
        (F64, 1e-320, 1e-321),
    ],
)
def test_no_overflow_or_underflow_on_the_way(dtype, value, limit):
    x = np.array([value, -value, value, value], dtype)  # norm 2 |value|, exactly
    g = [x.copy()]
    norm = fastclip.clip_by_global_norm_(g, limit)
    assert norm == 2.0 * float(x[0])
    step = np.spacing(dtype(limit / 2))  # two roundings: one unit in the last place each way
    assert (np.abs(np.abs(g[0]) - dtype(limit / 2)) <= step).all()
    assert (np.sign(g[0]) == np.sign(x)).all()


def test_a_norm_beyond_float64_is_infinity_and_the_arrays_are_clipped_right():
    g = [np.full(4, 1.6e308), np.full(1, 1.0, F32)]
    assert fastclip.clip_by_global_norm_(g, 1.0) == math.inf
    assert (np.abs(g[0] - 0.5) <= 2 * np.spacing(0.5)).all()
    assert fastclip.global_norm([np.full(4, 1.6e308)]) == math.inf


# ---- use_norm


def test_use_norm_takes_the_place_of_the_norm():
    g = [np.array([3.0, 4.0])]
    assert fastclip.clip_by_global_norm_(g, 1.0, use_norm=10.0) == 10.0
    assert g[0].tolist() == [0.30000000000000004, 0.4]
    out, norm = fastclip.clip_by_global_norm([np.array([3.0, 4.0], F32)], 1.0, use_norm=F32(10.0))
    assert norm == 10.0
    np.testing.assert_array_equal(out[0], np.array([3.0, 4.0], F32) * F32(0.1))


@pytest.mark.parametrize("use_norm", [0, 0.0, 0.5, 1.0, np.array(1.0)])
def test_use_norm_within_the_limit_changes_nothing(use_norm):
    g = [np.array([3.0, np.nan])]
    assert fastclip.clip_by_global_norm_(g, 1.0, use_norm) == float(use_norm)
    np.testing.assert_array_equal(g[0], [3.0, np.nan])


def test_use_norm_of_the_same_list_gives_the_same_bits():
    a, b = random_list(1, F32, F64), random_list(1, F32, F64)
    fastclip.clip_by_global_norm_(a, 0.3)
    fastclip.clip_by_global_norm_(b, 0.3, fastclip.global_norm(b))
    for x, y in zip(a, b, strict=True):  # the norm itself is held in double-double: one rounding more
        assert (np.abs(x - y) <= np.spacing(np.abs(x))).all()


# ---- NaN and infinity

INF, NAN = math.inf, math.nan
# policy, elements, result under a limit of 1 (None: raises), norm
POLICIES = [
    ("propagate", [INF, 1.0, -2.0], [NAN, 0.0, -0.0], INF),
    ("propagate", [NAN, 1.0], [NAN, NAN], NAN),
    ("propagate", [NAN, -INF], [NAN, NAN], NAN),
    ("nan", [INF, 1.0], [NAN, NAN], INF),
    ("nan", [NAN, 1.0], [NAN, NAN], NAN),
    ("raise", [INF, 1.0], None, INF),
    ("raise", [NAN, 1.0], None, NAN),
    ("skip", [-INF, 1.0], [-INF, 1.0], INF),
    ("skip", [NAN, 9.0], [NAN, 9.0], NAN),
    ("zero", [-INF, 3.0, NAN, 4.0], [0.0, 3 * 0.2, 0.0, 4 * 0.2], 5.0),
    ("zero", [INF, 0.25], [0.0, 0.25], 0.25),
    ("zero", [NAN], [0.0], 0.0),
]


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize(("policy", "values", "expected", "norm"), POLICIES)
def test_nonfinite_elements(dtype, split, policy, values, expected, norm):
    whole = np.array(values, dtype)
    g = [whole[:1].copy(), None, whole[1:].copy()] if split else [whole.copy()]
    if expected is None:
        with pytest.raises(FloatingPointError, match=r"^clip_by_global_norm_: .*Nothing was written"):
            fastclip.clip_by_global_norm_(g, 1.0, nonfinite=policy)
        expected = values
    else:
        np.testing.assert_equal(fastclip.clip_by_global_norm_(g, 1.0, nonfinite=policy), norm)
    result = np.concatenate([a for a in g if a is not None])
    np.testing.assert_array_equal(result, np.array(expected, dtype))


@pytest.mark.parametrize("policy", ["propagate", "nan", "raise", "skip", "zero"])
def test_policies_do_not_see_a_finite_norm_that_overflowed(policy):
    g = [np.full(4, 1.6e308)]
    assert fastclip.clip_by_global_norm_(g, 1.0, nonfinite=policy) == INF
    assert (np.abs(g[0] - 0.5) <= 2 * np.spacing(0.5)).all()


@pytest.mark.parametrize("policy", ["propagate", "nan", "skip"])
def test_an_infinite_limit_changes_nothing_whatever_the_elements(policy):
    g = [np.array([INF, 1.0, NAN], F32)]
    assert math.isnan(fastclip.clip_by_global_norm_(g, INF, nonfinite=policy))
    np.testing.assert_array_equal(g[0], [INF, 1.0, NAN])


@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_out_of_place_every_element_becomes_nan(value):
    g = [np.array([value, 1.0], F32), None, np.array([2.0])]
    out, norm = fastclip.clip_by_global_norm(g, 1.0)
    np.testing.assert_equal(norm, abs(value))
    assert out[1] is None
    assert np.isnan(out[0]).all()
    assert np.isnan(out[2]).all()
    np.testing.assert_array_equal(g[0], np.array([value, 1.0], F32))
    assert g[2].tolist() == [2.0]


def test_raise_and_skip_look_at_the_elements_even_with_use_norm():
    g = [np.array([NAN, 8.0])]
    with pytest.raises(FloatingPointError):
        fastclip.clip_by_global_norm_(g, 1.0, use_norm=4.0, nonfinite="raise")
    fastclip.clip_by_global_norm_(g, 1.0, use_norm=4.0, nonfinite="skip")
    np.testing.assert_array_equal(g[0], [NAN, 8.0])
    assert fastclip.clip_by_global_norm_(g, 1.0, use_norm=4.0, nonfinite="zero") == 4.0
    np.testing.assert_array_equal(g[0], [0.0, 2.0])


# ---- results


def test_nothing_has_the_norm_zero():
    for empty in ([], (), {}, [None], [[], {"a": None}], iter([]), [np.zeros((0, 3), F32)]):
        assert fastclip.clip_by_global_norm_(empty, 1.0) == 0.0
    assert fastclip.clip_by_global_norm([], 1.0) == ([], 0.0)
    assert fastclip.clip_by_global_norm([None], 0.0) == ([None], 0.0)
    assert fastclip.global_norm([]) == fastclip.global_norm([None]) == 0.0


def test_norms_are_python_floats_so_that_float32_stays_float32():
    g = [np.array([3.0, 4.0], F32)]
    norm = fastclip.global_norm(g)
    assert type(norm) is float
    assert (g[0] / norm).dtype == F32
    assert type(fastclip.clip_by_global_norm(g, 1.0)[1]) is float
    assert type(fastclip.clip_by_global_norm_(g, 1.0, use_norm=np.float32(2))) is float


def test_name_is_ignored():
    g = [np.array([3.0, 4.0])]
    assert fastclip.global_norm(g, "n") == fastclip.global_norm(g, name="n") == 5.0
    assert fastclip.clip_by_global_norm(g, 1.0, None, "n")[1] == fastclip.clip_by_global_norm(g, 1.0, name="n")[1]


@pytest.mark.parametrize("n", [32767, 32768, 32769, 50000])
def test_long_arrays_are_clipped_to_the_last_element(dtype, n):
    g = [np.ones(n, dtype), np.ones(3, dtype)]
    assert fastclip.clip_by_global_norm_(g, 1.0) == math.sqrt(n + 3)
    expected = dtype(1.0 / math.sqrt(n + 3))
    assert (np.abs(np.concatenate(g) - expected) <= np.spacing(expected)).all()
