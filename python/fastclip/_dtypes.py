# SPDX-License-Identifier: BSD-3-Clause
"""The element types that fastclip computes with; `csrc/core/dtype.hpp` is the native list."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

#: unit roundoff of a product: half the distance from 1 to the next number. f16 and bf16 are multiplied as f32.
ROUND: dict[np.dtype[Any], float] = {
    np.dtype(np.float16): 2.0**-24,
    np.dtype(np.float32): 2.0**-24,
    np.dtype(np.float64): 2.0**-53,
}

ACCEPTED = "float16, bfloat16, float32 or float64"

#: told bfloat16's type number when it is first met: by then ml_dtypes, which defines it, has been imported
on_bfloat16: list[Callable[[int], None]] = []


def supported(dtype: np.dtype[Any]) -> bool:
    """Tell whether arrays of this dtype (byte order included) can be clipped."""
    return dtype in ROUND or _is_bfloat16(dtype)


def is_real(dtype: np.dtype[Any]) -> bool:
    """Tell whether elements of this dtype are real numbers, for NumPy to compute with."""
    return dtype.kind in "iuf" or _is_bfloat16(dtype.newbyteorder("="))


def conversion(dtype: np.dtype[Any], array: str) -> str:
    """Say how the array that `array` stands for can be made one that is supported; "" if nobody can know."""
    if not dtype.isnative and supported(dtype.newbyteorder("=")):
        return f' Convert it: {array}.astype({array}.dtype.newbyteorder("=")).'
    if dtype.kind == "c":
        return f" Clip its parts, {array}.view({array}.real.dtype), which have the same norm."
    if dtype.kind in "biuf":
        return (
            f" Convert it: {array}.astype(np.{'float32' if dtype.kind in 'biu' and dtype.itemsize < 4 else 'float64'})."
        )
    return ""


def _is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Recognise ml_dtypes' bfloat16 by identity: other two-byte types of kind V are not it."""
    ml_dtypes = sys.modules.get("ml_dtypes")
    if ml_dtypes is None or dtype.type is not ml_dtypes.bfloat16 or not dtype.isnative:
        return False
    ROUND[dtype] = 2.0**-24
    for tell in on_bfloat16:
        tell(dtype.num)
    return True


def is_wide(dtype: np.dtype[Any]) -> bool:
    """Tell whether sums need more than f64: the squares of all narrower types are exact there."""
    return dtype == np.float64


def rounded(x: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """Return numbers in a dtype, to nearest in one rounding.

    ml_dtypes rounds f64 to f32 before bfloat16. So the f32 is rounded to odd: of the two f32 around a number, the one
    whose last bit is 1 stands on the same side of every tie as the number does.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype in (np.float16, np.float32, np.float64):
            return np.asarray(np.asarray(x).astype(dtype))
        wide = np.asarray(x).astype(np.float64)
        near = np.asarray(wide.astype(np.float32))
        other = np.nextafter(near, np.where(wide > near, np.float32(np.inf), np.float32(-np.inf)))
        keep = (near == wide) | np.isnan(wide) | (near.view(np.uint32) & 1 == 1)
        return np.asarray(np.where(keep, near, other).astype(dtype))
