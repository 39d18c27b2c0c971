# SPDX-License-Identifier: BSD-3-Clause
"""References, buffers and memory: everything is given back, and nothing goes away while a call is running."""

import gc
import math
import os
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import fastclip

LARGE = 8 << 20  # bytes; the GIL is released for more than half of that

CALLS = {
    "clip_by_global_norm_": lambda t: fastclip.clip_by_global_norm_(t, 1.0),
    "use_norm": lambda t: fastclip.clip_by_global_norm_(t, 1.0, use_norm=2.0, nonfinite="zero"),
    "clip_by_norm_": lambda t: fastclip.clip_by_norm_(t, 0.1),
    "clip_by_norm_(axes)": lambda t: fastclip.clip_by_norm_(t, 0.1, axes=0),
    "clip_by_average_norm_": lambda t: fastclip.clip_by_average_norm_(t, 0.1),
    "clip_by_value_": lambda t: fastclip.clip_by_value_(t, -0.1, 0.1),
    "clip_by_global_norm": lambda t: fastclip.clip_by_global_norm(t, 1.0),
    "global_norm": fastclip.global_norm,
    "measure": fastclip.measure,
    "clip_by_norm": lambda t: [fastclip.clip_by_norm(a, 1.0) for a in t],
    "clip_by_average_norm": lambda t: [fastclip.clip_by_average_norm(a, 1.0) for a in t],
    "clip_by_value": lambda t: [fastclip.clip_by_value(a, -1.0, 1.0) for a in t],
    "clip_by_value(arrays)": lambda t: [fastclip.clip_by_value(a, a, a) for a in t],
    "norm": lambda t: [fastclip.norm(a) for a in t],
}
LISTS = {
    "small": lambda: [np.ones(5, np.float32), np.ones((2, 3)), np.ones((4, 4))[::2, ::2]],
    "large": lambda: [np.ones(LARGE // 4, np.float32), np.ones((4, 3))[:, ::2]],
    "repeated": lambda: [np.ones(3)] * 3,
}


def refuse(t):
    with pytest.raises((TypeError, ValueError)):
        fastclip.clip_by_global_norm_([*t, np.ones(3, int)], 1.0)


def refuse_limit(t):
    with pytest.raises(ValueError, match="clip_norm"):
        fastclip.clip_by_global_norm_(t, -1.0)


def refuse_nonfinite(t):
    t[0].flat[0] = math.nan
    with pytest.raises(FloatingPointError):
        fastclip.clip_by_global_norm_(t, 1.0, nonfinite="raise")
    t[0].flat[0] = 1.0


def refuse_overlap(t):
    with pytest.raises(ValueError, match="share memory"):
        fastclip.clip_by_norm_([*t, t[0][1:]], 1.0)


ERRORS = {f.__name__: f for f in (refuse, refuse_limit, refuse_nonfinite, refuse_overlap)}


@pytest.mark.parametrize("make", LISTS)
@pytest.mark.parametrize("call", [*CALLS, *ERRORS])
def test_references_are_given_back(call, make):
    function, t = (CALLS | ERRORS)[call], LISTS[make]()
    function(t)  # what is cached, is cached
    before = [sys.getrefcount(t), *(sys.getrefcount(a) for a in t)]
    for _ in range(3):
        function(t)
    assert [sys.getrefcount(t), *(sys.getrefcount(a) for a in t)] == before


def test_references_to_limits_and_containers_are_given_back():
    limit, use_norm, t = 12345.678, np.float64(2.5), {"a": (np.ones(3), None)}
    objects = [limit, use_norm, t, t["a"], t["a"][0], t["a"][0].dtype, None, NotImplemented]
    fixed = [sys.getrefcount(x) for x in objects]
    for _ in range(1000):
        fastclip.clip_by_global_norm_(t, limit)
        fastclip.clip_by_global_norm_(t, limit, use_norm)
        fastclip.clip_by_norm_(iter([t]), limit)
        fastclip.global_norm(t)
        fastclip.measure(t)
    # None and NotImplemented are counted up to Python 3.11; other threads of the process may move them by a few.
    assert all(abs(sys.getrefcount(x) - n) < 100 for x, n in zip(objects, fixed, strict=True))


@pytest.mark.parametrize("make", LISTS)
@pytest.mark.parametrize("call", [*CALLS, *ERRORS])
def test_buffers_are_released(call, make):
    t = LISTS[make]()
    (CALLS | ERRORS)[call](t)
    if make == "repeated":
        del t[1:]
    a = t.pop(0)
    del t
    a.resize(7)  # NumPy refuses as long as anybody refers to the memory
    assert a.shape == (7,)


def test_memory_below_an_array_can_be_closed_afterwards():
    block = bytearray(LARGE)
    a = np.frombuffer(block, np.float32)
    fastclip.clip_by_global_norm_([a], 1.0)
    with pytest.raises(BufferError):
        block.append(0)  # the array has it
    del a
    block.append(0)


# ---- while a call is running


class Looping(threading.Thread):
    """Calls again and again until it is told to stop; `running` says how often it has begun and ended."""

    def __init__(self, call):
        super().__init__()
        self.call, self.begun, self.ended, self.stop, self.error = call, 0, 0, False, None

    def run(self):
        try:
            while not self.stop:
                self.begun += 1
                self.call()
                self.ended += 1
        except Exception as error:
            self.error = error

    def inside(self):
        return self.begun > self.ended

    def __enter__(self):
        self.start()
        while not self.ended:
            time.sleep(0.001)
        return self

    def __exit__(self, *_):
        self.stop = True
        self.join(30.0)
        assert not self.is_alive()
        assert self.error is None


def test_others_run_while_a_long_call_does():
    a = [np.full(40_000_000, 1e-9, np.float32)]  # 160 MB: some 15 ms
    with Looping(lambda: fastclip.global_norm(a)) as thread:
        inside = 0
        for _ in range(100):
            inside += thread.inside()
            time.sleep(0.001)
    # With the GIL held during a call, this thread could look only between two of them.
    assert inside >= 10


def test_an_array_cannot_be_resized_during_a_call():
    a = np.full(LARGE // 4 * 3, 1e-9, np.float32)
    refused = 0
    with Looping(lambda: fastclip.clip_by_global_norm_(a, 1.0)):
        for _ in range(200):
            try:
                a.resize(a.size - 1)
            except ValueError as error:
                assert "cannot resize" in str(error)  # noqa: PT017
                refused += 1
            time.sleep(0.0003)
    assert refused > 0
    expected = np.float32(1e-9)
    assert (a == expected).all()


def test_arrays_outlive_their_list_during_a_call():
    for _ in range(50):
        t = [np.full(16_000_000, 1e-9, np.float32)[::-1]]  # measured backwards: some 20 ms
        alive = weakref.ref(t[0].base)
        called, measured = threading.Event(), []

        def measure(t=t, called=called, measured=measured):
            called.set()
            measured.append(fastclip.measure(t))

        thread = threading.Thread(target=measure)
        thread.start()
        called.wait()
        time.sleep(0.001)
        t.clear()
        between = not measured and alive() is not None  # the list is empty, the call goes on
        thread.join()
        assert alive() is None
        if measured[0].norms and between:
            assert measured[0].norm == pytest.approx(1e-9 * 4000, rel=2.0**-22)
            assert measured[0].max_abs == np.float32(1e-9)
            return
    raise AssertionError("no call was met half way")


def test_two_threads_on_disjoint_lists():
    def clip(t, norms):
        for _ in range(20):
            for a in t:
                a[...] = 2.0
            norms.append(fastclip.clip_by_global_norm_(t, 1.0))

    lists = [[np.empty(1_500_000, np.float32), np.empty(700_000)] for _ in range(4)]
    norms = [[] for _ in lists]
    threads = [threading.Thread(target=clip, args=args) for args in zip(lists, norms, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    expected = 2.0 * math.sqrt(2_200_000)
    assert norms == [[expected] * 20] * 4
    for f32, f64 in lists:
        assert (f32 == np.float32(2.0) * np.float32(1.0 / expected)).all()
        assert (f64 == 2.0 * (1.0 / expected)).all()


def test_a_list_that_others_change():
    """What a call finds at its beginning, it clips. Nothing crashes, and nothing is clipped by half."""
    arrays = [np.full(1_500_000, 4.0, np.float32) for _ in range(4)]
    t = list(arrays)
    with Looping(lambda: fastclip.clip_by_value_(t, 0.0, 2.0)):
        for i in range(300):
            if i % 3 == 0:
                t.clear()
            elif i % 3 == 1:
                t[:] = [np.full(1_500_000, 4.0, np.float32), None, *arrays]
            else:
                t[0] = None
            time.sleep(0.0005)
    for a in arrays:
        assert a[0] in (2.0, 4.0)
        assert (a == a[0]).all()
    d = {i: a for i, a in enumerate(arrays)}
    with Looping(lambda: fastclip.clip_by_value_(d, 0.0, 1.0)):
        for i in range(200):
            d.pop(i % 4, None)
            d[i % 4] = arrays[i % 4]
            time.sleep(0.0002)
    assert all((a == 1.0).all() for a in arrays)


# ---- memory


def resident():
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def some_calls(n):
    small = LISTS["small"]()
    pairs = [*CALLS.values(), refuse_limit]
    for _ in range(n // len(pairs)):
        for call in pairs:
            call(small)


def test_a_hundred_thousand_calls_leave_nothing_behind():
    some_calls(5_000)
    gc.collect()
    before = resident()
    some_calls(100_000)
    gc.collect()
    assert resident() - before < 1 << 20  # 10 bytes a call


def test_large_calls_leave_nothing_behind():
    t = LISTS["large"]()
    for call in CALLS.values():
        call(t)
    gc.collect()
    before = resident()
    for _ in range(5):
        for call in CALLS.values():
            call(t)
    gc.collect()
    assert resident() - before < 4 << 20  # one result is 8 MB
