# SPDX-License-Identifier: BSD-3-Clause
"""NumPy's clip, natively where nothing is special."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastclip._config import backend, delegated

_NoValue: Any = getattr(np, "_NoValue", None)  # NumPy's mark of an argument that was not given
_native = backend.clip
_numpy_clip = np.clip  # bound now: somebody may put ours in its place


def clip(
    a: Any,
    a_min: Any = _NoValue,
    a_max: Any = _NoValue,
    out: Any = None,
    *,
    min: Any = _NoValue,
    max: Any = _NoValue,
    **kwargs: Any,
) -> Any:
    """Clip the elements of an array to [a_min, a_max] as `numpy.clip` does.

    Native for float16, float32 and float64 arrays of one or more dimensions in C or Fortran order, with bounds that are
    None, numbers or arrays of the same shape and dtype; and for a float, of Python or NumPy, between numbers. All else
    is NumPy's own result, or its error; `show_config()["calls"]` counts both.

    Args:
        a: an array of any shape, or what `np.asarray` takes.
        a_min: the lower bound, a number or an array that broadcasts; None for none.
        a_max: the upper bound, likewise. Where a_min > a_max the result is a_max.
        out: where the result goes; it may be `a`.
        min: another name of `a_min` (NumPy 2.1).
        max: another name of `a_max` (NumPy 2.1).
        kwargs: `where`, `dtype`, `casting` and what else NumPy's ufuncs take.

    Returns:
        `out`, or a new array (aligned to 64 bytes where the native code made it). NaN stays NaN, a NaN bound gives NaN.

    Raises:
        TypeError, ValueError: as `numpy.clip` does.

    Source: NumPy's function.

    Example:
        >>> import numpy as np, fastclip
        >>> fastclip.clip(np.array([-2.0, 0.5, 7.0]), -1, 1)
        array([-1. ,  0.5,  1. ])
    """
    if not kwargs:
        if min is _NoValue and max is _NoValue:
            result = _native(a, a_min, a_max, out)
        elif a_min is _NoValue and a_max is _NoValue:
            result = _native(a, None if min is _NoValue else min, None if max is _NoValue else max, out)
        else:
            result = NotImplemented
        if result is not NotImplemented:
            return result
    delegated["calls"] += 1
    if a_min is not _NoValue:
        kwargs["a_min"] = a_min
    if a_max is not _NoValue:
        kwargs["a_max"] = a_max
    if min is not _NoValue:
        kwargs["min"] = min
    if max is not _NoValue:
        kwargs["max"] = max
    return _numpy_clip(a, out=out, **kwargs)
