# SPDX-License-Identifier: BSD-3-Clause
"""How a list of arrays is shared out: chunks, and lanes of chunks. It follows from sizes alone, whatever the chip."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastclip._backends.cuda.records import CHUNK

WARPS = 8  # of a block: kWarps in `_cuda/common.cuh`
LANES = 2112  # four for each block that an H100 or H200 holds at a time
MOST, LEAST = 16384, 2048  # bytes of a chunk; a warp has 2 KB in flight


Axes = tuple[tuple[int, int], ...]  # (how many, bytes from one to the next), the outermost first


class Form(NamedTuple):
    """The elements of one array, or of each row of it: runs of adjacent ones."""

    dtype: int
    size: int  # bytes of an element
    run: int  # elements
    outer: Axes = ()  # of the runs
    repeat: bool = False  # this memory stands earlier in the list
    rows: Axes = ()  # none: a group is an array; else row i of every array belongs to group i


class Chunks(NamedTuple):
    """The chunks of a list, in its order or in that of the groups."""

    chunks: NDArray[Any]
    groups: NDArray[np.uint32]  # of each chunk
    lanes: NDArray[np.uint32]  # the first chunk of each lane, and their number
    firsts: NDArray[np.uint32]  # the first chunk of each group, and their number
    counts: NDArray[np.int64]  # elements of each group


def _starts(axes: Axes) -> NDArray[np.int64]:
    starts = np.zeros((), np.int64)
    for n, stride in axes:
        starts = np.add.outer(starts, np.arange(n, dtype=np.int64) * stride)
    return starts.reshape(-1)


def chunk_bytes(total: int) -> int:
    """Return how long chunks are: every warp of a large chip has one where the list allows it."""
    share = max(1, total // (LANES * WARPS))
    return int(min(MOST, max(LEAST, 1 << share.bit_length() - 1)))


def row_chunk_bytes(row: int) -> int:
    """Return how long the chunks of a row are: one for each warp of a cluster of eight blocks of 32, or fewer."""
    return min(MOST, max(LEAST, 1 << (-(-row // 256) - 1).bit_length()))


def sum_starts(forms: Sequence[Form]) -> list[int]:
    """Return where the sum over each array's rows begins in a block of all, at multiples of 16 bytes, and its size."""
    return list(itertools.accumulate((-(-form.run * form.size // 16) * 16 for form in forms), initial=0))


def _column(forms: tuple[Form, ...], field: str) -> NDArray[np.int64]:
    return np.array([getattr(form, field) for form in forms], np.int64)


def make(forms: tuple[Form, ...], what: str = "list") -> Chunks:
    """Share out a list; `what` is that of a plan."""
    rows = [_starts(form.rows) for form in forms]
    runs = [np.add.outer(row, _starts(form.outer)) for row, form in zip(rows, forms, strict=True)]
    array = np.repeat(np.arange(len(forms)), [starts.size for starts in runs])
    row = [np.repeat(np.arange(len(starts)), starts.shape[1]) for starts in runs]
    by_row = any(form.rows for form in forms)
    group = np.concatenate([np.zeros(0, np.int64), *row]) if by_row else array
    starts = np.concatenate([np.zeros(0, np.int64), *(part.reshape(-1) for part in runs)])
    order = np.argsort(group, kind="stable")
    array, group, starts = array[order], group[order], starts[order]
    run, size = _column(forms, "run")[array], _column(forms, "size")[array]

    if what == "rows" and not forms[0].outer:  # as in `rows.way`, and so to the same bits
        per = row_chunk_bytes(forms[0].run * forms[0].size) // size
    else:
        per = chunk_bytes(int((run * size).sum())) // size
    pieces = -(-run // per)  # of each run
    of = np.repeat(np.arange(len(run)), pieces)
    k = np.arange(len(of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    chunks = np.zeros(len(of), CHUNK)
    chunks["array"] = array[of]
    chunks["start"] = starts[of] + k * per[of] * size[of]
    chunks["count"] = np.minimum(per[of], run[of] - k * per[of])
    chunks["dtype"] = _column(forms, "dtype")[chunks["array"]]
    chunks["repeat"] = _column(forms, "repeat")[chunks["array"]]

    work = np.cumsum(chunks["count"] * size[of] + 64)  # a chunk costs as much as so many bytes beside its own
    lanes = min(LANES, -(-len(of) // WARPS))
    bounds = np.arange(1, lanes) * (int(work[-1]) if len(of) else 0) // max(lanes, 1)
    lane_firsts = np.concatenate([[0], np.searchsorted(work, bounds), [len(of)]]) if lanes else np.zeros(1)
    groups = max((len(starts) for starts in rows), default=0) if by_row else len(forms)
    firsts = np.searchsorted(group[of], np.arange(groups + 1))
    counts = np.zeros(groups, np.int64)
    np.add.at(counts, group, run)
    return Chunks(chunks, group[of].astype(np.uint32), lane_firsts.astype(np.uint32), firsts.astype(np.uint32), counts)
