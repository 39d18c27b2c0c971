# SPDX-License-Identifier: BSD-3-Clause
import dataclasses
import math
from fractions import Fraction

import numpy as np
import oracle
import pytest
from exact import sum_of_magnitudes

import fastclip

INF, NAN = math.inf, math.nan


def expected_places(arrays):
    for i, a in enumerate(arrays):
        bad = np.argwhere(~np.isfinite(a))
        if len(bad):
            return i, tuple(bad[0].tolist())
    return None


def check(m, arrays):
    """Compare everything in a measurement with NumPy and exact sums."""
    oracle.check_norm(m.norm, arrays)
    assert len(m.norms) == len(arrays)
    for norm, a in zip(m.norms, arrays, strict=True):
        oracle.check_norm(norm, [a])
    every = np.concatenate([a.ravel().astype(np.float64) for a in arrays]) if arrays else np.zeros(0)
    assert m.nonfinite == np.count_nonzero(~np.isfinite(every))
    assert m.zeros == np.count_nonzero(every == 0)
    assert m.nonfinite_counts == tuple(int(np.count_nonzero(~np.isfinite(a))) for a in arrays)
    assert m.zero_counts == tuple(int(np.count_nonzero(a == 0)) for a in arrays)
    np.testing.assert_equal(m.max_abs, float(np.max(np.abs(every), initial=0.0)))
    assert m.first_nonfinite == expected_places(arrays)
    if m.nonfinite:
        np.testing.assert_equal(m.sum_abs, NAN if np.isnan(every).any() else INF)
        return
    exact = sum_of_magnitudes(arrays)
    if exact > Fraction(np.finfo(np.float64).max):
        assert m.sum_abs == INF
    else:
        # the f32 kernel's additions, one rounding for each array, one at the end
        allowed = oracle.sum_bound_f32(oracle.CHUNK) + 2 * oracle.U64
        assert abs(Fraction(m.sum_abs) - exact) <= allowed * exact


def lists(dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 8)).astype(dtype)
    x[::3, ::2] = 0.0
    x[1, 1] = -0.0
    bad = x.copy()
    bad[4, 5], bad[2, 7], bad[5, 0] = NAN, -INF, INF
    yield []
    yield [np.zeros(0, dtype)]
    yield [x, x[0], np.array(-3.5, dtype)]
    yield [np.zeros((2, 0), dtype), x.T, x[::2, ::-1], np.asfortranarray(x)]
    yield [x, np.zeros(0, dtype), bad]
    yield [bad.T]
    yield [bad[::-1, ::2], bad]
    yield [np.array([INF], dtype)]
    yield [np.array(NAN, dtype)]
    yield [rng.normal(size=40000).astype(dtype), x.astype(np.float64), x.astype(np.float32)]
    yield [np.full(3, np.finfo(dtype).smallest_subnormal), np.full(2, np.finfo(dtype).max)]


@pytest.mark.parametrize("i", range(11))
def test_everything_agrees_with_numpy(dtype, i):
    arrays = list(lists(dtype))[i]
    before = [a.tobytes() for a in arrays]
    m = fastclip.measure(arrays)
    check(m, arrays)
    assert [a.tobytes() for a in arrays] == before
    np.testing.assert_equal(m.norm, fastclip.global_norm(arrays))
    np.testing.assert_equal(list(m.norms), [fastclip.global_norm([a]) for a in arrays])


def test_there_are_as_many_lists_as_the_test_above_takes():
    assert len(list(lists(np.float32))) == 11


def test_a_nonfinite_element_is_found_wherever_it_is(dtype):
    for n in (1, 31, 32768, 40000):
        for at in {0, n // 2, n - 1}:
            x = np.ones(n, dtype)
            x[at] = NAN
            assert fastclip.measure([np.ones(2, dtype), x]).first_nonfinite == (1, (at,))


def test_norms_do_not_overflow_where_the_sum_of_magnitudes_does():
    m = fastclip.measure([np.full(4, 1e308), np.full(1, -1.0)])
    assert m.norms == (2e308 if math.isinf(2e308) else 2.0 * 1e308, 1.0)
    assert m.norm == m.norms[0] == INF
    assert m.sum_abs == INF
    assert m.max_abs == 1e308
    assert m.nonfinite == 0
    m = fastclip.measure([np.array([1e308]), np.array([5e307]), np.array([1.0])])  # the sum stays in range
    assert m.sum_abs == 1.5e308
    two = fastclip.measure([np.array([1.6e308]), np.array([1.6e308])])
    assert (two.sum_abs, two.norms) == (INF, (1.6e308, 1.6e308))


def test_tiny_numbers_have_a_norm():
    m = fastclip.measure([np.full(4, 1e-300), np.full(4, 1e-310)])
    assert m.norms == (2e-300, 2e-310)
    assert fastclip.measure([np.full(4, 1e-40, np.float32)]).norm == 2.0 * float(np.float32(1e-40))


def test_takes_one_array_and_every_container(dtype):
    a, b = np.array([3.0, 0.0], dtype), np.array([4.0], dtype)
    whole = fastclip.measure([a, b])
    for t in ((a, b), {"x": a, "y": [None, b]}, iter([a, None, b]), [[[a]], {"z": (b,)}]):
        assert fastclip.measure(t) == whole
    assert fastclip.measure(a).norms == (3.0,)
    assert fastclip.measure(None).norms == ()
    assert fastclip.measure([a, a]).norm == math.sqrt(18.0)  # every entry counts


def test_read_only_and_overlapping_arrays_are_measured(dtype):
    x = np.arange(10, dtype=dtype)
    x.flags.writeable = False
    assert fastclip.measure([x, x[2:5], x[::-1]]).norms == (math.sqrt(285), math.sqrt(29), math.sqrt(285))
    stuck = np.broadcast_to(np.array([2.0], dtype), (2, 2))
    assert fastclip.measure(stuck).norm == 4.0


def test_a_measurement_is_a_frozen_record_of_python_numbers():
    m = fastclip.measure([np.array([3.0, np.inf], np.float32)])
    assert isinstance(m, fastclip.Measurement)
    assert {type(v) for v in (m.norm, m.sum_abs, m.max_abs, *m.norms)} == {float}
    counts = (m.nonfinite, m.zeros, *m.nonfinite_counts, *m.zero_counts, m.first_nonfinite[0], *m.first_nonfinite[1])
    assert {type(v) for v in counts} == {int}
    with pytest.raises(dataclasses.FrozenInstanceError):
        m.norm = 0.0
    assert eval(repr(m), {"Measurement": fastclip.Measurement, "inf": INF}) == m
