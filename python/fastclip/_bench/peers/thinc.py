# SPDX-License-Identifier: BSD-3-Clause
"""thinc: `Ops.clip_gradient`, which its optimizer calls for one array after the other."""

from __future__ import annotations

from collections.abc import Sequence

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind `clip_gradient`. It knows no norm over several arrays."""
    from thinc.api import NumpyOps

    clip_gradient = NumpyOps().clip_gradient

    def clip_each(limit: float) -> None:
        for array in arrays:
            clip_gradient(array, limit)

    return Peer("thinc", clip_each=clip_each, returns_norm=False)


def bind_fastclip(arrays: Sequence[FloatArray]) -> Peer:
    """Bind fastclip's own method of that name."""
    from thinc.api import NumpyOps

    from fastclip.thinc import clip_gradient

    ops = NumpyOps()

    def clip_each(limit: float) -> None:
        for array in arrays:
            clip_gradient(ops, array, limit)

    return Peer("fastclip.thinc", clip_each=clip_each, returns_norm=False)
