# SPDX-License-Identifier: BSD-3-Clause
"""Contract, clause 1: the norm is right for every finite input. The bounds are derived in oracle.py: half an ULP of
f64 and 2^-30 more for f64 lists, 2^-19 ULP of f32 for lists with f32 in them, half of one with f16 or bf16.

The extreme values are in kernels/test_lapack_vectors.py.
"""

import math
from fractions import Fraction

import numpy as np
import oracle
import pytest
from buffers import SIZES
from dtypes import BF16, DTYPES, F16, F32, F64, HALVES, NARROW, PRODUCT_UNIT, finfo
from exact import root, sum_of_squares
from hypothesis import given
from hypothesis import strategies as st
from strategies import array_lists

import fastclip

EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def huge_and_tiny(rng, n):
    x = rng.random(n) * 2.0**-26
    x[n // 2] = 1.0
    return x


DISTRIBUTIONS = {
    "uniform": lambda rng, n: rng.random(n),
    "normal": lambda rng, n: rng.standard_normal(n),
    "log-normal": lambda rng, n: rng.lognormal(sigma=4.0, size=n),
    "Cauchy": lambda rng, n: rng.standard_cauchy(n),
    "constant": lambda rng, n: np.full(n, 0.1),
    "one huge, many tiny": huge_and_tiny,
}


def draw(name, dtype, seed, n):
    """f16 ends at 65504: there, what is beyond becomes that."""
    x, most = DISTRIBUTIONS[name](np.random.default_rng(seed), n), float(finfo(dtype).max)
    return np.clip(x, -most, most).astype(dtype)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@EACH_DTYPE
def test_accuracy_of_ten_million_elements(dtype, name):
    x = draw(name, dtype, 7, 10_000_000)
    oracle.check_norm(fastclip.global_norm([x]), [x])


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@EACH_DTYPE
def test_accuracy_of_every_smaller_size(isa, dtype, name):
    x = draw(name, dtype, 8, 1_000_000)
    for n in (*SIZES, 100_000, 1_000_000):
        part = x[x.size - n :]
        oracle.check_norm(fastclip.global_norm([part]), [part])


@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_accuracy_of_lists_of_mixed_dtypes(isa, pieces):
    x = np.random.default_rng(9).standard_normal(200_000)
    arrays = [a.astype(DTYPES[i % 4]) for i, a in enumerate(np.array_split(x, pieces))]
    oracle.check_norm(fastclip.global_norm(arrays), arrays)


@EACH_DTYPE
def test_f64_is_within_four_ulp_and_all_others_within_one_of_f32(dtype):
    """The promise in its own words; the bounds of all other tests are below it."""
    x = np.random.default_rng(10).lognormal(sigma=2.0, size=100_003).astype(dtype)
    exact = root(sum_of_squares([x]))
    off = abs(Fraction(fastclip.global_norm([x])) - exact)
    kind, ulps = (F32, 1) if dtype in NARROW else (F64, 4)
    assert off <= ulps * Fraction(float(np.spacing(kind.type(float(exact)))))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_the_worst_fours_of_16_bits_are_within_an_ulp_of_f32(isa, dtype):
    """Every pair and every sum of two is 1 and 2^-24 or a little more, of which f32 makes 1 or 1 + 2^-23.

    All roundings add up.
    """
    worst = 0.0
    for n in (16384, oracle.CHUNK, 10 * oracle.CHUNK):
        for small in (2.0**-12, 1.25 * 2.0**-12, 1.4 * 2.0**-12, 1.7 * 2.0**-12):
            pairs = np.array([[1.0, small]] * 8 + [[small, 0.0]] * 8).reshape(2, 8, 2)
            ordered = pairs.transpose(0, 2, 1) if dtype == F16 else pairs  # i and i + 8, or 2 i and 2 i + 1
            x = np.tile(ordered.reshape(-1), n // 32).astype(dtype)
            oracle.check_norm(fastclip.global_norm([x]), [x])
            exact = root(sum_of_squares([x]))
            worst = max(worst, float(abs(Fraction(fastclip.global_norm([x])) - exact) / exact))
    assert 2.0**-25 < worst <= 2.0**-24


@pytest.mark.parametrize("exponent", [-133, -100, -76, -75, -60, 0, 63, 64, 100, 120])
def test_norms_of_bf16_whose_squares_leave_f32(isa, exponent):
    rng = np.random.default_rng(12)
    for n in (1, 100, 129, 5000, 100_000):
        x = np.ldexp(rng.uniform(1.0, 2.0, n), exponent).astype(BF16)
        oracle.check_norm(fastclip.global_norm([x]), [x])
        x[n // 2] = 2.0**-133  # and one among them of another size
        oracle.check_norm(fastclip.global_norm([x]), [x])
        x[n // 2] = 2.0**127
        oracle.check_norm(fastclip.global_norm([x]), [x])


@given(array_lists())
def test_any_finite_list(arrays):
    oracle.check_norm(fastclip.global_norm(arrays), arrays)


@given(array_lists(dtypes=(F64,)), st.integers(-1000, 1000))
def test_a_power_of_two_scales_the_norm_to_the_bit(arrays, exponent):
    """Through all three ranges, unless an element or the norm leaves the normal numbers on the way."""
    with np.errstate(all="ignore"):
        scaled = [np.asarray(np.ldexp(a, exponent)) for a in arrays]
        if any(not np.array_equal(np.ldexp(s, -exponent), a) for s, a in zip(scaled, arrays, strict=True)):
            return
    norm = fastclip.global_norm(arrays)
    if norm and not 2.0**-1021 < norm < math.inf:
        return
    expected = math.ldexp(norm, exponent) if math.frexp(norm)[1] + exponent <= 1024 else math.inf
    if expected and expected < 2.0**-1021:
        return
    assert fastclip.global_norm(scaled) == expected
    oracle.check_norm(expected, scaled)


def test_a_norm_next_to_a_tie_scales_to_the_bit():
    """2^-109 above the middle of two numbers, nearer than the 2^-104 that the norm is good to; in every range."""
    a = np.array([1 - 2.0**-52, 1 - 2.0**-53] * 2)
    norm = fastclip.global_norm([a])
    oracle.check_norm(norm, [a])
    for exponent in (-1000, -600, 511, 512, 600, 1000):
        assert fastclip.global_norm([np.ldexp(a, exponent)]) == math.ldexp(norm, exponent)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([3e20, 4e20], F32, 5e20),  # squares beyond f32
        ([3e38, 4e37], F32, None),
        ([3e-30, 4e-30], F32, 5e-30),  # squares below f32
        ([1e-45], F32, 2.0**-149),
        ([3e38, -3e38] * 99, BF16, None),
        ([2.0**-133] * 4, BF16, 2.0**-132),
        ([30000.0, 40000.0], F16, 50000.0),
        ([60000.0] * 10_000, F16, 6e6),  # beyond f16
        ([2.0**-24] * 4, F16, 2.0**-23),
        ([3e200, 4e200], F64, 5e200),  # squares beyond f64
        ([3e-200, 4e-200], F64, 5e-200),  # squares below f64
        ([3e-320, 4e-320], F64, None),
        ([1.2e308, 1.2e308], F64, None),
        ([1e300, 1e-300], F64, 1e300),
        ([], F64, 0.0),
        ([0.0, -0.0], F32, 0.0),
    ],
)
def test_known_norms(isa, values, dtype, expected):
    x = np.array(values, dtype)
    norm = fastclip.global_norm([x])
    oracle.check_norm(norm, [x])
    if expected is not None:
        unit = float(PRODUCT_UNIT[dtype])
        assert abs(norm - expected) <= 2 * unit * expected  # the decimal numbers are rounded, too, but not those of f16


@pytest.mark.parametrize("count", [2, 9, 20_000])
def test_a_norm_beyond_f64_is_infinite_and_the_arrays_are_clipped_right(isa, count):
    before = [np.full(count, -1.7e308), np.full(3, 1e300), np.array([3.0, 1e38], F32), np.full(300, 1e38, BF16)]
    after = [a.copy() for a in before]
    assert fastclip.global_norm(before) == math.inf
    assert fastclip.measure(before).norm == math.inf
    assert fastclip.measure(before).nonfinite == 0
    assert fastclip.clip_by_global_norm_(after, 2.0) == math.inf
    oracle.check_clipped(before, after, 2.0)
    assert abs(after[0][0] * math.sqrt(count) + 2.0) < 1e-15 * math.sqrt(count)
