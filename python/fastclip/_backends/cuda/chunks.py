# SPDX-License-Identifier: BSD-3-Clause
"""How a list of arrays is shared out: chunks, and lanes of chunks. It follows from sizes alone, whatever the chip."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastclip._backends.cuda.records import CHUNK

WARPS = 8  # of a block: kWarps in `_cuda/common.cuh`
LANES = 2112  # four for each block that an H100 or H200 holds at a time
MOST, LEAST = 16384, 2048  # bytes of a chunk; a warp has 2 KB in flight


class Form(NamedTuple):
    """The elements of one array: runs of adjacent ones."""

    dtype: int
    size: int  # bytes of an element
    run: int  # elements
    outer: tuple[tuple[int, int], ...] = ()  # (how many, bytes from one to the next), the outermost first
    repeat: bool = False  # this memory stands earlier in the list


class Chunks(NamedTuple):
    """The chunks of a list, in its order."""

    chunks: NDArray[Any]
    lanes: NDArray[np.uint32]  # the first chunk of each lane, and their number
    arrays: NDArray[np.uint32]  # the first chunk of each array, and their number
    counts: NDArray[np.int64]  # elements of each array


def _runs(form: Form) -> NDArray[np.int64]:
    starts = np.zeros((), np.int64)
    for n, stride in form.outer:
        starts = np.add.outer(starts, np.arange(n, dtype=np.int64) * stride)
    return starts.reshape(-1)


def chunk_bytes(total: int) -> int:
    """Return how long chunks are: every warp of a large chip has one where the list allows it."""
    share = max(1, total // (LANES * WARPS))
    return int(min(MOST, max(LEAST, 1 << share.bit_length() - 1)))


def make(forms: tuple[Form, ...]) -> Chunks:
    """Share out a list."""
    runs = [_runs(form) for form in forms]
    per_array = np.array([len(starts) for starts in runs], np.int64)
    array = np.repeat(np.arange(len(forms)), per_array)
    run = np.array([form.run for form in forms], np.int64)[array]
    size = np.array([form.size for form in forms], np.int64)[array]
    starts = np.concatenate([np.zeros(0, np.int64), *runs])

    per = chunk_bytes(int((run * size).sum())) // size
    pieces = -(-run // per)  # of each run
    of = np.repeat(np.arange(len(run)), pieces)
    k = np.arange(len(of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    chunks = np.zeros(len(of), CHUNK)
    chunks["array"] = array[of]
    chunks["start"] = starts[of] + k * per[of] * size[of]
    chunks["count"] = np.minimum(per[of], run[of] - k * per[of])
    chunks["dtype"] = np.array([form.dtype for form in forms], np.uint8)[chunks["array"]]
    chunks["repeat"] = np.array([form.repeat for form in forms], np.uint8)[chunks["array"]]

    work = np.cumsum(chunks["count"] * size[of] + 64)  # a chunk costs as much as so many bytes beside its own
    lanes = min(LANES, -(-len(of) // WARPS))
    bounds = np.arange(1, lanes) * (int(work[-1]) if len(of) else 0) // max(lanes, 1)
    firsts = np.concatenate([[0], np.searchsorted(work, bounds), [len(of)]]) if lanes else np.zeros(1)
    arrays = np.searchsorted(chunks["array"], np.arange(len(forms) + 1))
    counts = np.bincount(array, weights=None, minlength=len(forms)) * np.array([f.run for f in forms], np.int64)
    return Chunks(chunks, firsts.astype(np.uint32), arrays.astype(np.uint32), counts)
