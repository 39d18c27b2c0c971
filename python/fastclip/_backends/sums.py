# SPDX-License-Identifier: BSD-3-Clause
"""The reference backend's sums of squares.

f16, bf16 and f32 sums take the order of the native kernels and give the same bits. f64 sums are double-double, as the
native ones are, but in another order: they agree to about 2^-100, which no rounded norm shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastclip import _dtypes
from fastclip._layout import Array, memory_axes, memory_order
from fastclip._rules import norm_of
from fastclip._rules.evaluator import GROW, SAFE_MAX, SAFE_MIN, SHRINK, Norm, two_sum

Pair = tuple[float, float]  # hi + lo

CHUNK, LANES, STREAMS = 32768, 32, 4
STREAM_LANES, STREAM_LINES = LANES // STREAMS, 128
_BLOCK = 64 * CHUNK  # elements widened to f64 at a time: 8 MB
FOURS_MIN = 2.0**-100


def _fold(lanes: Array) -> Array:
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]


def _blocks(flat: Array) -> Iterator[Array]:
    for start in range(0, flat.size, _BLOCK):
        yield flat[start : start + _BLOCK]


def stream_length(n: int, itemsize: int) -> int:
    """Return the elements of each of the four streams in which a kernel reads a chunk; `csrc/kernels/sums.hpp`."""
    line = 64 // itemsize
    lines = n // (STREAMS * line)
    return line * ((lines - 1) | 1) if lines >= STREAM_LINES else 0


def _in_lanes(streams: Array, rest: Array) -> float:
    """Add the terms of the streams, one row each, and then the others, in 32 lanes; fold these in halves."""
    rows = streams.reshape(STREAMS, -1, STREAM_LANES).transpose(1, 0, 2).reshape(-1, LANES)
    tail = np.zeros((-(-rest.size // LANES), LANES))
    tail.reshape(-1)[: rest.size] = rest
    return float(_fold(np.add.reduce(np.concatenate([rows, tail]), axis=0)))


def _chunk_sum(chunk: Array, power: int) -> float:
    wide = chunk.astype(np.float64)
    terms = np.square(wide) if power == 2 else np.abs(wide)
    length = STREAMS * stream_length(chunk.size, chunk.itemsize)
    if power == 2 and chunk.itemsize == 2:
        squares = np.square(chunk[:length].astype(np.float32))
        if chunk.dtype == np.float16:
            pairs = np.add.reduce(squares.reshape(STREAMS, -1, 2, 2, STREAM_LANES), axis=3)
        else:
            pairs = np.add.reduce(squares.reshape(STREAMS, -1, 2, STREAM_LANES, 2), axis=4)
        total = _in_lanes(np.add.reduce(pairs, axis=2).astype(np.float64), terms[length:])
        if chunk.dtype == np.float16 or (math.isfinite(total) and total >= chunk.size * FOURS_MIN):
            return total
    return _in_lanes(terms[:length], terms[length:])


def _terms_narrow(block: Array, power: int) -> Iterator[Pair]:
    """Yield the partial sum of each chunk of an f16, bf16 or f32 array."""
    for start in range(0, block.size, CHUNK):
        yield _chunk_sum(block[start : start + CHUNK], power), 0.0


def _terms_f64(block: Array, power: int) -> Iterator[Pair]:
    """Yield the sum of a block as one double-double, by pairwise exact additions."""
    if power == 2:
        hi = block * block
        t = block * 134217729.0  # Veltkamp's split: 2^27 + 1
        top = t - (t - block)
        low = block - top
        lo = np.where(hi >= 2.0**-960, ((top * top - hi) + 2.0 * top * low) + low * low, 0.0)
    else:
        hi, lo = np.abs(block), np.zeros_like(block)
    while hi.size > 1:
        if hi.size % 2:
            hi, lo = np.append(hi, 0.0), np.append(lo, 0.0)
        a, b = hi[::2], hi[1::2]
        s = a + b
        back = s - a
        lo = (lo[::2] + lo[1::2]) + ((a - (s - back)) + (b - back))
        hi = s
    total = float(hi[0])
    yield total, float(lo[0]) if math.isfinite(total) else 0.0


def add(total: Pair, part: Pair) -> Pair:
    """Add a double-double to another."""
    s, error = two_sum(total[0], part[0])
    return s, total[1] + (error + part[1])


def sum_terms(a: Array, power: int, scale: float = 1.0) -> Pair:
    """Add up the squares of an array's elements (power 2) or their magnitudes (1)."""
    total = (0.0, 0.0)
    with np.errstate(all="ignore"):
        for block in _blocks(memory_order(a).reshape(-1)):
            wide = _dtypes.is_wide(a.dtype)
            terms = _terms_f64(block * scale, power) if wide else _terms_narrow(block, power)
            for part in terms:
                total = add(total, part)
    return total


def norm_by(items: list[Any], dtypes: list[Any], sum_squares: Callable[[Any, float], Pair]) -> Norm:
    """Return the norm of what `sum_squares(item, scale)` adds up, taken again where f64 squares leave the range."""
    sums = [sum_squares(item, 1.0) for item in items]
    total = (0.0, 0.0)
    for part in sums:
        total = add(total, part)
    if not any(map(_dtypes.is_wide, dtypes)) or not (total[0] > SAFE_MAX or total[0] < SAFE_MIN):
        return norm_of(*total, 1.0)
    scale = SHRINK if total[0] > SAFE_MAX else GROW
    total = (0.0, 0.0)
    for item, dtype, part in zip(items, dtypes, sums, strict=True):
        narrow = not _dtypes.is_wide(dtype)
        total = add(total, (part[0] * scale * scale, part[1] * scale * scale) if narrow else sum_squares(item, scale))
    return norm_of(*total, scale)


def norm(arrays: list[Array]) -> Norm:
    """Return the norm of all elements."""
    return norm_by(arrays, [a.dtype for a in arrays], lambda a, scale: sum_terms(a, 2, scale))


def update_norm(pairs: list[tuple[Array, Array]]) -> Norm:
    """Return the norm of all differences, formed in f64."""
    return norm_by(pairs, [a.dtype for a, _ in pairs], _update_sum)


def _update_sum(pair: tuple[Array, Array], scale: float) -> Pair:
    now, before = in_order_of_first(*pair)
    total = (0.0, 0.0)
    with np.errstate(all="ignore"):
        for a, b in zip(_blocks(now), _blocks(before), strict=True):
            if _dtypes.is_wide(a.dtype):
                difference = a * scale - b * scale if scale < 1.0 else (a - b) * scale
                for part in _terms_f64(difference, 2):
                    total = add(total, part)
                continue
            squares = np.square(a.astype(np.float64) - b.astype(np.float64))
            for start in range(0, a.size, CHUNK):
                terms = squares[start : start + CHUNK]
                length = STREAMS * stream_length(terms.size, a.itemsize)
                total = add(total, (_in_lanes(terms[:length], terms[length:]), 0.0))
    return total


def in_order_of_first(a: Array, b: Array) -> tuple[Array, Array]:
    """View two arrays of one shape as vectors, or copies of these, in the order of the first one's memory."""
    axes = memory_axes(a)
    return a.transpose(axes).reshape(-1), b.transpose(axes).reshape(-1)
