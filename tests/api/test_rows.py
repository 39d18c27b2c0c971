# SPDX-License-Identifier: BSD-3-Clause
"""Many short arrays that come from memory are read four at a time, while the last four are written: no bit may differ
from what each of them becomes alone, and nothing beside them may be touched. Lists of less than 8 MB take no part in
that; a matrix is taken 4,096 rows at a time, so its rows must be long."""

import numpy as np
import pytest
from dtypes import DTYPES
from oracle import same_bits

import fastclip

FROM_MEMORY = 9 << 20  # bytes; from 8 MB on
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=str)
SHORT = [*range(1, 21), 31, 63, 64, 65, 66, 79, 80, 81, 127, 128, 129, 300]  # about a vector, a turn of 64, and two


def fill(x, seed=0):
    """Rows of very different norms, one of them zeros, some of them with what is not finite."""
    rng = np.random.default_rng(seed)
    x[:] = rng.standard_normal(x.shape, dtype=np.float32) * rng.lognormal(size=(len(x), 1))
    x[5, 0], x[10, -1], x[15] = np.inf, np.nan, 0.0
    return x


def matrix(dtype, columns):
    """Long rows, an element off alignment."""
    count = max(20, FROM_MEMORY // (columns * dtype.itemsize)) // 4 * 4 + 3  # the last three have no fourth
    return fill(np.empty(count * columns + 1, dtype)[1:].reshape(count, columns))


def clip_one_by_one(x, limit):
    for row in x:
        fastclip.clip_by_norm_(row, limit)


@EACH_DTYPE
@pytest.mark.parametrize("columns", [4100, 8200])
def test_rows_from_memory_become_what_they_become_alone(isa, dtype, columns):
    x = matrix(dtype, columns)
    limit = 1.5 * columns**0.5
    expected, before = x.copy(), x.copy()
    clip_one_by_one(expected, limit)
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
    x = matrix(dtype, 4100)
    expected = x.copy()
    clip_one_by_one(expected, limit)
    fastclip.clip_by_norm_(x, limit, axes=1)
    assert same_bits(x, expected)


@EACH_DTYPE
@pytest.mark.parametrize("gap", [0, 1])
def test_short_views_side_by_side_are_clipped_and_nothing_beside_them(isa, dtype, gap):
    """Beside a large array, so that all come from memory; packed, or with an element between them that nobody gave."""
    large = np.full(FROM_MEMORY // dtype.itemsize, 2.0**-20, dtype)
    for n in SHORT:
        room = fill(np.empty((41, n + gap), dtype), seed=n)
        views = [row[gap:] for row in room]
        expected = room.copy()
        clip_one_by_one([row[gap:] for row in expected], 0.5)
        assert not same_bits(expected, room)
        fastclip.clip_by_norm_([large, *views], 0.5)
        assert same_bits(room, expected), n


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
