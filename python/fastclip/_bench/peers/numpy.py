# SPDX-License-Identifier: BSD-3-Clause
"""NumPy: the best idioms that people write."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer


def _squares(array: FloatArray) -> float:
    flat = array.ravel()
    return float(np.dot(flat, flat))


def _norm(arrays: Sequence[FloatArray]) -> float:
    return math.sqrt(sum(_squares(array) for array in arrays))


def _clip_norm(arrays: Sequence[FloatArray], limit: float) -> float:
    norm = _norm(arrays)
    if norm > limit:
        factor = arrays[0].dtype.type(limit / norm)
        for array in arrays:
            np.multiply(array, factor, out=array)
    return norm


def _clip_each(arrays: Sequence[FloatArray], limit: float) -> None:
    for array in arrays:
        norm = math.sqrt(_squares(array))
        if norm > limit:
            np.multiply(array, array.dtype.type(limit / norm), out=array)


def _clip_new(arrays: Sequence[FloatArray], limit: float) -> tuple[float, list[FloatArray]]:
    norm = _norm(arrays)
    factor = arrays[0].dtype.type(min(1.0, limit / norm))
    return norm, [array * factor for array in arrays]


def _clip_value(arrays: Sequence[FloatArray], bound: float) -> None:
    for array in arrays:
        np.clip(array, -bound, bound, out=array)


def _clip_rows(array: FloatArray, limit: float) -> None:
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    np.multiply(array, np.minimum(1, np.float32(limit) / norms), out=array)


def _per_example(arrays: Sequence[FloatArray], limit: float) -> list[FloatArray]:
    flat = [array.reshape(len(array), -1) for array in arrays]
    norms = np.sqrt(sum(np.einsum("ij,ij->i", rows, rows) for rows in flat))
    factors = np.minimum(np.float32(1), np.float32(limit) / norms)
    return [np.tensordot(factors, array, axes=1) for array in arrays]


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind the best NumPy idiom that people write."""
    first = arrays[0]
    return Peer(
        "numpy",
        clip_norm=functools.partial(_clip_norm, arrays),
        clip_value=functools.partial(_clip_value, arrays),
        clip_each=functools.partial(_clip_each, arrays),
        clip_rows=functools.partial(_clip_rows, first),
        clip_new=functools.partial(_clip_new, arrays),
        clip_out=lambda bound: np.clip(first, -bound, bound, out=first),
        clip=np.clip,
        per_example=functools.partial(_per_example, arrays),
    )
