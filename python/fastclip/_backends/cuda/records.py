# SPDX-License-Identifier: BSD-3-Clause
"""What is handed to kernels by value or in tables: the structures of `_cuda/common.cuh`, field by field.

What goes by value is a scalar, NumPy's `void`: of an array, CuPy asks for its description at each launch, 8 us for one
with so many fields.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

CHUNK = np.dtype([("start", "i8"), ("array", "u4"), ("count", "u2"), ("dtype", "u1"), ("repeat", "u1")], align=True)
TOTAL = np.dtype([("hi", "f8"), ("lo", "f8"), ("level", "u4"), ("nonfinite", "u4")], align=True)
STATISTICS = np.dtype(
    [
        ("squares", TOTAL),
        *((field, "f8") for field in ("magnitudes", "rest", "largest")),
        *((field, "u8") for field in ("nonfinite", "zeros")),
    ],
    align=True,
)
_COEFFICIENT = (("clip", "?"), ("plain", "f8"), ("pre", "f8"), ("factor", "f8"))
COEFFICIENT = np.dtype([*_COEFFICIENT], align=True)
VERDICT = np.dtype([*_COEFFICIENT, ("norm", "f8"), ("drop", "u4"), ("nonfinite", "u4")], align=True)
TABLES = ("arrays", "chunks", "groups", "firsts", "counts", "rounds", "partials", "counters", "verdicts")
PLAN = np.dtype([*((table, "u8") for table in TABLES), ("chunk_count", "u4"), ("lane_count", "u4")], align=True)
REQUEST = np.dtype(
    [
        *((field, "u8") for field in ("norm", "coefficient", "given")),
        *((field, "f8") for field in ("limit", "use_norm", "slack", "round")),
        *((field, "u4") for field in ("policy", "average", "each", "reads", "norm_dtype", "torch")),
    ],
    align=True,
)
_REQUEST = struct.Struct("3Q4d6I")  # to fill an array's fields one by one takes four times as long
BOUNDS = np.dtype([("lo", "f8"), ("hi", "f8")], align=True)
ROWS = np.dtype(
    [
        ("data", "u8"),
        ("step", "i8"),
        ("within", "f8"),
        *((field, "u4") for field in ("rows", "count", "dtype", "lanes", "chunk", "chunks")),
    ],
    align=True,
)
COLUMNS = np.dtype(
    [
        ("data", "u8"),
        *((field, "i8") for field in ("step", "rows")),
        *((table, "u8") for table in ("partials", "verdicts", "counters")),
        *((field, "u4") for field in ("columns", "dtype", "width", "share")),
    ],
    align=True,
)


def zeros(dtype: np.dtype[Any]) -> np.void:
    """Make a structure whose fields are to be filled."""
    structure: np.void = np.zeros(1, dtype)[0]  # the array's own memory
    return structure


def request(norm: int, limit: float, slack: float, policy: int, average: bool, norm_dtype: int, torch: bool) -> np.void:
    """Ask for a norm that is read and goes to an address, and for what a limit makes of it."""
    packed = _REQUEST.pack(norm, 0, 0, limit, -1.0, slack, 0.0, policy, average, 0, 1, norm_dtype, torch)
    structure: np.void = np.ndarray((1,), REQUEST, bytearray(packed))[0]
    return structure
