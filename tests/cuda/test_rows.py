# SPDX-License-Identifier: BSD-3-Clause
"""Batches: rows in registers, rows of any length and layout, examples over many arrays and their sums."""

import math

import numpy as np
import oracle
import pytest
from batches import batch, check_rows, copied
from dtypes import BF16, DTYPES, F16, F32, F64

import fastclip
import fastclip.cuda
from fastclip import _device

#: the kernels and their blocks by the bytes of a row, around what each holds
LENGTHS = {
    ("rows_warp", 256): (1, 7, 64, 72, 130, 1000, 2048),
    ("rows_block", 256): (2056, 16384),
}
CASES = [(kernel, size) for kernel, sizes in LENGTHS.items() for size in sizes]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("kernel", "size"), CASES)
def test_rows_in_registers(cp, kernel, size, dtype):
    x = batch(11 if size <= 2048 else 3, max(1, size // dtype.itemsize), dtype)
    y = cp.asarray(x)
    fastclip.cuda.clip_rows_(y, 1.0)
    assert [(name, block) for name, _, block, _ in cp.cuda.launches] == [kernel]
    check_rows(x, y.get(), 1.0)


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize(("rows", "count"), [(1000, 2), (600, 3), (301, 5), (77, 17), (70, 40), (9, 301), (3, 1100)])
def test_rows_at_any_address(cp, rows, count, step):
    x = batch(rows, count, F16, step)
    y = copied(x)
    fastclip.clip_by_norm_(cp.view(y), 1.0, axes=1)
    check_rows(x, y, 1.0)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("count", [1, 40, 700, 9000])
def test_rows_at_the_limit(cp, count, dtype):
    """What their sums do not tell for certain goes no other way than the rest; above: by more than the rule's slack."""
    above = (2.0**-20, 2.0**-18) if dtype == F32 else (2.0**-49, 2.0**-42)
    numbers = np.array([1 - 2.0**-20, 1 - 2.0**-24, 1 - 2.0**-53, 1, 1 + above[0], 1 + above[1]], dtype)
    for limit in (2.0**-510, 2.0**-499, 1.0, 2.0**499, 2.0**505)[slice(None) if dtype == F64 else slice(2, 3)]:
        x = np.zeros((6, count), dtype)
        x[:, -1] = numbers * limit
        y = cp.asarray(x)
        fastclip.cuda.clip_rows_(y, limit)
        assert (y.get()[:, -1] == np.minimum(x[:, -1], dtype.type(limit))).all()


def test_rows_of_the_same_memory_in_another_shape(cp):
    """As many elements at the same address: what CuPy's pool hands out again, a view, an array whose shape was set."""
    memory = np.full(60, 1.0, F32)
    for shape in ((6, 10), (10, 6), (3, 20)):
        memory[:] = 1.0
        fastclip.cuda.clip_rows_(cp.view(memory.reshape(shape)), 1.0)
        np.testing.assert_allclose(memory, shape[1] ** -0.5, rtol=2.0**-22)
    y = cp.view(memory.reshape(6, 10))
    for _ in range(3):
        memory[:] = 1.0
        fastclip.cuda.clip_rows_(y, 1.0)
    memory[:] = 1.0
    y.shape = (2, 30)
    fastclip.cuda.clip_rows_(y, 1.0)
    np.testing.assert_allclose(memory, 30**-0.5, rtol=2.0**-22)


def test_rows_not_in_one_piece(cp):
    x = batch(40, 30, F32).reshape(2, 20, 30)
    y = cp.asarray(x)
    fastclip.clip_by_norm_(y, 0.4, axes=1)
    assert [name for name, *_ in cp.cuda.launches] == ["norm_each", "scale"]
    for before, after in zip(x, y.get(), strict=True):
        check_rows(before.T, after.T, 0.4)


def test_rows_out_of_range_and_not_finite(cp):
    x = np.full((6, 600), 1.0, F32)
    x[0], x[1], x[2, 7], x[3, 599] = 1e-30, 1e30, math.nan, math.inf
    y = cp.asarray(x)
    fastclip.cuda.clip_rows_(y, 2.0)
    got = y.get()
    check_rows(x[[0, 1, 4, 5]], got[[0, 1, 4, 5]], 2.0)
    assert np.isnan(got[2]).all()
    assert np.isnan(got[3, 599])
    assert (got[3, :599] == 0.0).all()


@pytest.mark.parametrize("count", [50, 1000, 2100])  # two lanes for a row, a warp, a block
def test_the_bits_of_rows_depend_on_the_rows_alone(cp, count):
    x = batch(20, count, BF16)
    seen = set()
    for cp.cuda.seed, cp.cuda.workers, cp.cuda.multiprocessors in ((0, 1, 1), (1, 1, 8), (5, 2, 2)):
        y = cp.asarray(x)
        fastclip.cuda.clip_rows_(y, 1.0)
        seen.add(y.get().tobytes())
    assert len(seen) == 1


def examples(dtype=F32):
    return [batch(5, 30, dtype).reshape(5, 5, 6), batch(5, 3000, dtype), batch(5, 1, dtype), batch(5, 77, F64)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_examples(cp, dtype):
    arrays = examples(dtype)
    on_gpu = [cp.asarray(a) for a in arrays]
    norms = fastclip.cuda.example_norms(on_gpu)
    true = [oracle.norm([a[i] for a in arrays]) for i in range(5)]
    np.testing.assert_allclose(norms.get(), true, rtol=2.0**-24)
    sums, again = fastclip.cuda.clip_and_sum(on_gpu, 1.0)
    assert again.get().tobytes() == norms.get().tobytes()
    by = np.minimum(1.0, 1.0 / np.array(true))
    for a, s in zip(arrays, sums, strict=True):
        assert (s.shape, s.dtype) == (a.shape[1:], a.dtype)
        terms = a.astype(F64) * by.reshape(-1, *[1] * (a.ndim - 1))
        allowed = np.abs(terms).sum(0) * 2.0**-23 + np.abs(terms.sum(0)) * float(oracle.UNIT[a.dtype])
        least = float(oracle.finfo(a.dtype).smallest_subnormal)
        assert (np.abs(s.get().astype(F64) - terms.sum(0)) <= allowed + least).all()
    assert cp.cuda.synchronizations > 0  # by get() above
    assert [name for name, *_ in cp.cuda.launches] == ["norm_each", "norm_each", "weighted_sum"]
    assert all(oracle.same_bits(a, b.get()) for a, b in zip(arrays, on_gpu, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("count", "step"), [(8, 0), (8, 1), (64, 0), (1027, 5), (4000, 8)])
def test_sums_of_examples_in_vectors_and_out_of_line(cp, dtype, count, step):
    x = batch(4, count, dtype, step)
    sums, norms = fastclip.cuda.clip_and_sum([cp.view(x)], math.inf)
    exact = x.astype(F64).sum(0)  # 4 numbers of at most 53 digits: an ULP of f64 each
    assert (np.abs(sums[0].get().astype(F64) - exact) <= np.abs(exact) * float(oracle.UNIT[dtype]) + 2.0**-50).all()
    assert norms.shape == (4,)


def test_zeros_do_not_bring_tiny_numbers_down(cp):
    """Sums of f64 are formed at another scale while nothing else makes one necessary."""
    tiny = np.full((3, 50), 1e-170)
    norms = fastclip.cuda.example_norms([cp.asarray(np.zeros((3, 50), F32)), cp.asarray(tiny)]).get()
    np.testing.assert_allclose(norms, oracle.norm([tiny[0]]), rtol=2.0**-52)


def test_a_known_batch_is_clipped_and_added_without_an_upload(cp):
    cp.cuda.stream.ptr = 51
    on_gpu = [cp.asarray(a) for a in examples()]
    fastclip.cuda.clip_and_sum(on_gpu, 1.0)
    before = cp.cuda.uploads, cp.cuda.allocations
    fastclip.cuda.clip_and_sum(on_gpu, 1.0)
    assert (cp.cuda.uploads, cp.cuda.allocations) == (before[0], before[1] + 2)  # the sums, the norms


def test_runs_of_too_large_a_table_are_refused(cp, monkeypatch):
    monkeypatch.setattr(_device, "MOST_RUNS", 1199)
    with pytest.raises(ValueError, match=r"^clip_by_norm_, clip_rows_: the rows are 1200 runs of .*at most 1199\)"):
        fastclip.clip_by_norm_(cp.asarray(np.ones((2, 20, 30), F32)), 1.0, axes=1)


def test_batches_of_too_large_a_table_are_refused(cp, monkeypatch):
    monkeypatch.setattr(_device, "MOST_RUNS", 99)
    batches = [cp.asarray(np.ones((50, 3), F32)), cp.asarray(np.ones((50, 2, 4), F32))]
    fastclip.cuda.example_norms(batches[:1])
    launches, allocations = len(cp.cuda.launches), cp.cuda.allocations
    too_many = r"the rows are 100 runs of adjacent elements.*at most 99\); pass a batch in parts"
    with pytest.raises(ValueError, match=f"^example_norms: {too_many}"):
        fastclip.cuda.example_norms(batches)
    with pytest.raises(ValueError, match=f"^clip_and_sum: {too_many}"):
        fastclip.cuda.clip_and_sum(batches, 1.0)
    assert (len(cp.cuda.launches), cp.cuda.allocations) == (launches, allocations)


def test_lists_of_too_large_a_table_are_refused(cp, monkeypatch):
    monkeypatch.setattr(_device, "MOST_RUNS", 121)
    gaps = [np.ones(3), np.ones((40, 3, 8), F32)[:, :, :5], np.ones((6, 2, 8), F32)[:, :, 2:8], np.ones((4, 8))[1::2]]
    fastclip.clip_by_value_([cp.view(a) for a in gaps[:2]], 0.0, 1.0)
    last = len(cp.cuda.launches)
    for clip in (fastclip.clip_by_global_norm_, fastclip.clip_by_norm_, fastclip.clip_by_average_norm_):
        with pytest.raises(ValueError, match=rf"^{clip.__name__}: t\w*\[2\] has 12 runs .* 133 in all.*at most 121\)"):
            clip([cp.view(a) for a in gaps], 1.0)
    with pytest.raises(ValueError, match=r"^measure: t_list\[2\] has 12 runs"):
        fastclip.measure([cp.view(a) for a in gaps])
    monkeypatch.setattr(_device, "MOST_RUNS", 135)
    assert len(cp.cuda.launches) == last
    fastclip.clip_by_global_norm_([cp.view(a) for a in gaps], 1.0)  # of the last, both rows are one run each


def test_what_is_no_batch(cp):
    with pytest.raises(TypeError, match=r"^clip_rows_: batch, entry 0, has no axis"):
        fastclip.cuda.clip_rows_(cp.asarray(np.array(1.0)), 1.0)
    with pytest.raises(ValueError, match=r"^example_norms: t_list, entry 1, has 3 rows and the first one 2"):
        fastclip.cuda.example_norms([cp.asarray(np.ones((2, 3))), cp.asarray(np.ones((3, 3)))])
    with pytest.raises(ValueError, match=r"^clip_and_sum: in entry 0 an example's elements are not adjacent"):
        fastclip.cuda.clip_and_sum([cp.asarray(np.asfortranarray(np.ones((4, 3), F32)))], 1.0)


def test_empty_batches(cp):
    fastclip.cuda.clip_rows_(cp.asarray(np.ones((0, 3))), 1.0)
    fastclip.cuda.clip_rows_(cp.asarray(np.ones((3, 0))), 1.0)
    assert (fastclip.cuda.example_norms([cp.asarray(np.ones((2, 0), F32))]).get() == 0.0).all()
