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
from fastclip._backends.cuda import layout

#: the kernels and their blocks by the bytes of a row, around what each holds
LENGTHS = {
    ("rows_warp", 256): (1, 7, 64, 72, 130, 1000, 2048),
    ("rows_2_warps", 64): (2056, 4096),
    ("rows_4_warps", 128): (4104, 8192),
    ("rows_8_warps", 256): (8200, 16384),
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


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("limit", [0.0, 2.0])
@pytest.mark.parametrize("count", [3, 10, 40, 300, 600, 4097])
def test_rows_out_of_range_and_not_finite(cp, count, limit, dtype):
    """One of each kind among others: of short rows, all are in the same warp."""
    largest, least = float(oracle.finfo(dtype).max), float(oracle.finfo(dtype).smallest_subnormal)
    x = np.full((40, count), 1.0, dtype)
    x[3], x[5], x[7], x[11, 1], x[13, -1], x[17], x[19] = least, largest / 128, 3 * least, math.nan, math.inf, 0.0, -0.0
    x[23, 0], x[29, count // 2] = -math.inf, largest
    y = cp.asarray(x)
    fastclip.cuda.clip_rows_(y, limit)
    got = y.get()
    finite = [i for i in range(40) if i not in (11, 13, 23)]
    check_rows(x[finite], got[finite], limit)
    assert np.isnan(float(got[11, 1]))
    assert limit == 0.0 or np.isnan(got[11].astype(F64)).all()
    for row, place in ((13, count - 1), (23, 0)):
        assert np.isnan(float(got[row, place]))
        assert (np.delete(got[row].astype(F64), place) == 0.0).all()


@pytest.mark.parametrize("count", [50, 1000, 2100, 3000, 8000])  # two lanes for a row, a warp, two, four, eight warps
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
    """Before an array of the list is written, known or not."""
    monkeypatch.setattr(layout, "MOST_RUNS", 1199)
    small, large = (cp.asarray(np.full(shape, 2.0, F32)) for shape in ((2, 5, 6), (2, 20, 30)))
    for _ in range(3):
        with pytest.raises(ValueError, match=r"^clip_by_norm_: t\[1\] has 1200 runs of .*1200 in all.*at most 1199\)"):
            fastclip.clip_by_norm_([small, large], 1.0, axes=1)
    assert (small.get() == 2.0).all()
    with pytest.raises(
        ValueError, match=r"^clip_rows_: batch has 1200 runs of .*pass a contiguous copy whose last axes"
    ):
        fastclip.cuda.clip_rows_(cp.view(np.ones((20, 60, 8), F32)[:, :, :5]), 1.0)


def test_batches_of_too_large_a_table_are_refused(cp, monkeypatch):
    monkeypatch.setattr(layout, "MOST_RUNS", 99)
    batches = [cp.asarray(np.ones((50, 3), F32)), cp.asarray(np.ones((50, 2, 4), F32))]
    fastclip.cuda.example_norms(batches[:1])
    launches = len(cp.cuda.launches)
    too_many = (
        r"entry 1 has 50 runs of adjacent elements, which makes 100 in all.*at most 99\); pass the batch in parts"
    )
    with pytest.raises(ValueError, match=f"^example_norms: {too_many}"):
        fastclip.cuda.example_norms(batches)
    with pytest.raises(ValueError, match=f"^clip_and_sum: {too_many}"):
        fastclip.cuda.clip_and_sum(batches, 1.0)
    assert len(cp.cuda.launches) == launches


def test_lists_of_too_large_a_table_are_refused(cp, monkeypatch):
    monkeypatch.setattr(layout, "MOST_RUNS", 121)
    gaps = [np.ones(3), np.ones((40, 3, 8), F32)[:, :, :5], np.ones((6, 2, 8), F32)[:, :, 2:8], np.ones((4, 8))[1::2]]
    fastclip.clip_by_value_([cp.view(a) for a in gaps[:2]], 0.0, 1.0)
    last = len(cp.cuda.launches)
    calls = [fastclip.clip_by_global_norm_, fastclip.clip_by_norm_, fastclip.clip_by_average_norm_]
    for call in (*calls, fastclip.cuda.norm_and_coef):
        with pytest.raises(ValueError, match=rf"^{call.__name__}: t\w*\[2\] has 12 runs .* 133 in all.*at most 121\)"):
            call([cp.view(a) for a in gaps], 1.0)
    for call in (fastclip.measure, fastclip.global_norm):
        with pytest.raises(ValueError, match=rf"^{call.__name__}: t_list\[2\] has 12 runs"):
            call([cp.view(a) for a in gaps])
    monkeypatch.setattr(layout, "MOST_RUNS", 135)
    assert len(cp.cuda.launches) == last
    fastclip.clip_by_global_norm_([cp.view(a) for a in gaps], 1.0)  # both rows of the last are one run each


def test_what_is_broadcast_is_a_run_for_each_time(cp, monkeypatch):
    monkeypatch.setattr(layout, "MOST_RUNS", 3)
    x = cp.view(np.broadcast_to(np.full(1000, 3.0, F32), (3, 1000)))
    assert float(fastclip.global_norm([x])) == pytest.approx(3.0 * math.sqrt(3000.0), rel=2.0**-24)


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
