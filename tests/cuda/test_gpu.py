# SPDX-License-Identifier: BSD-3-Clause
"""The same functions on a real device: `pytest -m gpu`. Skipped where CuPy finds none; `test_cupy.py` emulates one."""

import concurrent.futures
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import lists
import numpy as np
import oracle
import pytest
from dtypes import F16, F32, F64

import fastclip
import fastclip.cuda
from fastclip._backends.cuda import modules
from fastclip._backends.cuda import rows as cuda_rows

NUMPY_KNOWS = (F16, F32, F64)  # CuPy has no bfloat16 of its own in all versions


def _device():
    try:
        import cupy
    except Exception as error:  # a broken CuPy is no device
        return f"CuPy can't be imported: {error}"
    return "" if cupy.cuda.is_available() else "CuPy finds no CUDA device here"


WHY_NOT = _device()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


@pytest.fixture
def cupy():
    import cupy

    if os.environ.get("FASTCLIP_UNDER_SANITIZER"):
        cupy.cuda.set_allocator(None)  # within a pool's block, memory of others is no error to a sanitizer
    return cupy


def fetched(arrays):
    return [a.get() for a in arrays]


def full(cupy, size, value, dtype):
    """Filled here: CuPy would have a kernel of its own for it, which only a real device runs."""
    return cupy.asarray(np.full(size, value, dtype))


def for_each_multiprocessor(cupy, size):
    """As much as keeps every chip busy, which is little for the emulated one."""
    return size * modules.attribute(cupy, 0, modules.MULTIPROCESSORS)


@pytest.mark.parametrize("limit", [0.0, 1e-32, 1.0, 1e9])
def test_a_list(cupy, limit):
    list_ = lists.arrays(sizes=(*lists.SIZES, 100_003), dtypes=NUMPY_KNOWS)
    clipped = [cupy.asarray(a) for a in list_]
    norm = float(fastclip.clip_by_global_norm_(clipped, limit))
    true = oracle.norm(list_)
    assert abs(norm / true - 1) <= 2.0**-24
    for x, y in zip(list_, fetched(clipped), strict=True):
        expected = x.astype(F64) * min(1.0, limit / true)
        allowed = (2 * float(oracle.UNIT[x.dtype]) + 2.0**-22) * np.abs(expected)
        assert (np.abs(y.astype(F64) - expected) <= allowed + float(oracle.finfo(x.dtype).smallest_subnormal)).all()


@pytest.mark.parametrize(("dtype", "scale"), [(F32, 1e-44), (F32, 1e-25), (F32, 1e38), (F64, 1e-310), (F64, 1e300)])
def test_subnormal_and_huge_numbers(cupy, dtype, scale):
    list_ = lists.arrays(scale, sizes=(33, 1025), dtypes=(dtype,))
    clipped = [cupy.asarray(a) for a in list_]
    norm = float(fastclip.clip_by_global_norm_(clipped, 0.5 * oracle.norm(list_)))
    assert math.isclose(norm, oracle.norm(list_), rel_tol=2.0**-24)
    assert max(np.abs(a).max() for a in fetched(clipped)) > 0.0  # nothing was flushed to zero


@pytest.mark.parametrize("policy", ["propagate", "nan", "skip", "zero"])
def test_nan_and_infinity(cupy, policy):
    list_ = lists.arrays(sizes=(5, 1025), dtypes=NUMPY_KNOWS)
    list_[3][700], list_[4][2] = math.nan, math.inf
    expected, clipped = [a.copy() for a in list_], [cupy.asarray(a) for a in list_]
    fastclip.clip_by_global_norm_(expected, 1e9, nonfinite=policy)
    fastclip.clip_by_global_norm_(clipped, 1e9, nonfinite=policy)
    assert oracle.same_bits(fetched(clipped), expected)
    with pytest.raises(FloatingPointError):
        fastclip.clip_by_global_norm_([cupy.asarray(a) for a in list_], 1.0, nonfinite="raise")


def test_values_and_statistics(cupy):
    list_ = lists.arrays(dtypes=NUMPY_KNOWS)
    expected, clipped = [a.copy() for a in list_], [cupy.asarray(a) for a in list_]
    on, off = fastclip.measure(clipped), fastclip.measure(list_)
    assert (on.zero_counts, on.max_abs) == (off.zero_counts, off.max_abs)
    np.testing.assert_allclose(on.norms, off.norms, rtol=2.0**-24)
    fastclip.clip_by_value_(expected, -0.3, 0.2)
    fastclip.clip_by_value_(clipped, -0.3, 0.2)
    assert oracle.same_bits(fetched(clipped), expected)


#: around what registers hold, a block of most chips or of an H100, a cluster of eight of these
COLUMNS = [1, 500, 512, 4097, 16_384, 20_001, 57_344, 57_345, 458_752, 458_753]


@pytest.mark.parametrize("columns", COLUMNS)
def test_rows(cupy, columns):
    rows = min(300, max(6, 3_000_000 // columns))
    x = np.random.default_rng(columns).standard_normal((rows, columns)).astype(F32)
    x[::2] *= 1e-3
    y = cupy.asarray(x)
    fastclip.cuda.clip_rows_(y, 0.5)
    norms = np.linalg.norm(x.astype(F64), axis=1)
    expected = x * np.minimum(1.0, 0.5 / norms)[:, None]
    np.testing.assert_allclose(y.get(), expected, rtol=2.0**-22)
    got = fastclip.cuda.example_norms([cupy.asarray(x)]).get()
    np.testing.assert_allclose(got, norms, rtol=2.0**-24)
    (total,), _ = fastclip.cuda.clip_and_sum([cupy.asarray(x)], 0.5)
    # each term within 2^-22, and their sum, in float64, rounded to float32 once
    allowed = np.abs(expected).sum(0) * 2.0**-22 + np.abs(expected.sum(0)) * 2.0**-24
    assert (np.abs(total.get() - expected.sum(0)) <= allowed).all()


@pytest.mark.parametrize("shape", [(3, 100_003), (3000, 1000), (100_003, 12), (1_000_000, 1)])
def test_columns(cupy, shape):
    x = np.random.default_rng(shape[1]).standard_normal(shape).astype(F32)
    x[:, ::2] *= 1e-3
    limit = 0.5 * math.sqrt(shape[0])
    y = cupy.asarray(x)
    fastclip.clip_by_norm_(y, limit, axes=0)
    norms = np.sqrt((x.astype(F64) ** 2).sum(0))
    np.testing.assert_allclose(y.get(), x * np.minimum(1.0, limit / norms), rtol=2.0**-22)
    seen = set()
    for _ in range(5):
        y = cupy.asarray(x)
        fastclip.clip_by_norm_(y, limit, axes=0)
        seen.add(y.get().tobytes())
    assert len(seen) == 1


@pytest.mark.parametrize("dtype", NUMPY_KNOWS, ids=str)
@pytest.mark.parametrize("size", [70_002, 250_000, 1_800_000])
def test_rows_that_are_kept_have_the_bits_of_two_launches(cupy, dtype, size):
    """Whichever kernel this chip has for them; more rows than it has at a time."""
    rows = max(5, for_each_multiprocessor(cupy, 280_000) // size)
    x = np.random.default_rng(size).standard_normal((rows, size // dtype.itemsize)).astype(dtype)
    x[::3] *= dtype.type(1e-3)
    kept, twice = cupy.asarray(x), cupy.asarray(x)
    fastclip.cuda.clip_rows_(kept, 2.0)
    with mock.patch.object(cuda_rows, "way", return_value=None):
        fastclip.cuda.clip_rows_(twice, 2.0)
    assert oracle.same_bits(kept.get(), twice.get())


def test_the_bits_are_those_of_every_run(cupy):
    x = cupy.asarray(np.random.default_rng(0).standard_normal(for_each_multiprocessor(cupy, 80_003)).astype(F32))
    assert len({float(fastclip.global_norm([x])) for _ in range(20)}) == 1


def test_two_streams(cupy):
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    found = []
    for i, stream in enumerate(streams):
        with stream:
            a = full(cupy, 1_000_000, float(i + 1), F32)
            found.append(fastclip.clip_by_global_norm_([a], 1.0))
    for stream in streams:
        stream.synchronize()
    assert [float(n) for n in found] == [1000.0, 2000.0]


def test_two_threads(cupy):
    def work(i):
        with cupy.cuda.Stream(non_blocking=True) as stream:
            a = full(cupy, 100_000, float(i), F64)
            norms = [fastclip.clip_by_global_norm_([a], math.inf) for _ in range(50)]
            stream.synchronize()
            return {float(n) for n in norms}

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert [len(norms) for norms in pool.map(work, (1, 2))] == [1, 1]


def test_a_graph_clips_again(cupy):
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        a, out = full(cupy, 4096, 2.0, F32), cupy.zeros((), F64)
        fastclip.clip_by_global_norm_([a], 1.0, out=out)  # compiles, and makes the plan
        stream.begin_capture()
        fastclip.clip_by_global_norm_([a], 1.0, out=out)
        graph = stream.end_capture()
        a.set(np.full(4096, 3.0, F32))
        graph.launch(stream)
        stream.synchronize()
        assert float(out) == 192.0
        assert math.isclose(float(np.linalg.norm(a.get().astype(F64))), 1.0, rel_tol=2.0**-22)


def test_more_than_2_to_the_31_elements(cupy):
    n = 2**31 + 12_345
    if cupy.cuda.Device().mem_info[0] < 3 * n:
        pytest.skip("the device has less than 6 GB to spare")
    a = cupy.full(n, 1.0, F16)
    norm = float(fastclip.clip_by_global_norm_([a], math.sqrt(n) / 2))
    assert norm == math.sqrt(n)
    assert float(a.min()) == float(a.max()) == 0.5


def test_torch_tensors_through_dlpack(cupy):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch was built without CUDA")
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        t = torch.full((1000,), 2.0, dtype=dtype, device="cuda")
        assert math.isclose(float(fastclip.clip_by_global_norm_([t], 1.0)), math.sqrt(4000.0), rel_tol=2.0**-24)
        assert math.isclose(float(t.double().norm()), 1.0, rel_tol=2.0**-7)


TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")


@pytest.mark.parametrize("tool", TOOLS)
def test_compute_sanitizer_finds_nothing(tool):
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None or os.environ.get("FASTCLIP_UNDER_SANITIZER"):
        pytest.skip("compute-sanitizer is not installed, or this run is already its own")
    tests = [f"{Path(__file__)}::test_{name}" for name in ("a_list", "rows", "columns", "values_and_statistics")]
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "-m", "pytest", "-q", *tests]
    environment = {**os.environ, "FASTCLIP_UNDER_SANITIZER": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout  # tests that are skipped have no errors, either
    assert " skipped" not in done.stdout
    assert "ERROR SUMMARY: 0 errors" in done.stdout or "RACECHECK SUMMARY: 0 hazards" in done.stdout
