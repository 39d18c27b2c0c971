# SPDX-License-Identifier: BSD-3-Clause
"""The reference backend in NumPy: the fallback where nothing was compiled, and the oracle where it was."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastclip import _dtypes
from fastclip._backends import sums
from fastclip._layout import Array, memory_key, once
from fastclip._rules import Rule
from fastclip._rules.evaluator import PLAIN_BELOW, Coefficient, Norm, judge


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


def _scale_update(now: Array, before: Array, c: Coefficient, norm: float) -> None:
    """Let `now` be before + (now - before) * c, as `csrc/kernels/update.hpp` rounds it."""
    with np.errstate(all="ignore"):
        if _dtypes.is_wide(now.dtype):
            pre, factor = (0.25, c.factor * 4.0) if norm > 2.0**1023 and c.pre == 1.0 else (c.pre, c.factor)
            now[...] = before + (now * pre - before * pre) * factor
            return
        wide = c.plain < PLAIN_BELOW or norm > float(np.finfo(np.float32).max)
        dtype: Any = np.float64 if wide else np.float32
        a: Any = now.astype(dtype)
        b: Any = before.astype(dtype)
        now[...] = (b + (a - b) * a.dtype.type(c.plain)).astype(np.float32).astype(now.dtype)


def _judge_array(rule: Rule, a: Array, limit: float) -> Coefficient:
    norm = sums.norm([a])
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
        read = sums.norm(arrays) if reads else Norm(0.0, 0.0, 1.0)
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
                norm = norm if math.isfinite(norm.hi) else sums.norm(arrays)
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

    def clip_array(self, array: Any, limit: float) -> Any:
        """Leave it to whoever asks: NumPy in one line is as fast."""
        return NotImplemented

    def clip_update_list(self, now: Any, before: Any, limit: float, rule: Rule, vetted: bool) -> Any:
        """Clip what a list has become by the norm of its difference to what it was."""
        if not vetted:
            return NotImplemented
        self._calls += 1
        pairs = list({memory_key(a): (a, b) for a, b in reversed(list(zip(now, before, strict=True)))}.values())[::-1]
        norm = sums.update_norm(list(zip(now, before, strict=True)))
        nonfinite = not math.isfinite(norm.hi)
        if nonfinite and rule.nonfinite == "raise":
            return None
        if nonfinite and rule.nonfinite == "skip":
            return norm.value()
        if nonfinite and rule.nonfinite == "zero":
            for a, b in pairs:
                np.copyto(a, b, where=~np.isfinite(a))
            norm = sums.update_norm(list(zip(now, before, strict=True)))
        round_ = max((_dtypes.ROUND[a.dtype] for a in now), default=0.0)
        c = judge(rule, norm, nonfinite, limit, 0, round_)
        if c.clip:
            for a, b in pairs:
                _scale_update(a, b, c, norm.value())
        return norm.value()

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

    tensors_norm = tensors_clip = tensors_scale = tensors_clamp = device_tensors = _leave_to_framework
    eager_norm = eager_clip = eager_scale = eager_clip_one = eager_clamp = _leave_to_framework

    def identities(self, items: list[Any]) -> Any:
        """Return the addresses of objects."""
        return tuple(map(id, items))

    def empty_like(self, dense: Array) -> Array:
        """Make room for a result."""
        return np.empty_like(dense)

    def norm_list(self, arrays: Any) -> Any:
        """Return the norm of all elements."""
        if not _plain(arrays):
            return NotImplemented
        self._calls += 1
        return sums.norm(arrays).value()

    def norm_into(self, array: Any, out: Any) -> Any:
        """Write the norm of one array into `out`."""
        self._calls += 1
        out[...] = _dtypes.rounded(sums.norm([array]).value(), out.dtype)

    def measure_list(self, arrays: Any) -> Any:
        """Return the statistics of a list and of each array."""
        if not _plain(arrays):
            return NotImplemented
        self._calls += 1
        each = []
        total = (0.0, 0.0)
        for a in arrays:
            hi, lo = sums.sum_terms(a, 1)
            total = sums.add(total, (hi, lo))
            zeros = a.size - int(np.count_nonzero(a))
            bad = a.size - int(np.count_nonzero(np.isfinite(a)))
            with np.errstate(invalid="ignore"):
                largest = float(np.max(np.abs(a), initial=0.0))
            each.append((sums.norm([a]).value(), hi + lo if math.isfinite(hi) else hi, largest, bad, zeros))
        sumabs = total[0] + total[1] if math.isfinite(total[0]) else total[0]
        maxabs = float(np.max([row[2] for row in each], initial=0.0))
        return sums.norm(arrays).value(), sumabs, maxabs, each

    @staticmethod
    def _apply(targets: list[tuple[Array, Array]], c: Coefficient) -> None:
        for to, a in targets:
            if c.clip:
                _scale(to, a, c)
            elif to is not a:
                to[...] = a
