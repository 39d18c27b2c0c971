# SPDX-License-Identifier: BSD-3-Clause
"""Each kernel over several blocks and workers: few and short, since sanitizers and mutants run them again and again."""

import math

import lists
import numpy as np
import oracle
import pytest
from batches import H100, LITTLE, batch, check_rows, chip, copied
from dtypes import BF16, DTYPES, F16, F32, F64

import fastclip
from fastclip._backends.reference import Reference
from fastclip._rules import TENSOR_NORM

REFERENCE = Reference()
SCHEDULES = [(0, 1, 1), (1, 1, 1), (7, 2, 1), (8, 2, 2)]  # seed, workers, multiprocessors


@pytest.fixture(params=SCHEDULES, ids=lambda schedule: "seed{}-workers{}-processors{}".format(*schedule))
def gpu(request, cp):
    """The fake CuPy with one way to run things; streams of their own make plans of their own."""
    cp.cuda.seed, cp.cuda.workers, cp.cuda.multiprocessors = request.param
    cp.cuda.stream.ptr = 1000 + request.param[0]
    return cp


@pytest.fixture(scope="module")
def list_():
    """Every dtype, misaligned, in some 20 chunks: more than two blocks have warps."""
    values = lists.arrays(sizes=(1, 1021, 2100), seed=3) + lists.arrays(sizes=(6000,), dtypes=(F32, F16), seed=4)
    values[0][:] = 0.0
    return values


def fetched(arrays):
    return [a.get() for a in arrays]


def test_norm_list_and_scale(gpu, list_):
    for _ in range(2):  # the counter of the first call must be 0 again
        clipped = [gpu.asarray(a) for a in list_]
        norm = float(fastclip.clip_by_global_norm_(clipped, 1.5))
        assert abs(norm / oracle.norm(list_) - 1) <= 2.0**-24
        for x, y in zip(list_, fetched(clipped), strict=True):
            expected = x.astype(F64) * (1.5 / norm)
            allowed = float(oracle.UNIT[x.dtype]) * 2 * np.abs(expected) + float(
                oracle.finfo(x.dtype).smallest_subnormal
            )
            assert (np.abs(y.astype(F64) - expected) <= allowed + 2.0**-23 * np.abs(expected)).all()


def test_non_finite_elements_are_dropped(gpu):
    list_ = lists.arrays(sizes=(70, 1500), dtypes=(F32, F64, BF16))
    for a in list_:
        a[[0, 33, -1]] = math.nan, math.inf, -math.inf
    clipped = [gpu.asarray(a) for a in list_]
    norm = float(fastclip.clip_by_global_norm_(clipped, 1e6, nonfinite="zero"))
    finite = [np.where(np.isfinite(a), a, a.dtype.type(0)) for a in list_]
    assert abs(norm / oracle.norm(finite) - 1) <= 2.0**-24
    assert oracle.same_bits(fetched(clipped), finite)


def test_out_of_range(gpu):
    list_ = [np.full(1100, 1e-30, F32), np.full(2100, 1e-170), np.full(1100, 1e25, F32), np.full(2100, 1e170)]
    assert math.isclose(
        float(fastclip.global_norm([gpu.asarray(a) for a in list_[:2]])), oracle.norm(list_[:2]), rel_tol=1e-15
    )
    assert math.isclose(float(fastclip.global_norm([gpu.asarray(a) for a in list_])), oracle.norm(list_), rel_tol=1e-15)
    assert float(fastclip.global_norm([gpu.asarray(list_[1])])) == oracle.norm([list_[1]])


def test_norm_each(gpu, list_):
    expected = [a.copy() for a in list_]
    for factor in (0.5, 1.0):  # a counter that stays would leave the verdicts of the first call
        clipped = [gpu.asarray(a * a.dtype.type(factor)) for a in list_]
        fastclip.clip_by_norm_(clipped, 2.0)
    REFERENCE.clip_each(expected, None, 2.0, TENSOR_NORM["in place"], True)
    for x, y in zip(expected, fetched(clipped), strict=True):
        x, y, u = x.astype(F64), y.astype(F64), float(oracle.UNIT[x.dtype])
        assert (np.abs(x - y) <= (2 * u + 2.0**-22) * np.abs(x) + 2.0**-24).all()


def test_clamp(gpu, list_):
    expected, clipped = [a.copy() for a in list_], [gpu.asarray(a) for a in list_]
    REFERENCE.clamp_list(expected, None, -0.3, 0.7, True)
    fastclip.clip_by_value_(clipped, -0.3, 0.7)
    assert oracle.same_bits(fetched(clipped), expected)


def test_measure(gpu, list_):
    for _ in range(2):
        found = fastclip.measure([gpu.asarray(a) for a in list_])
    off = fastclip.measure(list_)
    assert (found.zero_counts, found.nonfinite) == (off.zero_counts, 0)
    assert found.max_abs == off.max_abs
    for norm, a in zip(found.norms, list_, strict=True):
        assert math.isclose(norm, oracle.norm([a]), rel_tol=2.0**-49)  # 31 roundings of squares, halved by the root
    assert math.isclose(found.sum_abs, off.sum_abs, rel_tol=2.0**-42)  # the CPU's lanes: 1,024 additions, 2^-43


def test_a_guarded_array_is_written_within_its_bounds(gpu):
    for dtype in DTYPES:
        block = np.full(300, 2.0, dtype)
        fastclip.clip_by_global_norm_([gpu.view(block[17:271])], 1.0)
        assert (block[:17] == 2.0).all()
        assert (block[271:] == 2.0).all()
        assert (block[17:271] < 1.0).all()


@pytest.mark.parametrize(
    ("of", "kernel", "blocks", "processors"), [(H100, "rows_shared", 3, 1), (LITTLE, "rows_cluster", 4, 8)]
)
def test_kept_rows(gpu, monkeypatch, of, kernel, blocks, processors):
    """Two and more in turn: the totals of the next are not to be written before those of one are read."""
    chip(gpu, monkeypatch, *of)
    gpu.cuda.multiprocessors = processors
    x = batch(9, 33_000, F16, step=3)
    y = copied(x)
    fastclip.clip_by_norm_(gpu.view(y), 1.0, axes=1)
    assert [launch[:2] for launch in gpu.cuda.launches] == [(kernel, blocks * processors)]
    check_rows(x, y, 1.0)


@pytest.mark.parametrize("dtype", [F16, F64], ids=str)
@pytest.mark.parametrize("count", [40, 33])  # a vector for each lane, a column
def test_columns(gpu, count, dtype):
    x = batch(count, 1500, dtype).T.copy()
    for factor in (1.0, 0.5):  # a counter that stays would leave the verdicts of the first call
        before = x * dtype.type(factor)
        y = before.copy()
        fastclip.clip_by_norm_(gpu.view(y), 1.0, axes=0)
        check_rows(before.T, y.T, 1.0)
    assert {name for name, *_ in gpu.cuda.launches} == {"norm_columns", "scale_columns"}
