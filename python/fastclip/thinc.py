# SPDX-License-Identifier: BSD-3-Clause
"""The clipping of thinc's optimizer: `Ops.clip_gradient`, as thinc 9.1 has it.

>>> import numpy as np, fastclip.thinc
>>> from thinc.api import NumpyOps
>>> fastclip.thinc.clip_gradient(NumpyOps(), np.array([3.0, 4.0], np.float32), 1.0)
array([0.6, 0.8], dtype=float32)
"""

from __future__ import annotations

from typing import Any

from fastclip import _errors
from fastclip._config import backend, delegated

with _errors.importing("fastclip.thinc", "thinc"):
    from thinc.backends.ops import Ops

__all__ = ["clip_gradient"]

_stock: Any = Ops.clip_gradient  # held from before anybody replaces it
_native = backend.clip_array


def clip_gradient(ops: Any, gradient: Any, threshold: float) -> Any:
    """Clip an array in place so that its L2 norm is at most `threshold`, and return it.

    NumPy arrays of float16, bfloat16, float32 and float64 in C or Fortran order are clipped by fastclip: the norm is
    exact to the last bits, finite elements do not become 0 because their squares overflow, and a norm of 0 is within
    every limit, 0 too. thinc itself does everything else: other arrays, elements that are not finite (it leaves NaN as
    it is, and makes 0 and NaN of infinity), and a threshold that is no float or negative.

    Args:
        ops: thinc's `Ops`; a method's first argument.
        gradient: the array.
        threshold: the limit.

    Returns:
        `gradient`.

    Source: thinc's method of that name.

    Example:
        >>> import numpy as np, fastclip.thinc
        >>> from thinc.api import NumpyOps
        >>> gradient = np.array([3e20, 4e20], np.float32)
        >>> fastclip.thinc.clip_gradient(NumpyOps(), gradient, 1.0).round(6)  # thinc's own: zeros
        array([0.6, 0.8], dtype=float32)
    """
    if _native(gradient, threshold) is not NotImplemented:
        return gradient
    delegated["calls"] += 1
    return _stock(ops, gradient, threshold)
