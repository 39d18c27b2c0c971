# SPDX-License-Identifier: BSD-3-Clause
"""Arrays however they lie in memory, and of whatever subclass: the same elements give the same result."""

import sys
import warnings

import numpy as np
import pytest
from oracle import same_bits

import fastclip

IN_PLACE = {
    "clip_by_global_norm_": lambda t: fastclip.clip_by_global_norm_(t, 1.5),
    "clip_by_norm_": lambda t: fastclip.clip_by_norm_(t, 1.5),
    "clip_by_norm_(axes)": lambda t: fastclip.clip_by_norm_(t, 0.9, axes=-1),
    "clip_by_average_norm_": lambda t: fastclip.clip_by_average_norm_(t, 0.01),
    "clip_by_value_": lambda t: fastclip.clip_by_value_(t, -0.5, 0.25),
}
OUT_OF_PLACE = {
    "clip_by_global_norm": lambda t: fastclip.clip_by_global_norm([t], 1.5)[0][0],
    "clip_by_global_norm(within)": lambda t: fastclip.clip_by_global_norm([t], 1e9)[0][0],
    "clip_by_norm": lambda t: fastclip.clip_by_norm(t, 1.5),
    "clip_by_norm(within)": lambda t: fastclip.clip_by_norm(t, 1e9),
    "clip_by_norm(axes)": lambda t: fastclip.clip_by_norm(t, 0.9, axes=-1),
    "clip_by_average_norm": lambda t: fastclip.clip_by_average_norm(t, 0.01),
    "clip_by_value": lambda t: fastclip.clip_by_value(t, -0.5, 0.25),
    "clip_by_value(within)": lambda t: fastclip.clip_by_value(t, -1e9, 1e9),
    "clip_by_value(arrays)": lambda t: fastclip.clip_by_value(t, np.full(t.shape[-1:], -0.5), 0.25),
    "clip_by_value(arrays, within)": lambda t: fastclip.clip_by_value(t, np.full(t.shape[-1:], -1e9), 1e9),
}
GUARD = 77.0


def put_into(base, view, x):
    """Fill `base` with guards and its `view` with x; return both."""
    base[...] = GUARD
    view[...] = x
    return view, base


def sliced(x):
    base = np.empty((x.shape[0] * 3, x.shape[1], x.shape[2] * 2), x.dtype)
    return put_into(base, base[1::3, :, ::2], x)


def reversed_(x):
    base = np.empty(x.shape, x.dtype)
    return put_into(base, base[::-1, ::-1, ::-1], x)


def reversed_rows(x):
    base = np.empty(x.shape, x.dtype)
    return put_into(base, base[::-1], x)


def inner_columns(x):
    base = np.empty((*x.shape[:2], x.shape[2] + 5), x.dtype)
    return put_into(base, base[:, :, 2:-3], x)


def fortran(x):
    base = np.empty(x.shape, x.dtype, order="F")
    return put_into(base, base, x)


def transposed(x):
    base = np.empty((x.shape[1], x.shape[0], x.shape[2]), x.dtype)
    return put_into(base, base.transpose(1, 0, 2), x)


def unaligned(x):
    whole = np.empty(x.nbytes + 8, np.uint8)
    whole[:] = 77
    view = whole[1 : 1 + x.nbytes].view(x.dtype).reshape(x.shape)
    assert not view.flags.aligned
    view[...] = x
    return view, whole


def field(x):
    base = np.zeros(x.shape, [("a", "u1"), ("x", x.dtype), ("b", "u2")])
    base["a"], base["b"] = 7, 77
    return put_into(base["x"], base["x"], x)[0], base


def axis_of_one(x):
    base = np.empty((*x.shape[:2], 4, x.shape[2]), x.dtype)
    return put_into(base, base[:, :, 2:3, :].squeeze(2), x)


LAYOUTS = [fortran, transposed, sliced, reversed_, reversed_rows, inner_columns, unaligned, field, axis_of_one]


def sample(dtype):
    x = np.random.default_rng(2).normal(size=(3, 5, 7)).astype(dtype)
    x[0, 0, :3] = 0.0
    return x


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", IN_PLACE)
def test_in_place_writes_these_elements_and_no_others(dtype, function, layout):
    x = sample(dtype)
    view, base = layout(x)
    others = base.copy()
    expected = x.copy()
    IN_PLACE[function](expected)
    assert not same_bits(expected, x)
    IN_PLACE[function]([view])
    # Another order of summation changes an f32 norm by 2^-44 of it: 2^-20 of the last place of a result.
    assert same_bits(np.ascontiguousarray(view), expected)
    view[...] = x
    assert base.tobytes() == others.tobytes()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", OUT_OF_PLACE)
def test_out_of_place_reads_them_and_makes_new_ones(dtype, function, layout):
    x = sample(dtype)
    view, base = layout(x)
    before = base.tobytes()
    out = OUT_OF_PLACE[function](view)
    assert type(out) is np.ndarray
    assert out.dtype == dtype
    assert out.shape == x.shape
    assert out.flags.writeable
    assert out.flags.aligned
    assert base.tobytes() == before
    assert not np.shares_memory(out, base)
    assert same_bits(np.ascontiguousarray(out), OUT_OF_PLACE[function](x))
    out[...] = GUARD  # results are the caller's own
    assert base.tobytes() == before


@pytest.mark.parametrize("function", [f for f in OUT_OF_PLACE if "arrays" not in f])
def test_results_are_dense_and_keep_the_order_of_the_axes(dtype, function):
    x = sample(dtype)
    assert OUT_OF_PLACE[function](x).flags.c_contiguous
    assert OUT_OF_PLACE[function](fortran(x)[0]).flags.f_contiguous
    assert OUT_OF_PLACE[function](transposed(x)[0]).transpose(1, 0, 2).flags.c_contiguous
    assert OUT_OF_PLACE[function](sliced(x)[0]).flags.c_contiguous
    assert OUT_OF_PLACE[function](sliced(x)[0].T).flags.f_contiguous


@pytest.mark.parametrize("step", [-1, -2, 2, 3])
def test_one_dimension(dtype, step):
    base = np.arange(1, 20, dtype=dtype)
    x = np.ascontiguousarray(base[::step])
    for function, call in OUT_OF_PLACE.items():
        assert same_bits(call(base[::step]), call(x)), function
    for function, call in IN_PLACE.items():
        inside = base.copy()
        expected = x.copy()
        call(expected)
        call([inside[::step]])
        assert same_bits(np.ascontiguousarray(inside[::step]), expected), function


def test_a_norm_has_the_same_bits_in_place_and_out_of_place(dtype):
    x = np.random.default_rng(4).normal(size=(30, 40, 50)).astype(dtype)
    for view in (x, x.T, x[::2, ::-1], x[:, 1:, ::3].transpose(2, 0, 1), x[::-1].swapaxes(0, 1)):
        norm = fastclip.global_norm([view])
        assert fastclip.clip_by_global_norm([view], 1.0)[1] == norm
        assert fastclip.measure([view]).norm == norm
        assert fastclip.clip_by_global_norm_([view.copy(order="K")], 1.0) == norm
        assert fastclip.clip_by_global_norm_(view, 1e9) == norm


@pytest.mark.parametrize("layout", LAYOUTS)
def test_norms_and_measurements_of_every_layout(dtype, layout):
    x = sample(dtype)
    view, base = layout(x)
    before = base.tobytes()
    assert fastclip.norm(view) == fastclip.norm(x) == dtype(fastclip.global_norm([view]))
    m = fastclip.measure([view])
    assert (m.zeros, m.nonfinite, m.max_abs) == (3, 0, float(np.abs(x).max()))
    view[2, 1, 6] = np.nan
    assert fastclip.measure([x, view]).first_nonfinite == (1, (2, 1, 6))
    view[2, 1, 6] = x[2, 1, 6]
    assert base.tobytes() == before


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (0,), (0, 3), (3, 0, 2)])
def test_shapes_of_one_and_no_element(dtype, shape):
    x = np.full(shape, 3.0, dtype)
    for function, call in OUT_OF_PLACE.items():
        if ("arrays" in function or "axes" in function) and shape == ():
            continue
        assert call(x).shape == shape
    g = [x, None, x.T.copy()]
    fastclip.clip_by_value_(g, 0.0, 1.0)
    assert (x == 1.0).all()
    fastclip.clip_by_norm_(g, 0.5)
    assert (x == 0.5).all()


@pytest.mark.parametrize("order", ["=", "<" if sys.byteorder == "little" else ">"])
def test_native_byte_order_by_either_name(dtype, order):
    x = np.array([3.0, 4.0], dtype).view(np.dtype(dtype).newbyteorder(order))
    assert fastclip.clip_by_global_norm_([x], 2.5) == 5.0
    assert x.tolist() == [1.5, 2.0]
    assert fastclip.global_norm([x]) == fastclip.measure([x]).norm == fastclip.norm(x) == 2.5
    for call in IN_PLACE.values():
        x[...] = [30.0, 40.0]
        call([x])
        assert x[0] < 3.0
    for name, call in OUT_OF_PLACE.items():
        x[...] = [30.0, 40.0]
        assert (call(x)[0] < 3.0) == ("within" not in name)


# ---- subclasses


def test_memmaps_are_clipped_in_their_file(dtype, tmp_path):
    path = tmp_path / "gradient"
    x = np.memmap(path, dtype, "w+", shape=(2, 3))
    x[...] = 2.0
    fastclip.clip_by_value_([x], 0.0, 1.0)
    x.flush()
    assert np.fromfile(path, dtype).tolist() == [1.0] * 6
    out = fastclip.clip_by_value(x, 0.0, 0.5)
    assert type(out) is np.ndarray
    assert x[0, 0] == 1.0
    del x
    readonly = np.memmap(path, dtype, "r")
    assert fastclip.global_norm([readonly]) == np.sqrt(6.0)
    with pytest.raises(ValueError, match=r"^clip_by_value_: t\[0\] is read-only"):
        fastclip.clip_by_value_([readonly], 0.0, 0.5)
    assert fastclip.clip_by_global_norm([readonly], 0.0)[0][0].tolist() == [0.0] * 6


class Special(np.ndarray):
    """A subclass that must not be asked to compute anything."""

    def __array_ufunc__(self, *args, **kwargs):
        raise AssertionError("a ufunc was called")

    def __getitem__(self, key):
        raise AssertionError("an element was asked for")


@pytest.mark.parametrize("function", IN_PLACE)
def test_subclasses_are_clipped_in_place_as_arrays(dtype, function):
    x = sample(dtype)
    expected = x.copy()
    IN_PLACE[function]([expected])
    IN_PLACE[function]([x.view(Special)])
    assert same_bits(x, expected)


@pytest.mark.parametrize("function", OUT_OF_PLACE)
def test_subclasses_give_their_own_kind(dtype, function):
    x = sample(dtype)
    out = OUT_OF_PLACE[function](x.view(Special))
    assert type(out) is Special  # what its __array_wrap__ makes, as for NumPy's own functions
    assert same_bits(out.view(np.ndarray), OUT_OF_PLACE[function](x))


def test_matrices_stay_matrices():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        x = np.matrix([[3.0, 4.0]])
    assert fastclip.global_norm([x]) == 5.0
    assert type(fastclip.clip_by_norm(x, 2.5)) is np.matrix
    assert type(fastclip.clip_by_global_norm([x], 2.5)[0][0]) is np.matrix
    assert fastclip.clip_by_norm_([x], 2.5, axes=1) is None
    assert x.tolist() == [[1.5, 2.0]]


@pytest.mark.parametrize("function", [*IN_PLACE, *OUT_OF_PLACE])
def test_masked_arrays_are_refused(function):
    x = np.ma.masked_array([3.0, 4.0], mask=[False, True])
    call = IN_PLACE.get(function) or OUT_OF_PLACE[function]
    with pytest.raises(TypeError, match=rf"^{function.partition('(')[0]}: t(_list\[0\])? is a masked array; pass t"):
        call(x) if function in OUT_OF_PLACE or "global" not in function else call([x])
    assert x.data.tolist() == [3.0, 4.0]
