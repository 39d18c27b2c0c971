# SPDX-License-Identifier: BSD-3-Clause
"""CuPy: NumPy's idioms on copies in a GPU's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer


def _to_numpy(array: Any) -> FloatArray:
    copy: FloatArray = array.get()
    return copy


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind the idioms, with the factor kept on the GPU; every call waits until the GPU is done."""
    import cupy

    given = [cupy.asarray(array) for array in arrays]
    flat = [array.reshape(-1) for array in given]
    first = given[0]

    def norm_of(pieces: Sequence[Any]) -> Any:
        return cupy.sqrt(sum(cupy.dot(piece, piece) for piece in pieces))

    def clip_norm(limit: float) -> Any:
        norm = norm_of(flat)
        factor = cupy.minimum(limit / norm, 1)
        for array in given:
            cupy.multiply(array, factor, out=array)
        return norm

    def clip_each(limit: float) -> None:
        for array in flat:
            cupy.multiply(array, cupy.minimum(limit / norm_of([array]), 1), out=array)

    def clip_rows(limit: float) -> None:
        norms = cupy.linalg.norm(first, axis=1, keepdims=True)
        cupy.multiply(first, cupy.minimum(limit / norms, 1), out=first)

    def clip_new(limit: float) -> tuple[Any, list[Any]]:
        norm = norm_of(flat)
        factor = cupy.minimum(limit / norm, 1)
        return norm, [array * factor for array in given]

    def clip_value(bound: float) -> None:
        for array in given:
            cupy.clip(array, -bound, bound, out=array)

    def waiting(call: Callable[[float], Any]) -> Callable[[float], Any]:
        def complete(limit: float) -> Any:
            answer = call(limit)
            cupy.cuda.get_current_stream().synchronize()
            return answer

        return complete

    return Peer(
        "cupy",
        clip_norm=waiting(clip_norm),
        clip_value=waiting(clip_value),
        clip_each=waiting(clip_each),
        clip_rows=waiting(clip_rows),
        clip_new=waiting(clip_new),
        clip_out=waiting(lambda bound: cupy.clip(first, -bound, bound, out=first)),
        always_writes=True,
        own=lambda: given,
        to_numpy=_to_numpy,
    )
