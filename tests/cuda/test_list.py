# SPDX-License-Identifier: BSD-3-Clause
"""A whole list in two launches, from the public function to the kernels, against the reference and the exact result."""

import math
from fractions import Fraction

import exact
import lists
import numpy as np
import oracle
import pytest
from dtypes import BF16, DTYPES, F16, F32, F64

import fastclip
from fastclip._backends.reference import Reference
from fastclip._rules import GLOBAL_NORM, POLICIES
from fastclip._rules.evaluator import Norm, coefficient

REFERENCE = Reference()


def on_gpu(cp, arrays):
    return [cp.asarray(a) for a in arrays]


def fetched(arrays):
    return [a.get() for a in arrays]


def check_norm(value, arrays):
    """Within an ULP of f32 of the exact norm; lists of f64 alone: within an ULP of f64.

    Two roundings of f32 leave a sum right to 2^-23 (1 + 2^-25), all later ones are in f64. f64: as `oracle.norm_bound`,
    with longer sequential sums: 2^20 additions of at most u S each in `lo`, which stays below 2^-30 ULP.
    """
    square = exact.sum_of_squares(arrays)
    true = exact.root(square)
    if exact.to_float(true) in (0.0, math.inf):
        assert value == exact.to_float(true)
        return
    if all(a.dtype == F64 for a in arrays):
        assert exact.ulps(value, true) <= (1.5 if value < 2.0**-1021 else 1.0)
    else:
        assert abs(Fraction(value) / true - 1) <= Fraction(1, 2**24) * (1 + Fraction(1, 2**20))


def check_clipped(before, after, limit, norm):
    """What clause 3 of the contract makes of that norm, which was rounded once more when it was returned."""
    if not 0.0 < norm < math.inf or not 0.0 < limit < math.inf or norm <= limit:
        expected = [a.copy() for a in before]
        REFERENCE.clip_list(expected, None, limit, norm, GLOBAL_NORM["propagate"], True)
        assert oracle.same_bits(expected, after)
        return
    c, rounding = Fraction(limit) / Fraction(norm), Fraction(1, 2**52)
    for x, y in zip(before, after, strict=True):
        low, high = oracle.product(x, c * (1 - rounding))[0], oracle.product(x, c * (1 + rounding))[-1]
        assert ((low <= np.abs(y)) & (np.abs(y) <= high)).all()
        assert (np.signbit(x) == np.signbit(y)).all()


def test_two_launches_clip_a_list_and_nobody_waits(cp):
    list_ = lists.arrays()
    clipped = on_gpu(cp, list_)
    norm = fastclip.clip_by_global_norm_(clipped, 1.0)
    assert [name for name, *_ in cp.cuda.launches] == ["norm_list", "scale"]
    assert cp.cuda.synchronizations == 0
    assert isinstance(norm, cp.ndarray)
    assert (norm.shape, norm.dtype) == ((), F64)
    check_norm(float(norm), list_)
    check_clipped(list_, fetched(clipped), 1.0, float(norm))


# the least subnormal number, squares that vanish and overflow in f32, those that do in f64, the largest numbers
SCALES = {F16: (1e-7, 1e4), BF16: (1e-40, 1e-25, 1e25, 1e38), F32: (1e-44, 1e-25, 1e25, 1e38)}
SCALES[F64] = (5e-324, 1e-300, 1e-200, 1e-140, 1e150, 1e200, 1e307)


@pytest.mark.parametrize(("dtype", "scale"), [(d, s) for d, scales in SCALES.items() for s in scales])
def test_norms_are_right_over_the_whole_range(cp, dtype, scale):
    list_ = lists.arrays(scale, sizes=(1, 33, 1025), dtypes=(dtype,))
    clipped = on_gpu(cp, list_)
    norm = float(fastclip.clip_by_global_norm_(clipped, 1e-3 * scale))
    check_norm(norm, list_)
    if dtype == F64:
        oracle.check_clipped(list_, fetched(clipped), 1e-3 * scale)
    else:
        check_clipped(list_, fetched(clipped), 1e-3 * scale, norm)


@pytest.mark.parametrize("order", [1, -1])
def test_one_list_may_hold_every_magnitude(cp, order):
    parts = [np.full(100, x) for x in (1e-310, 1e-200, 3.0, 1e200)][::order]
    parts += [np.full(50, 1e-20, F32), np.full(50, 1e30, F32), np.full(9, 6e-8, F16)][::order]
    norm = float(fastclip.global_norm(on_gpu(cp, parts)))
    check_norm(norm, parts)
    assert math.isclose(norm, 1e201, rel_tol=1e-15)


def test_the_worst_roundings_of_f32_stay_within_an_ulp(cp):
    ones = np.full(100_000, 1.0 + 2.0**-12 + 2.0**-23, F32)  # its square is rounded by almost half an ULP
    norm = float(fastclip.global_norm(on_gpu(cp, [ones])))
    check_norm(norm, [ones])


@pytest.mark.parametrize("limit", [0.0, 1e-300, 2.0**-101, 1e-20, 1.0, 1e9, math.inf])
def test_every_limit(cp, limit):
    list_ = lists.arrays(sizes=(3, 200))
    clipped = on_gpu(cp, list_)
    norm = float(fastclip.clip_by_global_norm_(clipped, limit))
    check_clipped(list_, fetched(clipped), limit, norm)


@pytest.mark.parametrize("use_norm", [0.0, 3.0, 1e300, math.inf])
@pytest.mark.parametrize("policy", ["propagate", "skip"])
def test_a_norm_that_is_known(cp, use_norm, policy):
    list_ = lists.arrays(sizes=(3, 200))
    clipped = on_gpu(cp, list_)
    assert float(fastclip.clip_by_global_norm_(clipped, 2.0, use_norm, nonfinite=policy)) == use_norm
    check_clipped(list_, fetched(clipped), 2.0, use_norm)


NONFINITE = [[math.nan], [math.inf], [-math.inf, math.nan]]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("bad", NONFINITE, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("limit", [1.0, 1e4, math.inf])
def test_nan_and_infinity(cp, policy, bad, dtype, limit):
    list_ = lists.arrays(sizes=(5, 1025))
    victims = [a for a in list_ if a.dtype == dtype]
    for i, x in enumerate(bad):
        victims[1 - i][(700, 2)[i]] = x
    expected, clipped = [a.copy() for a in list_], on_gpu(cp, list_)
    norm = REFERENCE.clip_list(expected, None, limit, None, GLOBAL_NORM[policy], True)
    if policy == "raise":
        with pytest.raises(FloatingPointError, match=r"^clip_by_global_norm_: .*Nothing was written"):
            fastclip.clip_by_global_norm_(clipped, limit, nonfinite=policy)
        assert oracle.same_bits(fetched(clipped), list_)
        return
    got = float(fastclip.clip_by_global_norm_(clipped, limit, nonfinite=policy))
    if policy == "zero":
        assert abs(got / norm - 1) <= 2.0**-23  # both within 2^-24
        finite = [np.where(np.isfinite(a), a, a.dtype.type(0)) for a in list_]
        check_norm(got, finite)
        check_clipped(finite, fetched(clipped), limit, got)
    else:
        assert got == norm or (math.isnan(got) and math.isnan(norm))
        assert oracle.same_bits(fetched(clipped), expected)


def test_a_finite_norm_beyond_f64_is_not_an_element_that_is_not(cp):
    list_ = [np.full(100, 1e308)]
    clipped = on_gpu(cp, list_)
    assert float(fastclip.clip_by_global_norm_(clipped, 1.0, nonfinite="raise")) == math.inf
    assert oracle.within(fetched(clipped), 1.0)
    assert np.abs(clipped[0].get()).min() > 0.09


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_within_the_limit_nothing_is_written(cp, factor):
    list_ = lists.arrays()
    clipped = on_gpu(cp, list_)
    fastclip.clip_by_global_norm_(clipped, oracle.norm(list_) * factor)
    assert oracle.same_bits(fetched(clipped), list_)


def test_what_was_clipped_is_not_clipped_again(cp):
    clipped = on_gpu(cp, lists.arrays(dtypes=(F32, F64)))
    fastclip.clip_by_global_norm_(clipped, 1.0)
    once = fetched(clipped)
    fastclip.clip_by_global_norm_(clipped, 1.0)
    assert oracle.same_bits(fetched(clipped), once)


def test_the_bits_depend_on_the_list_alone(cp):
    list_ = lists.arrays(sizes=(7, 4097, 30_000))
    seen = set()
    for seed, workers, multiprocessors in ((0, 1, 1), (1, 2, 1), (2, 1, 3), (3, 2, 132)):
        cp.cuda.reset()
        cp.cuda.seed, cp.cuda.workers, cp.cuda.multiprocessors = seed, workers, multiprocessors
        cp.cuda.stream.ptr = 100 + seed  # a plan of its own
        clipped = on_gpu(cp, list_)
        norm = float(fastclip.clip_by_global_norm_(clipped, 0.5))
        seen.add((norm, b"".join(map(oracle.bits, fetched(clipped)))))
    assert len(seen) == 1


def test_memory_that_is_listed_twice_counts_twice_and_is_scaled_once(cp):
    a, b = np.full(3, 2.0, F32), np.full(5, 1.0, BF16)
    twice, once = cp.asarray(a), cp.asarray(b)
    assert float(fastclip.clip_by_global_norm_([twice, once, twice], 1.0)) == math.sqrt(29.0)
    by = coefficient(GLOBAL_NORM["propagate"], Norm(math.sqrt(29.0), 0.0, 1.0), 1.0, 2.0**-24).plain
    assert oracle.same_bits(twice.get(), a * np.float32(by))
    assert oracle.same_bits(once.get(), (b.astype(F32) * np.float32(by)).astype(BF16))
