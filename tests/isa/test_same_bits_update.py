# SPDX-License-Identifier: BSD-3-Clause
"""An update is clipped to the same bits on every ISA and thread count, whatever the layout of its arrays."""

import numpy as np
import pytest
from buffers import copies, spread
from dtypes import DTYPES

import fastclip


def lists():
    """40 MB: enough work for 8 threads."""
    new = [spread(dtype, 2_500_007, 1) for dtype in DTYPES]
    return new, [spread(a.dtype, a.size, 2) for a in new]


def test_every_isa_and_thread_count_clips_alike():
    new, old = lists()
    expected = None
    for isa in fastclip.show_config()["isas"]:
        for threads in (1, 2, 3, 8):
            fastclip.set_isa(isa)
            fastclip.set_num_threads(threads)
            clipped = copies(new)
            norm = fastclip.clip_update_by_global_norm_(clipped, old, 0.37)
            found = norm, [a.tobytes() for a in clipped]
            expected = expected or found
            assert found == expected, (isa, threads)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_elements_count_in_the_order_of_what_is_written(isa, dtype):
    """`old` may lie otherwise: it is read in that order, and no bit changes."""
    new, old = (spread(dtype, 6 * 35_000, seed).reshape(6, 35_000) for seed in (1, 2))
    expected = new.copy()
    norm = fastclip.clip_update_by_global_norm_([expected], [old], 0.37)
    gaps = np.zeros((6, 70_000), dtype)[:, ::2]
    gaps[...] = old
    backwards = np.ascontiguousarray(old[::-1])[::-1]
    for other in (np.asfortranarray(old), gaps, backwards):
        clipped = new.copy()
        assert fastclip.clip_update_by_global_norm_([clipped], [other], 0.37) == norm
        assert clipped.tobytes() == expected.tobytes()
    gaps[...] = new
    assert fastclip.clip_update_by_global_norm_([gaps], [np.asfortranarray(old)], 0.37) == norm
    assert gaps.tobytes() == expected.tobytes()
