# SPDX-License-Identifier: BSD-3-Clause
"""Bad input: the exact error, who says it about what, and not one byte changed."""

import array
import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastclip

ACCEPTED = r"expected float16, bfloat16, float32 or float64\."
F32, F64 = (rf"Convert it: .*\.astype\(np\.{dtype}\)\." for dtype in ("float32", "float64"))
SWAP = r'Convert it: .*\.astype\(.*\.dtype\.newbyteorder\("="\)\)\.'
PARTS = r"Clip its parts, .*\.view\(.*\.real\.dtype\), which have the same norm\."
ARRAY = r"expected an array: NumPy's, or one with a buffer or DLPack\."
RAW = r"bytes of no element type; pass memoryview\(.*\)\.cast\(\"f\"\) or np\.frombuffer\(.*, np\.float32\)\."


class Slices(NamedTuple):
    values: Any
    indices: Any


class Floats:
    def __float__(self):
        raise AssertionError("nobody may ask")


def readonly():
    a = np.ones(2)
    a.flags.writeable = False
    return a


def stuck():
    return np.lib.stride_tricks.as_strided(np.ones(2), (3,), (0,))


def windows():
    return np.lib.stride_tricks.as_strided(np.ones(5), (3, 3), (8, 8))


# what makes an entry that can't be an array to clip, the error, and the message behind "function: place "
ENTRIES = {
    "int": (lambda: np.ones(2, np.int32), TypeError, rf"is int32; {ACCEPTED} {F64}"),
    "bool": (lambda: np.ones(2, bool), TypeError, rf"is bool; {ACCEPTED} {F32}"),
    "longdouble": (
        lambda: np.ones(2, np.longdouble),
        TypeError,
        rf"is {np.dtype(np.longdouble)}; {ACCEPTED} {F64}",
    ),
    "complex": (
        lambda: np.ones(2, complex),
        TypeError,
        rf"is complex128; {ACCEPTED} {PARTS}",
    ),
    "object": (lambda: np.ones(2, object), TypeError, rf"is object; {ACCEPTED}"),
    "empty object": (lambda: np.zeros(0, object), TypeError, rf"is object; {ACCEPTED}"),
    "structured": (lambda: np.ones(2, [("a", "<f4"), ("b", "<i4")]), TypeError, rf"is \[\('a', .*\]; {ACCEPTED}"),
    "byte-swapped": (
        lambda: np.ones(2, np.dtype("=f4").newbyteorder("S")),
        TypeError,
        rf"is [<>]f4; {ACCEPTED} {SWAP}",
    ),
    "datetime": (lambda: np.zeros(2, "M8[s]"), TypeError, rf"is datetime64\[s\]; {ACCEPTED}"),
    "text": (lambda: np.array(["a"]), TypeError, rf"is <U1; {ACCEPTED}"),
    "void": (lambda: np.zeros(2, "V2"), TypeError, rf"is \|V2; {ACCEPTED}"),
    "masked": (lambda: np.ma.ones(2), TypeError, r"is a masked array; pass .*\.data, or .*\.filled\(0\)\."),
    "str": (lambda: "abc", TypeError, rf"is 'abc' \(str\); {ARRAY}"),
    "bytes": (lambda: b"abc", TypeError, rf"is b'abc' \(bytes\), {RAW}"),
    "bytearray": (lambda: bytearray(b"a"), TypeError, rf"is bytearray\(b'a'\) \(bytearray\), {RAW}"),
    "number": (lambda: 3.0, TypeError, rf"is 3\.0 \(float\); {ARRAY}"),
    "NumPy number": (lambda: np.float32(3.0), TypeError, rf"is np\.float32\(3\.0\) \(float32\); {ARRAY}"),
    "object()": (object, TypeError, rf"is <object object at .*> \(object\); {ARRAY}"),
    "long": (lambda: SimpleNamespace(text="x" * 99), TypeError, rf"is of type SimpleNamespace; {ARRAY}"),
    "array.array": (lambda: array.array("i", [1] * 9), TypeError, rf"is int32; {ACCEPTED} Convert it: np\.asarray.*"),
    "memoryview": (lambda: memoryview(np.ones(2, "S3")), TypeError, rf"is \|S3; {ACCEPTED}"),
}
# what `clip_by_value` leaves to NumPy
ONLY_NORMS = ["int", "longdouble", "byte-swapped", "array.array"]
WRITING = {
    "read-only": (readonly, ValueError, r"is read-only; pass a copy, or clip out of place\."),
    "broadcast": (lambda: np.broadcast_to(np.ones(1), 3), ValueError, r"is read-only; .*"),
    "stride 0": (stuck, ValueError, r"holds one element at several places \(strides \(0,\)\)\. Pass a copy\."),
    "windows": (windows, ValueError, r"holds one element at several places \(strides \(8, 8\)\)\. Pass a copy\."),
}

IN_PLACE = {
    "clip_by_global_norm_": ("t_list", lambda t: fastclip.clip_by_global_norm_(t, 1.0)),
    "clip_by_global_norm_ (use_norm)": ("t_list", lambda t: fastclip.clip_by_global_norm_(t, 1.0, 9.0)),
    "clip_by_norm_": ("t", lambda t: fastclip.clip_by_norm_(t, 0.1)),
    "clip_by_norm_ (axes)": ("t", lambda t: fastclip.clip_by_norm_(t, 0.1, axes=0)),
    "clip_by_average_norm_": ("t", lambda t: fastclip.clip_by_average_norm_(t, 0.1)),
    "clip_by_value_": ("t", lambda t: fastclip.clip_by_value_(t, 0.0, 1.0)),
}
READING = {
    "global_norm": ("t_list", fastclip.global_norm),
    "measure": ("t_list", fastclip.measure),
    "clip_by_global_norm": ("t_list", lambda t: fastclip.clip_by_global_norm(t, 1.0)),
}
PLACES = {
    "[3]": lambda bad: [np.ones(2), None, np.ones(1), bad, np.ones(2)],
    "['w'][1]": lambda bad: {"b": np.ones(2), "w": (np.ones(2), bad)},
    "[0]": lambda bad: iter([bad]),
    "[1].values": lambda bad: [np.ones(2), Slices(bad, np.zeros(1))],
}


def escaped(text):
    return "".join("\\" + c if c in "[]()." else c for c in text)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("entry", [*ENTRIES, *WRITING])
@pytest.mark.parametrize("function", [*IN_PLACE, *READING])
def test_the_message_says_who_where_what_and_what_else(function, entry, place):
    argument, call = (IN_PLACE | READING)[function]
    make, error, tail = (ENTRIES | WRITING)[entry]
    if (function in READING and entry in WRITING) or (function == "clip_by_value_" and entry in ONLY_NORMS):
        call(PLACES[place](make()))  # may be read, or clipped
        return
    pattern = rf"^{function.partition(' ')[0]}: {argument}{escaped(place)} {tail}$"
    with pytest.raises(error, match=pattern):
        call(PLACES[place](make()))


@pytest.mark.parametrize("function", IN_PLACE)
@pytest.mark.parametrize("entry", [e for e in (*ENTRIES, *WRITING)])
def test_a_lone_entry_is_named_by_its_argument(function, entry):
    argument, call = IN_PLACE[function]
    make, error, tail = (ENTRIES | WRITING)[entry]
    if function == "clip_by_value_" and entry in ONLY_NORMS:
        return
    with pytest.raises(error, match=rf"^{function.partition(' ')[0]}: {argument} {tail}$"):
        call(make())


def test_a_list_of_numbers_is_no_array_in_place():
    for function, (argument, call) in IN_PLACE.items():
        with pytest.raises(TypeError, match=rf"^{function.partition(' ')[0]}: {argument}\[0\] is 1\.0 \(float\); "):
            call([1.0, 2.0])


LISTS = [np.ones(2), 3.0, "abc", b"abc", None, np.float64(2), Slices(np.ones(2), 0)]


@pytest.mark.parametrize("t_list", LISTS, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("function", ["global_norm", "clip_by_global_norm"])
def test_functions_of_lists_refuse_anything_else_out_of_place(function, t_list):
    pattern = rf"^{function}: t_list is .*; expected a list of arrays\. Write \[t_list\] for one array\.$"
    with pytest.raises(TypeError, match=pattern):
        READING[function][1](t_list)


ONE = {
    "clip_by_norm": lambda t: fastclip.clip_by_norm(t, 1.0),
    "clip_by_average_norm": lambda t: fastclip.clip_by_average_norm(t, 1.0),
    "clip_by_value": lambda t: fastclip.clip_by_value(t, 0.0, 1.0),
}
# what can't be one array, and the message behind "function: t "
NOT_ONE = {
    "list of arrays": ([np.ones(2)], r"is a list of arrays; expected one\. Use {}_ \(in place\) for a list\."),
    "and None": ((None, np.ones(2)), r"is a list of arrays; expected one\. Use {}_ \(in place\) for a list\."),
    "ragged": ([[1.0], [1.0, 2.0]], r"is \[\[1\.0\], \[1\.0, 2\.0\]\] \(list\); expected an array: .*"),
    "dict": ({"w": np.ones(2)}, r"is \{{'w': array\(\[1\., 1\.\]\)\}} \(dict\); expected an array\. Use {}_ .*"),
    "generator": ((x for x in [1.0]), r"is of type generator; expected an array\. Use {}_ \(in place\) for a list\."),
    "None": (None, r"is None \(NoneType\); expected an array: NumPy's, .*"),
    "str": ("abc", r"is 'abc' \(str\); expected an array: NumPy's, .*"),
    "bytes": (b"a", r"is b'a' \(bytes\), bytes of no element type; pass memoryview\(t\)\.cast.*"),
    "list of str": (["a"], r"is <U1; expected float16, bfloat16, float32 or float64\."),
    "bools": ([True], r"is bool; expected float16, bfloat16, float32 or float64\. Convert it: .*"),
    "complex": (1j, r"is complex128; expected float16, bfloat16, float32 or float64\. Clip its parts, .*"),
    "object": (object(), r"is <object .*> \(object\); expected an array\. .*"),
}


@pytest.mark.parametrize("case", NOT_ONE)
@pytest.mark.parametrize("function", ONE)
def test_functions_of_one_array_refuse_anything_else(function, case):
    t, tail = NOT_ONE[case]
    with pytest.raises(TypeError, match=rf"^{function}: t {tail.format(function)}$"):
        ONE[function](t)


# ---- numbers

LIMITS = {
    "negative": (-1.0, ValueError, r"is -1\.0; expected a number >= 0\. Use math\.inf for 'do not clip'\."),
    "tiny negative": (-5e-324, ValueError, r"is -5e-324; expected a number >= 0\. .*"),
    "-inf": (-math.inf, ValueError, r"is -inf; expected a number >= 0\. .*"),
    "NaN": (math.nan, ValueError, r"is nan; expected a number >= 0\. .*"),
    "negative int": (-2, ValueError, r"is -2\.0; expected a number >= 0\. .*"),
    "NumPy NaN": (np.float32("nan"), ValueError, r"is nan; expected a number >= 0\. .*"),
    "0-d": (np.array(-1.0), ValueError, r"is -1\.0; expected a number >= 0\. .*"),
    "huge": (10**400, ValueError, r"is .*"),
    "str": ("1.0", TypeError, r"is '1\.0' \(str\); expected a real number\."),
    "bytes": (b"1", TypeError, r"is b'1' \(bytes\); expected a real number\."),
    "bool": (True, TypeError, r"is True \(bool\); expected a real number\."),
    "NumPy bool": (np.True_, TypeError, r"is np\.True_ \(bool\); expected a real number\."),
    "complex": (1j, TypeError, r"is 1j \(complex\); expected a real number\."),
    "list": ([1.0], TypeError, r"is \[1\.0\] \(list\); expected a real number\."),
    "1-d": (np.array([1.0]), TypeError, r"is array\(\[1\.\]\) \(ndarray\); expected a real number\."),
    "0-d text": (np.array("a"), TypeError, r"is array\('a'.*\) \(ndarray\); expected a real number\."),
    "float-like": (Floats(), TypeError, r"is of type Floats; expected a real number\."),
    "long": (tuple(range(99)), TypeError, r"is of type tuple; expected a real number\."),
}
NONE = {"None": (None, TypeError, r"is None \(NoneType\); expected a real number\.")}
LIMITED = {
    "clip_by_global_norm_: clip_norm": lambda t, x: fastclip.clip_by_global_norm_([t], x),
    "clip_by_global_norm: clip_norm": lambda t, x: fastclip.clip_by_global_norm([t], x),
    "clip_by_global_norm_: use_norm": lambda t, x: fastclip.clip_by_global_norm_([t], 1.0, x),
    "clip_by_global_norm: use_norm": lambda t, x: fastclip.clip_by_global_norm([t], 1.0, x),
    "clip_by_norm_: clip_norm": lambda t, x: fastclip.clip_by_norm_(t, x),
    "clip_by_norm: clip_norm": lambda t, x: fastclip.clip_by_norm(t, x, axes=0),
    "clip_by_average_norm_: clip_norm": lambda t, x: fastclip.clip_by_average_norm_(t, x),
    "clip_by_average_norm: clip_norm": lambda t, x: fastclip.clip_by_average_norm(t, x),
    "clip_gradients_by_norm: clip_norm": lambda t, x: fastclip.clip_gradients_by_norm(
        SimpleNamespace(apply_gradients=print), x
    ),
}
BOUNDED = {
    "clip_by_value_: clip_value_min": lambda t, x: fastclip.clip_by_value_(t, x, 1.0),
    "clip_by_value_: clip_value_max": lambda t, x: fastclip.clip_by_value_([t], 0.0, x),
    "clip_by_value: clip_value_min": lambda t, x: fastclip.clip_by_value(t, x, 1.0),
    "clip_by_value: clip_value_max": lambda t, x: fastclip.clip_by_value(t, 0.0, x),
}


@pytest.mark.parametrize("value", [*LIMITS, *NONE])
@pytest.mark.parametrize("who", LIMITED)
def test_limits(who, value):
    x, error, tail = (LIMITS | NONE)[value]
    if value == "None" and "use_norm" in who:
        return  # the default
    t = np.array([3.0, 4.0])
    with pytest.raises(error, match=rf"^{who} {tail}$"):
        LIMITED[who](t, x)
    assert t.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("value", [v for v, (_, error, _) in (LIMITS | NONE).items() if error is TypeError])
@pytest.mark.parametrize("who", BOUNDED)
def test_bounds(who, value):
    x, _, tail = (LIMITS | NONE)[value]
    t = np.array([3.0, 4.0])
    if who.startswith("clip_by_value:") and value in ("list", "1-d", "long"):
        return  # array bounds
    with pytest.raises(TypeError, match=rf"^{who} {tail.replace('real number', 'real numbers?')}$"):
        BOUNDED[who](t, x)
    assert t.tolist() == [3.0, 4.0]


def test_any_real_number_will_do():
    for x in (2, 2.0, np.int8(2), np.float16(2), np.longdouble(2), Fraction(2), np.array(2), np.array(2.0, np.float32)):
        for who, call in LIMITED.items():
            call(np.array([3.0, 4.0]), x)
            assert who
        for call in BOUNDED.values():
            call(np.array([3.0, 4.0]), x)
