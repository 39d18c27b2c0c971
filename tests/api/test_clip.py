# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip.clip` against `numpy.clip`: results to the bit, types, flags, warnings and errors."""

import inspect
import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastclip
import fastclip.numpy as fnp

FLOATS = [np.float16, np.float32, np.float64]
native = pytest.mark.skipif(fastclip.show_config()["backend"] != "native", reason="the reference backend has no clip")


def outcome(function, make):
    """What a call gives: its result and what became of its arrays, or its error; with its warnings."""
    args, kwargs = make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            return type(error).__name__, str(error)
    told = [(w.category, str(w.message)) for w in caught]
    arrays = [describe(x) for x in (*args, *kwargs.values()) if isinstance(x, np.ndarray)]
    return describe(result), result is kwargs.get("out"), arrays, told


def describe(x):
    if isinstance(x, np.ndarray):
        flags = (x.flags.c_contiguous, x.flags.f_contiguous, x.flags.owndata, x.flags.writeable)
        return type(x), x.dtype, x.shape, x.strides if x.size else None, flags, canonical(x)
    return type(x), repr(x)


def canonical(x):
    """The bytes, every NaN with the same payload."""
    if x.dtype.kind == "f":
        x = np.where(np.isnan(x), x.dtype.type(np.nan), np.asarray(x))
    readable = x.dtype == object or x.dtype.itemsize > 8  # references, and the padding of a long double, tell nothing
    return repr(x.tolist()) if readable else x.tobytes()


def same(make, *, natively=None):
    before = fastclip.show_config()["calls"]
    ours = outcome(fastclip.clip, make)
    after = fastclip.show_config()["calls"]
    assert ours == outcome(np.clip, make)
    if natively is not None and fastclip.show_config()["backend"] == "native":
        assert (after["native"] - before["native"], after["delegated"] - before["delegated"]) == (
            (1, 0) if natively else (0, 1)
        )


def values(dtype, n=300):
    """Numbers around the bounds, both zeros, subnormal numbers, infinities and NaN."""
    info = np.finfo(dtype)
    special = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, info.max, -info.max, info.smallest_subnormal]
    rng = np.random.default_rng(3)
    return np.concatenate([np.array(special, dtype), rng.uniform(-3, 3, n).astype(dtype)])


BOUNDS = [
    (-1.0, 1.0),
    (-1, 1),
    (0, 2),
    (0.0, 1.0),
    (-0.0, 1.0),
    (-1.0, -0.0),
    (-1.0, 0.0),
    (0.1, 0.7),  # no numbers of the narrower dtypes: rounded
    (None, 1.0),
    (-1, None),
    (1.0, -1.0),  # the upper one wins
    (2, 2),
    (-math.inf, 0.5),
    (-math.inf, math.inf),
    (1e-320, 1.0),  # 0 in f32
    (2049, 65504),  # ints that f16 rounds
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_numbers(dtype, bounds):
    x = values(dtype)
    for n in (1, 3, 8, 17, 64, len(x)):
        same(lambda n=n: ((x[:n], *bounds), {}), natively=True)
    same(lambda: ((x[:300].reshape(3, 100), *bounds), {}), natively=True)
    same(lambda: ((np.asfortranarray(x[:300].reshape(3, 100)), *bounds), {}), natively=True)
    same(lambda: ((x,), {"a_min": bounds[0], "a_max": bounds[1]}), natively=True)
    same(lambda: ((x,), {"min": bounds[0], "max": bounds[1]}), natively=True)
    same(lambda: ((x, *bounds), {"out": np.empty_like(x)}), natively=True)
    same(lambda: ((x.copy(), *[dtype(b) if b is not None else None for b in bounds]), {}))


@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_floats(kind, bounds):
    """Of Python and NumPy: natively, but for NaN."""
    for x in map(kind, values(np.float32 if kind is np.float32 else np.float64, 20).tolist()):
        same(lambda x=x: ((x, *bounds), {}), natively=not math.isnan(x))
        same(lambda x=x: ((x,), {"a_min": bounds[0], "a_max": bounds[1]}))


@pytest.mark.parametrize(
    "value", [True, 3, 2**70, 1j, np.float16(3), np.longdouble(3), np.array(3.0), [3.0], "a"], ids=str
)
def test_other_numbers(value):
    same(lambda: ((value, -1.0, 1.0), {}))
    same(lambda: ((3.0, value, None), {}))
    same(lambda: ((np.float32(3.0), value, 5.0), {}))


@pytest.mark.parametrize("dtype", FLOATS)
def test_in_place(dtype):
    def make():
        x = values(dtype)
        return (x, -1.0, 1.0), {"out": x}

    same(make, natively=True)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "bounds",
    [
        (math.nan, 1.0),
        (-1.0, math.nan),
        (None, None),
        (None, 0.0),  # np.minimum may make 0.0 of -0.0
        (-0.0, None),
        (1.0, 0.0),
        (-1e300, 1e300),  # beyond f32: NumPy warns
        (np.float64(-1), np.float64(1)),
        (np.float32(-1), 1),
        (np.int8(-1), np.int64(2)),
        (True, False),
        (-(10**30), 10**30),
        (-(2**60) - 1, 2**60 + 1),
        ([-1.0] * 16, 1.0),
        ("a", 1.0),
        (-1j, 1.0),
        (np.array(-1.0), np.array(1.0)),
    ],
    ids=str,
)
def test_numbers_that_numpy_treats_in_its_own_way(dtype, bounds):
    same(lambda: ((values(dtype)[:16], *bounds), {}))


CORNERS = [-1.0, -0.0, 0.0, 1.0, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("dtype", FLOATS)
def test_array_bounds(dtype):
    grid = np.array(list(itertools.product(CORNERS, repeat=3)), dtype)
    x, lo, hi = (np.ascontiguousarray(column) for column in grid.T)
    same(lambda: ((x, lo, hi), {}), natively=True)
    same(lambda: ((x, lo, hi), {"out": np.empty_like(x)}), natively=True)
    long = np.tile(x, 40)
    same(lambda: ((long, np.tile(lo, 40), np.tile(hi, 40)), {}), natively=True)
    same(lambda: ((x, lo, 1.0), {}), natively=False)
    same(lambda: ((x, None, hi), {}), natively=False)
    same(lambda: ((x, lo.astype(np.float64 if dtype is np.float32 else np.float32), hi), {}), natively=False)
    same(lambda: ((x, lo[:1], hi), {}), natively=False)


def test_in_place_over_a_bound():
    def make():
        x = values(np.float32)
        lo = np.full_like(x, -1.0)
        return (x, lo, np.ones_like(x)), {"out": lo}

    same(make, natively=False)


LAYOUTS = {
    "0-d": lambda x: x[3:4].reshape(()),
    "empty": lambda x: x[:0],
    "empty 2-d": lambda x: x[:0].reshape(0, 3),
    "strided": lambda x: x[::2],
    "reversed": lambda x: x[::-1],
    "transposed view": lambda x: x[:60].reshape(3, 4, 5).transpose(1, 0, 2),
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype),
    "misaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype),
    "list": lambda x: x.tolist(),
    "scalar": lambda x: x[5],
    "matrix": lambda x: x[:6].reshape(2, 3).view(np.matrix),
    "masked": lambda x: np.ma.masked_invalid(x),
}


@pytest.mark.filterwarnings("ignore:.*matrix")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_layouts(dtype, layout):
    same(lambda: ((LAYOUTS[layout](values(dtype)), -1.0, 1.0), {}))


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, bool, np.longdouble, complex, object, "U3", "M8[s]"])
def test_other_dtypes(dtype):
    same(lambda: ((np.array([1, 0, 1]).astype(dtype), 0, 1), {}))


OUTS = {
    "another dtype": lambda x: np.empty(x.shape, np.float16),
    "wider": lambda x: np.empty(x.shape, np.float64),
    "another shape": lambda x: np.empty(3, x.dtype),
    "read-only": lambda x: np.broadcast_to(x[:1], x.shape),
    "overlapping": lambda x: x[1:],
    "strided": lambda x: np.empty(2 * x.size, x.dtype)[::2],
    "in a tuple": lambda x: (np.empty_like(x),),
    "a number": lambda x: 3.0,
}


@pytest.mark.parametrize("out", OUTS)
def test_outs(out):
    def make():
        x = values(np.float32)
        source = x[:-1] if out == "overlapping" else x
        return (source, -1.0, 1.0), {"out": OUTS[out](x)}

    same(make, natively=False)


def test_keywords():
    x = values(np.float32, 10)
    same(lambda: ((x, -1, 1), {"where": x > 0, "out": x.copy()}), natively=False)
    same(lambda: ((x, -1, 1), {"dtype": np.float64}), natively=False)
    same(lambda: ((x, -1, 1), {"casting": "no"}), natively=False)
    same(lambda: ((x, -1), {}))
    same(lambda: ((x,), {"a_max": 1}))
    same(lambda: ((x,), {"max": 1}), natively=True)
    same(lambda: ((x, -1, 1), {"min": 0}))
    same(lambda: ((), {}))
    same(lambda: ((x, -1, 1), {"nonsense": 1}))


def test_the_signature_is_numpys():
    ours, numpys = (inspect.signature(function).parameters.values() for function in (fastclip.clip, np.clip))
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in numpys]


def test_other_array_types_are_asked_first():
    class Asks(np.ndarray):
        def __array_function__(self, function, types, args, kwargs):
            return function.__name__

    assert fastclip.clip(np.ones(3).view(Asks), 0, 1) == "clip"


@given(st.data())
def test_any_size_and_bounds(data):
    dtype = np.dtype(data.draw(st.sampled_from(FLOATS)))
    width = 8 * dtype.itemsize
    x = np.array(data.draw(st.lists(st.floats(width=width), max_size=70)), dtype)
    bound = st.one_of(st.none(), st.floats(), st.integers(-(2**64), 2**64), st.floats(width=width).map(dtype.type))
    bounds = data.draw(st.tuples(bound, bound))
    same(lambda: ((x, *bounds), {}))


@native
def test_large_ones_in_several_threads():
    rng = np.random.default_rng(0)
    for dtype in FLOATS:
        x = rng.standard_normal(7_000_003).astype(dtype)
        for lo, hi in ((-0.5, 0.5), (x[::-1].copy() - dtype(1), x[::-1].copy())):
            got, expected = fastclip.clip(x, lo, hi), np.clip(x, lo, hi)
            assert got.tobytes() == expected.tobytes()
            assert got.ctypes.data % 64 == 0
            fastclip.clip(x, lo, hi, out=got)
            assert got.tobytes() == expected.tobytes()


def test_fastclip_numpy_is_numpy_but_for_two_functions():
    assert fnp.clip is fastclip.clip
    assert fnp.linalg.norm is fastclip.norm
    assert fnp.arange is np.arange
    assert fnp.linalg.svd is np.linalg.svd
    assert {"arange", "clip"} <= set(dir(fnp))
    assert {"svd", "norm"} <= set(dir(fnp.linalg))
    with pytest.raises(AttributeError):
        fnp.nonsense  # noqa: B018
