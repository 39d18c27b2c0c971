# SPDX-License-Identifier: BSD-3-Clause
"""What surrounds the kernels: who may come, what is kept from call to call, who waits for whom, and when CuPy comes in."""

import math
import subprocess
import sys
import threading

import capsules
import lists
import numpy as np
import pytest
from dtypes import BF16, F16, F32, F64

import fastclip
import fastclip.cuda


class Interface:
    """Memory with a CUDA array interface, and nothing else."""

    def __init__(self, array, **changes):
        self._array = array
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            "strides": None,
            "version": 3,
        } | changes


def test_the_cuda_array_interface(cp):
    a = np.array([3.0, 4.0], F32)
    assert float(fastclip.clip_by_global_norm_([Interface(a)], 1.0)) == 5.0
    assert np.abs(a - [0.6, 0.8]).max() < 1e-7
    assert cp.cuda.waits == []


def test_strides_of_the_interface(cp):
    block = np.ones((4, 6), F64)
    part = block[::-2, 1:4]
    fastclip.clip_by_value_(Interface(part, strides=part.strides), -0.5, 0.5)
    expected = np.ones((4, 6))
    expected[::-2, 1:4] = 0.5
    assert (block == expected).all()


def test_work_of_another_stream_is_waited_for_on_the_device(cp):
    cp.cuda.stream.ptr = 7
    a = np.ones(4, F32)
    fastclip.clip_by_global_norm_([Interface(a, stream=9), Interface(np.ones(4), stream=7)], 1.0)
    assert cp.cuda.waits == [(7, 9), (9, 7)]  # before the kernels, and after them
    assert cp.cuda.synchronizations == 0


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"mask": object()}, TypeError, "has a mask"),
        ({"data": (64, True)}, ValueError, "is read-only"),
        ({"stream": 0}, ValueError, "stream 0"),
        ({"typestr": "<i4"}, TypeError, "is int32; expected float16, bfloat16, float32 or float64"),
        ({"typestr": ">f4"}, TypeError, "is >f4; expected float16"),
        ({"typestr": "<V2"}, TypeError, r"is \|V2; expected float16"),
        ({"strides": (8,)}, ValueError, "no two elements are adjacent"),
        ({"strides": (0,)}, ValueError, "no two elements are adjacent"),
        ({"data": None}, TypeError, "can't be taken as a CUDA array"),
        ({"data": (66, False)}, ValueError, "no multiple of its itemsize"),
    ],
)
def test_what_the_interface_may_not_say(cp, changes, error, words):
    good = np.ones(3, F32)
    with pytest.raises(error, match=rf"^clip_by_global_norm_: t_list\[1\].*{words}"):
        fastclip.clip_by_global_norm_([cp.view(good), Interface(np.ones(3, F32), **changes)], 1.0)
    assert (good == 1.0).all()
    assert cp.cuda.launches == []


def test_cpu_and_gpu_do_not_mix(cp):
    with pytest.raises(TypeError, match=r"^clip_by_norm_: t\[1\] .* not on a GPU, and t\[0\] is; move one"):
        fastclip.clip_by_norm_([cp.asarray(np.ones(3)), np.ones(3)], 1.0)


def test_devices_do_not_mix(cp):
    with pytest.raises(ValueError, match=r"t_list\['b'\] is on GPU 1 and t_list\['a'\] on GPU 0"):
        fastclip.global_norm({"a": cp.ndarray(np.ones(3)), "b": cp.ndarray(np.ones(3), device=1)})


def test_arrays_that_overlap(cp):
    block = np.ones(10, F32)
    with pytest.raises(ValueError, match=r"t_list\[0\] and t_list\[1\] share memory"):
        fastclip.clip_by_global_norm_([cp.view(block[:6]), cp.view(block[5:])], 1.0)
    assert (block == 1.0).all()


def test_interleaved_views_are_disjoint(cp):
    block = np.full((5, 8), 2.0, F32)
    norm = float(fastclip.clip_by_global_norm_([cp.view(block[:, :3]), cp.view(block[:, 3:])], 1.0))
    assert norm == math.sqrt(160.0)
    assert np.unique(block).size == 1


def test_the_norm_goes_where_it_is_wanted(cp):
    a, out = cp.asarray(np.full(4, 2.0)), cp.asarray(np.zeros(()))
    fastclip.clip_by_global_norm_([a], 1.0)
    before = cp.cuda.allocations
    assert fastclip.clip_by_global_norm_([a], 10.0, out=out) is out
    assert cp.cuda.allocations == before
    assert abs(float(out) - 1.0) < 1e-15


@pytest.mark.parametrize("out", [0.0, np.zeros(())])
def test_the_norm_goes_to_no_other_place(cp, out):
    with pytest.raises(TypeError, match="^clip_by_global_norm_: out is .*; expected a CuPy array of one float64"):
        fastclip.clip_by_global_norm_([cp.asarray(np.ones(3))], 1.0, out=out)
    with pytest.raises(TypeError, match="the arrays are in the CPU's memory, where the norm is returned as a float"):
        fastclip.clip_by_global_norm_([np.ones(3)], 1.0, out=out)


def test_nothing_but_the_norm_is_allocated_once_a_list_is_known(cp):
    cp.cuda.stream.ptr = 31
    list_ = [cp.asarray(a) for a in lists.arrays(sizes=(5, 100))]
    fastclip.clip_by_global_norm_(list_, 1.0)
    before = cp.cuda.allocations, cp.cuda.uploads
    fastclip.clip_by_global_norm_(list_, 0.5)
    assert (cp.cuda.allocations, cp.cuda.uploads) == (before[0] + 1, before[1])  # the same addresses: no upload
    fastclip.clip_by_global_norm_([cp.asarray(a.get()) for a in list_], 0.5)
    assert (cp.cuda.allocations, cp.cuda.uploads) == (before[0] + 2, before[1] + 1)


def test_streams_share_no_plan(cp):
    list_ = [cp.asarray(np.ones(40))]
    before = cp.cuda.uploads
    for stream in (41, 42, 41):
        cp.cuda.stream.ptr = stream
        fastclip.clip_by_global_norm_(list_, 100.0)
    assert cp.cuda.uploads == before + 2
    assert [stream for *_, stream in cp.cuda.launches] == [41, 41, 42, 42, 41, 41]


def test_threads_may_clip_at_once(cp):
    found = []

    def work(i):
        list_ = [cp.asarray(np.full(100 + i, float(i + 1)))]
        norms = [float(fastclip.clip_by_global_norm_(list_, 1.0)) for _ in range(20)]
        found.append((i, norms[0], max(abs(n - 1.0) for n in norms[1:])))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for i, norm, rest in found:
        assert math.isclose(norm, (i + 1) * math.sqrt(100 + i), rel_tol=1e-15)
        assert rest < 1e-15


def test_norm_and_coef_write_to_no_array(cp):
    a = np.array([3.0, 4.0], F16)
    norm, coef = fastclip.cuda.norm_and_coef([cp.view(a)], 1.0)
    assert (float(norm), float(coef), coef.dtype) == (5.0, float(F32.type(0.2)), F32)
    assert (a == [3.0, 4.0]).all()
    assert [name for name, *_ in cp.cuda.launches] == ["norm_list"]
    assert float(fastclip.cuda.norm_and_coef([cp.view(a)], 5.0)[1]) == 1.0
    a[0] = math.inf
    assert float(fastclip.cuda.norm_and_coef([cp.view(a)], 5.0)[1]) == 0.0
    assert float(fastclip.cuda.norm_and_coef([cp.view(a)], 5.0, nonfinite="skip")[1]) == 1.0
    assert math.isnan(float(fastclip.cuda.norm_and_coef([cp.view(a)], 5.0, nonfinite="nan")[1]))
    with pytest.raises(ValueError, match="nonfinite is 'zero'; expected one of propagate, nan, skip"):
        fastclip.cuda.norm_and_coef([cp.view(a)], 5.0, nonfinite="zero")


def test_empty_arrays(cp):
    empty = [cp.asarray(np.zeros(0, F32)), cp.asarray(np.zeros((3, 0)))]
    assert float(fastclip.clip_by_global_norm_(empty, 1.0)) == 0.0
    fastclip.clip_by_norm_(empty, 1.0)
    assert fastclip.measure(empty).norms == (0.0, 0.0)


def test_a_scalar_array(cp):
    a = np.array(-3.0, BF16)
    assert float(fastclip.clip_by_global_norm_([cp.view(a)], 1.5)) == 3.0
    assert float(a) == -1.5


# ---- CuPy itself


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_fastclip_imports_no_cupy():
    assert (
        python("import fastclip, fastclip.cuda, sys; fastclip.show_config(); print('cupy' in sys.modules)") == "False"
    )


def test_clipping_on_the_cpu_imports_no_cupy():
    code = "import fastclip, numpy as np, sys; fastclip.clip_by_norm_(iter([np.ones(3)]), 1.0); print('cupy' in sys.modules)"
    assert python(code) == "False"


@pytest.mark.parametrize("raised", ["ImportError('no libcuda')", "OSError(30, 'Read-only file system')"])
def test_a_broken_cupy_is_named_at_the_first_gpu_array(monkeypatch, tmp_path, raised):
    (tmp_path / "cupy.py").write_text(f"raise {raised}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    fastclip.clip_by_norm_([np.ones(3)], 1.0)
    with pytest.raises(
        RuntimeError, match=r"needs CuPy .*pip install 'fastclip\[cuda13\]'.*failed: (ImportError|OSError)"
    ):
        fastclip.clip_by_norm_([Interface(np.ones(3))], 1.0)


def test_real_cupy_takes_the_modules_without_a_gpu(monkeypatch, tmp_path):
    """Its constructors do not compile; what it does to arguments and options is its own code."""
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    cupy = pytest.importorskip("cupy", reason="CuPy has packages for Linux on x86-64")
    from fastclip._backends.cuda.source import MODULES, OPTIONS, source

    for module in MODULES:
        assert isinstance(cupy.RawModule(code=source(module), options=OPTIONS), cupy.RawModule)
    if cupy.cuda.is_available():
        return
    memory = np.ones(4, F32)
    block = cupy.cuda.UnownedMemory(memory.ctypes.data, memory.nbytes, memory, 0)
    array = cupy.ndarray((4,), F32, cupy.cuda.MemoryPointer(block, 0))
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="InsufficientDriver|NoDevice"):
        fastclip.clip_by_norm_([array], 1.0)


# ---- DLPack


class Legacy(capsules.Producer):
    """DLPack before version 1."""

    def __dlpack__(self, *, stream):
        self.asked.append({"stream": stream})
        return self.make(capsules.LEGACY)


def lent(array, kind=capsules.Producer, **fields):
    return kind(array, reported=2, **({"device": 2, "device_id": 0} | fields))


@pytest.mark.parametrize("kind", [capsules.Producer, Legacy])
@pytest.mark.parametrize("dtype", [F16, BF16, F32, F64], ids=str)
def test_dlpack(cp, kind, dtype):
    a = np.array([[3.0, 0.0], [0.0, 4.0]], dtype)
    lender = lent(a, kind)
    assert float(fastclip.clip_by_global_norm_([lender], 2.5)) == 5.0
    assert (a == np.array([[1.5, 0.0], [0.0, 2.0]], dtype)).all()
    assert lender.asked[-1]["stream"] == 1  # CUDA's default stream, in DLPack's numbers
    assert lender.deleted == lender.made


def test_dlpack_on_another_stream_with_strides_and_an_offset(cp):
    cp.cuda.stream.ptr = 4711
    block = np.ones((4, 6), F32)
    lender = lent(block[1:, 2:4], data=block.ctypes.data, byte_offset=32)
    fastclip.clip_by_value_(lender, -0.5, 0.5)
    assert block.sum() == 24 - 3
    assert (block[1:, 2:4] == 0.5).all()
    assert lender.asked == [{"stream": 4711, "max_version": (1, 0)}]


def test_dlpack_without_strides_and_without_dimensions(cp):
    a = np.full((2, 3), 2.0, F32)
    fastclip.clip_by_value_([lent(a, strides=None)], 0.0, 1.0)
    assert (a == 1.0).all()
    scalar = np.array(2.0, F32)
    fastclip.clip_by_value_([lent(scalar, shape=None, strides=None)], 0.0, 1.0)
    assert scalar == 1.0


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"flags": capsules.READ_ONLY}, ValueError, "is read-only"),
        ({"flags": capsules.COPIED}, TypeError, "holds a copy"),
        ({"major": 2}, TypeError, "has version 2; 1 is known"),
        ({"code": 0}, TypeError, "is int32; expected"),
        ({"lanes": 4}, TypeError, "is float32x4; expected"),
        ({"capsule": object()}, TypeError, "can't be taken as an array"),
        ({"data": None}, TypeError, "no memory for its elements"),
    ],
)
def test_what_a_capsule_may_not_say(cp, fields, error, words):
    a = np.ones(4, F32)
    with pytest.raises(error, match=rf"^clip_by_norm_: t\[0\].*{words}"):
        fastclip.clip_by_norm_([lent(a, **fields)], 1.0)
    assert (a == 1.0).all()
    assert cp.cuda.launches == []


def test_what_may_not_be_written_may_be_read(cp):
    assert float(fastclip.global_norm([lent(np.ones(4, F32), flags=capsules.READ_ONLY)])) == 2.0


def test_an_object_whose_export_fails(cp):
    class Refuses:
        def __dlpack_device__(self):
            return (2, 0)

        def __dlpack__(self, **_):
            raise BufferError("requires grad")

    with pytest.raises(TypeError, match=r"^global_norm: t_list\[0\] .*can't be taken as an array: requires grad"):
        fastclip.global_norm([Refuses()])
