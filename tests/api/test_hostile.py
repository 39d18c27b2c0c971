# SPDX-License-Identifier: BSD-3-Clause
"""Arrays that lie, that change and that raise: a typed error, nothing written, nothing leaked, no crash."""

import ctypes
import importlib
import mmap
from types import SimpleNamespace

import capsules
import numpy as np
import pytest
from capsules import LEGACY, Producer
from hostile import CALLS, READING, refused

import fastclip

pytestmark = pytest.mark.skipif(fastclip.show_config()["isas"] == ("none",), reason="the import is native")

# ---- H1: read-only


def mapped(tmp_path):
    path = tmp_path / "a"
    np.full(4, 5.0).tofile(path)
    return np.memmap(path, np.float64, mode="r")


def test_h1_what_is_read_only_is_not_written(tmp_path):
    locked = np.full(4, 5.0)
    locked.flags.writeable = False
    for make in (
        lambda: locked,
        lambda: memoryview(np.full(4, 5.0)).toreadonly(),
        lambda: memoryview(bytes(8)).cast("f"),
        lambda: mapped(tmp_path),
        lambda: Producer(np.full(4, 5.0), flags=capsules.READ_ONLY),
        lambda: Producer(np.full(4, 5.0), LEGACY),
    ):
        refused(CALLS, make, ValueError, r"^clip_[a-z_]+_: t(_list)?\[\d\] is read-only")
        for call in READING.values():
            call([make()])


@pytest.mark.parametrize("package", ["jax", "jaxlib._jax", "tensorflow.python.framework.ops"])
def test_h1_tensors_of_immutable_frameworks_are_not_written_whatever_they_say(package):
    kind = type("Tensor", (Producer,), {"__module__": package})
    child = type("Mine", (kind,), {})
    for make in (lambda: kind(np.full(4, 5.0)), lambda: child(np.full(4, 5.0))):
        name = package.partition(".")[0]
        refused(CALLS, make, ValueError, rf"from {name}, whose arrays are immutable; use clip_by_[a-z_]+[a-z], which")
        for call in READING.values():
            call([make()])


# ---- H2: the same memory


def test_h2_memory_is_found_again_whoever_lends_it():
    block = bytearray(np.array([3.0, 4.0, 0.0]).tobytes())
    views = [memoryview(block).cast("d"), np.frombuffer(block), (ctypes.c_double * 3).from_buffer(block)]
    assert fastclip.clip_by_global_norm_([*views, Producer(views[1])], 5.0) == 10.0
    assert views[1].tolist() == [1.5, 2.0, 0.0]
    for bad in (views[0][1:], views[0][::-1], memoryview(block).cast("f"), Producer(views[1][:2])):
        with pytest.raises(ValueError, match="share memory"):
            fastclip.clip_by_value_([views[2], bad], 0.0, 0.5)
    with pytest.raises(ValueError, match="holds one element at several places"):
        fastclip.clip_by_norm_(Producer(views[1], strides=[0]), 0.1)
    assert views[1].tolist() == [1.5, 2.0, 0.0]


# ---- H3: other elements


class Odd(ctypes.Structure):
    _fields_ = [("x", ctypes.c_float)]


def test_h3_other_elements_are_never_taken_for_floats():
    makes = [
        lambda: np.zeros(2, "V2"),
        lambda: np.zeros(2, [("a", "f4")]),
        lambda: np.zeros(2, "M8[s]"),
        lambda: np.ones(2, complex),
        lambda: np.ones(2, bool),
        lambda: (ctypes.c_bool * 2)(),
        lambda: (Odd * 2)(),
        lambda: (ctypes.c_char * 4)(),
        lambda: (ctypes.c_wchar * 4)(),
        lambda: ctypes.pointer(ctypes.c_float(1.0)),
        lambda: memoryview(b"abcd").cast("c"),
        lambda: bytearray(8),
        lambda: mmap.mmap(-1, 8),
    ]
    for make in makes:
        refused(CALLS | READING, make, TypeError)
    norms = {k: v for k, v in (CALLS | READING).items() if "value" not in k}
    for make in (
        lambda: np.ones(2, "S4").view("S4").view(">f4"),
        lambda: np.ones(2, np.longdouble),
        lambda: (ctypes.c_float.__ctype_be__ * 2)(1.0, 2.0),
        lambda: (ctypes.c_int * 2)(),
    ):
        refused(norms, make, TypeError, r"expected float16, bfloat16, float32 or float64\. Convert it: ")


def test_h3_bfloat16_in_the_other_byte_order_is_not_bfloat16():
    bfloat16 = np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    norms = {k: v for k, v in (CALLS | READING).items() if "value" not in k}
    swapped = np.array([3.0, 4.0], bfloat16).astype(bfloat16.newbyteorder("S"))
    refused(norms, lambda: swapped, TypeError, "Convert it: .*newbyteorder")
    assert fastclip.clip_by_value(swapped, 0.0, 3.5).astype(np.float32).tolist() == [3.0, 3.5]


# ---- H4: those that are more than their memory


def test_h4_masks_are_not_dropped():
    refused(CALLS | READING, lambda: np.ma.masked_array([3.0, 4.0], [0, 1]), TypeError, "is a masked array")
    masked = SimpleNamespace(__array__=lambda: np.ma.masked_array([3.0, 4.0], [0, 1]))
    refused(READING, lambda: masked, TypeError, "is a masked array")


def test_h4_an_array_that_gives_copies_is_read_and_not_written():
    class Frame:
        def __array__(self, dtype=None, copy=None):
            return np.array([3.0, 4.0])

    assert fastclip.global_norm([Frame()]) == 5.0
    assert fastclip.clip_by_norm(Frame(), 2.5).tolist() == [1.5, 2.0]
    assert fastclip.clip_by_global_norm({"w": Frame()}, 2.5)[0]["w"].tolist() == [1.5, 2.0]
    refused(CALLS, Frame, TypeError, r"of type Frame, which gives copies .* use clip_by_[a-z_]+[a-z], which returns")


def test_h4_an_array_method_may_raise_or_give_anything():
    def raising():
        raise KeyError("no data")

    refused(READING, lambda: SimpleNamespace(__array__=raising), TypeError, "can't be taken as an array: 'no data'")
    refused(READING, lambda: SimpleNamespace(__array__=lambda: [1.0]), TypeError, "expected a NumPy array")


# ---- H5: writes are not lost in a copy


def test_h5_what_is_clipped_in_place_is_clipped_in_its_own_memory():
    block = bytearray(np.arange(12, dtype=np.float32).tobytes())
    makes = [
        lambda b: memoryview(b).cast("f"),
        lambda b: memoryview(b).cast("f")[::-2],
        lambda b: memoryview(b).cast("B").cast("f", (3, 4)),
        lambda b: (ctypes.c_float * 12).from_buffer(b),
        lambda b: (ctypes.c_float * 3 * 4).from_buffer(b),
        lambda b: Producer(np.frombuffer(b, np.float32).reshape(3, 4).T),
    ]
    for make in makes:
        for call in CALLS.values():
            copy = bytearray(block)
            call([make(copy)])
            assert copy != block


# ---- H6: lying interfaces


def test_h6_an_array_interface_is_not_believed():
    a = np.full(4, 5.0)

    class Lying:
        @property
        def __array_interface__(self):
            return {**a.__array_interface__, "shape": (1 << 40,)}

    class Both(Lying):
        def __array__(self, dtype=None, copy=None):
            return a.copy()

    refused(CALLS, Lying, TypeError)
    refused(CALLS, Both, TypeError)
    for call in READING.values():
        call([Both()])  # reads what __array__ gives, or the 8 TB would end the process
    assert fastclip.global_norm([Both()]) == 10.0
    assert (a == 5.0).all()


# ---- H8, H9: arguments and lists that act


def test_h8_bounds_are_read_before_any_array():
    made = Producer(np.full(4, 5.0))
    for call in (
        lambda: fastclip.clip_by_norm_(made, "1"),
        lambda: fastclip.clip_by_value_(made, None, 1.0),
        lambda: fastclip.clip_by_global_norm_([made], float("nan")),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()
    assert made.made == 0


def test_h9_a_list_that_its_own_entries_change():
    t = [np.full(4, 5.0)]

    class Acting(Producer):
        def __dlpack__(self, **options):
            t.clear()
            return super().__dlpack__(**options)

    a, acting = t[0], Acting(np.full(4, 5.0))
    t.extend([acting, Producer(np.full(4, 5.0))])
    assert fastclip.clip_by_global_norm_(t, 1.0) in (np.sqrt(200.0), np.sqrt(300.0))
    assert t == []
    assert acting.array.tolist() == a.tolist() != [5.0] * 4
