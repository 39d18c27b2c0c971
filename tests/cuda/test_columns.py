# SPDX-License-Identifier: BSD-3-Clause
"""Norms along the first axis: columns in vectors and one by one, in one slab of rows and in many."""

import ctypes
import math
import mmap

import numpy as np
import oracle
import pytest
from batches import batch, check_rows
from dtypes import BF16, DTYPES, F16, F32, F64

import fastclip
from fastclip._backends.cuda import chunks, columns, layout
from fastclip._backends.cuda import plan as plans

LAUNCHES = ["norm_columns", "scale_columns"]


def matrix(rows, count, dtype, left=0, right=0):
    """Columns with norms on both sides of 1, and so many more on the left and on the right, which are not theirs."""
    values = batch(count, rows, dtype).T
    block = np.full((rows, left + count + right), 3.0, dtype)
    block[:, left : left + count] = values
    return block, block[:, left : left + count]


def check_columns(before, after, limit):
    check_rows(before.T, after.T, limit)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("rows", "count", "left", "right"),
    [(2, 40, 0, 0), (7, 3, 0, 0), (100, 33, 0, 0), (600, 264, 0, 0), (1027, 16, 16, 16), (1027, 16, 3, 2)],
)
def test_columns(cp, rows, count, left, right, dtype):
    block, x = matrix(rows, count, dtype, left, right)
    before = x.copy()
    fastclip.clip_by_norm_(cp.view(x), 1.0, axes=0)
    assert [name for name, *_ in cp.cuda.launches] == LAUNCHES
    check_columns(before, x, 1.0)
    assert (block[:, :left] == 3.0).all()
    assert (block[:, left + count :] == 3.0).all()


@pytest.mark.parametrize(("shape", "axes"), [((6, 70, 20), (0, 1)), ((420, 4, 5), 0), ((2, 3, 70, 20), (0, 1, 2))])
def test_axes_that_are_one(cp, shape, axes):
    before = matrix(420, 20, F32)[1]
    y = cp.asarray(before.reshape(shape))
    fastclip.clip_by_norm_(y, 1.0, axes=axes)
    assert [name for name, *_ in cp.cuda.launches] == LAUNCHES
    check_columns(before, y.get().reshape(420, 20), 1.0)


def test_columns_out_of_range_and_not_finite(cp):
    for dtype in DTYPES:
        largest, least = float(oracle.finfo(dtype).max), oracle.finfo(dtype).smallest_subnormal
        x = np.ones((600, 16), dtype)
        x[:, 0], x[:, 1], x[7, 2], x[599, 3], x[::2, 4], x[:, 5] = least, largest / 1024, math.nan, math.inf, 0.0, 0.0
        y = cp.asarray(x)
        fastclip.clip_by_norm_(y, 2.0, axes=0)
        got = y.get()
        finite = [0, 1, 4, 5, 6, 15]
        check_columns(x[:, finite], got[:, finite], 2.0)
        assert np.isnan(got[:, 2].astype(F64)).all()
        assert np.isnan(float(got[599, 3]))
        assert (got[:599, 3].astype(F64) == 0.0).all()


def test_columns_of_subnormal_numbers(cp):
    for dtype in DTYPES:
        least = float(oracle.finfo(dtype).smallest_subnormal)
        x = np.full((600, 16), 8 * least, dtype)
        y = cp.asarray(x)
        fastclip.clip_by_norm_(y, 32 * least, axes=0)
        check_columns(x, y.get(), 32 * least)
        assert (y.get().astype(F64) == least).all()  # 8 * 32 / (8 * sqrt(600)) of them


@pytest.mark.parametrize("dtype", [F16, BF16, F32, F64], ids=str)
def test_the_bits_of_columns_depend_on_the_matrix_alone(cp, dtype):
    """Whether a lane has one or a vector of them, whatever the grid and the schedule."""
    seen = set()
    for left, (cp.cuda.seed, cp.cuda.workers, cp.cuda.multiprocessors) in enumerate(
        ((0, 1, 1), (1, 1, 8), (5, 2, 2), (0, 2, 1))
    ):
        x = matrix(1300, 48, dtype, left, (-left) % 4)[1]
        fastclip.clip_by_norm_(cp.view(x), 1.0, axes=0)
        seen.add(x.tobytes())
    assert len(seen) == 1


def test_columns_within_the_limit_are_not_written(cp):
    """Their pages can't be: a write would end this process."""
    memory = mmap.mmap(-1, 16 * mmap.PAGESIZE)
    x = np.frombuffer(memory, F32).reshape(-1, 64)
    x[:] = 1e-3
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    pages = ctypes.c_void_p(x.ctypes.data)
    assert protect(pages, ctypes.c_size_t(16 * mmap.PAGESIZE), mmap.PROT_READ) == 0
    fastclip.clip_by_norm_(cp.view(x), 1.0, axes=0)
    assert (x == F32.type(1e-3)).all()
    assert protect(pages, ctypes.c_size_t(16 * mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_WRITE) == 0


def test_columns_need_no_table_of_elements(cp, monkeypatch):
    monkeypatch.setattr(layout, "MOST_RUNS", 1199)
    x = matrix(40, 30, F32)[1]
    y = cp.asarray(x)
    fastclip.clip_by_norm_(y, 1.0, axes=0)
    check_columns(x, y.get(), 1.0)
    assert not columns.are(chunks.Form(2, 4, 1, ((9, 8 << 31),), False, ((1 << 31, 4),)))  # as many are not counted


def test_nothing_is_allocated_for_a_matrix_of_a_known_form(cp):
    cp.cuda.stream.ptr = 61
    x = matrix(700, 30, F32)[1]
    for i in range(3):
        y = cp.asarray(x * F32.type(0.5**i))
        before = cp.cuda.uploads, cp.cuda.allocations
        fastclip.clip_by_norm_(y, 0.2, axes=0)
        assert i == 0 or (cp.cuda.uploads, cp.cuda.allocations) == before
        check_columns(x * F32.type(0.5**i), y.get(), 0.2)


def test_columns_in_a_graph(cp):
    cp.cuda.stream.ptr = 62
    y = cp.asarray(matrix(70, 30, F32)[1])
    cp.cuda.stream.capturing = True
    with pytest.raises(RuntimeError, match="same arrays on that stream once before the capture begins"):
        fastclip.clip_by_norm_(y, 1.0, axes=0)
    cp.cuda.stream.capturing = False
    fastclip.clip_by_norm_(y, 1.0, axes=0)
    kept, allocations = len(plans._in_graphs), cp.cuda.allocations
    cp.cuda.stream.capturing = True
    fastclip.clip_by_norm_(y, 1.0, axes=0)
    fastclip.clip_by_norm_(y, 1.0, axes=0)
    cp.cuda.stream.capturing = False
    assert (len(plans._in_graphs), cp.cuda.allocations) == (kept + 1, allocations)
    fastclip.clip_by_norm_(y, 1.0, axes=0)  # the graph has those tables for itself
    assert cp.cuda.allocations == allocations + 3
