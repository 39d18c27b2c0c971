# SPDX-License-Identifier: BSD-3-Clause
"""A norm for each array or row, bounds for each element, statistics: against the reference."""

import math

import lists
import numpy as np
import oracle
import pytest
from dtypes import BF16, DTYPES, F16, F32, F64, NARROW

import fastclip
from fastclip._backends.reference import Reference
from fastclip._rules import AVERAGE_NORM, TENSOR_NORM

REFERENCE = Reference()


def on_gpu(cp, arrays):
    return [cp.asarray(a) for a in arrays]


def fetched(arrays):
    return [a.get() for a in arrays]


def check_close(after, expected):
    """Both norms are within 2^-24, and so are coefficients: one ULP of f32 each, and one rounding to the dtype."""
    for x, y in zip(after, expected, strict=True):
        u = float(oracle.UNIT[x.dtype])
        wide, other = x.astype(F64), y.astype(F64)
        least = float(oracle.finfo(x.dtype).smallest_subnormal)
        assert (np.abs(wide - other) <= 2 * u * np.abs(other) + 2.0**-22 * np.abs(other) + least).all()


@pytest.mark.parametrize("limit", [0.0, 0.3, 5.0, math.inf])
def test_each_array_by_its_own_norm(cp, limit):
    list_ = lists.arrays(sizes=(0, 1, 5, 127, 4097, 20_000))
    list_[9][3] = math.nan
    expected, clipped = [a.copy() for a in list_], on_gpu(cp, list_)
    REFERENCE.clip_each(expected, None, limit, TENSOR_NORM["in place"], True)
    for _ in range(2):  # the counters of the first call must be 0 again
        clipped = on_gpu(cp, list_)
        assert fastclip.clip_by_norm_(clipped, limit) is None
        good = [i for i, a in enumerate(list_) if not np.isnan(a).any()]
        check_close([clipped[i].get() for i in good], [expected[i] for i in good])
        assert (np.isnan(clipped[9].get()) == np.isnan(expected[9])).all()
    assert [name for name, *_ in cp.cuda.launches] == ["norm_each", "scale"] * 2


def test_arrays_within_the_limit_stay_as_they_are(cp):
    list_ = lists.arrays(sizes=(5, 4097))
    small = [oracle.norm([a]) <= 3.0 for a in list_]
    assert any(small)
    assert not all(small)
    clipped = on_gpu(cp, list_)
    fastclip.clip_by_norm_(clipped, 3.0)
    for a, b, within in zip(list_, fetched(clipped), small, strict=True):
        assert oracle.same_bits(a, b) is within


@pytest.mark.parametrize("limit", [1e-4, 1e300, math.inf])
def test_average_norms(cp, limit):
    list_ = [*lists.arrays(sizes=(1, 5, 4097)), np.full(100, 1e305)]
    expected, clipped = [a.copy() for a in list_], on_gpu(cp, list_)
    REFERENCE.clip_each(expected, None, limit, AVERAGE_NORM["in place"], True)
    fastclip.clip_by_average_norm_(clipped, limit)
    check_close(fetched(clipped), expected)


@pytest.mark.parametrize("axes", [1, (1, 2), 2, [0, 2]])
@pytest.mark.parametrize("dtype", [F16, F32], ids=str)
def test_rows(cp, axes, dtype):
    a = np.random.default_rng(0).uniform(-1, 1, (4, 3, 70)).astype(dtype)
    expected, clipped = a.copy(), cp.asarray(a)
    fastclip.clip_by_norm_(expected, 2.0, axes=axes)
    fastclip.clip_by_norm_(clipped, 2.0, axes=axes)
    check_close([clipped.get()], [expected])


@pytest.mark.parametrize(
    "bounds", [(-0.25, 0.5), (0.0, 0.1), (0.5, -0.5), (-math.inf, 0.3), (math.nan, 1.0), (-1e-45, 1e-45)]
)
def test_clip_by_value(cp, bounds):
    list_ = [*lists.arrays(), *(np.array([-0.0, math.nan, math.inf, -math.inf, 1e-7], d) for d in DTYPES)]
    expected, clipped = [a.copy() for a in list_], on_gpu(cp, list_)
    REFERENCE.clamp_list(expected, None, *bounds, True)
    fastclip.clip_by_value_(clipped, *bounds)
    assert oracle.same_bits(fetched(clipped), expected)
    assert [name for name, *_ in cp.cuda.launches] == ["clamp"]


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_bounds_are_rounded_to_the_dtype_once(cp, dtype):
    rng = np.random.default_rng(1)
    for bound in [*rng.uniform(0.0, 3.0, 50), 1 + 2.0**-9 + 2.0**-40, 1 + 2.0**-8 - 2.0**-40, 1 + 2.0**-11 + 2.0**-36]:
        clipped = cp.asarray(np.full(3, 5.0, dtype))
        fastclip.clip_by_value_(clipped, -bound, bound)
        expected = np.full(3, 5.0, dtype)
        REFERENCE.clamp_list([expected], None, -bound, bound, True)
        assert oracle.same_bits(clipped.get(), expected)


def test_measure(cp):
    list_ = lists.arrays()
    list_[5][0], list_[17][1] = 0.0, math.nan
    list_[20][:] = [math.inf, 0.0, *list_[20][2:]]
    list_[49][777], list_[50][2000] = -math.inf, math.nan  # among vectors, in bf16 and f32
    list_ += [np.full(70, 1e200), np.full(70, 1e-300), np.array([1e308] * 4)]
    on = fastclip.measure(on_gpu(cp, list_))
    off = fastclip.measure(list_)
    for field in ("nonfinite", "zeros", "nonfinite_counts", "zero_counts", "first_nonfinite"):
        assert getattr(on, field) == getattr(off, field)
    # f16, bf16 on the CPU: four squares are added in f32
    np.testing.assert_allclose(on.norms, off.norms, rtol=2.0**-24)
    np.testing.assert_allclose([on.norm, on.max_abs, on.sum_abs], [off.norm, off.max_abs, off.sum_abs], rtol=2.0**-40)
    for norm, a in zip(on.norms, list_, strict=True):
        if math.isfinite(norm):
            assert abs(norm - oracle.norm([a])) <= 2.0**-49 * norm  # of 32 squares in f64: 31 roundings, halved


def test_measure_finite(cp):
    list_ = [np.full(3, 1e-200), np.full(5, 1e-210), np.full(1000, 3.0, F32), np.full(7, 2.0, BF16)]
    on = fastclip.measure(on_gpu(cp, list_))
    assert on.norm == oracle.norm(list_)
    assert (on.sum_abs, on.max_abs, on.first_nonfinite) == (3014.0, 3.0, None)
    tiny = fastclip.measure(on_gpu(cp, list_[:2]))
    assert math.isclose(tiny.norm, oracle.norm(list_[:2]), rel_tol=2.0**-52)


def test_the_place_of_the_first_bad_element_in_any_layout(cp):
    a = np.asfortranarray(np.zeros((3, 4), BF16))
    a[2, 0] = a[1, 3] = math.nan
    assert fastclip.measure([cp.view(a)]).first_nonfinite == (0, (1, 3))
    backwards = np.zeros((6, 4), F32)
    backwards[4, 2] = math.inf
    assert (
        fastclip.measure(cp.view(backwards[::-2])).first_nonfinite == fastclip.measure(backwards[::-2]).first_nonfinite
    )
