# SPDX-License-Identifier: BSD-3-Clause
"""The evaluator of rules: the native one against its Python twin, bit for bit, and both against exact fractions."""

import itertools
import math
import struct
from fractions import Fraction

import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastclip import _core
from fastclip._rules import Rule, coefficient, norm_of

SLACK = 2.0
ROUNDS = (2.0**-24, 2.0**-53)  # of products: of f16, bf16 and f32, and of f64
SCALES = (1.0, 2.0**600, 2.0**-600)
LEAST, TINY, MOST = 5e-324, 2.0**-1022, float.fromhex("0x1.fffffffffffffp+1023")

SUMS = [
    *(0.0, LEAST, TINY, 2.0**-960, math.nextafter(2.0**-900, 0.0), 2.0**-900, 3 * 2.0**-298, 2.0**-200, 1e-30),
    *(1.0 - 2.0**-53, 1.0, 1.0 + 2.0**-52, 2.0, 3.0, 1e30, 2.0**256, 1e300, 2.0**1000, MOST, math.inf, math.nan),
]
LIMITS = [
    *(0.0, LEAST, 3 * LEAST, TINY, 2.0**-970, 2.0**-900, 2.0**-501, 2.0**-500, 2.0**-149, 2.0**-100, 1e-8),
    *(0.5, 1.0 - 2.0**-53, 1.0, 1.0 + 2.0**-52, 1.5, 1e8, 2.0**512, 1e300, MOST, math.inf),
]


def native(hi, lo, scale, limit, round_, slack=SLACK):
    return _core.evaluate(_core.Rule(slack, "propagate", False), hi, lo, scale, limit, round_)


def twin(hi, lo, scale, limit, round_, slack=SLACK):
    return coefficient(Rule(slack=slack), norm_of(hi, lo, scale), limit, round_)


def bits(result):
    """A result to the bit, every NaN the same."""
    clip, *numbers = result
    return clip, [struct.pack("d", math.nan if math.isnan(x) else x) for x in numbers]


def low_parts(hi):
    """What two-sums leave: nothing, half an ULP at most, and what a long sum gathers before it is folded in."""
    if hi in (0.0, math.inf) or math.isnan(hi):
        return (0.0,)
    half = math.ulp(hi) / 2
    return (0.0, half, -half, hi * 2.0**-60, -37.3 * half)


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize("scale", SCALES)
def test_native_and_python_agree_on_the_corner_table(scale, round_):
    for hi, limit in itertools.product(SUMS, LIMITS):
        for lo in low_parts(hi):
            arguments = (hi, lo, scale, limit, round_)
            assert bits(native(*arguments)) == bits(twin(*arguments)), arguments


def numbers(low, high):
    """Numbers from 2^low to 2^high, evenly over the orders of magnitude."""
    return st.builds(math.ldexp, st.floats(1.0, 2.0, exclude_max=True), st.integers(low, high - 1))


@settings(max_examples=1000)
@given(
    st.one_of(st.floats(min_value=0.0), numbers(-1074, 1024)),
    st.floats(-64.0, 64.0),
    st.sampled_from(SCALES),
    st.one_of(st.floats(min_value=0.0, allow_nan=False), numbers(-1074, 1024)),
    st.sampled_from(ROUNDS),
    st.sampled_from([0.0, 2.0]),
)
def test_native_and_python_agree_on_any_number(hi, ulps, scale, limit, round_, slack):
    lo = math.ulp(hi) * ulps if math.isfinite(hi) and abs(hi) < 2.0**1000 else 0.0
    arguments = (hi, lo, scale, limit, round_, slack)
    assert bits(native(*arguments)) == bits(twin(*arguments))


# What the engine asks for: sums in [2^-900, 2^1000] as they are (f32's from 2^-298 on are among them), larger and
# smaller ones of scaled elements.
ASKED = st.one_of(
    st.tuples(numbers(-900, 1000), st.just(1.0)),
    st.tuples(numbers(-948, 300), st.just(2.0**600)),
    st.tuples(numbers(-202, 876), st.just(2.0**-600)),
)
#: the quotient's relative error before its one rounding: 2^-104 of the root (see oracle.norm_bound), then of a
#: remainder below 2^-52 of the quotient three roundings, 2^-103, and u^2 for dividing it by hi alone
QUOTIENT = Fraction(1, 2**102)


def exact_norm(hi, lo, scale):
    return oracle.root(Fraction(hi) + Fraction(lo)) / Fraction(scale)


@settings(max_examples=1000)
@given(ASKED, st.floats(-1.0, 1.0), numbers(-1022, 1024), st.sampled_from(ROUNDS))
def test_the_coefficient_is_correctly_rounded(asked, part, limit, round_):
    """Wherever a result can be a normal number, and that takes a normal limit."""
    hi, scale = asked
    lo = part * math.ulp(hi) / 2
    clip, plain, pre, factor = native(hi, lo, scale, limit, round_)
    norm = exact_norm(hi, lo, scale)
    bound = Fraction(limit) * (1 + Fraction(SLACK) * Fraction(round_))
    if not clip:
        assert norm <= bound * (1 + QUOTIENT)
        assert (plain, pre, factor) == (1.0, 1.0, 1.0)
        return
    assert norm >= bound * (1 - QUOTIENT)
    exact = Fraction(limit) / norm
    assert Fraction(pre) * Fraction(factor) > 0
    assert math.frexp(pre)[0] == 0.5, "pre is a power of two: only the last product rounds"
    low, high = (oracle.to_float(exact * (1 + sign * QUOTIENT) / Fraction(pre)) for sign in (-1, 1))
    assert TINY <= low <= factor <= high, (factor, low, high)
    if exact >= Fraction(2) ** -900:
        assert (pre, factor) == (1.0, plain)
    else:
        assert plain < 2.0**-899  # what f32 elements are multiplied with: the result is 0 whatever it is


@settings(max_examples=300)
@given(ASKED, st.integers(-8, 8), st.sampled_from(ROUNDS))
def test_the_threshold_is_the_limit_and_two_roundings(asked, ulps, round_):
    """Around limit * (1 + 2u), ULP by ULP: a norm above it is clipped, any other one is not."""
    hi, scale = asked
    norm = exact_norm(hi, 0.0, scale)
    limit = oracle.to_float(norm / (1 + 2 * Fraction(round_)))
    if not TINY < limit < MOST / 2:
        return
    limit += ulps * math.ulp(limit)
    difference = norm - Fraction(limit) * (1 + 2 * Fraction(round_))
    if abs(difference) > norm * QUOTIENT:
        assert native(hi, 0.0, scale, limit, round_)[0] is (difference > 0)


@pytest.mark.parametrize("round_", ROUNDS)
def test_special_norms_and_limits(round_):
    keep = (False, 1.0, 1.0, 1.0)
    zero = (True, 0.0, 1.0, 0.0)
    assert native(4.0, 0.0, 1.0, math.inf, round_) == keep
    assert native(math.inf, 0.0, 1.0, math.inf, round_) == keep
    assert native(math.nan, 0.0, 1.0, math.inf, round_) == keep
    assert native(0.0, 0.0, 1.0, 0.0, round_) == keep
    assert native(4.0, 0.0, 1.0, 0.0, round_) == zero
    assert native(math.inf, 0.0, 1.0, 1.0, round_) == zero
    clip, plain, _, factor = native(math.nan, 0.0, 1.0, 1.0, round_)
    assert clip
    assert math.isnan(plain)
    assert math.isnan(factor)
