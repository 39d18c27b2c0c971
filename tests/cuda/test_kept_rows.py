# SPDX-License-Identifier: BSD-3-Clause
"""Rows of more than 16 KB, kept in the shared memory of a block or a cluster, or read twice where neither has room."""

import ctypes
import itertools
import math
import mmap

import numpy as np
import oracle
import pytest
from batches import A100, H100, LITTLE, OLD, batch, check_rows, chip, copied
from dtypes import DTYPES, F16, F32, F64

import fastclip
import fastclip.cuda
from fastclip._backends.cuda import chunks, rows
from fastclip._backends.cuda.source import OPTIONS, source

TWICE = ["norm_each", "scale"]
ONE_BLOCK = (
    112 * 2048
)  # bytes in 2 KB chunks, with 24 for the total of each: what 227 KB hold beside 32 for the coefficient
CLUSTER = 8 * 28 * 8192  # likewise, in 8 KB chunks, in eight blocks


def clipped(cp, x, limit=1.0):
    y = copied(x)
    fastclip.clip_by_norm_(cp.view(y), limit, axes=1)
    return y


def names(cp):
    return [name for name, *_ in cp.cuda.launches]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("of", "size", "kernels"),
    [
        (H100, 16384 + 8, ["rows_shared"]),
        (H100, 65536 + 16, ["rows_shared"]),
        (H100, ONE_BLOCK, ["rows_shared"]),
        (H100, ONE_BLOCK + 16, ["rows_cluster"]),
        (A100, ONE_BLOCK, TWICE),
        (LITTLE, 65536 + 16, ["rows_cluster"]),
        (LITTLE, 100_000, ["rows_cluster"]),
        (OLD, 100_000, TWICE),
    ],
)
def test_rows_around_what_a_block_holds(cp, monkeypatch, of, size, kernels, dtype):
    chip(cp, monkeypatch, *of)
    x = batch(3, size // dtype.itemsize, dtype)
    y = clipped(cp, x)
    assert names(cp) == kernels
    check_rows(x, y, 1.0)


@pytest.mark.parametrize(("size", "kernels"), [(CLUSTER, ["rows_cluster"]), (CLUSTER + 8, TWICE)])
def test_rows_around_what_a_cluster_holds(cp, size, kernels):
    x = batch(2, size // 8, F64)
    y = clipped(cp, x)
    assert names(cp) == kernels
    check_rows(x, y, 1.0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("step", [0, 1, 5])
def test_the_bits_are_the_same_wherever_a_row_is_kept(cp, monkeypatch, dtype, step):
    """On every chip, in every schedule; rows at any address, out of range and not finite."""
    x = batch(6, 70_000 // dtype.itemsize, dtype, step)
    x[2, 3], x[3, -1], x[4] = math.nan, math.inf, float(oracle.finfo(dtype).max) / 1024
    x[5] = oracle.finfo(dtype).smallest_subnormal
    seen = set()
    for of, schedule in itertools.product((H100, LITTLE, OLD), ((0, 1, 1), (1, 1, 40), (6, 2, 3))):
        chip(cp, monkeypatch, *of)
        cp.cuda.seed, cp.cuda.workers, cp.cuda.multiprocessors = schedule
        y = clipped(cp, x, 0.5)
        seen.add(y.tobytes())
    assert set(names(cp)) == {"rows_shared", "rows_cluster", *TWICE}
    assert len(seen) == 1
    check_rows(x[[0, 1, 4, 5]], y[[0, 1, 4, 5]], 0.5)
    assert np.isnan(y[2].astype(F64)).all()
    assert np.isnan(float(y[3, -1]))
    assert (y[3, :-1].astype(F64) == 0.0).all()


@pytest.mark.parametrize(
    ("size", "of", "kernel"),
    [
        (4096, H100, "rows_2_warps"),
        (17 * mmap.PAGESIZE, H100, "rows_shared"),
        (17 * mmap.PAGESIZE, LITTLE, "rows_cluster"),
        (17 * mmap.PAGESIZE, OLD, "norm_each"),
    ],
)
def test_rows_within_the_limit_are_not_written(cp, monkeypatch, size, of, kernel):
    """Their pages can't be: a write would end this process."""
    chip(cp, monkeypatch, *of)
    memory = mmap.mmap(-1, 2 * size)
    x = np.frombuffer(memory, F32).reshape(2, -1)
    x[0], x[1] = 1.0, 1e-3
    y, before = cp.view(x), x.copy()
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    row = ctypes.c_void_p(x[1].ctypes.data)
    assert protect(row, ctypes.c_size_t(size), mmap.PROT_READ) == 0
    fastclip.cuda.clip_rows_(y, 1.0)
    assert names(cp)[0] == kernel
    check_rows(before, x, 1.0)
    assert protect(row, ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_WRITE) == 0


def test_what_is_around_a_row_is_not_written(cp, monkeypatch):
    for of in (H100, LITTLE):
        chip(cp, monkeypatch, *of)
        block = np.full((3, 40_000), 2.0, F16)
        fastclip.cuda.clip_rows_(cp.view(block[:, 3:35_004]), 1.0)
        assert (block[:, :3] == 2.0).all()
        assert (block[:, 35_004:] == 2.0).all()
        assert (block[:, 3:35_004] < 1.0).all()


#: compute capability and shared memory of a block of every chip that is compiled for, and its longest rows [KB]
CHIPS = [
    ((7, 96), 94, None),
    ((7, 64), 62, None),
    ((8, 163), 160, None),
    ((8, 99), 96, None),
    ((9, 227), 224, 1792),
    ((10, 227), 224, 1792),
    ((12, 99), 96, 768),
]


@pytest.mark.parametrize(("of", "block", "cluster"), CHIPS)
def test_no_launch_asks_for_more_than_a_chip_has(cp, of, block, cluster):
    cp.cuda.major, cp.cuda.shared = of[0], of[1] * 1024
    cp.cuda.multiprocessors = 132
    longest = {}
    for kb in range(17, 2100):
        form = chunks.Form(2, 4, kb * 256, (), False, ((4096, kb * 1024),))
        if way := rows.way(cp, 0, form):
            assert way.shared <= cp.cuda.shared
            assert way.block <= 1024
            ranks = 8 if way.name == "rows_cluster" else 1
            assert way.grid % (128 if ranks == 8 else 132) == 0  # 16 of a group of multiprocessors, for clusters
            assert 128 <= way.grid <= 4 * 132
            assert way.chunks * way.chunk >= kb * 1024 > (way.chunks - 1) * way.chunk
            resident = -(-way.grid // 132)
            assert resident * (way.shared + rows.RESERVED) <= cp.cuda.shared + rows.RESERVED
            assert 512 <= resident * way.block <= 1024  # 16 warps, each with 2 KB under way, or all that there may be
            longest[way.name] = kb
    assert (longest.get("rows_shared"), longest.get("rows_cluster")) == (block, cluster)


def test_rows_beyond_what_the_kernels_count(cp):
    def fits(*form):
        return rows.way(cp, 0, chunks.Form(*form)) is not None

    assert fits(2, 4, 16384, (), False, ((1 << 31, 65536),))
    assert not fits(2, 4, 1, (), False, (((1 << 31) + 1, 4),))
    assert not fits(0, 2, 1 << 32, (), False, ((1, 0),))  # its length has no place in 32 bits


def test_more_shared_memory_than_there_is(cp, monkeypatch):
    chip(cp, monkeypatch, *H100)
    kernel = cp.RawModule(code=source("rows_shared"), options=OPTIONS)
    kernel.compile()
    function = kernel.get_function("rows_shared")
    function.max_dynamic_shared_size_bytes = 48 * 1024  # CuPy has one module for all objects of one text
    with pytest.raises(RuntimeError, match="INVALID_VALUE: 49153 bytes of at most 49152"):
        function.kernel((1,), (32,), (), shared_mem=49153)
    with pytest.raises(RuntimeError, match="INVALID_VALUE: 232449 bytes of at most 232448"):
        function.max_dynamic_shared_size_bytes = 227 * 1024 + 1
