# SPDX-License-Identifier: BSD-3-Clause
"""Clipping by value where there is no kernel: integers, long doubles and the other byte order, through NumPy.

Bounds of an integer array are integers within its dtype, or infinite for none. TensorFlow lets them wrap around.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastclip import _dtypes, _errors
from fastclip._backends.reference import clamp
from fastclip._layout import Array


def number(function: str, argument: str, value: Any, name: str, dtype: np.dtype[Any]) -> Any:
    """Read one bound as a number of the dtype of the array `name`."""
    real = _errors.real(function, argument, value)
    scalar = value[()] if isinstance(value, np.ndarray) else value
    if dtype.kind not in "iu":
        with np.errstate(over="ignore"):
            return dtype.type(scalar if isinstance(scalar, np.floating) else real)  # a long double keeps its digits
    info = np.iinfo(dtype)
    if real == (-math.inf if argument == "clip_value_min" else math.inf):
        return dtype.type(info.min if real < 0 else info.max)
    if not math.isfinite(real) or int(scalar) != scalar:
        raise ValueError(f"{function}: {argument} is {_errors.show(value)}, but {name} is {dtype}; pass an integer.")
    if not info.min <= int(scalar) <= info.max:
        raise ValueError(
            f"{function}: {argument} is {_errors.show(value)}, but {name} is {dtype} ({info.min} to {info.max}); "
            f"pass one within, or {'-' if argument == 'clip_value_min' else ''}math.inf for none."
        )
    return dtype.type(int(scalar))


def between(function: str, argument: str, bound: Array, dtype: np.dtype[Any]) -> Array:
    """Read an array of bounds as one of the dtype."""
    if dtype.kind not in "iu":
        with np.errstate(over="ignore", invalid="ignore"):
            return _dtypes.rounded(bound, dtype) if _dtypes.supported(dtype) else bound.astype(dtype)
    info = np.iinfo(dtype)
    none = -math.inf if argument == "clip_value_min" else math.inf
    if bound.dtype.kind == "f":
        wide = bound.astype(np.result_type(bound.dtype, np.float64))
        # Powers of two, which are exact in f64: the largest int64 is not.
        within = (wide >= float(info.min)) & (wide < math.ldexp(1.0, int(info.max).bit_length()))
        good = (within & (wide == np.trunc(wide))) | (wide == none)
        whole = np.where(within, wide, 0.0).astype(dtype)
        result = np.where(wide == none, dtype.type(info.min if none < 0 else info.max), whole)
    else:
        good = (bound >= info.min) & (bound <= info.max)
        result = bound.astype(dtype)
    if not np.all(good):
        raise ValueError(
            f"{function}: {argument} holds {bound[~good].flat[0]}, but t is {dtype}; "
            f"pass integers from {info.min} to {info.max}."
        )
    return result


def clip(out: Array, a: Array, lo: Any, hi: Any) -> None:
    """Clip to bounds of the array's dtype, numbers or arrays; lo wins over hi. In place, nothing is written in vain."""
    new = np.maximum(np.minimum(a, hi), lo) if a.dtype.kind in "iu" else clamp(a, lo, hi)
    if out is not a or (new != a).any():
        out[...] = new
