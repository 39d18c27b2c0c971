# SPDX-License-Identifier: BSD-3-Clause
"""fastclip.flwr beside Flower's own functions: the same results, and better ones where Flower's are wrong."""

import ctypes
import math
import warnings

import numpy as np
import pytest
from oracle import same_bits

import fastclip

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its packages say of each other
    from flwr.supercore import differential_privacy as stock

    import fastclip.flwr as ours

U32 = 2.0**-24


def native_calls():
    return fastclip.show_config()["calls"]["native"]


def model(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(s)).astype(dtype) for s in ((64, 32), (64,), (10, 64), (1,))]


def near(ours, theirs, relative):
    return all(
        a.dtype == b.dtype and a.shape == b.shape and np.allclose(a, b, rtol=relative, atol=relative)
        for a, b in zip(ours, theirs, strict=True)
    )


# Flower adds squares in f32, in no order that is known: of 2,048 elements at most, 2048 u of the sum, half of the norm.
NORM = 1024 * U32


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("limit", [0.5, 3, 1e9, math.inf])
def test_inputs_are_clipped_as_flower_does(dtype, limit):
    a, b = model(1, dtype), model(1, dtype)
    calls = native_calls()
    assert ours.clip_inputs_inplace(a, limit) is None
    assert native_calls() == calls + 1
    stock.clip_inputs_inplace(b, limit)
    assert near(a, b, 2.0**-9 if dtype == np.float16 else NORM + 2 * U32)


@pytest.mark.parametrize("limit", [0.5, 1e9])
def test_whether_there_was_anything_to_clip(limit):
    for name in ("adaptive_clip_inputs_inplace", "compute_adaptive_clip_model_update"):
        given = [(model(1), model(2), limit) if "update" in name else (model(1), limit) for _ in range(2)]
        assert getattr(ours, name)(*given[0]) is getattr(stock, name)(*given[1]) is (limit == 0.5)


@pytest.mark.parametrize("limit", [0.5, 3, 1e9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_update_is_clipped_as_flower_does(dtype, limit):
    (a, b), old = (model(1, dtype), model(1, dtype)), model(2, dtype)
    calls = native_calls()
    ours.compute_clip_model_update(a, old, limit)
    assert native_calls() == calls + 1
    stock.compute_clip_model_update(b, old, limit)
    assert near(a, b, NORM + 4 * U32)
    assert same_bits(old, model(2, dtype))


def test_given_flowers_norm_the_bits_are_flowers(monkeypatch):
    """The limit is a multiple of the norm by a power of two, and so the coefficient exact for either norm."""
    old, update = [np.zeros(2048, np.float32) + np.float32(0.1)], [np.full(2048, 3.0, np.float32)]
    new = [a + b for a, b in zip(old, update, strict=True)]
    theirs, mine = [new[0].copy()], [new[0].copy()]
    difference = new[0] - old[0]
    norm = float(np.linalg.norm(difference.astype(np.float64)))
    monkeypatch.setattr(stock, "get_norm", lambda arrays: norm)
    stock.compute_clip_model_update(theirs, old, norm / 4)
    ours.compute_clip_model_update(mine, old, norm / 4)
    assert same_bits(mine, theirs)


def test_only_arrays_that_nobody_else_can_see_are_overwritten():
    old = model(2)
    seen = model(1)
    listed = list(seen)
    before = [a.copy() for a in seen]
    ours.compute_clip_model_update(listed, old, 0.5)
    assert same_bits(seen, before)
    assert all(a is not b for a, b in zip(listed, seen, strict=True))
    base = np.zeros((2, 4), np.float32) + 5
    view = [base[0]]
    ours.compute_clip_model_update(view, [np.zeros(4, np.float32)], 0.5)
    assert (base == 5).all()
    from_bytes = [np.frombuffer(np.full(4, 5, np.float32).tobytes(), np.float32)]
    ours.compute_clip_model_update(from_bytes, [np.zeros(4, np.float32)], 0.5)
    assert np.allclose(from_bytes[0], 0.25)
    alone = model(1)
    addresses = [a.ctypes.data for a in alone]
    ours.compute_clip_model_update(alone, old, 0.5)
    assert [a.ctypes.data for a in alone] == addresses
    assert near(alone, listed, 0.0)


def test_memory_that_is_not_numpys_is_not_overwritten():
    """C code wraps memory by PyArray_New, the 93rd function of NumPy's ABI, often without an owner to refer to."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.POINTER(ctypes.c_void_p), [ctypes.py_object, ctypes.c_void_p]
    table = get((getattr(np, "_core", None) or np.core).multiarray._ARRAY_API, None)
    size, pointer = ctypes.c_ssize_t, ctypes.c_void_p
    wrap = ctypes.PYFUNCTYPE(
        ctypes.py_object, ctypes.py_object, ctypes.c_int, ctypes.POINTER(size), ctypes.c_int,
        pointer, pointer, ctypes.c_int, ctypes.c_int, pointer,
    )(table[93])  # fmt: skip
    memory = (ctypes.c_double * 2)(3.0, 4.0)
    flags = np.zeros(1).flags.num & ~4  # all but NPY_ARRAY_OWNDATA
    arrays = [wrap(np.ndarray, 1, (size * 1)(2), np.dtype(float).num, None, ctypes.addressof(memory), 0, flags, None)]
    assert arrays[0].base is None
    ours.compute_clip_model_update(arrays, [np.zeros(2)], 1.0)
    assert np.allclose(arrays[0], [0.6, 0.8])
    assert list(memory) == [3.0, 4.0]


def test_what_strategies_unpack_is_overwritten():
    from flwr.compat.common.parameter import ndarrays_to_parameters, parameters_to_ndarrays

    unpacked = parameters_to_ndarrays(ndarrays_to_parameters(model(1)))
    addresses = [a.ctypes.data for a in unpacked]
    ours.compute_clip_model_update(unpacked, model(2), 0.5)
    assert [a.ctypes.data for a in unpacked] == addresses


def test_norms_that_leave_f32_are_right():
    big = [np.array([3e20, 4e20], np.float32)]
    assert math.isclose(ours.get_norm(big), 5e20, rel_tol=2 * U32)
    ours.clip_inputs_inplace(big, 1.0)
    assert np.allclose(big[0], [0.6, 0.8], rtol=4 * U32)
    with np.errstate(over="ignore"):
        theirs = [np.array([3e20, 4e20], np.float32)]
        stock.clip_inputs_inplace(theirs, 1.0)
    assert not theirs[0].any()


def test_arrays_of_no_dimensions_are_clipped_where_flower_leaves_them_out():
    """Their difference is a number, which is not multiplied in place."""
    mine, theirs = [np.array(4.0, np.float32)], [np.array(4.0, np.float32)]
    ours.compute_clip_model_update(mine, [np.array(1.0, np.float32)], 1.5)
    stock.compute_clip_model_update(theirs, [np.array(1.0, np.float32)], 1.5)
    assert mine[0] == 2.5
    assert theirs[0] == 4.0


def test_zeros_stay_zeros_where_flower_divides_by_zero():
    zeros = [np.zeros(3, np.float32)]
    ours.clip_inputs_inplace(zeros, 1.0)
    assert not zeros[0].any()
    ours.compute_clip_model_update(zeros, [np.zeros(3, np.float32)], 1.0)
    assert ours.adaptive_clip_inputs_inplace(zeros, 1.0) is False
    with pytest.raises(ZeroDivisionError):
        stock.clip_inputs_inplace(zeros, 1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_left_to_flower(bad):
    for name in ("clip_inputs_inplace", "compute_clip_model_update"):
        a, b = ([np.array([3.0, bad], np.float32)] for _ in range(2))
        rest = ([np.ones(2, np.float32)], 1.0) if "update" in name else (1.0,)
        with np.errstate(invalid="ignore"):
            getattr(ours, name)(a, *rest)
            getattr(stock, name)(b, *rest)
        assert same_bits(a, b)


@pytest.mark.parametrize("limit", [-1.0, math.nan, "1", None])
@pytest.mark.parametrize(
    "arrays", [[np.array([3.0])], [np.array([3])], [], [[3.0]], (np.array([3.0]),), [np.array([3 + 4j])]]
)
@pytest.mark.parametrize(
    "name", ["get_norm", "clip_inputs_inplace", "adaptive_clip_inputs_inplace", "compute_clip_model_update"]
)
def test_everything_else_is_flowers_result_or_error(name, arrays, limit):
    def outcome(module):
        given = type(arrays)(a.copy() if isinstance(a, np.ndarray) else a for a in arrays)
        rest = () if name == "get_norm" else ([np.array([1.0])], limit) if "update" in name else (limit,)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                return repr(getattr(module, name)(given, *rest)), repr(given)
            except Exception as error:
                return type(error), str(error)

    assert outcome(ours) == outcome(stock)


@pytest.mark.parametrize("odd", [None, [np.array([3.0])], {"w": np.array([3.0])}])
@pytest.mark.parametrize("name", ["get_norm", "clip_inputs_inplace", "adaptive_clip_inputs_inplace"])
def test_what_is_no_array_is_flowers_error(name, odd):
    limit = () if name == "get_norm" else (1.0,)
    for module in (stock, ours):
        first = np.array([3.0])
        with pytest.raises(AttributeError, match="has no attribute 'flat'"):
            getattr(module, name)([first, odd], *limit)
        assert first == 3.0


def test_an_array_that_is_there_twice_is_multiplied_once():
    mine, theirs = np.array([3.0, 4.0]), np.array([3.0, 4.0])
    ours.clip_inputs_inplace([mine, mine], 1.0)
    stock.clip_inputs_inplace([theirs, theirs], 1.0)
    assert math.isclose(ours.get_norm([mine, mine]), 1.0)
    assert math.isclose(ours.get_norm([theirs, theirs]), 1.0 / 50**0.5)


def test_every_name_by_which_flower_holds_them_is_patched_and_restored():
    import flwr.client.mod.centraldp_mods as old_mod
    import flwr.clientapp.mod.centraldp_mods as mod
    import flwr.server.strategy.dp_adaptive_clipping as old_adaptive
    import flwr.serverapp.strategy.dp_fixed_clipping as fixed

    places = [
        (fixed, "compute_clip_model_update"),
        (old_adaptive, "adaptive_clip_inputs_inplace"),
        (mod, "compute_adaptive_clip_model_update"),
        (old_mod, "compute_clip_model_update"),
        *((stock, name) for name in ours.__all__),
    ]
    before = [getattr(*place) for place in places]
    with fastclip.patch("flwr"):
        assert [getattr(*place) for place in places] == [getattr(ours, name) for _, name in places]
    assert [getattr(*place) for place in places] == before
