# SPDX-License-Identifier: BSD-3-Clause
"""DLPack: both kinds of capsules, who may be written, and a deleter that is called once, in the end."""

import gc
import importlib
import sys
import threading
import time

import capsules
import numpy as np
import pytest
from capsules import LEGACY, VERSIONED, Producer
from oracle import same_bits

import fastclip

pytestmark = pytest.mark.skipif(fastclip.show_config()["isas"] == ("none",), reason="the import is native")

IN_PLACE = {
    "clip_by_global_norm_": lambda t: fastclip.clip_by_global_norm_([t], 1.0),
    "clip_by_norm_": lambda t: fastclip.clip_by_norm_(t, 1.0),
    "clip_by_norm_(axes)": lambda t: fastclip.clip_by_norm_(t, 1.0, axes=0),
    "clip_by_average_norm_": lambda t: fastclip.clip_by_average_norm_([t], 0.1),
    "clip_by_value_": lambda t: fastclip.clip_by_value_(t, -0.5, 0.5),
}
READING = {
    "global_norm": lambda t: fastclip.global_norm([t]),
    "measure": lambda t: fastclip.measure(t).norms,
    "clip_by_global_norm": lambda t: fastclip.clip_by_global_norm([t], 1.0)[0][0],
    "clip_by_norm": lambda t: fastclip.clip_by_norm(t, 1.0),
    "clip_by_norm(axes)": lambda t: fastclip.clip_by_norm(t, 1.0, axes=0),
    "clip_by_average_norm": lambda t: fastclip.clip_by_average_norm(t, 0.1),
    "clip_by_value": lambda t: fastclip.clip_by_value(t, -0.5, 0.5),
    "clip_by_value(arrays)": lambda t: fastclip.clip_by_value(t, [-0.5], 0.5),
}


def sample(dtype=np.float32):
    return np.arange(-6.0, 6.0).astype(dtype).reshape(3, 4)


def bfloat16():
    return np.dtype(importlib.import_module("ml_dtypes").bfloat16)


@pytest.fixture(params=["f2", "bfloat16", "f4", "f8"])
def every(request):
    return bfloat16() if request.param == "bfloat16" else np.dtype(request.param)


LAYOUTS = {
    "C": lambda a: a,
    "F": lambda a: a.T,
    "steps": lambda a: a[::2, 1:],
    "backwards": lambda a: a[::-1, ::-1],
    "0-d": lambda a: a[0, 1:2].reshape(()),
    "empty": lambda a: a[:0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", IN_PLACE)
def test_in_place_in_the_tensors_own_memory(every, function, layout):
    if layout == "0-d" and "(" in function:
        return
    x, expected = sample(every), sample(every)
    producer = Producer(LAYOUTS[layout](x))
    IN_PLACE[function](producer)
    IN_PLACE[function](LAYOUTS[layout](expected))
    assert same_bits(x, expected)
    assert layout == "empty" or not same_bits(x, sample(every))
    assert producer.asked == [{"max_version": (1, 0)}]
    assert (producer.made, producer.deleted) == (1, 1)


@pytest.mark.parametrize("kind", [LEGACY, VERSIONED])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", READING)
def test_reading(every, function, layout, kind):
    if layout == "0-d" and "(" in function:
        return
    x = sample(every)
    producer = Producer(LAYOUTS[layout](x), kind, **({"flags": capsules.READ_ONLY} if kind == VERSIONED else {}))
    out, expected = READING[function](producer), READING[function](LAYOUTS[layout](x))
    if isinstance(expected, np.ndarray):
        assert type(out) is np.ndarray
        assert out.flags.writeable
        assert same_bits(out, expected)
    else:
        assert out == expected
    assert same_bits(x, sample(every))
    assert (producer.made, producer.deleted) == (1, 1)


WHY = {
    "no version": ((LEGACY, {}), "its DLPack capsule has no version and cannot say that it may be written"),
    "read-only": ((VERSIONED, {"flags": capsules.READ_ONLY}), "DLPack marks it read-only"),
    "a copy": ((VERSIONED, {"flags": capsules.COPIED}), "DLPack lends a copy of it"),
}


@pytest.mark.parametrize("why", WHY)
@pytest.mark.parametrize("function", IN_PLACE)
def test_only_a_versioned_capsule_that_says_so_is_written(function, why):
    (kind, fields), text = WHY[why]
    for array in (sample(), sample()[:0]):
        producer, neighbour = Producer(array, kind, **fields), sample()
        with pytest.raises(ValueError, match=rf"^clip_.*: t.* is read-only \({text}\); pass a copy, or clip out of"):
            IN_PLACE[function]([neighbour, producer] if "global" not in function else producer)
        gc.collect()
        assert producer.deleted == 1
        assert same_bits(neighbour, sample())
        assert same_bits(array, sample()[: len(array)])


def test_no_strides_mean_c_order_and_an_offset_counts_in_bytes():
    block = np.arange(8, dtype=np.float32)
    t = Producer(block, shape=(2, 2), ndim=2, strides=None, byte_offset=12)  # 3 4; 5 6
    assert fastclip.clip_by_norm(t, 100.0).tolist() == [[3.0, 4.0], [5.0, 6.0]]
    fastclip.clip_by_value_(t, 0.0, 4.0)
    assert block.tolist() == [0, 1, 2, 3, 4, 4, 4, 7]


def test_an_empty_tensor_may_have_no_memory_and_any_strides():
    t = Producer(np.empty((2, 0), np.float32), data=None, strides=(1 << 40, -1))
    assert fastclip.clip_by_norm(t, 1.0).shape == (2, 0)
    fastclip.clip_by_norm_(t, 1.0)
    assert t.deleted == 2


@pytest.mark.parametrize("device", [3, 11])
def test_pinned_memory_is_the_cpus(device):
    assert fastclip.global_norm([Producer(np.array([3.0, 4.0]), device=device, reported=device)]) == 5.0


def test_a_deleter_may_be_missing():
    assert fastclip.global_norm([Producer(np.array([3.0, 4.0]), deleter=None)]) == 5.0


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", "u8"])
def test_integers_are_clipped_by_value_only(dtype):
    x = np.array([1, 5, 9], dtype)
    fastclip.clip_by_value_(Producer(x), 2, 7)
    assert x.tolist() == [2, 5, 7]
    with pytest.raises(TypeError, match=r"^global_norm: t_list\[0\] is u?int\d+; .* Convert it: np\.asarray"):
        fastclip.global_norm([Producer(x)])


def test_bfloat16_without_ml_dtypes_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    t = Producer(np.zeros(2, np.float16), code=4)
    with pytest.raises(TypeError, match=r"^global_norm: t_list\[0\] .* is bfloat16, .* pip install ml_dtypes\.$"):
        fastclip.global_norm([t])
    assert t.deleted == 1


def test_the_same_tensor_twice_and_tensors_that_overlap():
    x = np.array([3.0, 4.0])
    assert fastclip.clip_by_global_norm_([Producer(x), Producer(x), x], 1.0) == np.sqrt(75.0)
    np.testing.assert_allclose(x, np.array([3.0, 4.0]) / np.sqrt(75.0), rtol=2.0**-51)
    before = x.copy()
    with pytest.raises(ValueError, match=r"t\[0\] and t\[1\] share memory"):
        fastclip.clip_by_norm_([Producer(x), Producer(x[1:])], 0.1)
    assert same_bits(x, before)


def test_a_result_lets_go_of_the_tensor_and_an_error_too():
    t = Producer(np.array([3.0, 4.0]))
    kept = fastclip.clip_by_norm(t, 100.0)
    assert t.deleted == 1
    assert kept.tolist() == [3.0, 4.0]
    with pytest.raises(TypeError):
        fastclip.clip_by_norm_([t, "no array"], 1.0)
    with pytest.raises(FloatingPointError):
        fastclip.clip_by_global_norm_([t, np.array([np.nan])], 1.0, nonfinite="raise")
    gc.collect()
    assert (t.made, t.deleted) == (3, 3)


def test_nobody_runs_beside_a_call_on_memory_that_its_producer_could_free():
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        pytest.skip("there is no GIL to keep")
    a = np.full(10_000_000, 1e-9, np.float32)  # 40 MB: a NumPy array's call lets go of the GIL
    view, why = fastclip._core.from_dlpack(Producer(a).make(VERSIONED), lambda: None)
    assert why == ""
    seen, done = 0, False

    def count():
        nonlocal seen
        while not done:
            seen += 1
            time.sleep(0)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # seconds: from here on a thread runs only where another one lets go of the GIL
    thread = threading.Thread(target=count)
    thread.start()
    counts = []
    try:
        for t in ([a], [view], [np.asarray(view)[::-1]]):
            before = seen
            for _ in range(5):
                fastclip._core.norm_list(t)
            counts.append(seen - before)
    finally:
        done = True
        thread.join()
        sys.setswitchinterval(interval)
    assert counts[0] > 0
    assert counts[1:] == [0, 0]
