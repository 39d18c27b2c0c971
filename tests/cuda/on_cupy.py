# SPDX-License-Identifier: BSD-3-Clause
"""What only CuPy as it is can show: `test_cupy.py` runs this in a process that has a device for it.

Its streams are lazy: nothing has run before somebody waits.
"""

import ctypes
import gc
import importlib.util
import json
import math
import sys
from pathlib import Path

import lists
import numpy as np
import oracle
import pytest
from dtypes import F16, F32, F64

import fastclip
import fastclip.cuda
from fastclip._backends.cuda import modules, statistics
from fastclip._backends.cuda import plan as plans
from fastclip._backends.cuda.source import OPTIONS, source

BENCH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_cuda.py"


@pytest.fixture
def cupy(emulated):
    import cupy

    return cupy


@pytest.fixture
def stream(cupy):
    """A current stream that no other waits for."""
    with cupy.cuda.Stream(non_blocking=True) as stream:
        yield stream


class Only:
    """A CuPy array that shows one of its interfaces alone."""

    def __init__(self, array, *names):
        self._array, self._names = array, names

    def __getattr__(self, name):
        if name not in self._names:
            raise AttributeError(name)
        return getattr(self._array, name)


class ByInterface(Only):
    """As another library would: its numbers may be written by another stream."""

    def __init__(self, array, stream):
        super().__init__(array)
        self.__cuda_array_interface__ = array.__cuda_array_interface__ | {"stream": stream.ptr}


def as_it_is(a):
    """What is in the memory of an array, by nobody's leave."""
    return np.ndarray(a.shape, a.dtype, (ctypes.c_char * a.nbytes).from_address(a.data.ptr)).copy()


def test_nothing_has_run_before_somebody_waits(cupy, stream):
    a = cupy.asarray(np.full(4, 2.0, F32))
    fastclip.clip_by_global_norm_([a], 1.0)
    assert np.isnan(as_it_is(a)).all()  # not even what was copied there
    stream.synchronize()
    np.testing.assert_allclose(as_it_is(a), 0.5, rtol=2.0**-22)


def test_lists_that_come_in_turn(cupy, stream):
    """Their addresses pass through the same few pieces of pinned memory."""
    given = [lists.arrays(i + 1.0, sizes=(5, 100), dtypes=(F32, F64)) for i in range(3 * plans.PINNED)]
    clipped = [[cupy.asarray(a) for a in list_] for list_ in given]
    norms = [fastclip.clip_by_global_norm_(list_, 1.0) for list_ in clipped]
    stream.synchronize()
    for list_, norm in zip(given, norms, strict=True):
        assert math.isclose(float(as_it_is(norm)), oracle.norm(list_), rel_tol=2.0**-24)


def test_a_plan_that_is_dropped_before_it_has_run(cupy, stream):
    a = cupy.asarray(np.full(7, 2.0, F32))
    norm = fastclip.clip_by_global_norm_([a[:]], 1.0)
    for n in range(plans.KEPT + 8):
        fastclip.global_norm([cupy.asarray(np.ones(100 + n, F32))])
        if n >= plans.KEPT - 2:  # a plan and the list that it serves know each other
            gc.collect()
    stream.synchronize()
    assert float(as_it_is(norm)) == math.sqrt(28.0)
    np.testing.assert_allclose(as_it_is(a), 7**-0.5, rtol=2.0**-22)


@pytest.fixture
def written(cupy, stream):
    """A stream, and an array of 2.0 that it has yet to write."""
    with cupy.cuda.Stream(non_blocking=True) as writer:
        return writer, cupy.asarray(np.full(9, 2.0, F32))


def test_what_another_stream_writes_is_waited_for(written, stream):
    writer, a = written
    norm = fastclip.clip_by_global_norm_([ByInterface(a, writer)], 1.0)
    stream.synchronize()
    assert float(as_it_is(norm)) == 6.0
    np.testing.assert_allclose(as_it_is(a), 1.0 / 3.0, rtol=2.0**-22)


def test_another_stream_waits_before_it_writes_again(written, stream):
    writer, a = written
    norm = fastclip.clip_by_global_norm_([ByInterface(a, writer)], 1.0)
    a.data.memset_async(0, a.nbytes, writer)
    writer.synchronize()
    assert float(as_it_is(norm)) == 6.0
    assert (as_it_is(a) == 0.0).all()


@pytest.mark.parametrize("theirs", [1, 2])
@pytest.mark.parametrize("ours", [0, 2])
def test_the_default_streams(cupy, ours, theirs):
    """CUDA's handles of the legacy one, 0 and 1, and of each thread's own."""
    with modules.stream(cupy, ours):
        a = cupy.asarray(np.full(9, 2.0, F32))
        norm = fastclip.clip_by_global_norm_([ByInterface(a, modules.stream(cupy, theirs))], 1.0)
        assert float(norm) == 6.0
        np.testing.assert_allclose(a.get(), 1.0 / 3.0, rtol=2.0**-22)


@pytest.mark.parametrize("dtype", [F16, F32, F64], ids=str)
def test_cupys_own_interfaces(cupy, stream, dtype):
    for names in (("__cuda_array_interface__",), ("__dlpack__", "__dlpack_device__")):
        a = cupy.asarray(np.full((4, 9), 2.0, dtype))
        norm = fastclip.clip_by_global_norm_([Only(a[:, 2:6], *names)], 4.0)
        assert float(norm) == 8.0
        assert (a.get()[:, 2:6] == 1.0).all()
        assert (a.get()[:, 6:] == 2.0).all()


def test_memory_of_the_host_is_no_array_on_a_gpu(cupy):
    a = np.ones(4, F32)
    interface = {"shape": (4,), "typestr": "<f4", "data": (a.ctypes.data, False), "version": 3}
    lender = type("Lender", (), {"__cuda_array_interface__": interface})()
    with pytest.raises(ValueError, match=r"^clip_by_norm_: t\[0\] is at an address that CUDA does not know"):
        fastclip.clip_by_norm_([lender], 1.0)


def test_structures_for_cupy_before_14_1(cupy, monkeypatch):
    monkeypatch.setattr(cupy, "__version__", "14.0.1")
    monkeypatch.setattr(modules, "_kernels", {})
    list_ = lists.arrays(sizes=(5, 1025), dtypes=(F32, F64))
    a, b = ([cupy.asarray(x) for x in list_] for _ in range(2))
    plans._plans.clear()
    fastclip.clip_by_global_norm_(a, 0.5)
    monkeypatch.undo()
    plans._plans.clear()
    fastclip.clip_by_global_norm_(b, 0.5)
    assert oracle.same_bits([x.get() for x in a], [x.get() for x in b])
    assert not oracle.same_bits([x.get() for x in a], list_)


def test_streams_of_others_for_cupy_13(cupy, monkeypatch):
    assert modules.stream(cupy, 4711).ptr == 4711
    monkeypatch.delattr(cupy.cuda.Stream, "from_external")
    with pytest.warns(DeprecationWarning, match="ExternalStream"):
        assert modules.stream(cupy, 4711).ptr == 4711


def test_a_launch_costs_no_more_than_cupys_own(cupy, emulated):
    """An array of fields as an argument would be asked for its description, in Python."""
    a = [cupy.asarray(np.ones(100, F32)) for _ in range(20)]
    fastclip.clip_by_global_norm_(a, 1.0)
    asked = []
    emulated.settings.idle = 1
    sys.setprofile(lambda frame, event, _: event == "call" and asked.append(frame.f_code.co_name))
    try:
        fastclip.clip_by_global_norm_(a, 1.0)
    finally:
        sys.setprofile(None)
    assert "clip_list" in asked
    assert "_array_descr" not in asked


# ---- the device itself


def test_what_has_no_stand_in_is_refused_by_its_name(cupy):
    with pytest.raises(RuntimeError, match="cudaMallocManaged is not in tests/cuda/driver"):
        cupy.cuda.runtime.mallocManaged(8)


def test_copies_from_what_is_not_on_the_device(cupy):
    to = np.zeros(8, np.uint8)
    with pytest.raises(RuntimeError, match="cudaErrorInvalidValue: a copy from what is not on the device"):
        cupy.cuda.runtime.memcpy(to.ctypes.data, to.ctypes.data, 8, 2)
    with pytest.raises(RuntimeError, match="a copy to what is not on the device"):
        cupy.cuda.runtime.memcpy(to.ctypes.data, to.ctypes.data, 8, 1)


def test_what_nobody_made(cupy):
    with pytest.raises(RuntimeError, match="what is freed was not allocated"):
        cupy.cuda.runtime.free(np.ones(4).ctypes.data)
    with pytest.raises(RuntimeError, match="stream 4711, which nobody made"):
        modules.stream(cupy, 4711).synchronize()


def test_launches_that_the_machine_code_is_not_made_for(cupy):
    module = cupy.RawModule(code=source("rows_cluster"), options=OPTIONS)
    kernel = module.get_function("rows_cluster").kernel
    with pytest.raises(RuntimeError, match="1056 threads of at most 1024"):
        kernel((8,), (1056,), ())
    with pytest.raises(RuntimeError, match="the grid is no multiple of the cluster"):
        kernel((12,), (1024,), ())


def test_the_benchmark_calls_what_cupy_has(cupy, emulated, monkeypatch, tmp_path):
    """With nothing run, which takes no emulator; the times mean nothing."""
    spec = importlib.util.spec_from_file_location("bench_cuda", BENCH)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    for name, value in (("ROUNDS", 1), ("SIZES", {"20 MB": [100] * 3}), ("ROWS", {"rows": (4, 64)})):
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(bench, "COLUMNS", (64, 32))
    monkeypatch.setattr(statistics, "of_list", lambda _: (0.0, 0.0, 0.0, []))  # what nobody has counted is no number
    monkeypatch.setattr(sys, "argv", ["bench_cuda.py", "--json", str(tmp_path / "cuda.json")])
    emulated.settings.idle = 1
    bench.main()
    found = json.loads((tmp_path / "cuda.json").read_text("utf-8"))
    assert found.pop("device") == "the emulator"
    assert {"copy", "cupy", "norm", "measure", "within", "clip"} <= set(found["20 MB"])
    assert {"copy", "cupy"} <= set(found["rows"])
    assert all(times["host_us"] > 0.0 for case in found.values() for times in case.values())
