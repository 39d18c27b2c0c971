# SPDX-License-Identifier: BSD-3-Clause
"""The element types that fastclip computes with; `csrc/core/dtype.hpp` is the native list."""

from __future__ import annotations

from typing import Any

import numpy as np

#: unit roundoff: half the distance from 1 to the next number
ROUND = {np.dtype(np.float32): 2.0**-24, np.dtype(np.float64): 2.0**-53}

ACCEPTED = " or ".join(str(dtype) for dtype in ROUND)


def supported(dtype: np.dtype[Any]) -> bool:
    """Tell whether arrays of this dtype (byte order included) can be clipped."""
    return dtype in ROUND
