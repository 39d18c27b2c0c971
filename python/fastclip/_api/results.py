# SPDX-License-Identifier: BSD-3-Clause
"""Room for results."""

from __future__ import annotations

import numpy as np

from fastclip._config import backend
from fastclip._layout import Array, is_dense


def results(arrays: list[Array]) -> tuple[list[Array], list[Array]]:
    """Make room for the results: what to read, and where to write it. A strided array is copied first."""
    out = [backend.empty_like(a) if is_dense(a) else np.array(a, order="K") for a in arrays]
    read = [a if is_dense(a) else copy for a, copy in zip(arrays, out, strict=True)]
    return read, out
