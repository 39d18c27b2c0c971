# SPDX-License-Identifier: BSD-3-Clause
"""Every container and every array, in every function."""

import dataclasses
import types
from collections import OrderedDict, UserDict, UserList, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from oracle import same_bits

import fastclip

# The list [3, 0], [[4]] in whatever container: norm 5; a half of each where the limit is half the norm.
IN_PLACE = {
    "clip_by_global_norm_": (lambda t: fastclip.clip_by_global_norm_(t, 2.5), [[1.5, 0.0], [[2.0]]]),
    "clip_by_norm_": (lambda t: fastclip.clip_by_norm_(t, 2.0), [[2.0, 0.0], [[2.0]]]),
    "clip_by_norm_(axes)": (lambda t: fastclip.clip_by_norm_(t, 2.0, axes=-1), [[2.0, 0.0], [[2.0]]]),
    "clip_by_average_norm_": (lambda t: fastclip.clip_by_average_norm_(t, 0.5), [[1.0, 0.0], [[0.5]]]),
    "clip_by_value_": (lambda t: fastclip.clip_by_value_(t, 1.0, 2.0), [[2.0, 1.0], [[2.0]]]),
}
READING = {
    "global_norm": fastclip.global_norm,
    "measure": lambda t: fastclip.measure(t).norm,
    "clip_by_global_norm": lambda t: fastclip.clip_by_global_norm(t, 1.0)[1],
}


class Tensors(Sequence):
    def __init__(self, *entries):
        self.entries = entries

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, i):
        return self.entries[i]


class Pair(NamedTuple):
    first: Any
    second: Any


CONTAINERS = {
    "list": lambda a, b: [a, b],
    "tuple": lambda a, b: (a, b),
    "namedtuple": Pair,
    "dict": lambda a, b: {"w": a, 3: b},
    "None entries": lambda a, b: [None, a, None, b, None],
    "nested": lambda a, b: {"x": [a, None, {}], "y": ({"z": [[b]]}, [])},
    "generator": lambda a, b: (x for x in (a, None, b)),
    "iterator": lambda a, b: iter([a, b]),
    "nested generator": lambda a, b: [(x for x in [a]), [map(np.asarray, [b])]],
    "map": lambda a, b: map(np.asarray, [a, b]),
    "dict values": lambda a, b: {"w": a, "b": b}.values(),
    "user sequence": Tensors,
    "nested user sequence": lambda a, b: [Tensors(a, Tensors(None)), Tensors(b)],
    "UserList": lambda a, b: UserList([a, b]),
    "UserDict": lambda a, b: UserDict(w=a, b=b),
    "mapping proxy": lambda a, b: types.MappingProxyType({"w": a, "b": b}),
    "OrderedDict": lambda a, b: OrderedDict(w=a, b=b),
    "deque": lambda a, b: deque([a, b]),
    "list subclass": lambda a, b: type("Gradients", (list,), {})([a, b]),
    "size 0 and 0-d": lambda a, b: [a, np.zeros((0, 2)), np.zeros(()), b],
    "deep": lambda a, b: nested([a, b], 60),
}


def nested(t, depth):
    for _ in range(depth):
        t = [t]
    return t


def pair(dtype):
    return np.array([3.0, 0.0], dtype), np.array([[4.0]], dtype)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("function", IN_PLACE)
def test_in_place_functions_take_every_container(dtype, function, container):
    call, expected = IN_PLACE[function]
    a, b = pair(dtype)
    if container == "size 0 and 0-d" and "axes" in function:
        with pytest.raises(ValueError, match="0 dimensions"):
            call(CONTAINERS[container](a, b))
        return
    call(CONTAINERS[container](a, b))
    assert [a.tolist(), b.tolist()] == expected


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("function", READING)
def test_reading_functions_take_every_container(dtype, function, container):
    a, b = pair(dtype)
    assert READING[function](CONTAINERS[container](a, b)) == 5.0
    assert (a.tolist(), b.tolist()) == ([3.0, 0.0], [[4.0]])


RESULTS = {
    "list": lambda a, b: [a, b],
    "tuple": lambda a, b: [a, b],  # TensorFlow returns a list
    "namedtuple": lambda a, b: [a, b],
    "dict": lambda a, b: {"w": a, 3: b},
    "None entries": lambda a, b: [None, a, None, b, None],
    "nested": lambda a, b: {"x": [a, None, {}], "y": ({"z": [[b]]}, [])},
    "generator": lambda a, b: [a, None, b],
    "iterator": lambda a, b: [a, b],
    "nested generator": lambda a, b: [[a], [[b]]],
    "dict values": lambda a, b: [a, b],
    "user sequence": lambda a, b: [a, b],
    "nested user sequence": lambda a, b: [[a, [None]], [b]],
    "deque": lambda a, b: [a, b],
    "UserDict": lambda a, b: {"w": a, "b": b},
}


def as_lists(t):
    """Replace arrays by lists of numbers, to compare structures with ==; types of containers matter."""
    if isinstance(t, np.ndarray):
        return ("array", str(t.dtype), t.tolist())
    if isinstance(t, dict):
        return {key: as_lists(value) for key, value in t.items()}
    return type(t)(as_lists(x) for x in t) if isinstance(t, (list, tuple)) else t


@pytest.mark.parametrize("container", RESULTS)
def test_clip_by_global_norm_returns_the_same_structure(dtype, container):
    a, b = pair(dtype)
    given = CONTAINERS[container](a, b)
    out, norm = fastclip.clip_by_global_norm(given, 2.5)
    assert norm == 5.0
    assert as_lists(out) == as_lists(RESULTS[container](a / 2, b / 2))
    assert (a.tolist(), b.tolist()) == ([3.0, 0.0], [[4.0]])


def test_an_array_listed_twice_gives_two_results():
    a = np.array([3.0, 4.0])
    (x, y), norm = fastclip.clip_by_global_norm([a, a], 2.5)
    assert norm == np.sqrt(50.0)
    assert same_bits(x, y)
    assert x is not y
    assert not np.shares_memory(x, y)


@pytest.mark.parametrize("make", [list, dict, UserList], ids=["list", "dict", "UserList"])
def test_a_container_that_holds_itself_is_refused(make):
    loop = make()
    if make is dict:
        loop["self"] = loop
    else:
        loop.append(loop)
    for name, call in {**{k: c for k, (c, _) in IN_PLACE.items()}, **READING}.items():
        with pytest.raises(ValueError, match=rf"^{name.partition('(')[0]}: t.* nested more than 64 deep") as error:
            call(loop)
        assert len(str(error.value)) < 200


def test_one_array_is_a_container_of_its_own(dtype):
    for name, (call, expected) in IN_PLACE.items():
        a, _ = pair(dtype)
        call(a)
        assert a.tolist() == ([2.5, 0.0] if name == "clip_by_global_norm_" else expected[0])
    zero_d = np.array(-3.0, dtype)
    fastclip.clip_by_global_norm_(zero_d, 1.0)
    assert zero_d == -1.0


# ---- IndexedSlices and the like


class Slices(NamedTuple):
    values: Any
    indices: Any
    dense_shape: Any = None


@dataclasses.dataclass(frozen=True)
class Record:
    indices: Any
    values: Any
    name: str = "rows"


class Plain:
    def __init__(self, values, indices, dense_shape=None):
        self.values, self.indices, self.dense_shape = values, indices, dense_shape


class Short:
    def __init__(self, values, indices):
        self.values, self.indices = values, indices


SLICES = {
    "namedtuple": lambda v, i: Slices(v, i, (9, 2)),
    "dataclass": lambda v, i: Record(i, v),
    "class": lambda v, i: Plain(v, i, (9, 2)),
    "class without dense_shape": Short,
}


@pytest.mark.parametrize("kind", SLICES)
def test_slices_are_clipped_by_their_values(dtype, kind):
    values, indices = np.array([[30.0, 40.0]], dtype), np.array([7])
    given = SLICES[kind](values, indices)
    clipped = [
        fastclip.clip_by_global_norm([None, given], 5.0)[0][1],
        fastclip.clip_by_norm(given, 5.0),
        fastclip.clip_by_norm(given, 5.0, axes=1),
        fastclip.clip_by_average_norm(given, 2.5),
        fastclip.clip_by_value(given, 3.0, [[3.0, 4.0]]),
    ]
    for out in clipped:
        assert type(out) is type(given)
        assert out.values.tolist() == [[3.0, 4.0]]
        assert out.values.dtype == dtype
        assert out.indices is indices
        assert getattr(out, "dense_shape", None) == getattr(given, "dense_shape", None)
        assert getattr(out, "name", None) == getattr(given, "name", None)
    assert values.tolist() == [[30.0, 40.0]]
    assert fastclip.global_norm([given]) == fastclip.measure([given]).norm == 50.0
    fastclip.clip_by_global_norm_({"w": given}, 5.0)
    assert values.tolist() == [[3.0, 4.0]]
    fastclip.clip_by_value_(given, 0.0, 1.0)
    assert values.tolist() == [[1.0, 1.0]]


def test_a_dict_with_these_keys_is_a_dict():
    t = {"values": np.array([3.0]), "indices": np.array([4.0])}
    assert fastclip.global_norm(t) == 5.0
    assert fastclip.clip_by_global_norm(t, 2.5)[0] == {"values": [1.5], "indices": [2.0]}
