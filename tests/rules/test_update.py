# SPDX-License-Identifier: BSD-3-Clause
"""clip_update_by_global_norm_: the norm of a difference, what is left of it, and what is refused untouched."""

import math
from fractions import Fraction

import numpy as np
import oracle
import pytest
from buffers import copies, spread
from dtypes import DTYPES, F32, F64, HALVES, PRODUCT_UNIT, UNIT
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays, elements, limits

import fastclip
from fastclip import _core
from fastclip._backends.reference import Reference
from fastclip._rules import GLOBAL_NORM, POLICIES

clip = fastclip.clip_update_by_global_norm_
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=str)
U = Fraction(1, 2**53)


def exact(a):
    return [Fraction(float(x)) for x in a.reshape(-1)]


def exact_norm(new, old):
    pairs = [(x, y) for a, b in zip(new, old, strict=True) for x, y in zip(exact(a), exact(b), strict=True)]
    return oracle.root(sum(((x - y) ** 2 for x, y in pairs), Fraction(0)))


def norm_bound(new):
    """How far off a norm may be, relative.

    A difference is rounded to f64 (u), in f16, bf16 and f32 its square, too: 3 u of a square. `rounding_errors` of a
    chunk's additions (f64: a double-double, u^2 terms); the root halves all. Half an ULP for the last rounding.
    """
    most = max((min(a.size, oracle.CHUNK) for a in new if a.dtype != F64), default=0)
    return (3 * U + oracle.sum_bound_f32(most)) / 2 + U + U / 2


def check(new, old, clipped, norm, limit):
    """old + (new - old) * c: the difference, c and the product are rounded as products are, the sum to the dtype."""
    true = exact_norm(new, old)
    assert abs(Fraction(norm) - true) <= norm_bound(new) * true
    if norm <= limit:
        assert oracle.same_bits(clipped, new)
        return
    for a, b, c in zip(new, old, clipped, strict=True):
        assert (c.dtype, c.shape) == (a.dtype, a.shape)
        for x, y, z in zip(exact(a), exact(b), exact(c), strict=True):
            left = (x - y) * Fraction(limit) / true
            allowed = Fraction(301, 100) * PRODUCT_UNIT[a.dtype] * abs(left)
            # the sum is rounded as a product is and then to the dtype: twice in f16 and bf16
            allowed += (UNIT[a.dtype] + (PRODUCT_UNIT[a.dtype] if a.dtype in HALVES else 0)) * (abs(y + left) + allowed)
            assert abs(z - (y + left)) <= allowed


@EACH_DTYPE
def test_an_update_is_clipped_by_the_norm_of_all_differences(isa, dtype):
    rng = np.random.default_rng(1)
    shapes = [(3, 4), (), (0,), (1025,), (5, 2, 3)]
    new, old = ([rng.standard_normal(s).astype(dtype) for s in shapes] for _ in range(2))
    for limit in (0.25, 3.0, 1e9):
        clipped = copies(new)
        check(new, old, clipped, clip(clipped, old, limit), limit)


@pytest.mark.parametrize("n", [0, 1, 31, 33, 8192, oracle.CHUNK + 5])
@EACH_DTYPE
def test_the_norm_is_right_for_every_length(isa, dtype, n):
    new, old = spread(dtype, n, 1), spread(dtype, n, 2)
    norm = clip([new.copy()], [old], math.inf)
    true = exact_norm([new], [old])
    assert abs(Fraction(norm) - true) <= norm_bound([new]) * true


def pairs(nonfinite=False):
    def beside(a):
        other = st.lists(elements(a.dtype, nonfinite=nonfinite), min_size=a.size, max_size=a.size)
        return other.map(lambda values: (a, np.array(values, a.dtype).reshape(a.shape)))

    return st.lists(arrays(nonfinite=nonfinite, max_side=5).flatmap(beside), max_size=4)


@pytest.mark.parametrize("policy", POLICIES)
@given(pairs(nonfinite=True), limits())
def test_native_and_reference_are_alike(policy, lists, limit):
    new, old = [a for a, _ in lists], [b for _, b in lists]
    native, reference = copies(new), copies(new)
    record = GLOBAL_NORM[policy]
    a = _core.clip_update_list(native, old, limit, _core.Rule(record.slack, policy, False), True)
    b = Reference().clip_update_list(reference, old, limit, record, True)
    assert repr(a) == repr(b)
    assert oracle.same_bits(native, reference)


def test_native_and_reference_are_alike_on_a_large_list(isa):
    sizes = (oracle.CHUNK * 70 + 11, 3, oracle.CHUNK - 1, 100_000)
    new = [spread(dtype, n, 1) for dtype, n in zip(DTYPES, sizes, strict=True)]
    old = [spread(a.dtype, a.size, 2) for a in new]
    native, reference = copies(new), copies(new)
    assert clip(native, old, 0.1) == Reference().clip_update_list(reference, old, 0.1, GLOBAL_NORM["propagate"], True)
    assert oracle.same_bits(native, reference)


@pytest.mark.parametrize("scale", [2.0**-1060, 2.0**-520, 1.0, 2.0**510, 2.0**1020])
def test_differences_of_f64_leave_no_range(isa, scale):
    new, old = np.array([3.0, -1.0, 0.5]) * scale, np.array([-1.0, 2.0, 0.5]) * scale
    clipped = new.copy()
    assert clip([clipped], [old], scale) == 5.0 * scale
    assert np.allclose(clipped / scale, [-0.2, 1.4, 0.5], rtol=1e-15 if scale > 2.0**-1000 else 1e-4)


@pytest.mark.parametrize(("dtype", "most"), [(F32, 3.4e38), (F64, 1.7e308), *[(h, 3e4) for h in HALVES]], ids=str)
def test_a_difference_beyond_the_range_is_clipped_right(isa, dtype, most):
    new, old = np.array([most, 0.0], dtype), np.array([-most, 0.0], dtype)
    half = clip([new], [old], float(most))
    assert half == 2 * float(abs(old[0]))  # infinite for f64
    assert abs(float(new[0])) <= 2 * float(UNIT[dtype]) * most + abs(most - float(-old[0]))
    assert new[1] == 0.0


def test_large_equal_parts_hide_no_small_difference(isa):
    """Scaled up before the subtraction, both would be infinite."""
    new, old = np.array([1e300, 3e-300]), np.array([1e300, 0.0])
    assert clip([new], [old], 1.0) == 3e-300


@EACH_DTYPE
def test_within_the_limit_and_at_infinity_nothing_is_written(isa, dtype):
    new, old = [np.array([3.0, -0.0], dtype)], [np.array([0.0, 0.0], dtype)]
    for limit in (3.0, math.inf):
        kept = copies(new)
        kept[0].flags.writeable = True
        assert clip(kept, old, limit) == 3.0
        assert oracle.same_bits(kept, new)
    nan = [np.array([math.nan, 1.0], dtype)]
    assert math.isnan(clip(nan, old, math.inf))
    assert nan[0][1] == 1.0


@EACH_DTYPE
def test_a_limit_of_0_restores_what_was(isa, dtype):
    new, old = np.array([3.0, 5.0], dtype), np.array([1.0, 2.0], dtype)
    clip([new], [old], 0.0)
    assert np.array_equal(new, old)
    assert clip([new], [old], 0.0) == 0.0
    assert np.array_equal(new, old)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
@EACH_DTYPE
def test_what_is_not_finite_goes_by_the_policy(isa, dtype, bad):
    old = [np.array([1.0, 1.0], dtype), np.array([1.0], dtype)]
    for policy in POLICIES:
        new = [np.array([4.0, bad], dtype), np.array([5.0], dtype)]
        before = copies(new)
        if policy == "raise":
            with pytest.raises(FloatingPointError, match=r"^clip_update_by_global_norm_: "):
                clip(new, old, 2.5, nonfinite=policy)
            assert oracle.same_bits(new, before)
            continue
        norm = clip(new, old, 2.5, nonfinite=policy)
        got = [float(x) for a in new for x in a]
        if policy == "zero":
            assert norm == 5.0
            assert got == [2.5, 1.0, 3.0]
            continue
        assert repr(norm) == repr(bad)
        if policy == "skip":
            assert oracle.same_bits(new, before)
        elif policy == "nan" or math.isnan(bad):
            assert all(map(math.isnan, got))
        else:
            assert [got[0], got[2]] == [1.0, 1.0]
            assert math.isnan(got[1])
