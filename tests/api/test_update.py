# SPDX-License-Identifier: BSD-3-Clause
"""What clip_update_by_global_norm_ takes, what it refuses, and that a refusal leaves everything as it was."""

import math
import tracemalloc

import numpy as np
import pytest

import fastclip

clip = fastclip.clip_update_by_global_norm_


def arrays(*values, dtype=np.float32):
    return [np.array(v, dtype) for v in values]


@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        lambda a: {"w": a[0], "b": a[1]},
        lambda a: {"layer": [a[0], None], "head": {"b": a[1]}},
        iter,
        lambda a: [memoryview(a[0]), a[1]],
    ],
)
def test_containers_are_paired(form):
    new, old = arrays([4.0, 1.0], [5.0]), arrays([1.0, 1.0], [1.0])
    assert clip(form(new), form(old), 2.5) == 5.0
    assert [a.tolist() for a in new] == [[2.5, 1.0], [3.0]]


def test_dicts_are_paired_by_key():
    new = dict(zip("ab", arrays([4.0], [5.0]), strict=True))
    old = dict(zip("ba", arrays([1.0], [1.0]), strict=True))
    old["b"], old["a"] = np.float32([2.0]), np.float32([1.0])
    assert clip(new, old, 100.0) == math.hypot(3.0, 3.0)


def test_one_array_is_a_list_of_one():
    new, old = arrays([4.0, 5.0], [1.0, 1.0])
    assert clip(new, old, 2.5) == 5.0
    assert new.tolist() == [2.5, 3.0]


def test_an_array_that_is_its_own_past_has_not_changed():
    (a,) = arrays([4.0])
    assert clip([a], [a], 1.0) == 0.0
    assert a.tolist() == [4.0]


def test_memory_that_is_listed_twice_is_clipped_once():
    (new, old) = arrays([4.0], [1.0])
    assert clip([new, new], [old, old], 1.5) == math.hypot(3.0, 3.0)
    assert new[0] == np.float32(1.0 + 3.0 * 1.5 / math.hypot(3.0, 3.0))


def test_what_was_may_be_read_only():
    new, old = arrays([4.0], [1.0])
    old.flags.writeable = False
    clip([new], [old], 1.0)
    assert new.tolist() == [2.0]


A, B = arrays([4.0, 5.0], [1.0, 1.0])


class Copies:
    def __array__(self, dtype=None, copy=None):
        return A.copy()


LOCKED = np.array([4.0, 5.0], np.float32)
LOCKED.flags.writeable = False


@pytest.mark.parametrize(
    ("new", "old", "options", "error", "message"),
    [
        ([A], [B, B], {}, ValueError, r"old has an array at old\[1\] and new has none there; pass the same entries"),
        ([A, None], [None, B], {}, ValueError, r"new has an array at new\[0\] and old has none there"),
        ({"w": A}, [B], {}, ValueError, r"new has an array at new\['w'\] and old has none there"),
        ([A], [B[:1]], {}, ValueError, r"new\[0\] has shape \(2,\) and old\[0\] \(1,\); expected the same\."),
        ([A], [B.astype(float)], {}, ValueError, r"new\[0\] has dtype float32 and old\[0\] float64; expected the same"),
        ([A.astype(int)], [B], {}, TypeError, r"new\[0\] is int64; expected float16, bfloat16, float32 or float64"),
        ([A], [B.astype(int)], {}, TypeError, r"old\[0\] is int64; expected float16"),
        ([LOCKED], [B], {}, ValueError, r"new\[0\] is read-only; pass a copy\.$"),
        ([Copies()], [B], {}, TypeError, r"new\[0\] is of type Copies, .*, or pass a copy, np\.array\(new\[0\]\)\.$"),
        ([A], [A[::-1]], {}, ValueError, r"new\[0\] and old\[0\] share memory"),
        ([A[:1], B[:1]], [B[1:], A[:1]], {}, ValueError, r"(new\[0\] and old\[1\]|old\[1\] and new\[0\]) share memory"),
        (
            [A, A],
            [B, B.copy()],
            {},
            ValueError,
            r"new\[0\] and new\[1\] are the same memory, but old\[0\] and old\[1\]",
        ),
        ([A], [B], {"clip_norm": -1.0}, ValueError, r"clip_norm is -1\.0; expected a number >= 0"),
        ([A], [B], {"clip_norm": math.nan}, ValueError, r"clip_norm is nan"),
        ([A], [B], {"clip_norm": "1"}, TypeError, r"clip_norm is '1' \(str\)"),
        ([A], [B], {"nonfinite": "drop"}, ValueError, r"nonfinite is 'drop'; expected one of propagate, nan, raise"),
        (5, [B], {}, TypeError, r"new is 5 \(int\)"),
    ],
)
def test_a_refusal_says_why_and_writes_nothing(new, old, options, error, message):
    before = A.tobytes(), B.tobytes()
    with pytest.raises(error, match=f"^clip_update_by_global_norm_: {message}"):
        clip(new, old, **{"clip_norm": 1.0} | options)
    assert (A.tobytes(), B.tobytes()) == before


@pytest.mark.skipif(fastclip.show_config()["backend"] != "native", reason="NumPy allocates")
def test_no_temporary_of_the_models_size_is_made():
    """Native sums, 40 bytes for each 128 KB, are out of sight; arrays of NumPy's are not."""
    new, old = ([np.zeros((1000, 1000), np.float32)] * 1 for _ in range(2))
    new, old = [a.copy() for a in new * 3], [a + 1 for a in old * 3]
    clip(new, old, 1.0)
    tracemalloc.start()
    clip(new, old, 0.5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
