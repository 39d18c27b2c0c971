# SPDX-License-Identifier: BSD-3-Clause
"""Rows that stay on the chip between their norm and their product: which kernel takes them, and how it is launched."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastclip._backends.cuda import chunks, modules, records
from fastclip._backends.cuda.chunks import Form
from fastclip._device import DeviceArray

MOST_ROWS = 1 << 31  # the kernels count rows in 32 bits, and step beyond the last one
WARP = 32  # threads
WARPS = 32  # of a multiprocessor that a kernel of 64 registers a thread fills, and of the largest block
HELD = 64  # bytes of a row that a thread holds in registers
RESERVED = 1024  # bytes of shared memory that CUDA takes of each block
BLOCKS = 4  # of a multiprocessor that keep rows in its shared memory, at most: while some read, others write
CLUSTERS = 9  # the first chips that have them, sm_90
GROUP = 16  # multiprocessors, or a few more, of which a cluster has its own
#: the kernels that keep rows in shared memory, and of how many blocks
SHARED = (("rows_shared", 1), ("rows_cluster", 8))


class Way(NamedTuple):
    """A kernel, and how it is launched."""

    name: str
    grid: int  # blocks
    block: int  # threads
    lanes: int = 0  # of a warp, for a row in their registers
    shared: int = 0  # bytes of dynamic shared memory
    chunk: int = 0  # bytes that a warp adds at a time, where rows are kept in shared memory
    chunks: int = 0  # of a row


def way(cp: Any, device: int, form: Form) -> Way | None:
    """Find the kernel for such rows: each in one piece, all at one distance, no longer than the chip has room for."""
    if form.outer or len(form.rows) != 1 or form.rows[0][0] > MOST_ROWS:
        return None
    size, count = form.run * form.size, form.rows[0][0]
    processors = modules.attribute(cp, device, modules.MULTIPROCESSORS)
    threads = 1 << (-(-size // HELD) - 1).bit_length()
    if threads <= WARP:
        rows = chunks.WARPS * WARP // threads  # of a block
        grid = min(WARPS // chunks.WARPS * processors, -(-count // rows))
        return Way("rows_warp", grid, chunks.WARPS * WARP, threads)
    if threads <= chunks.WARPS * WARP:
        warps = threads // WARP
        return Way(f"rows_{warps}_warps", min(WARPS // warps * processors, count), threads)
    room = modules.attribute(cp, device, modules.SHARED)
    chunk = chunks.row_chunk_bytes(size)
    parts = -(-size // chunk)
    for name, ranks in SHARED:
        own = -(-parts // ranks)
        shared = records.COEFFICIENT.itemsize + own * (chunk + records.TOTAL.itemsize)
        if shared > room or (ranks > 1 and modules.attribute(cp, device, modules.MAJOR) < CLUSTERS):
            continue
        blocks = min(BLOCKS, (room + RESERVED) // (shared + RESERVED))
        turns = -(-own // (WARPS // blocks))
        if ranks > 1 and processors >= GROUP:
            processors -= processors % GROUP  # a cluster more than have room would run when all others have ended
        grid = ranks * max(1, min(blocks * processors // ranks, count))
        return Way(name, grid, WARP * -(-own // turns), 0, shared, chunk, parts)
    return None


def _surely_within(limit: float) -> float:
    """Return up to which sum of squares a norm is within the limit, whatever has been rounded.

    That is at most 2^-45 of the sum: the rest of 2^20 sums in double-double, where that is left out.
    """
    if limit > 2.0**500:
        return limit if math.isinf(limit) else 2.0**1000
    return limit * limit * (1.0 - 2.0**-40) if limit >= 2.0**-500 else -1.0


def launch(cp: Any, found: Way, array: DeviceArray, form: Form, request: np.void) -> None:
    """Clip the rows of an array."""
    rows = records.zeros(records.ROWS)
    ((rows["rows"], rows["step"]),) = form.rows
    rows["within"] = _surely_within(float(request["limit"]))
    rows["data"], rows["count"], rows["dtype"] = array.pointer, form.run, array.dtype
    rows["lanes"], rows["chunk"], rows["chunks"] = found.lanes, found.chunk, found.chunks
    kernel = modules.kernel(cp, found.name, array.device)
    kernel((found.grid,), (found.block,), (rows, request), shared_mem=found.shared)
