# SPDX-License-Identifier: BSD-3-Clause
"""Views of one memory: disjoint ones are clipped, the same one twice is clipped once, anything else is refused."""

import itertools
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import fastclip


def halve(t):
    """Multiply by exactly one half what is listed, whatever its norm."""
    fastclip.clip_by_global_norm_(t, 1.0, use_norm=2.0)


IN_PLACE = {
    "clip_by_global_norm_": halve,
    "clip_by_norm_": lambda t: fastclip.clip_by_norm_(t, 1e-3),
    "clip_by_norm_(axes)": lambda t: fastclip.clip_by_norm_(t, 1e-3, axes=0),
    "clip_by_average_norm_": lambda t: fastclip.clip_by_average_norm_(t, 1e-9),
    "clip_by_value_": lambda t: fastclip.clip_by_value_(t, -0.5, 0.5),
}
SHARE = r"share memory, and an element can't be clipped twice\. Pass copies\.$"


# ---- disjoint


@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize("d", [1, 8, 23])
def test_column_blocks_of_one_matrix_are_disjoint(dtype, d, kind):
    qkv = np.random.default_rng(0).normal(size=(16, 24)).astype(dtype)
    copies = [qkv[:, :d].copy(), qkv[:, d:].copy()]
    norm = fastclip.clip_by_global_norm_(copies, 1.5)
    assert fastclip.clip_by_global_norm_(kind([qkv[:, :d], qkv[:, d:]]), 1.5) == pytest.approx(norm, rel=2.0**-44)
    np.testing.assert_array_equal(qkv, np.concatenate(copies, axis=1))


@pytest.mark.parametrize("function", IN_PLACE)
def test_interleaved_views_are_disjoint(dtype, function):
    base = np.ones((6, 8), dtype)
    views = [base[::2, ::2], base[::2, 1::2], base[1::2, 6::-2], base[1::2, 7::-2]]
    IN_PLACE[function](views)
    assert (base < 1.0).all()
    alone = np.ones((3, 4), dtype)
    IN_PLACE[function]([alone])
    if function != "clip_by_global_norm_":
        assert (base == alone[0, 0]).all()


def test_parts_of_a_complex_array_and_fields_of_a_record_are_disjoint():
    z = np.full(5, 1.0 + 1.0j)
    halve([z.real, z.imag])
    assert (z == 0.5 + 0.5j).all()
    record = np.ones(5, [("a", "f4"), ("n", "u1"), ("b", "f8")])
    halve([record["a"], record["b"]])
    assert record.tolist() == [(0.5, 1, 0.5)] * 5


def test_neighbours_and_empty_views_are_disjoint(dtype):
    base = np.ones(12, dtype)
    halve([base[4:8], base[:4], base[6:6], base[8:], base[2:2], base[0:0]])
    assert (base == 0.5).all()


# ---- the same


def aliases(base):
    yield "itself", base, base
    yield "a view", base, base[...]
    yield "reshaped", base, base.reshape(-1)
    yield "reshaped twice", base.reshape(2, -1), base.reshape(-1, 2)
    yield "transposed", base, base.T
    yield "with an axis of one", base, base[:, None]
    yield "from an axis of one", base[None], base.T[..., None]
    yield "columns", base[:, ::2], base[:, ::2]
    yield "columns transposed", base[:, ::2], base[:, ::2].T
    yield "columns with an axis of one", base[:, ::2], base[:, None, ::2]
    yield "columns from an axis of one", base[None, :, ::2], base.T[::2, None, :]
    yield "reversed", base[::-1], base[::-1]
    yield "one element", base[1:2, 2:3], base[1, 2, ...]
    yield "a subclass", base, np.asarray(base).view(type("Special", (np.ndarray,), {}))


NAMES = [name for name, _, _ in aliases(np.ones((4, 6)))]


@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize("i", range(len(NAMES)), ids=NAMES)
def test_the_same_memory_is_scaled_once(dtype, i, kind):
    base = np.ones((4, 6), dtype)
    _, a, b = list(aliases(base))[i]
    expected = base.copy()
    expected_view = list(aliases(expected))[i][1]
    expected_view *= dtype(0.5)
    halve(kind([a, b, None, a]))
    np.testing.assert_array_equal(base, expected)
    # and beside other views, which send every list down the exact path
    other = np.ones((4, 6), dtype)
    halve(kind([a, other[:, ::2], b, other[:, 1::2]]))
    np.testing.assert_array_equal(a, np.full(a.shape, 0.25))
    np.testing.assert_array_equal(other, np.full((4, 6), 0.5))


@pytest.mark.parametrize("kind", [list, iter])
def test_every_entry_counts_in_the_norm(dtype, kind):
    a = np.array([3.0, 4.0], dtype)
    assert fastclip.clip_by_global_norm_(kind([a, a, {"again": [a, a]}]), 5.0) == 10.0
    assert a.tolist() == [1.5, 2.0]
    b = np.array([[3.0], [4.0]], dtype)
    assert fastclip.global_norm([b, b, b.T, b.reshape(-1)]) == 10.0


@pytest.mark.parametrize("function", IN_PLACE)
def test_twice_is_as_once(dtype, function):
    once, twice = np.full((2, 3), 3.0, dtype), np.full((2, 3), 3.0, dtype)
    IN_PLACE[function]([once])
    IN_PLACE[function]([twice, twice, twice.copy(), twice])
    np.testing.assert_array_equal(twice, once)


# ---- in part


def partial_overlaps():
    base = np.ones(24)
    square = base.reshape(4, 6)
    yield base, base[1:]
    yield base[:13], base[12:]
    yield base, base[::2]
    yield base, base[::-1]
    yield square, square[1]
    yield square[:, :4], square[:, 3:]
    yield square[:2], base[11:12]
    yield base, base.view(np.float32)
    yield base.view(np.uint8)[4:-4].view(np.float64), base
    yield base[3:4], base.view(np.float32)[7:8]
    yield base[::3], base[::4]


PARTIAL = list(partial_overlaps())


@pytest.mark.parametrize("i", range(len(PARTIAL)))
@pytest.mark.parametrize("function", IN_PLACE)
def test_partial_overlap_is_refused(function, i):
    a, b = PARTIAL[i]
    name, argument = function.partition("(")[0], "t_list" if "global" in function else "t"
    either = "|".join(re.escape(f"{argument}['{x}'] and {argument}['{y}']") for x, y in ("ab", "ba"))
    before = a.tobytes()
    for t in ({"a": a, "b": b}, {"b": b, "a": a}, {"a": a, "x": np.ones(3), "b": b}):
        with pytest.raises(ValueError, match=rf"^{name}: ({either}) {SHARE}"):
            IN_PLACE[function](t)
    assert a.tobytes() == before


def test_partial_overlap_may_be_read():
    base = np.array([3.0, 4.0, 0.0])
    assert fastclip.global_norm([base[:2], base[1:], base[::-1]]) == np.sqrt(25.0 + 16.0 + 25.0)
    out, _ = fastclip.clip_by_global_norm([base[:2], base[1:]], 0.0)
    assert [x.tolist() for x in out] == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("strides", [(0,), (4,), (-4,), (0, 8), (8, 8), (16, 8), (-8, 8), (24, 16, 8)])
def test_an_array_that_meets_itself_is_refused(strides):
    base = np.ones(64)
    a = as_strided(base[32:], (3,) * len(strides), strides)
    assert a.flags.writeable
    for function, call in IN_PLACE.items():
        pattern = rf"^{function.partition('(')[0]}: t(_list)?\[0\] holds one element at several places \(strides .*\)"
        with pytest.raises(ValueError, match=pattern):
            call([a])
    assert (base == 1.0).all()


@pytest.mark.parametrize("strides", [(24,), (-24,), (8, 24), (-24, 8), (16, 40), (32, 48)])
def test_strides_that_do_not_nest_are_fine_where_no_element_meets(strides):
    base = np.ones(64)
    a = as_strided(base[32:], (3, 2)[: len(strides)], strides)
    halve([a])
    assert (a == 0.5).all()
    assert np.count_nonzero(base == 0.5) == a.size


# ---- the exact decision, against brute force


def addresses(a):
    start = a.ctypes.data
    offsets = [[i * stride for i in range(n)] for n, stride in zip(a.shape, a.strides, strict=True)]
    return [start + sum(index) for index in itertools.product(*offsets)]


def meets_itself(a):
    at = sorted(addresses(a))
    return any(y - x < a.itemsize for x, y in itertools.pairwise(at))


def same_elements(a, b):
    """The same elements in the same order, that of memory: equal but for axes' order, axes of one, and splits."""
    return a.dtype == b.dtype and a.size == b.size and in_memory_order(a) == in_memory_order(b)


def in_memory_order(a):
    """The layout: strides of axes longer than one, neighbours that walk as one joined where the array is dense."""
    axes = sorted((-abs(stride), stride, n) for stride, n in zip(a.strides, a.shape, strict=True) if n > 1)
    size, dense = a.itemsize, True
    for _, stride, n in reversed(axes):
        dense = dense and stride == size
        size *= n
    return (a.ctypes.data, [("dense", a.size)] if dense else axes)


@st.composite
def views(draw, base):
    ndim = draw(st.integers(0, 3))
    shape = draw(st.lists(st.integers(0, 3), min_size=ndim, max_size=ndim))
    strides = draw(st.lists(st.integers(-6, 6), min_size=ndim, max_size=ndim))
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)] if 0 not in shape else []
    low, high = -sum(r for r in reach if r < 0), base.size - 1 - sum(r for r in reach if r > 0)
    if low > high:
        return base[:0]
    offset = draw(st.integers(low, high))
    return as_strided(base[offset:], shape, [s * base.itemsize for s in strides])


@settings(max_examples=600)
@given(st.data())
def test_refused_exactly_when_an_element_is_met_twice(data):
    base = np.ones(16, data.draw(st.sampled_from([np.float32, np.float64])))
    arrays = data.draw(st.lists(views(base), min_size=1, max_size=4))
    filled = [a for a in arrays if a.size]
    bad = any(meets_itself(a) for a in filled) or any(
        np.shares_memory(a, b) and not same_elements(a, b) for a, b in itertools.combinations(filled, 2)
    )
    expected = np.ones(16)
    if not bad:
        for a in filled:
            expected[[(at - base.ctypes.data) // base.itemsize for at in addresses(a)]] = 0.5
    for kind in (list, iter):
        base[...] = 1.0
        if bad:
            with pytest.raises(ValueError, match=r"^clip_by_global_norm_: t_list\[\d\] (and|holds) .*Pass (a )?cop"):
                halve(kind(arrays))
        else:
            halve(kind(arrays))
        np.testing.assert_array_equal(base, expected)


# ---- many, and too many


def test_many_interleaved_views():
    base = np.ones((50, 400))
    halve([base[:, i] for i in range(400)])
    assert (base == 0.5).all()
    halve([base[i::7].T for i in range(7)] + [np.ones(3) for _ in range(2000)])
    assert (base == 0.25).all()


def test_what_is_too_costly_to_decide_is_refused_soon():
    base = np.ones((4, 5000))
    begin = time.monotonic()
    with pytest.raises(ValueError, match=r"may share memory \(too costly to decide\)"):
        halve([base[:, i] for i in range(5000)])
    hard = np.ones(10**6)
    shape, strides = (7,) * 6, [8 * s for s in (8419, 10007, 7919, 12007, 9973, 11003)]
    with pytest.raises(ValueError, match=r"too costly to decide|at several places"):
        halve([as_strided(hard, shape, strides), as_strided(hard[1:], shape, strides)])
    assert time.monotonic() - begin < 5.0  # 0.3 s on an idle machine
    assert (base == 1.0).all()
    assert (hard == 1.0).all()


@pytest.mark.parametrize("kind", [list, iter])
def test_one_array_listed_ten_thousand_times(kind):
    a = np.full(4, 2.0)
    begin = time.monotonic()
    assert fastclip.clip_by_global_norm_(kind([a] * 10_000), 200.0) == 400.0
    fastclip.clip_by_norm_(kind([a] * 10_000), 1.0)
    fastclip.clip_by_norm_(kind([a] * 10_000), 0.5, axes=0)
    assert a.tolist() == [0.25] * 4
    assert time.monotonic() - begin < 5.0  # pair by pair: minutes
