# SPDX-License-Identifier: BSD-3-Clause
"""Each element by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastclip import _dtypes, _errors
from fastclip._api import bounds
from fastclip._api.results import results
from fastclip._arrays import gather_anywhere, like, one_array
from fastclip._config import backend, delegated
from fastclip._layout import Array


def clip_by_value_(t: Any, clip_value_min: float, clip_value_max: float) -> None:
    """Clip every element in place to [clip_value_min, clip_value_max].

    Memory in which nothing is outside is only read. Bounds are rounded to each array's dtype. NaN stays NaN, -0.0
    stays -0.0 against a bound of 0; a NaN bound makes everything NaN; with min > max everything becomes min.

    Args:
        t: as for `clip_by_norm_`. Arrays of integers, long doubles and the other byte order may be among them; NumPy
            clips these.
        clip_value_min: the lower bound, a number; -inf for none. For integer arrays an integer within the dtype.
        clip_value_max: the upper bound, a number; inf for none. For integer arrays likewise.

    Raises:
        TypeError: an entry is no such array, or a bound is no number.
        ValueError: an array is read-only or immutable, two arrays share memory in part, or an integer array's bound
            is no integer or beyond its dtype (nothing wraps around). Nothing has been written then.

    Source: TensorFlow's `clip_by_value`, in place.

    Example:
        >>> import numpy as np, fastclip
        >>> gradients = [np.array([-2.0, 0.5]), np.array([7.0])]
        >>> fastclip.clip_by_value_(gradients, -1.0, 1.0)
        >>> gradients
        [array([-1. ,  0.5]), array([1.])]
    """
    lo = _errors.real("clip_by_value_", "clip_value_min", clip_value_min)
    hi = _errors.real("clip_by_value_", "clip_value_max", clip_value_max)
    if backend.clamp_list(t, None, lo, hi, False) is not NotImplemented:
        return
    chosen, names, arrays = gather_anywhere("clip_by_value_", "t", t, write=True, every_real=True)
    if chosen is not backend:
        chosen.clamp_list(arrays, None, lo, hi, True)
        return
    native = [a for a in arrays if _dtypes.supported(a.dtype)]
    others = [(name, a) for name, a in zip(names, arrays, strict=True) if not _dtypes.supported(a.dtype)]
    limits = [_numbers("clip_by_value_", clip_value_min, clip_value_max, name, a.dtype) for name, a in others]
    if native or not others:
        backend.clamp_list(native, None, lo, hi, True)
    if others:
        delegated["calls"] += 1
    for (_, a), (least, most) in zip(others, limits, strict=True):
        bounds.clip(a, a, least, most)


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """Clip every element, into a new array, to [clip_value_min, clip_value_max].

    Args:
        t: as for `clip_by_norm`; also an array of integers, long doubles or the other byte order, which NumPy clips.
        clip_value_min: the lower bound, a number or an array that broadcasts to the shape of `t`.
        clip_value_max: the upper bound, likewise.
        name: ignored; TensorFlow has it.

    Returns:
        A new NumPy array of the same shape and dtype (subclasses, IndexedSlices-like: the same kind); see
        `clip_by_value_` for NaN, -0.0 and min > max.

    Raises:
        TypeError: `t` is no such array, or a bound is no number; for a list see `clip_by_value_`.
        ValueError: a bound does not broadcast to the shape of `t`, or is none of its integers.

    Source: TensorFlow's function.

    Example:
        >>> import fastclip
        >>> fastclip.clip_by_value([-2.0, 0.5, 7.0], -1.0, 1.0)
        array([-1. ,  0.5,  1. ])
    """
    array = one_array("clip_by_value", "t", t, "clip_by_value_ (in place)", every_real=True)
    lo: Any
    hi: Any
    if _is_array(clip_value_min) or _is_array(clip_value_max):
        lo = _bound("clip_value_min", clip_value_min, array)
        hi = _bound("clip_value_max", clip_value_max, array)
    elif _dtypes.supported(array.dtype):
        lo = _errors.real("clip_by_value", "clip_value_min", clip_value_min)
        hi = _errors.real("clip_by_value", "clip_value_max", clip_value_max)
        read, out = results([array])
        backend.clamp_list(read, out, lo, hi, True)
        return like(t, out[0])
    else:
        lo, hi = _numbers("clip_by_value", clip_value_min, clip_value_max, "t", array.dtype)
    delegated["calls"] += 1
    new = np.empty_like(array)
    bounds.clip(new, array, lo, hi)
    return like(t, new)


def _numbers(function: str, least: Any, most: Any, name: str, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    lo = bounds.number(function, "clip_value_min", least, name, dtype)
    return lo, bounds.number(function, "clip_value_max", most, name, dtype)


def _is_array(bound: Any) -> bool:
    return isinstance(bound, (list, tuple)) or getattr(bound, "ndim", 0) > 0


def _bound(argument: str, value: Any, array: Array) -> Array:
    try:
        bound = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        bound = np.asarray(None)
    real = bound.dtype.kind in "fiu" or _dtypes.supported(bound.dtype)
    if not real or isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"clip_by_value: {argument} is {_errors.show(value)}; expected real numbers.")
    bound = bounds.between("clip_by_value", argument, bound, array.dtype)
    try:
        return np.broadcast_to(bound, array.shape)
    except ValueError:
        raise ValueError(
            f"clip_by_value: {argument} has shape {bound.shape}, which does not broadcast to t's, {array.shape}."
        ) from None
