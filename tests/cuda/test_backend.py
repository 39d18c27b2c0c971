# SPDX-License-Identifier: BSD-3-Clause
"""What surrounds the kernels: who may come, what is kept from call to call, and when CuPy comes in."""

import gc
import math
import subprocess
import sys
import threading
import weakref

import lists
import numpy as np
import pytest
from dtypes import BF16, F16, F32

import fastclip
import fastclip.cuda
from fastclip import _known
from fastclip._config import backend


class Foreign:
    """Says that it is on a GPU, and nothing else."""

    __cuda_array_interface__ = {"shape": (3,), "typestr": "<f4", "data": (64, False), "version": 3}  # noqa: RUF012


def test_cpu_and_gpu_do_not_mix(cp):
    with pytest.raises(TypeError, match=r"^clip_by_norm_: t\[1\] .* not on a GPU, and t\[0\] is; move one"):
        fastclip.clip_by_norm_([cp.asarray(np.ones(3)), np.ones(3)], 1.0)


def test_devices_do_not_mix(fake):
    with pytest.raises(ValueError, match=r"t_list\['b'\] is on GPU 1 and t_list\['a'\] on GPU 0"):
        fastclip.global_norm({"a": fake.ndarray(np.ones(3)), "b": fake.ndarray(np.ones(3), device=1)})


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


def test_the_norm_alone_goes_where_it_is_wanted(cp):
    out = cp.asarray(np.zeros(()))
    assert fastclip.global_norm([cp.asarray(np.full(4, 2.0))], out=out) is out
    assert float(out) == 4.0
    with pytest.raises(TypeError, match=r"^global_norm: out is 0\.0 \(float\); expected a CuPy array of one"):
        fastclip.global_norm([cp.asarray(np.ones(3))], out=0.0)
    with pytest.raises(TypeError, match=r"^global_norm: out is .*, but the arrays are in the CPU's memory"):
        fastclip.global_norm([np.ones(3)], out=out)


@pytest.mark.parametrize("name", ["clip_by_global_norm", "clip_by_norm", "clip_by_average_norm", "clip_by_value"])
def test_out_of_place_is_refused_with_the_name_of_what_serves(cp, name):
    a = cp.asarray(np.ones(3))
    given = ([a],) if "global" in name else (a,)
    limits = (0.0, 1.0) if "value" in name else (1.0,)
    with pytest.raises(TypeError, match=rf"^{name}: .* is on a GPU; use {name}_, which clips in place"):
        getattr(fastclip, name)(*given, *limits)


@pytest.mark.parametrize("out", [0.0, np.zeros(())])
def test_the_norm_goes_to_no_other_place(cp, out):
    with pytest.raises(TypeError, match=r"^clip_by_global_norm_: out is .*; expected a CuPy array of one float64"):
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
    others = [cp.asarray(a.get()) for a in list_]
    before = cp.cuda.allocations, cp.cuda.uploads
    fastclip.clip_by_global_norm_(others, 0.5)
    assert (cp.cuda.allocations, cp.cuda.uploads) == (before[0] + 1, before[1] + 1)


def test_a_list_that_is_known_is_known_by_its_memory(cp):
    cp.cuda.stream.ptr = 32
    block = np.full(60, 2.0, F32)
    first = [cp.view(block[:10]), cp.view(block[10:20])]
    fastclip.clip_by_global_norm_(first, math.inf)
    other = [cp.view(block[:10]), cp.view(block[20:50])]  # begins at the same address, and is as long
    assert float(fastclip.clip_by_global_norm_(other, math.inf)) == math.sqrt(160.0)
    assert float(fastclip.clip_by_global_norm_(first, math.inf)) == math.sqrt(80.0)
    assert float(fastclip.clip_by_global_norm_([*first, first[0]], math.inf)) == math.sqrt(120.0)
    with pytest.raises(ValueError, match="share memory"):
        fastclip.clip_by_global_norm_([first[0], cp.view(block[5:15])], math.inf)
    fastclip.global_norm([first[0], cp.view(block[5:15])])  # to read, they may
    with pytest.raises(ValueError, match="share memory"):
        fastclip.clip_by_global_norm_([first[0], cp.view(block[5:15])], math.inf)
    strided = [cp.view(block[:40].reshape(2, 20)[:, :5]), cp.view(block[40:])]
    assert float(fastclip.clip_by_global_norm_(strided, math.inf)) == math.sqrt(120.0)


def test_objects_that_come_again_are_asked_nothing(cp, monkeypatch):
    list_ = [cp.asarray(np.full(4, 1.0)), cp.asarray(np.full(4, 1.0))]
    for _ in range(4):
        fastclip.clip_by_global_norm_(list_, math.inf)
    asked = []
    monkeypatch.setattr(_known, "_looks", lambda tree: asked.append(tree))
    assert float(fastclip.clip_by_global_norm_(list(list_), math.inf)) == math.sqrt(8.0)
    assert asked == []
    key = True, backend.identities(list_)
    assert key in _known._same
    del list_[1]
    gc.collect()
    assert key not in _known._same
    assert float(fastclip.clip_by_global_norm_([*list_, cp.asarray(np.full(4, 3.0))], math.inf)) == math.sqrt(40.0)
    assert len(asked) == 2


def test_what_is_known_is_not_kept_alive(cp):
    a = cp.asarray(np.ones(10))
    fastclip.clip_by_global_norm_([a], 1.0)
    gone = weakref.ref(a)
    del a
    gc.collect()
    assert gone() is None


def test_streams_share_no_plan(cp):
    list_ = [cp.asarray(np.ones(40))]
    uploads = [cp.cuda.uploads]
    for stream in (41, 42, 41):
        cp.cuda.stream.ptr = stream
        fastclip.clip_by_global_norm_(list_, 100.0)
        uploads.append(cp.cuda.uploads)
    assert uploads[0] < uploads[1] < uploads[2] == uploads[3]
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
    code = "import fastclip, numpy as np, sys; fastclip.clip_by_norm_(iter([np.ones(3)]), 1.0)"
    assert python(f"{code}; print('cupy' in sys.modules)") == "False"


@pytest.mark.parametrize("raised", ["ImportError('no libcuda')", "OSError(30, 'Read-only file system')"])
def test_a_broken_cupy_is_named_at_the_first_gpu_array(monkeypatch, tmp_path, raised):
    (tmp_path / "cupy.py").write_text(f"raise {raised}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    fastclip.clip_by_norm_([np.ones(3)], 1.0)
    with pytest.raises(
        RuntimeError, match=r"needs CuPy .*pip install 'fastclip\[cuda13\]'.*failed: (ImportError|OSError)"
    ):
        fastclip.clip_by_norm_([Foreign()], 1.0)


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
    assert _known._looks([array]) == ([memory.ctypes.data], [(4,)], [F32])  # what makes a known list quick
    with pytest.raises(TypeError, match=r"^clip_by_norm_: t\[0\], of type ndarray, .*(InsufficientDriver|NoDevice)"):
        fastclip.clip_by_norm_([array], 1.0)
