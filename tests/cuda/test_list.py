# SPDX-License-Identifier: BSD-3-Clause
"""A whole list in two launches, from the public function to the kernels, against the reference backend."""

import math

import numpy as np
import oracle
import pytest
from dtypes import DTYPES

import fastclip

SIZES = (0, 1, 2, 3, 7, 8, 31, 33, 127, 1000, 4097)


def arrays(scale=1.0, sizes=SIZES, seed=0):
    """Every dtype and size, each at the first, second, and so on place within a vector."""
    rng = np.random.default_rng(seed)
    found = []
    for i, n in enumerate(sizes):
        for dtype in DTYPES:
            shift = i % (16 // dtype.itemsize)
            block = np.zeros(n + shift + 16, dtype)
            start = -block.ctypes.data % 16 // dtype.itemsize + shift
            block[start : start + n] = (rng.standard_normal(n) * scale).astype(dtype)
            found.append(block[start : start + n])
    return found


def test_two_launches_clip_a_list(cp):
    list_ = arrays()
    exact = oracle.norm(list_)
    clipped = [cp.asarray(a) for a in list_]
    norm = fastclip.clip_by_global_norm_(clipped, 1.0)
    assert [name for name, *_ in cp.cuda.launches] == ["norm_list", "scale"]
    assert cp.cuda.synchronizations == 0
    assert isinstance(norm, cp.ndarray)
    assert abs(float(norm) / exact - 1) <= 2.0**-24
    assert oracle.norm([a.get() for a in clipped]) <= 1.0 * (1 + 2.0**-7)  # two roundings of bf16
    assert math.isclose(float(fastclip.global_norm(clipped)), oracle.norm([a.get() for a in clipped]), rel_tol=2.0**-24)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_within_the_limit_nothing_is_written(cp, factor):
    list_ = arrays()
    clipped = [cp.asarray(a) for a in list_]
    fastclip.clip_by_global_norm_(clipped, oracle.norm(list_) * factor)
    assert oracle.same_bits([a.get() for a in clipped], list_)
