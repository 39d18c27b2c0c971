# SPDX-License-Identifier: BSD-3-Clause
"""One bad entry anywhere in a list of 100, or an error half way through it, and not one byte is changed."""

import math

import numpy as np
import pytest

import fastclip


def readonly(like):
    a = like.copy()
    a.flags.writeable = False
    return a


BAD = {
    "read-only": readonly,
    "int": lambda like: np.ones(4, int),
    "object": lambda like: like.astype(object),
    "structured": lambda like: np.zeros(4, [("a", "f4")]),
    "byte-swapped": lambda like: like.astype(like.dtype.newbyteorder("S")),
    "longdouble": lambda like: like.astype(np.longdouble),
    "complex": lambda like: like.astype(complex),
    "masked": np.ma.masked_array,
    "str": lambda like: "abc",
    "number": lambda like: 3.0,
    "list of numbers": lambda like: [3.0, 4.0],
    "stride 0": lambda like: np.lib.stride_tricks.as_strided(like.copy(), (4,), (0,)),
    "part of its neighbour": lambda like: like[1:],
    "neighbour as f32": lambda like: like.view(np.float32),
    "reversed neighbour": lambda like: like[::-1],
    "a deep loop": lambda like: loop(),
}
IN_PLACE = {
    "clip_by_global_norm_": lambda t: fastclip.clip_by_global_norm_(t, 1.0),
    "clip_by_norm_": lambda t: fastclip.clip_by_norm_(t, 1.0),
    "clip_by_norm_(axes)": lambda t: fastclip.clip_by_norm_(t, 1.0, axes=0),
    "clip_by_average_norm_": lambda t: fastclip.clip_by_average_norm_(t, 0.01),
    "clip_by_value_": lambda t: fastclip.clip_by_value_(t, 0.0, 1.0),
    "zero": lambda t: fastclip.clip_by_global_norm_(t, 1.0, nonfinite="zero"),
}
N = 100


def loop():
    endless = []
    endless.append(endless)
    return endless


def hundred():
    """One block of memory and 100 arrays in it; norms, bounds and NaN call for writing in each."""
    block = np.full((N, 4), 5.0)
    block[:, 3] = math.nan
    return block, list(block)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("function", IN_PLACE)
def test_a_bad_entry_at_any_place_changes_nothing(function, bad):
    block, arrays = hundred()
    before = block.tobytes()
    every = function in ("clip_by_global_norm_", "clip_by_value_")
    for i in range(N) if every else (0, 1, N // 2, N - 1):
        entry = BAD[bad](arrays[i - 1])
        content = entry.tobytes() if isinstance(entry, np.ndarray) else None
        whole = [*arrays[:i], entry, *arrays[i + 1 :]]
        if function == "clip_by_value_" and bad in ("int", "byte-swapped", "longdouble"):
            continue  # clipped by NumPy
        for t in (whole, iter(whole)):
            with pytest.raises((TypeError, ValueError)):
                IN_PLACE[function](t)
        assert block.tobytes() == before, i
        assert content is None or entry.tobytes() == content
    IN_PLACE[function](arrays)
    assert block.tobytes() != before


ARGUMENTS = {
    "limit": lambda t: fastclip.clip_by_global_norm_(t, "1"),
    "negative": lambda t: fastclip.clip_by_norm_(t, -1.0),
    "use_norm": lambda t: fastclip.clip_by_global_norm_(t, 1.0, use_norm=math.nan),
    "policy": lambda t: fastclip.clip_by_global_norm_(t, 1.0, nonfinite="ignore"),
    "policy of another type": lambda t: fastclip.clip_by_global_norm_(t, 1.0, nonfinite=None),
    "unhashable policy": lambda t: fastclip.clip_by_global_norm_(t, 1.0, nonfinite=[]),
    "axes": lambda t: fastclip.clip_by_norm_(t, 1.0, axes=1),
    "axes twice": lambda t: fastclip.clip_by_norm_(t, 1.0, axes=[0, -1]),
    "axes of another type": lambda t: fastclip.clip_by_norm_(t, 1.0, axes="0"),
    "bound": lambda t: fastclip.clip_by_value_(t, 0.0, None),
    "average": lambda t: fastclip.clip_by_average_norm_(t, math.nan),
    "raise": lambda t: fastclip.clip_by_global_norm_(t, 1.0, nonfinite="raise"),
}


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_a_bad_argument_changes_nothing(argument):
    block, arrays = hundred()
    before = block.tobytes()
    with pytest.raises((TypeError, ValueError, FloatingPointError), match=r"^clip_by_[a-z_]+: "):
        ARGUMENTS[argument](arrays)
    assert block.tobytes() == before


def test_axes_out_of_range_for_the_last_array_only():
    block, arrays = hundred()
    square = np.full((2, 2), 5.0)
    before = block.tobytes()
    for t in ([square, *arrays], [*arrays[:50], square, *arrays[50:]]):
        with pytest.raises(ValueError, match=r"^clip_by_norm_: axes has 1, but .* 1 dimension"):
            fastclip.clip_by_norm_(t, 1.0, axes=1)
    assert block.tobytes() == before
    assert (square == 5.0).all()


def test_an_iterable_that_raises_half_way_changes_nothing():
    block, arrays = hundred()
    before = block.tobytes()

    def failing():
        yield from arrays[:50]
        raise LookupError("no more gradients")

    class Sequence50:
        def __len__(self):
            return N

        def __iter__(self):
            return failing()

    class Lying(list):
        def __iter__(self):
            return failing()

    for make in (failing, Sequence50, lambda: {"a": failing()}, lambda: Lying(arrays)):
        for call in IN_PLACE.values():
            with pytest.raises(LookupError, match="no more gradients"):
                call(make())
    assert block.tobytes() == before


def test_axes_messages():
    x = np.ones((2, 3))
    for function in (fastclip.clip_by_norm, fastclip.clip_by_norm_):
        name = function.__name__
        with pytest.raises(ValueError, match=rf"^{name}: axes has 2, but the array has 2 dimensions\.$"):
            function(x, 0.5, axes=2)
        with pytest.raises(ValueError, match=rf"^{name}: axes has -3, but the array has 2 dimensions\.$"):
            function(x, 0.5, axes=[0, -3])
        for twice in ([0, -2], (1, 1), np.array([1, -1])):
            with pytest.raises(ValueError, match=rf"^{name}: axes names axis [01] twice\.$"):
                function(x, 0.5, axes=twice)
        for other in (1.0, "0", [0.0], {}, object(), [[0]], np.array(0.5)):
            with pytest.raises(TypeError, match=rf"^{name}: axes is .*; expected integers or None\.$"):
                function(x, 0.5, axes=other)
        with pytest.raises(ValueError, match=rf"^{name}: axes has 0, but the array has 0 dimensions\.$"):
            function(np.array(1.0), 0.5, axes=0)
        assert (x == 1.0).all()


def test_bounds_that_do_not_broadcast():
    x = np.ones((2, 3))
    for shape in ((2,), (4,), (3, 1), (1, 2, 3), (2, 2, 3), (0,)):
        shown = str(shape).replace("(", r"\(").replace(")", r"\)")
        for bounds in ((np.zeros(shape), 1.0), (0.0, np.zeros(shape))):
            place = "min" if np.ndim(bounds[0]) else "max"
            pattern = rf"^clip_by_value: clip_value_{place} has shape {shown}, .* broadcast to t's, \(2, 3\)\.$"
            with pytest.raises(ValueError, match=pattern):
                fastclip.clip_by_value(x, *bounds)


@pytest.mark.parametrize("bound", [[None], ["a"], [1j], [True], np.array(["a"]), np.array([1j]), [object]], ids=str)
def test_array_bounds_of_another_type(bound):
    with pytest.raises(TypeError, match=r"^clip_by_value: clip_value_min is .*; expected real numbers\.$"):
        fastclip.clip_by_value(np.ones((2, 3)), bound, 1.0)
    with pytest.raises(TypeError, match=r"^clip_by_value: clip_value_max is .*; expected real numbers\.$"):
        fastclip.clip_by_value(np.ones((2, 3)), 0.0, bound)


def test_policies_are_listed():
    pattern = r"^clip_by_global_norm_: nonfinite is 'ignore'; expected one of propagate, nan, raise, skip, zero\.$"
    with pytest.raises(ValueError, match=pattern):
        fastclip.clip_by_global_norm_([np.ones(2)], 1.0, nonfinite="ignore")


@pytest.mark.parametrize("n", [0, -1, 1.0, "2", None, True])
def test_numbers_of_threads(n):
    with pytest.raises((TypeError, ValueError), match=r"^set_num_threads: n.*expected an integer >= 1\.$"):
        fastclip.set_num_threads(n)


@pytest.mark.parametrize("name", ["sse9", "", "AVX2", None, 2])
def test_names_of_instruction_sets(name):
    with pytest.raises(ValueError, match=r"^set_isa: name.*, but this CPU has: .*Choose one of these\.$"):
        fastclip.set_isa(name)
