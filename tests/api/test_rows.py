# SPDX-License-Identifier: BSD-3-Clause
"""Many short arrays that come from memory are read four at a time, while the last four are written: no bit may differ
from what each of them becomes alone. A slab of less than 8 MB takes no part in that."""

import numpy as np
import pytest
from dtypes import DTYPES
from oracle import same_bits

import fastclip

FROM_MEMORY = 9 << 20  # bytes; from 8 MB on
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def matrix(dtype, columns, seed=0):
    """Rows of very different norms, an element off alignment, some of them with what is not finite."""
    count = FROM_MEMORY // (columns * dtype.itemsize) // 4 * 4 + 3  # the last three have no fourth
    rng = np.random.default_rng(seed)
    x = np.empty(count * columns + 1, dtype)[1:].reshape(count, columns)
    x[:] = rng.standard_normal((count, columns), dtype=np.float32) * rng.lognormal(size=(count, 1))
    x[5, 0], x[10, -1], x[15] = np.inf, np.nan, 0.0
    return x


def clip_in_slabs(x, limit):
    step = max(1, (1 << 20) // (x.shape[1] * x.itemsize))
    for start in range(0, len(x), step):
        fastclip.clip_by_norm_(x[start : start + step], limit, axes=1)


@EACH_DTYPE
@pytest.mark.parametrize("columns", [63, 100, 4100, 8200])
def test_rows_from_memory_become_what_they_become_in_cache(isa, dtype, columns):
    x = matrix(dtype, columns)
    limit = 1.5 * columns**0.5
    expected, before = x.copy(), x.copy()
    clip_in_slabs(expected, limit)
    finite = np.isfinite(x.astype(np.float32)).all(axis=1)
    clipped = (expected != before).any(axis=1) & finite
    assert len(x) // 10 < clipped.sum() < len(x) // 2  # some rows, within every four or not

    with np.errstate(all="ignore"):
        new = fastclip.clip_by_norm(x, limit, axes=1)
    assert same_bits(x, before)
    assert same_bits(new[finite], expected[finite])
    assert np.isnan(new[5:11:5].astype(np.float32)).all()  # out of place such rows are NaN
    fastclip.clip_by_norm_(x, limit, axes=1)
    assert same_bits(x, expected)


@EACH_DTYPE
@pytest.mark.parametrize("limit", [0.0, 1e-38, 1e-310])
def test_coefficients_of_every_kind_reach_rows_from_memory(dtype, limit):
    x = matrix(dtype, 300)
    expected = x.copy()
    clip_in_slabs(expected, limit)
    fastclip.clip_by_norm_(x, limit, axes=1)
    assert same_bits(x, expected)


def test_lists_whose_arrays_are_alike_in_part():
    """Runs of the same size and dtype, cut short by others, with an array listed twice among them."""
    rng = np.random.default_rng(1)
    sizes = [*[3000] * 6, 5000, *[3000] * 3, 100, *[3000] * 9, 40_000, *[70] * 5]
    kinds = [DTYPES[i // 20 % 4] for i in range(len(sizes) * 40)]
    arrays = [rng.standard_normal(n).astype(kind) for n, kind in zip(sizes * 40, kinds, strict=True)]
    arrays[40:44] = [arrays[2]] * 4
    assert sum(a.nbytes for a in arrays) > FROM_MEMORY
    expected = [a.copy() for a in arrays]
    for a in expected:
        fastclip.clip_by_norm_(a, 20.0)
    fastclip.clip_by_norm_(arrays, 20.0)
    assert all(same_bits(a, e) for a, e in zip(arrays, expected, strict=True))
