# SPDX-License-Identifier: BSD-3-Clause
"""What gradients are: numbers whose squares stay in range, and zeros. test_ways.py asks which lines they run."""

import lists
import numpy as np
import oracle
import pytest
from batches import batch, check_rows
from dtypes import BF16, F16, F32

import fastclip
import fastclip.cuda

NARROW = pytest.mark.parametrize("dtype", [F16, BF16, F32], ids=str)


def sparse(values):
    """A quarter of the elements, side by side, and every tenth of the others are 0, of either sign."""
    flat = values.reshape(-1)
    flat[flat.size // 4 : flat.size // 2] = -0.0
    flat[::10] = 0.0
    return values


@NARROW
def test_lists(cp, dtype):
    rng = np.random.default_rng(1)
    list_ = [lists.at(sparse(rng.uniform(-1.0, 1.0, n).astype(dtype)), 0) for n in (8, 512, 4096, 10000)]
    clipped = [cp.asarray(a) for a in list_]
    norm = float(fastclip.clip_by_global_norm_(clipped, 2.0))
    assert abs(norm / oracle.norm(list_) - 1) <= 2.0**-24
    check_rows(np.concatenate(list_)[None], np.concatenate([y.get() for y in clipped])[None], 2.0)
    clipped = [cp.asarray(a) for a in list_]
    fastclip.clip_by_norm_(clipped, 2.0)
    for x, y in zip(list_, clipped, strict=True):
        check_rows(x[None], y.get()[None], 2.0)
    on, off = fastclip.measure([cp.asarray(a) for a in list_]), fastclip.measure(list_)
    assert (on.zero_counts, on.max_abs) == (off.zero_counts, off.max_abs)


@NARROW
@pytest.mark.parametrize("size", [512, 16384, 70000, 300000])  # bytes: in a warp, a block, its memory, a cluster's
def test_rows(cp, size, dtype):
    x = sparse(batch(3, size // dtype.itemsize // 8 * 8, dtype).copy())
    y = cp.asarray(x)
    fastclip.cuda.clip_rows_(y, 0.5)
    check_rows(x, y.get(), 0.5)
    norms = fastclip.cuda.clip_and_sum([cp.asarray(x)], 0.5)[1].get()
    np.testing.assert_allclose(norms, [oracle.norm([row]) for row in x], rtol=2.0**-24)


@NARROW
@pytest.mark.parametrize("size", [100, 512, 3000, 16384, 70000, 300000])
def test_within(cp, size, dtype):
    x = sparse(batch(3, size // dtype.itemsize, dtype).copy())
    y = cp.asarray(x)
    fastclip.cuda.clip_rows_(y, 10.0)
    assert oracle.same_bits(x, y.get())


@NARROW
def test_columns(cp, dtype):
    x = sparse(np.ascontiguousarray(batch(16, 600, dtype).T))
    x[:, 3] = 0.0
    y = cp.asarray(x)
    fastclip.clip_by_norm_(y, 0.5, axes=0)
    check_rows(x.T, y.get().T, 0.5)
