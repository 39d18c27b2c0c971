# SPDX-License-Identifier: BSD-3-Clause
"""The element types under test, and what NumPy does not know of bfloat16."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np

from fastclip import _dtypes

F16, BF16 = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
DTYPES = (F16, BF16, F32, F64)
HALVES = (F16, BF16)  # 16 bits: multiplied as f32, four squares added as f32
NARROW = (F16, BF16, F32)  # the squares of these are summed in f64

#: significand bits and the exponent of the least subnormal number
FORMAT = {F16: (11, -24), BF16: (8, -133), F32: (24, -149), F64: (53, -1074)}
#: unit roundoff: the largest relative error of a rounding to nearest
UNIT = {dtype: Fraction(1, 2**digits) for dtype, (digits, _) in FORMAT.items()}
#: unit roundoff of a product of elements, for f16 and bf16 before it is rounded to the dtype
PRODUCT_UNIT = {dtype: min(unit, Fraction(1, 2**24)) for dtype, unit in UNIT.items()}

assert all(map(_dtypes.supported, DTYPES))  # at first sight the kernels are told of bfloat16


def finfo(dtype):
    """NumPy's `finfo`, which takes no bfloat16."""
    return ml_dtypes.finfo(dtype) if dtype == BF16 else np.finfo(dtype)


def rounded(x, dtype):
    """A Python float in a dtype, rounded to nearest, ties to even, once: ml_dtypes rounds f64 to f32 first."""
    if x == 0 or not math.isfinite(x):
        return dtype.type(x)
    digits, least = FORMAT[dtype]
    exponent = max(math.frexp(x)[1] - digits, least)
    nearest = Fraction(round(Fraction(x) / Fraction(2) ** exponent)) * Fraction(2) ** exponent
    if abs(nearest) > Fraction(float(finfo(dtype).max)):
        return dtype.type(math.copysign(math.inf, x))
    return dtype.type(math.copysign(float(nearest), x))


def patterns(a):
    """The bits of an array's elements as unsigned integers."""
    return a.view(f"u{a.dtype.itemsize}")
