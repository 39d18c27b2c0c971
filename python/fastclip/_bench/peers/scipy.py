# SPDX-License-Identifier: BSD-3-Clause
"""SciPy: BLAS's nrm2 and scal, called by their names."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer


def _clip_norm(flat: Sequence[FloatArray], limit: float) -> float:
    from scipy.linalg.blas import snrm2, sscal

    norm = math.hypot(*map(snrm2, flat))
    if norm > limit:
        for array in flat:
            sscal(limit / norm, array)
    return norm


def _clip_each(flat: Sequence[FloatArray], limit: float) -> None:
    for array in flat:
        _clip_norm((array,), limit)


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind BLAS's `snrm2` and `sscal`; what scal is given in one piece it scales in place."""
    flat = [array.reshape(-1) for array in arrays]
    return Peer("scipy", clip_norm=functools.partial(_clip_norm, flat), clip_each=functools.partial(_clip_each, flat))
