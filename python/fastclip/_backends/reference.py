# SPDX-License-Identifier: BSD-3-Clause
"""The reference backend in NumPy: the fallback where nothing was compiled, and the oracle where it was.

f16, bf16 and f32 sums take the order of the native kernels and give the same bits. f64 sums are double-double, as the
native ones are, but in another order: they agree to about 2^-100, which no rounded norm shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastclip import _dtypes
from fastclip._layout import Array, memory_order, once
from fastclip._rules import Rule, norm_of
from fastclip._rules.evaluator import GROW, PLAIN_BELOW, SAFE_MAX, SAFE_MIN, SHRINK, Coefficient, Norm, judge, two_sum

CHUNK, LANES, STREAMS = 32768, 32, 4
STREAM_LANES, STREAM_LINES = LANES // STREAMS, 128
_BLOCK = 64 * CHUNK  # elements widened to f64 at a time: 8 MB
FOURS_MIN = 2.0**-100


def _fold(lanes: Array) -> Array:
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]


def _blocks(a: Array) -> Iterator[Array]:
    flat = memory_order(a).reshape(-1)
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


def _terms_narrow(block: Array, power: int) -> Iterator[tuple[float, float]]:
    """Yield the partial sum of each chunk of an f16, bf16 or f32 array."""
    for start in range(0, block.size, CHUNK):
        yield _chunk_sum(block[start : start + CHUNK], power), 0.0


def _terms_f64(block: Array, power: int) -> Iterator[tuple[float, float]]:
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


def _add(total: tuple[float, float], part: tuple[float, float]) -> tuple[float, float]:
    s, error = two_sum(total[0], part[0])
    return s, total[1] + (error + part[1])


def _sum(a: Array, power: int, scale: float = 1.0) -> tuple[float, float]:
    total = (0.0, 0.0)
    with np.errstate(all="ignore"):
        for block in _blocks(a):
            wide = _dtypes.is_wide(a.dtype)
            terms = _terms_f64(block * scale, power) if wide else _terms_narrow(block, power)
            for part in terms:
                total = _add(total, part)
    return total


def _norm(arrays: list[Array]) -> Norm:
    sums = [_sum(a, 2) for a in arrays]
    total = (0.0, 0.0)
    for part in sums:
        total = _add(total, part)
    if not any(_dtypes.is_wide(a.dtype) for a in arrays) or not (total[0] > SAFE_MAX or total[0] < SAFE_MIN):
        return norm_of(*total, 1.0)
    scale = SHRINK if total[0] > SAFE_MAX else GROW
    total = (0.0, 0.0)
    for a, part in zip(arrays, sums, strict=True):
        narrow = not _dtypes.is_wide(a.dtype)
        total = _add(total, (part[0] * scale * scale, part[1] * scale * scale) if narrow else _sum(a, 2, scale))
    return norm_of(*total, scale)


def _scale(out: Array, a: Array, c: Coefficient) -> None:
    with np.errstate(all="ignore"):
        if _dtypes.is_wide(a.dtype):
            np.multiply(a * c.pre if c.pre != 1.0 else a, c.factor, out=out)
        elif c.plain < PLAIN_BELOW:
            out[...] = (a.astype(np.float64) * c.plain).astype(np.float32).astype(a.dtype)
        else:
            out[...] = (a.astype(np.float32) * np.float32(c.plain)).astype(a.dtype)


def clamp(a: Array, lo: Any, hi: Any) -> Array:
    """Clip to bounds of the array's dtype, numbers or arrays, in TensorFlow's order: lo wins over hi.

    By selection, since `np.maximum` and `np.clip` may make 0.0 of -0.0.
    """
    with np.errstate(invalid="ignore"):  # ml_dtypes' comparisons of NaN
        clamped = np.where(a > hi, hi, a)
        clamped = np.where(clamped < lo, lo, clamped)
    return np.where(np.isnan(lo) | np.isnan(hi), a.dtype.type(np.nan), clamped)


def _judge_array(rule: Rule, a: Array, limit: float) -> Coefficient:
    norm = _norm([a])
    return judge(rule, norm, not math.isfinite(norm.hi), limit, a.size, _dtypes.ROUND[a.dtype])


def _plain(arrays: Any) -> bool:
    return isinstance(arrays, list) and all(type(a) is np.ndarray and _dtypes.supported(a.dtype) for a in arrays)


def _targets(arrays: list[Array], out: list[Array] | None) -> list[tuple[Array, Array]]:
    if out is not None:
        return list(zip(out, arrays, strict=True))
    return [(a, a) for a in once(arrays)]


class Reference:
    """NumPy only. Takes lists of plain arrays."""

    name = "reference"

    def __init__(self) -> None:
        self._calls = 0

    def calls(self) -> int:
        """Return how many calls this backend has served."""
        return self._calls

    def rule(self, record: Rule) -> Rule:
        """Return the record itself."""
        return record

    def clip_list(self, arrays: Any, out: Any, limit: float, use_norm: float | None, rule: Rule, vetted: bool) -> Any:
        """Clip by the norm of all elements."""
        if not vetted:
            return NotImplemented
        self._calls += 1
        targets = _targets(arrays, out)
        reads = use_norm is None or rule.nonfinite in ("raise", "skip", "zero")
        read = _norm(arrays) if reads else Norm(0.0, 0.0, 1.0)
        norm = read if use_norm is None else Norm(use_norm, 0.0, 1.0)
        nonfinite = not math.isfinite(read.hi)
        if nonfinite:
            if rule.nonfinite == "raise":
                return None
            if rule.nonfinite == "skip":
                return norm.value()
            if rule.nonfinite == "zero":
                for to, _ in targets:
                    to[~np.isfinite(to)] = 0.0
                norm = norm if math.isfinite(norm.hi) else _norm(arrays)
        round_ = max((_dtypes.ROUND[a.dtype] for a in arrays), default=0.0)
        self._apply(targets, judge(rule, norm, nonfinite, limit, sum(a.size for a in arrays), round_))
        return norm.value()

    def clip_each(self, arrays: Any, out: Any, limit: float, rule: Rule, vetted: bool) -> Any:
        """Clip each array by its own norm."""
        if not vetted:
            return NotImplemented
        self._calls += 1
        for to, a in _targets(arrays, out):
            self._apply([(to, a)], _judge_array(rule, a, limit))
        return None

    def clip_rows(self, array: Any, out: Any, axes: int, limit: float, rule: Rule) -> Any:
        """Clip one array, each row by its own norm."""
        self._calls += 1
        if out is not None:
            out[...] = array
            array = out
        kept = [axis for axis in range(array.ndim) if not axes >> axis & 1]
        rows = np.moveaxis(array, kept, range(len(kept)))
        for index in np.ndindex(rows.shape[: len(kept)]):
            row = rows[(*index, ...)]
            self._apply([(row, row)], _judge_array(rule, row, limit))
        return None

    def clamp_list(self, arrays: Any, out: Any, lo: float, hi: float, vetted: bool) -> Any:
        """Clip each element to [lo, hi], in TensorFlow's order: lo wins."""
        if not vetted:
            return NotImplemented
        self._calls += 1
        for to, a in _targets(arrays, out):
            least, most = _dtypes.rounded(lo, a.dtype), _dtypes.rounded(hi, a.dtype)
            with np.errstate(invalid="ignore"):
                outside = ((a < least) | (a > most)).any()
            if to is not a or outside or np.isnan(least) or np.isnan(most):
                to[...] = clamp(a, least, most)
        return None

    def clip(self, a: Any, a_min: Any, a_max: Any, out: Any) -> Any:
        """Leave it to NumPy."""
        return NotImplemented

    def register_tensor_type(self, kind: type) -> bool:
        """Take no tensors: PyTorch is faster than NumPy here."""
        return False

    def register_eager_type(self, *_: Any) -> bool:
        """Take no tensors: TensorFlow is faster than NumPy here."""
        return False

    def _leave_to_framework(self, *_: Any) -> Any:
        return NotImplemented

    tensors_norm = tensors_clip = tensors_scale = tensors_clamp = _leave_to_framework
    eager_norm = eager_clip = eager_scale = eager_clip_one = eager_clamp = _leave_to_framework

    def empty_like(self, dense: Array) -> Array:
        """Make room for a result."""
        return np.empty_like(dense)

    def norm_list(self, arrays: Any) -> Any:
        """Return the norm of all elements."""
        if not _plain(arrays):
            return NotImplemented
        self._calls += 1
        return _norm(arrays).value()

    def norm_into(self, array: Any, out: Any) -> Any:
        """Write the norm of one array into `out`."""
        self._calls += 1
        out[...] = _dtypes.rounded(_norm([array]).value(), out.dtype)

    def measure_list(self, arrays: Any) -> Any:
        """Return the statistics of a list and of each array."""
        if not _plain(arrays):
            return NotImplemented
        self._calls += 1
        each = []
        total = (0.0, 0.0)
        for a in arrays:
            hi, lo = _sum(a, 1)
            total = _add(total, (hi, lo))
            zeros = a.size - int(np.count_nonzero(a))
            bad = a.size - int(np.count_nonzero(np.isfinite(a)))
            with np.errstate(invalid="ignore"):
                largest = float(np.max(np.abs(a), initial=0.0))
            each.append((_norm([a]).value(), hi + lo if math.isfinite(hi) else hi, largest, bad, zeros))
        sumabs = total[0] + total[1] if math.isfinite(total[0]) else total[0]
        maxabs = float(np.max([row[2] for row in each], initial=0.0))
        return _norm(arrays).value(), sumabs, maxabs, each

    @staticmethod
    def _apply(targets: list[tuple[Array, Array]], c: Coefficient) -> None:
        for to, a in targets:
            if c.clip:
                _scale(to, a, c)
            elif to is not a:
                to[...] = a
