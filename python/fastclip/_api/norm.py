# SPDX-License-Identifier: BSD-3-Clause
"""NumPy's norm, without its overflow."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastclip import _dtypes
from fastclip._config import backend, delegated

_numpy_norm = np.linalg.norm  # bound now: somebody may put ours in its place
_array_function = np.ndarray.__array_function__


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Compute a norm as `numpy.linalg.norm` does.

    The L2 norm of all elements of a float16, bfloat16, float32 or float64 array (`ord` None, 2 for a vector, "fro" for
    a matrix, and no `axis`) is computed natively: right for every finite input, where NumPy's squares overflow,
    underflow or lose digits. Everything else is NumPy's own result.

    Args:
        x: an array of any shape, or what `np.asarray` takes.
        ord: the order, as in `numpy.linalg.norm`.
        axis: the axis or axes, as in `numpy.linalg.norm`.
        keepdims: keep the reduced axes with size one.

    Returns:
        A scalar of the dtype that NumPy returns; an array with `axis` or `keepdims`. Infinity where the norm is
        beyond that dtype, NaN where an element is NaN.

    Example:
        >>> import numpy as np, fastclip
        >>> float(fastclip.norm(np.array([3e20, 4e20], np.float32)) / np.float32(1e20))
        5.0
    """
    if getattr(type(x), "__array_function__", _array_function) is not _array_function:  # it has a norm of its own
        delegated["calls"] += 1
        return _numpy_norm(x, ord, axis, keepdims)
    array = np.asarray(x)
    whole = ord is None or (ord == "fro" and array.ndim == 2) or (ord == 2 and array.ndim == 1)
    if axis is not None or not whole or not _dtypes.supported(array.dtype):
        delegated["calls"] += 1
        return _numpy_norm(x, ord, axis, keepdims)
    # NumPy's result has the array's dtype, and float64 for what it does not know as a number of its own: bfloat16
    dtype = array.dtype if issubclass(array.dtype.type, np.inexact) else np.dtype(np.float64)
    out = np.empty((1,) * array.ndim if keepdims else (), dtype)
    backend.norm_into(array.view(np.ndarray), out)
    return out if keepdims else out[()]
