# SPDX-License-Identifier: BSD-3-Clause
"""numba: the loops that people compile, over threads from a megabyte on."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer

THREADS_FROM = 1 << 20  # bytes; below, starting the threads takes longer than they save

_Function = Callable[..., Any]


class _Loops(NamedTuple):
    by_norm: _Function  # all but `rows` take a list of one-dimensional arrays
    each: _Function
    by_value: _Function
    rows: _Function


@functools.cache
def _loops(parallel: bool) -> _Loops:
    """Declare the loops; numba compiles each when it is first called."""
    from numba import njit, prange

    plain: Callable[[_Function], _Function] = njit
    # fastmath: a sum in any order, without which no compiler uses vectors for it
    loop: Callable[[_Function], _Function] = njit(parallel=parallel, fastmath=True)

    @loop
    def squares(flat: Any) -> float:
        total = 0.0
        for i in prange(flat.size):
            total += flat[i] * flat[i]
        return total

    @loop
    def scale(flat: Any, factor: Any) -> None:
        for i in prange(flat.size):
            flat[i] *= factor

    @loop
    def clamp(flat: Any, bound: Any) -> None:
        for i in prange(flat.size):
            flat[i] = min(max(flat[i], -bound), bound)

    @plain
    def by_norm(arrays: Any, limit: float) -> float:
        total = 0.0
        for flat in arrays:
            total += squares(flat)
        norm = math.sqrt(total)
        if norm > limit:
            for flat in arrays:
                scale(flat, np.float32(limit / norm))
        return norm

    @plain
    def each(arrays: Any, limit: float) -> None:
        for flat in arrays:
            norm = math.sqrt(squares(flat))
            if norm > limit:
                scale(flat, np.float32(limit / norm))

    @plain
    def by_value(arrays: Any, bound: float) -> None:
        for flat in arrays:
            clamp(flat, np.float32(bound))

    @loop
    def rows(array: Any, limit: float) -> None:
        for i in prange(array.shape[0]):
            total = 0.0
            for j in range(array.shape[1]):
                total += array[i, j] * array[i, j]
            norm = math.sqrt(total)
            if norm > limit:
                factor = np.float32(limit / norm)
                for j in range(array.shape[1]):
                    array[i, j] *= factor

    return _Loops(by_norm, each, by_value, rows)


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind the compiled loops."""
    from numba.typed import List

    flat = List([array.reshape(-1) for array in arrays])
    first = List(flat[:1])
    loops = _loops(sum(array.nbytes for array in arrays) >= THREADS_FROM)
    return Peer(
        "numba",
        clip_norm=functools.partial(loops.by_norm, flat),
        clip_value=functools.partial(loops.by_value, flat),
        clip_each=functools.partial(loops.each, flat),
        clip_rows=functools.partial(loops.rows, arrays[0]),
        clip_out=functools.partial(loops.by_value, first),
    )


def set_threads(count: int) -> int:
    """Set how many threads there may be; return how many there could be before."""
    import numba

    before = int(numba.get_num_threads())
    numba.set_num_threads(count)
    return before
