# SPDX-License-Identifier: BSD-3-Clause
"""The buffer protocol: written in its own memory, locked during a call and not after it; and integers by value."""

import array
import ctypes
import math
import mmap
import sys
import threading
import time

import numpy as np
import pytest
from oracle import same_bits

import fastclip

CALLS = {
    "clip_by_global_norm_": lambda t: fastclip.clip_by_global_norm_([t], 2.5),
    "clip_by_norm_": lambda t: fastclip.clip_by_norm_(t, 2.5),
    "clip_by_norm_(axes)": lambda t: fastclip.clip_by_norm_(t, 2.5, axes=0),
    "clip_by_average_norm_": lambda t: fastclip.clip_by_average_norm_([t], 1.25),
    "clip_by_value_": lambda t: fastclip.clip_by_value_(t, 1.5, 2.0),
}
OUT = {
    "clip_by_global_norm": lambda t: fastclip.clip_by_global_norm([t], 2.5)[0][0],
    "clip_by_norm": lambda t: fastclip.clip_by_norm(t, 2.5),
    "clip_by_norm(axes)": lambda t: fastclip.clip_by_norm(t, 2.5, axes=0),
    "clip_by_average_norm": lambda t: fastclip.clip_by_average_norm(t, 1.25),
    "clip_by_value": lambda t: fastclip.clip_by_value(t, 1.5, 2.0),
}


def from_mmap(values, code):
    block = mmap.mmap(-1, values.nbytes)
    block[:] = values.tobytes()
    return memoryview(block).cast(code)


BUFFERS = {
    "array.array": lambda v, code: array.array(code, v.tolist()),
    "memoryview": lambda v, code: memoryview(array.array(code, v.tolist())),
    "bytearray": lambda v, code: memoryview(bytearray(v.tobytes())).cast(code),
    "mmap": from_mmap,
    "ctypes": lambda v, code: ({"f": ctypes.c_float, "d": ctypes.c_double}[code] * v.size)(*v.tolist()),
    "memoryview of an array": lambda v, code: memoryview(v.copy()),
}


@pytest.mark.parametrize("code", ["f", "d"])
@pytest.mark.parametrize("kind", BUFFERS)
@pytest.mark.parametrize("function", CALLS)
def test_buffers_are_clipped_in_place(function, kind, code):
    values = np.array([3.0, 4.0], code)
    expected = values.copy()
    CALLS[function](expected)
    assert not same_bits(expected, values)
    buffer = BUFFERS[kind](values, code)
    CALLS[function](buffer)
    assert same_bits(np.asarray(buffer), expected)


@pytest.mark.parametrize("code", ["f", "d"])
@pytest.mark.parametrize("kind", BUFFERS)
@pytest.mark.parametrize("function", OUT)
def test_buffers_give_new_arrays_out_of_place(function, kind, code):
    values = np.array([3.0, 4.0], code)
    buffer = BUFFERS[kind](values, code)
    out = OUT[function](buffer)
    assert type(out) is np.ndarray
    assert same_bits(out, OUT[function](values))
    assert same_bits(np.asarray(buffer), values)
    assert not np.shares_memory(out, np.asarray(buffer))
    assert fastclip.global_norm([buffer]) == fastclip.measure(buffer).norm == 5.0


@pytest.mark.parametrize("code", ["f", "<f", "=f", "@f", "d", "<d", "=d", "e", "<e", "=e"])
@pytest.mark.skipif(sys.byteorder != "little", reason="'<' is the other byte order here")
def test_formats_that_mean_the_same(code):
    tb = pytest.importorskip("_testbuffer")
    buffer = tb.ndarray([3.0, 4.0], shape=[2], format=code, flags=tb.ND_WRITABLE)
    assert memoryview(buffer).format == code
    fastclip.clip_by_global_norm_({"w": buffer}, 2.5)
    assert buffer.tolist() == [1.5, 2.0]
    fastclip.clip_by_value_(buffer, 0.0, 1.75)
    assert buffer.tolist() == [1.5, 1.75]


def test_buffers_of_pointers_are_refused():
    tb = pytest.importorskip("_testbuffer")
    buffer = tb.ndarray([1.0, 2.0, 3.0, 4.0], shape=[2, 2], format="f", flags=tb.ND_PIL)
    with pytest.raises(TypeError, match=r"^clip_by_norm: t, of type ndarray, can't be taken as an array: .*suboffsets"):
        fastclip.clip_by_norm(buffer, 1.0)


@pytest.mark.parametrize("code", [">f", ">d"])
def test_the_other_byte_order_is_refused_but_for_values(code):
    tb = pytest.importorskip("_testbuffer")
    buffer = tb.ndarray([3.0, 4.0], shape=[2], format=code, flags=tb.ND_WRITABLE)
    with pytest.raises(TypeError, match=r"^clip_by_norm_: t is >f\d; .* Convert it: np\.asarray\(t\)\.astype"):
        fastclip.clip_by_norm_(buffer, 1.0)
    fastclip.clip_by_value_(buffer, 0.0, 3.5)
    assert buffer.tolist() == [3.0, 3.5]


def test_a_file_is_clipped_through_its_map(tmp_path):
    path = tmp_path / "gradient"
    np.array([3.0, 4.0], np.float32).tofile(path)
    mapped = np.memmap(path, np.float32, mode="r+")
    assert type(fastclip.clip_by_norm(mapped, 1.0)) is np.ndarray
    assert np.fromfile(path, np.float32).tolist() == [3.0, 4.0]
    assert fastclip.clip_by_global_norm_([mapped], 2.5) == 5.0
    mapped.flush()
    assert np.fromfile(path, np.float32).tolist() == [1.5, 2.0]


def test_a_released_memoryview_is_refused():
    view = memoryview(array.array("f", [3.0, 4.0]))
    view.release()
    with pytest.raises(TypeError, match=r"^clip_by_norm_: t is .*; expected an array"):
        fastclip.clip_by_norm_(view, 1.0)


# ---- exports


@pytest.mark.parametrize("call", [*CALLS, *OUT])
def test_a_buffer_is_free_after_a_call(call):
    block = array.array("f", [3.0, 4.0])
    kept = (CALLS | OUT)[call](block)
    block.append(1.0)  # a BufferError, if anybody had an export
    with pytest.raises(TypeError):
        fastclip.clip_by_norm_([block, "no array"], 1.0)
    block.append(1.0)
    del kept
    mapped = mmap.mmap(-1, 4096)
    with memoryview(mapped) as raw, raw.cast("f") as floats:
        (CALLS | OUT)[call](floats)
    mapped.close()


def test_a_buffer_is_locked_during_a_call():
    block = array.array("f", bytes(64 << 20))
    done, refused = threading.Event(), 0

    def work():
        while not done.is_set():
            fastclip.clip_by_global_norm_([block], 1.0)

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(300):
        try:
            block.append(0.0)
            block.pop()
        except BufferError:
            refused += 1
        time.sleep(0.0003)
    done.set()
    thread.join()
    assert refused > 0
    block.append(0.0)


# ---- integers and long doubles, by value

INTEGERS = [f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)]


@pytest.mark.parametrize("dtype", [*INTEGERS, ">i2", ">u8"])
def test_integers_are_clipped_to_integers(dtype):
    info = np.iinfo(dtype)
    x = np.array([[info.min, 0, 3], [9, info.max - 1, info.max]], dtype)
    for lo, hi in ((1, 5), (1.0, np.float64(5.0)), (np.int8(1), np.array(5)), (-math.inf, 7), (2, math.inf), (5, 3)):
        least, most = (int(b) if math.isfinite(b) else (info.min if b < 0 else info.max) for b in (lo, hi))
        expected = [[max(min(int(v), most), least) for v in row] for row in x]  # exactly, and lo wins
        before = fastclip.show_config()["calls"]["delegated"]
        out = fastclip.clip_by_value(x, lo, hi)
        assert out.dtype == x.dtype
        assert out.tolist() == expected
        copy = x.copy()
        fastclip.clip_by_value_([copy, None, copy[:0]], lo, hi)
        assert copy.tolist() == expected
        assert fastclip.show_config()["calls"]["delegated"] == before + 2
        if math.isfinite(lo):
            assert fastclip.clip_by_value(x, [lo], np.full(3, hi)).tolist() == expected


def test_bounds_of_64_bits_are_exact():
    x = np.array([2**63 - 2, 2**63 - 1, -(2**63)])
    assert fastclip.clip_by_value(x, 1 - 2**63, 2**63 - 2).tolist() == [2**63 - 2, 2**63 - 2, 1 - 2**63]
    wide = np.array([1 - 2**63]), np.array([2**63 - 2])
    assert fastclip.clip_by_value(x, *wide).tolist() == [2**63 - 2, 2**63 - 2, 1 - 2**63]
    with pytest.raises(ValueError, match=r"holds 9\.2233\d+e\+18, but t is int64"):
        fastclip.clip_by_value(x, [0.0], [2.0**63])


BOUNDS = {
    "a fraction": (0.5, r"is 0\.5 \(float\), but {} is uint8; pass an integer\."),
    "NaN": (math.nan, r"is nan \(float\), but {} is uint8; pass an integer\."),
    "below": (-1, r"is -1 \(int\), but {} is uint8 \(0 to 255\); pass one within, or -?math\.inf for none\."),
    "above": (256, r"is 256 \(int\), but {} is uint8 \(0 to 255\); pass one within, or -?math\.inf for none\."),
    "huge": (10**30, r"is 10+ \(int\), but {} is uint8 .*"),
}


@pytest.mark.parametrize("bound", BOUNDS)
def test_no_bound_wraps_around(bound):
    value, text = BOUNDS[bound]
    x, y, nested = np.array([1, 200], np.uint8), np.array([5.0]), r"t\[1\]\['w'\]"
    for lo, hi, place in ((value, 9, "min"), (0, value, "max")):
        with pytest.raises(ValueError, match=rf"^clip_by_value: clip_value_{place} {text.format('t')}$"):
            fastclip.clip_by_value(x, lo, hi)
        with pytest.raises(ValueError, match=rf"^clip_by_value_: clip_value_{place} {text.format(nested)}$"):
            fastclip.clip_by_value_([y, {"w": x}], lo, hi)
        if bound != "huge":
            with pytest.raises(
                ValueError, match=rf"^clip_by_value: clip_value_{place} holds .*, but .*from 0 to 255\.$"
            ):
                fastclip.clip_by_value(x, np.array([lo]), np.array([hi]))
    assert x.tolist() == [1, 200]
    assert y.tolist() == [5.0]
    for bad in (math.inf, [math.inf]):
        with pytest.raises(ValueError, match=r"clip_value_min (is|holds) inf"):
            fastclip.clip_by_value(x, bad, 9)


def test_long_doubles_keep_their_digits():
    third = np.longdouble(1) / 3
    x = np.array([third, -third, 0.0, -0.0, np.nan])
    assert x.dtype == np.longdouble
    out = fastclip.clip_by_value(x, -third, third)
    np.testing.assert_array_equal(out, x)
    assert np.signbit(out[3])
    bounds = np.array([third / 2])
    np.testing.assert_array_equal(fastclip.clip_by_value(x, -bounds, bounds)[:2], [third / 2, -third / 2])
    fastclip.clip_by_value_(x, 0, third / 2)
    np.testing.assert_array_equal(x, [third / 2, 0.0, 0.0, 0.0, np.nan])


def test_mixed_lists_are_clipped_in_one_call():
    t = [np.array([5.0]), np.array([5]), np.array([5.0], ">f4"), np.array([5.0], np.float16), array.array("h", [5])]
    fastclip.clip_by_value_(t, 0, 2)
    assert [np.asarray(x).tolist() for x in t] == [[2.0], [2], [2.0], [2.0], [2]]
    assert t[2].dtype == ">f4"


def test_read_only_integers_are_refused():
    x = np.array([1, 2, 3], np.int32)
    x.flags.writeable = False
    with pytest.raises(ValueError, match=r"^clip_by_value_: t is read-only; "):
        fastclip.clip_by_value_(x, 0, 9)
