# SPDX-License-Identifier: BSD-3-Clause
import itertools
import math

import numpy as np
import pytest
from oracle import same_bits

import fastclip

INF, NAN = math.inf, math.nan
SHAPE = (3, 4, 5)
AXES = [0, 1, 2, -1, -3, (0,), [1], (0, 1), [2, 0], (-1, 1), (0, 1, 2), [], (), np.array([0, 2]), np.int64(1)]


def normal(shape, dtype, seed=0):
    return np.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def reduced(axes, ndim):
    return {int(axis) % ndim for axis in (axes if np.ndim(axes) else [axes])}


def rows(axes, ndim, *arrays):
    """Yield the same row of each array for every index along the axes that are kept."""
    kept = [axis for axis in range(ndim) if axis not in reduced(axes, ndim)]
    for index in itertools.product(*(range(arrays[0].shape[axis]) for axis in kept)):
        at = [slice(None)] * ndim
        for axis, i in zip(kept, index, strict=True):
            at[axis] = i
        yield tuple(a[(*at, ...)] for a in arrays)


LAYOUTS = {
    "C": lambda x: x.copy(),
    "F": lambda x: x.copy(order="F"),
    "transposed": lambda x: x.transpose(1, 0, 2).copy().transpose(1, 0, 2),
    "sliced": lambda x: np.repeat(np.repeat(x, 2, axis=2), 3, axis=0)[::3, :, ::2],
    "reversed": lambda x: x[::-1, :, ::-1].copy()[::-1, :, ::-1],
    "unaligned": lambda x: np.frombuffer(bytearray(b" " + x.tobytes()), x.dtype, offset=1).reshape(x.shape),
}


# ---- one norm for each array


def test_each_array_is_clipped_by_its_own_norm(dtype):
    g = [np.array([3.0, 4.0], dtype), None, np.array([0.3], dtype), {"w": np.array([[30.0], [40.0]], dtype)}]
    assert fastclip.clip_by_norm_(g, 2.5) is None
    assert g[0].tolist() == [1.5, 2.0]
    assert g[2].tolist() == [dtype(0.3)]
    assert g[3]["w"].tolist() == [[1.5], [2.0]]


@pytest.mark.parametrize("limit", [1e-20, 0.5, 2.0])
@pytest.mark.parametrize("shape", [(), (1,), (31,), (5, 7), SHAPE])
def test_clip_by_norm_agrees_with_exact_arithmetic(dtype, shape, limit, exact_norm, check_scaled):
    x = normal(shape, dtype)
    before = x.copy()
    out = fastclip.clip_by_norm(x, limit)
    assert same_bits(x, before)
    check_scaled(out, x, exact_norm([x]), limit)
    fastclip.clip_by_norm_(x, limit)
    assert same_bits(x, out)


@pytest.mark.parametrize("limit", [1e-20, 0.01, 0.1])
@pytest.mark.parametrize("shape", [(1,), (31,), SHAPE])
def test_clip_by_average_norm_agrees_with_exact_arithmetic(dtype, shape, limit, exact_norm, check_scaled):
    x = normal(shape, dtype)
    out = fastclip.clip_by_average_norm(x, limit)
    check_scaled(out, x, exact_norm([x]) / x.size, limit, roundings=3)  # limit * size is rounded, too
    fastclip.clip_by_average_norm_(x, limit)
    assert same_bits(x, out)


def test_clip_by_average_norm_compares_the_norm_over_the_size(dtype):
    x = np.array([30.0, 40.0], dtype)  # norm 50, average 25
    assert fastclip.clip_by_average_norm(x, 25.0).tolist() == [30.0, 40.0]
    assert fastclip.clip_by_average_norm(x, 5.0, "name").tolist() == [6.0, 8.0]
    g = [x, np.array([1.0], dtype)]
    assert fastclip.clip_by_average_norm_(g, 5.0) is None
    assert g[0].tolist() == [6.0, 8.0]
    assert g[1].tolist() == [1.0]


@pytest.mark.parametrize("function", [fastclip.clip_by_norm, fastclip.clip_by_average_norm])
def test_limits_zero_and_infinity(dtype, function):
    x = np.array([3.0, -4.0], dtype)
    assert not function(x, 0.0).any()
    assert not function(np.zeros(2, dtype), 0.0).any()
    assert same_bits(function(x, INF), x)
    special = np.array([INF, NAN, 1.0], dtype)
    assert same_bits(function(special, INF), special)


@pytest.mark.parametrize("function", [fastclip.clip_by_norm, fastclip.clip_by_average_norm])
@pytest.mark.parametrize("values", [[INF, 1.0], [NAN, 1.0], [-INF, NAN]])
def test_out_of_place_nonfinite_elements_make_all_nan(dtype, function, values):
    assert np.isnan(function(np.array(values, dtype), 1.0)).all()


@pytest.mark.parametrize("function", [fastclip.clip_by_norm_, fastclip.clip_by_average_norm_])
def test_in_place_nonfinite_elements_propagate_in_their_own_array_only(dtype, function):
    g = [np.array(v, dtype) for v in ([INF, -1.0], [NAN, 1.0], [0.3, 0.4])]
    function(g, 1.0)
    np.testing.assert_array_equal(g[0], [NAN, -0.0])
    assert np.signbit(g[0][1])
    assert np.isnan(g[1]).all()
    assert g[2].tolist() == np.array([0.3, 0.4], dtype).tolist()


def test_norms_that_overflow_or_underflow_are_clipped_right():
    assert fastclip.clip_by_norm(np.array([3e200, 4e200]), 5.0).tolist() == pytest.approx([3.0, 4.0], rel=2**-51)
    assert fastclip.clip_by_norm(np.array([3e-200, 4e-200]), 5e-201).tolist() == pytest.approx(
        [3e-201, 4e-201], rel=2**-51
    )
    huge = fastclip.clip_by_norm_(x := np.array([[1.7e308, 1.7e308], [1.0, 0.0]]), 1.0, axes=1)
    assert huge is None
    np.testing.assert_allclose(x, [[math.sqrt(0.5)] * 2, [1.0, 0.0]], rtol=2**-51)
    f32 = fastclip.clip_by_norm(np.array([3e20, 4e20], np.float32), 5.0)
    np.testing.assert_allclose(f32, [3.0, 4.0], rtol=2**-22)


@pytest.mark.parametrize("n", [32769, 131072, 131073, 300000])
def test_large_arrays_in_a_list(dtype, n):
    g = [np.ones(n, dtype), np.ones(4, dtype), np.ones(n, dtype)]
    fastclip.clip_by_norm_(g, 1.0)
    for a in g:
        expected = dtype(1.0 / math.sqrt(a.size))
        assert (np.abs(a - expected) <= np.spacing(expected)).all()
    out = fastclip.clip_by_norm(np.ones(n, dtype), 1.0)
    assert same_bits(out, g[0])


# ---- one norm for each row


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axes", AXES, ids=str)
def test_axes_take_a_norm_for_each_row(dtype, layout, axes, exact_norm, check_scaled):
    x = LAYOUTS[layout](normal(SHAPE, dtype))
    before = x.copy()
    out = fastclip.clip_by_norm(x, 0.9, axes)
    assert same_bits(x, before)
    assert not np.shares_memory(out, x)
    for given, clipped in rows(axes, x.ndim, before, out):
        check_scaled(clipped, given, exact_norm([given]), 0.9)
    assert fastclip.clip_by_norm_(x, 0.9, axes) is None
    assert same_bits(x, out)


def test_rows_agree_with_a_computation_in_numpy(dtype):
    x = normal((50, 40), dtype)
    for axes in (0, 1, (0, 1)):
        wide = x.astype(np.float64)
        norm = np.sqrt(np.sum(wide * wide, axis=axes, keepdims=True))
        expected = np.where(norm > 5.0, wide * (5.0 / norm), wide)
        u = np.finfo(dtype).eps / 2
        # two roundings of ours; NumPy's square root, quotient and product: 3, and half of 2000 additions, of 2^-53
        rtol = 2.01 * u + (3 + 1000) * 2.0**-53
        np.testing.assert_allclose(fastclip.clip_by_norm(x, 5.0, axes), expected, rtol=rtol)


def test_axes_of_one_element_clip_each_by_its_magnitude(dtype):
    x = np.array([[-3.0, 0.5], [0.0, INF]], dtype)
    np.testing.assert_array_equal(fastclip.clip_by_norm(x[:1], 1.0, axes=[]), [[-1.0, 0.5]])
    np.testing.assert_array_equal(fastclip.clip_by_norm(x, 1.0, axes=[]), [[-1.0, 0.5], [0.0, NAN]])
    zero_d = np.array(-3.0, dtype)
    assert fastclip.clip_by_norm(zero_d, 1.0, axes=[]) == -1.0
    fastclip.clip_by_norm_(zero_d, 1.0, axes=())
    assert zero_d == -1.0


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 3)])
@pytest.mark.parametrize("axes", [None, 0, -1, []])
def test_size_zero(dtype, shape, axes):
    x = np.zeros(shape, dtype)
    assert fastclip.clip_by_norm(x, 1.0, axes).shape == shape
    fastclip.clip_by_norm_(x, 0.0, axes)
    fastclip.clip_by_average_norm_(x, 0.0)
    assert fastclip.clip_by_average_norm(x, 1.0).shape == shape


def test_nonfinite_elements_stay_in_their_row(dtype):
    x = np.array([[INF, 1.0], [NAN, 1.0], [3.0, 4.0], [0.0, 0.0]], dtype)
    out = fastclip.clip_by_norm(x, 5.0, axes=1)
    np.testing.assert_array_equal(out, [[NAN, NAN], [NAN, NAN], [3.0, 4.0], [0.0, 0.0]])
    fastclip.clip_by_norm_(x, 5.0, axes=1)
    np.testing.assert_array_equal(x, [[NAN, 0.0], [NAN, NAN], [3.0, 4.0], [0.0, 0.0]])


def test_axes_apply_to_every_array_of_a_list(dtype):
    g = {"w": np.array([[30.0, 40.0], [3.0, 4.0]], dtype), "b": [None, np.array([[6.0, 8.0]], dtype)]}
    fastclip.clip_by_norm_(g, 5.0, axes=-1)
    assert g["w"].tolist() == [[3.0, 4.0], [3.0, 4.0]]
    assert g["b"][1].tolist() == [[3.0, 4.0]]


def test_many_and_long_rows(dtype):
    many = np.full((10001, 2), 3.0, dtype)
    many[::2] = 0.1
    fastclip.clip_by_norm_(many, 1.0, axes=1)
    assert (many[::2] == dtype(0.1)).all()
    assert (np.abs(many[1::2] - dtype(math.sqrt(0.5))) <= np.spacing(dtype(0.5))).all()
    long = np.ones((2, 150001), dtype)
    long[0] = 1e-6
    fastclip.clip_by_norm_(long, 1.0, axes=1)
    expected = dtype(1.0 / math.sqrt(150001))
    assert (long[0] == dtype(1e-6)).all()
    assert (np.abs(long[1] - expected) <= np.spacing(expected)).all()


# ---- memory listed twice


@pytest.mark.parametrize("axes", [None, 1, []])
@pytest.mark.parametrize("kind", [list, iter])
def test_memory_listed_twice_is_clipped_once(dtype, axes, kind):
    values = [[INF, 1.0, -2.0]]  # clipped twice, the finite elements would become NaN as well
    once, x = np.array(values, dtype), np.array(values, dtype)
    fastclip.clip_by_norm_(once, 1.0, axes)
    fastclip.clip_by_norm_(kind([x, x]), 1.0, axes)
    assert same_bits(x, once)


def test_memory_listed_twice_is_clipped_once_by_its_average(dtype):
    x = np.array([INF, 1.0], dtype)
    fastclip.clip_by_average_norm_([x, {"again": x}], 1.0)
    np.testing.assert_array_equal(x, [NAN, 0.0])


@pytest.mark.parametrize("function", [fastclip.clip_by_norm, fastclip.clip_by_average_norm])
def test_takes_what_asarray_takes(function):
    for t in ([30.0, 40.0], (30.0, 40.0), np.array([30.0, 40.0]).data):
        out = function(t, 2.5)
        assert type(out) is np.ndarray
        assert out.dtype == np.float64
    assert function(np.float32(-3.0), 1.0) == -1.0
    assert function(-3.0, 1.0) == -1.0
