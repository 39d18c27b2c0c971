# SPDX-License-Identifier: BSD-3-Clause
"""The numeric contract, clause by clause (docs/numerics.md), for arrays of every dtype and lists of several.

Elsewhere: 1, the norm, in test_norm.py and kernels/test_lapack_vectors.py; 2, the same bits, in isa/test_same_bits.py;
6, non-finite elements, in test_nonfinite.py; 8, values, in test_value.py; 10, the FPU state, in
isa/test_fpu_state.py; 11, lifetime, in test_lifetime.py.
"""

import math

import numpy as np
import oracle
import pytest
from buffers import copies, spread
from dtypes import BF16, DTYPES, F16, F32, F64, FORMAT, HALVES, NARROW, PRODUCT_UNIT, UNIT, finfo, patterns
from hypothesis import given, settings
from strategies import array_lists, fractions_of_norm, limits, vectors

import fastclip

EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def clip(arrays, limit, **options):
    """Copies, clipped in place, and the norm."""
    out = copies(arrays)
    return out, fastclip.clip_by_global_norm_(out, limit, **options)


# ---- clause 3: the coefficient


@EACH_DTYPE
def test_clause_3_elements_are_multiplied_with_one_rounded_coefficient(isa, dtype):
    """3, 4 and 12 have a norm of 13: the coefficient is limit / 13, once rounded to f64, but for f64 arrays once more
    to f32; the product is one of f32, which is rounded to the dtype."""
    x = np.array([3.0, 4.0, -12.0], dtype)
    for limit in (1.0, 0.1, 7.0, 12.999, 1e-10):
        c = limit / 13.0
        expected = (x.astype(F32) * np.float32(c)).astype(dtype) if dtype in NARROW else x * c
        assert clip([x], limit)[0][0].tobytes() == expected.tobytes(), limit


@pytest.mark.parametrize("dtype", [BF16, F32], ids=str)
def test_clause_3_a_coefficient_below_2_to_the_minus_100_is_applied_as_an_f64_product(isa, dtype):
    """As an f32 number it would be subnormal: 1e-40 has 17 bits there, 2^-145 has 5."""
    x = np.array([3e30, 4e30, -12e30], dtype)
    norm = fastclip.global_norm([x])
    for limit in (1e-9, 1.3e-7, 2.0**-101 * norm, 1.03 * 2.0**-145 * norm):
        c = limit / norm
        assert c < 2.0**-100
        expected = (x.astype(F64) * c).astype(F32).astype(dtype)
        by_f32 = (x.astype(F32) * np.float32(c)).astype(dtype)
        assert not np.array_equal(expected, by_f32) or c > 2.0 ** (-126 if dtype == F32 else -145)
        assert clip([x], limit)[0][0].tobytes() == expected.tobytes(), limit


def test_clause_3_f64_coefficients_that_are_subnormal_or_0_lose_no_digit(isa):
    for norm, limit in ((1e300, 1e-20), (1e308, 1e-300), (1.7e308, 2.5e-308), (1e10, 1e-300), (1e-290, 1e-307)):
        before = [np.array([0.6, -0.8]) * norm]
        after, _ = clip(before, limit)
        oracle.check_clipped(before, after, limit)
        assert abs(after[0][0] / 0.6 / limit - 1.0) < 8 * 2.0**-53


@settings(max_examples=150)
@given(array_lists(), limits())
def test_clauses_3_and_4_for_any_finite_list_and_limit(arrays, limit):
    after, norm = clip(arrays, limit)
    oracle.check_norm(norm, arrays)
    oracle.check_clipped(arrays, after, limit)


# ---- clause 4: after clipping


@settings(max_examples=200)
@given(vectors(), fractions_of_norm())
def test_clause_4_the_norm_after_clipping_is_at_most_the_limit_and_two_roundings(arrays, fraction):
    """1- and 2-element lists and constants, whose roundings do not average out; exact, with no tolerance."""
    norm = oracle.norm(arrays)
    limit = fraction * norm if norm < math.inf else fraction * 1e300
    after, _ = clip(arrays, limit)
    if oracle.all_normal(after):
        assert oracle.within(after, limit)


@EACH_DTYPE
def test_clause_4_holds_for_many_single_elements(isa, dtype):
    rng = np.random.default_rng(11)
    for x, limit in zip(rng.uniform(1, 4, 3000).astype(dtype), rng.uniform(0.5, 1, 3000), strict=True):
        for n in (1, 2, 3):
            before = [np.full(n, x)]
            after, _ = clip(before, float(limit))
            assert oracle.within(after, float(limit)), (x, n, limit)


@settings(max_examples=150)
@given(vectors(), fractions_of_norm())
def test_clause_4_a_second_clip_changes_nothing_or_one_ulp(arrays, fraction):
    """Not a bit of f32 and f64, one ULP of f16 and bf16, where results are 0 or normal. (A subnormal element may be
    too coarse to get smaller at all.)"""
    limit = fraction * min(oracle.norm(arrays), 1e300)
    once, _ = clip(arrays, limit)
    twice, _ = clip(once, limit)
    if oracle.all_normal(once):
        oracle.check_clipped_again(once, twice)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_clause_4_a_second_clip_of_16_bits_moves_no_element_by_more_than_one_ulp(isa, dtype):
    """Constants, which all round the same way: the norm after clipping is as far beyond the limit as it can be."""
    moved = 0
    for n in (1, 2, 100, 1000):
        for limit in np.random.default_rng(n).uniform(1, 2, 300).tolist():
            once, _ = clip([np.full(n, 1.5, dtype), np.array([1.0, -1.25], dtype)], limit)
            twice, _ = clip(once, limit)
            assert oracle.all_normal(once)
            oracle.check_clipped_again(once, twice)
            moved += not oracle.same_bits(once, twice)
    assert moved > 30


@EACH_DTYPE
def test_clause_4_a_norm_up_to_the_limit_and_two_roundings_is_within(isa, dtype):
    """Of 1, 1 + 2u and 1 + 4u, neighbours in this dtype, only the last is clipped to 1. f16 and bf16 go by the u of
    their products, f32's: the second is clipped, too."""
    eps, slack = 2 * float(UNIT[dtype]), 2 * float(PRODUCT_UNIT[dtype])
    for x in (1.0, 1.0 + eps, 1.0 + 2 * eps):
        after, _ = clip([np.array([x, 0.0], dtype)], 1.0)
        assert [float(v) for v in after[0]] == [x if x <= 1.0 + slack else 1.0, 0.0]
    bound = 4.0 / (1.0 + slack)  # a limit of this and more has a norm of 4 within it
    x = np.array([2.0, -2.0, 2.0, 2.0], dtype)
    assert oracle.same_bits(clip([x], math.nextafter(bound, 5.0))[0], [x])
    if dtype == F32:
        assert clip([x], bound * (1.0 - 2.0**-50))[0][0][0] < 2.0


@EACH_DTYPE
def test_clause_4_within_the_limit_nothing_is_written(isa, dtype):
    """Not even the same bytes: the memory may be read-only by then. Here: a signalling NaN would become quiet."""
    x = spread(dtype, 1000)
    norm = oracle.norm([x])
    for limit in (math.nextafter(norm, math.inf), norm, norm * 2, 1e300, math.inf):
        assert oracle.same_bits(clip([x], limit)[0], [x]), limit
    quiet_bit = FORMAT[dtype][0] - 2
    y = np.full(40, math.inf, dtype)
    patterns(y)[:] += 1  # signalling: the least payload
    before = y.tobytes()
    fastclip.clip_by_global_norm_([y], math.inf)
    fastclip.clip_by_norm_([y], math.inf)
    assert y.tobytes() == before
    assert not (patterns(y) >> quiet_bit & 1).any()


# ---- clause 7: limits

IN_PLACE = {
    "clip_by_global_norm_": lambda x, limit: fastclip.clip_by_global_norm_([x], limit),
    "clip_by_norm_": fastclip.clip_by_norm_,
    "clip_by_norm_ by rows": lambda x, limit: fastclip.clip_by_norm_(x.reshape(1, -1), limit, axes=1),
    "clip_by_average_norm_": fastclip.clip_by_average_norm_,
}
OUT_OF_PLACE = {
    "clip_by_global_norm": lambda x, limit: fastclip.clip_by_global_norm([x], limit)[0][0],
    "clip_by_norm": fastclip.clip_by_norm,
    "clip_by_norm by rows": lambda x, limit: fastclip.clip_by_norm(x.reshape(1, -1), limit, axes=1)[0],
    "clip_by_average_norm": fastclip.clip_by_average_norm,
}


def run(name, x, limit):
    if name in OUT_OF_PLACE:
        return OUT_OF_PLACE[name](x, limit)
    out = x.copy()
    IN_PLACE[name](out, limit)
    return out


EACH_FUNCTION = pytest.mark.parametrize("name", [*IN_PLACE, *OUT_OF_PLACE])


@EACH_FUNCTION
@EACH_DTYPE
def test_clause_7_negative_and_nan_limits_are_refused(name, dtype):
    x = spread(dtype, 10)
    before = x.tobytes()
    for limit in (-1.0, -5e-324, -math.inf, math.nan):
        with pytest.raises(ValueError, match=rf"{name.split()[0]}: clip_norm is .*expected a number >= 0"):
            (IN_PLACE | OUT_OF_PLACE)[name](x, limit)
    assert x.tobytes() == before


@EACH_FUNCTION
@EACH_DTYPE
def test_clause_7_infinity_does_not_clip_whatever_the_data(isa, name, dtype):
    for values in ([3.0, -4.0], [float(finfo(dtype).max)] * 9, [math.inf, 1.0], [math.nan, 1.0]):
        x = np.array(values, dtype)
        assert oracle.same_bits(run(name, x, math.inf), x), values


@EACH_FUNCTION
@EACH_DTYPE
def test_clause_7_zero_gives_zeros(isa, name, dtype):
    for values in (
        [3.0, -4.0],
        [0.0, -0.0],
        [float(finfo(dtype).max)] * 9,
        [float(finfo(dtype).smallest_subnormal)],
    ):
        x = np.array(values, dtype)
        for zero in (0.0, -0.0, 0):
            assert (run(name, x, zero) == 0).all(), values


def test_clause_7_use_norm(isa):
    x = np.array([3.0, 4.0])
    assert clip([x], 1.0, use_norm=10.0) == ([pytest.approx(x / 10, rel=2.0**-52)], 10.0)
    assert oracle.same_bits(clip([x], 1.0, use_norm=0.0)[0], [x])
    assert oracle.same_bits(clip([x], 1.0, use_norm=1.0)[0], [x])
    for wrong in (-1.0, math.nan):
        y = x.copy()
        with pytest.raises(ValueError, match="clip_by_global_norm_: use_norm is"):
            fastclip.clip_by_global_norm_([y], 1.0, wrong)
        with pytest.raises(ValueError, match="clip_by_global_norm: use_norm is"):
            fastclip.clip_by_global_norm([y], 1.0, wrong)
        assert y.tobytes() == x.tobytes()


# ---- clause 9: lists


def test_clause_9_mixed_dtypes_share_one_norm(isa):
    before = [np.array([3.0], F16), np.array([2.0] * 4, BF16), np.array([4.0, 4.0], F64), np.array([[4.0] * 7], F32)]
    after, norm = clip(before, 6.5)
    assert norm == 13.0
    assert [a.astype(F64).tolist() for a in after] == [[1.5], [1.0] * 4, [2.0, 2.0], [[2.0] * 7]]
    assert [a.dtype for a in after] == [a.dtype for a in before]


@pytest.mark.parametrize("position", [0, 1, 50, 99])
@pytest.mark.parametrize("wrong", ["int", "read-only", "list", "overlap", "text"])
def test_clause_9_all_is_checked_before_the_first_byte_is_written(position, wrong):
    arrays = [spread(DTYPES[i % 4], 10, i) for i in range(100)]
    before = copies(arrays)
    entry = arrays[position]
    if wrong == "int":
        arrays[position] = np.ones(3, int)
    elif wrong == "read-only":
        entry.flags.writeable = False
    elif wrong == "list":
        arrays[position] = [1.0, 2.0]
    elif wrong == "overlap":
        arrays.append(entry[1:])
    else:
        arrays[position] = "gradient"
    for function in (fastclip.clip_by_global_norm_, fastclip.clip_by_norm_, fastclip.clip_by_average_norm_):
        with pytest.raises((TypeError, ValueError), match=rf"{function.__name__}: .*\[\d+\]"):
            function(arrays, 1e-3)
    with pytest.raises((TypeError, ValueError), match=r"clip_by_value_: .*\[\d+\]"):
        fastclip.clip_by_value_(arrays, -1e-3, 1e-3)
    arrays[position] = entry
    assert oracle.same_bits(arrays[:100], before)


@pytest.mark.parametrize("n", [2, 100_000])
def test_clause_9_what_is_listed_twice_counts_twice_and_is_scaled_once(isa, n):
    x = spread(F64, n)
    y, z = x.copy(), x.copy()
    for arrays, array in (([y, y], y), ([z, np.zeros(3), z[:]], z)):
        norm = fastclip.clip_by_global_norm_(arrays, 1e-3)
        oracle.check_norm(norm, [x, x])
        oracle.check_clipped([x, x], [array, array], 1e-3)


def test_clause_9_overlap_is_refused_and_disjoint_views_are_not(isa):
    x = np.arange(1.0, 25.0).reshape(4, 6)
    before = x.copy()
    for a, b in ((x[:, :3], x[:, 2:]), (x[1:], x[:-1]), (x, x[0]), (x.T, x[:2])):
        with pytest.raises(ValueError, match="share memory"):
            fastclip.clip_by_global_norm_([a, b], 1.0)
    assert x.tobytes() == before.tobytes()
    fastclip.clip_by_global_norm_([x[:, :3], x[:, 3:]], 1.0)
    oracle.check_clipped([before], [x], 1.0)
