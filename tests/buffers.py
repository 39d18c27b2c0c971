# SPDX-License-Identifier: BSD-3-Clause
"""Arrays at chosen places in memory, among bytes that must not be read or written."""

import numpy as np
from dtypes import F16

#: around a row of f64 (8), of f32 (32), four vectors of any ISA (64), a block (256), the shortest streams of f32 (8192)
#: and of f16 (16384), a chunk (32768)
SIZES = [*range(71), *range(127, 130), *range(255, 261), 511, 513, 1023, 1025, 8191, 8192, 16384, *range(32767, 32770)]

MARGIN = 64

POISON = 0xFF  # NaN in every dtype: whoever counts one of them in returns NaN
PAINT = 0x40  # 2.125 in f16, 3.0 in bf16 and f32, 32.5 in f64: whoever scales or clamps one of them changes it


def offsets(dtype):
    """Every place of an aligned element within a cache line, in bytes."""
    return range(0, MARGIN, dtype.itemsize)


class Frame:
    """An array `offset` bytes after a multiple of 64, between two margins of 64 or more canary bytes."""

    def __init__(self, values, offset, fill):
        self._fill = fill
        self._block = np.full(values.nbytes + 4 * MARGIN, fill, np.uint8)
        start = -self._block.ctypes.data % MARGIN + MARGIN + offset
        self._before, self._after = self._block[:start], self._block[start + values.nbytes :]
        self.array = self._block[start : start + values.nbytes].view(values.dtype)
        self.array[:] = values

    def untouched(self):
        """Tell whether every canary byte is as it was."""
        return bool((self._before == self._fill).all() and (self._after == self._fill).all())


def spread(dtype, n, seed=0):
    """Numbers of both signs over 60 binary orders of magnitude; f16: over 30, subnormal numbers among them."""
    rng = np.random.default_rng([seed, n])
    low, high = (-18, 12) if dtype == F16 else (-30, 31)  # 7 standard deviations stay below 65504
    return (rng.standard_normal(n) * np.exp2(rng.integers(low, high, n))).astype(dtype)


def copies(arrays):
    """Copies of arrays in the memory order of the originals."""
    return [a.copy(order="K") for a in arrays]
