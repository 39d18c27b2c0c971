# SPDX-License-Identifier: BSD-3-Clause
"""Lists for the kernels: every dtype and size, each at another place within a vector of 16 bytes."""

import numpy as np
from dtypes import DTYPES

#: around a vector (2 to 8 elements), a warp's vectors, what a warp has in flight (512 to 1024 f32 or f16), a chunk
SIZES = (0, 1, 2, 3, 7, 8, 31, 33, 127, 511, 1000, 1025, 4097)


def at(values, shift):
    """A copy of values that starts `shift` elements after a multiple of 16 bytes."""
    block = np.zeros(values.size + shift + 16, values.dtype)
    start = -block.ctypes.data % 16 // values.dtype.itemsize + shift
    array = block[start : start + values.size]
    array[:] = values
    return array


def arrays(scale=1.0, sizes=SIZES, dtypes=DTYPES, seed=0):
    """Evenly distributed between -scale and scale."""
    rng = np.random.default_rng(seed)
    found = []
    for i, n in enumerate(sizes):
        for dtype in dtypes:
            values = (rng.uniform(-1.0, 1.0, n) * scale).astype(dtype)
            found.append(at(values, i % (16 // dtype.itemsize)))
    return found
