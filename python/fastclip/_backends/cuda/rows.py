# SPDX-License-Identifier: BSD-3-Clause
"""Rows that stay on the chip between their norm and their product: which kernel takes them, and how it is launched."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastclip._backends.cuda import chunks, modules, records
from fastclip._backends.cuda.chunks import Form
from fastclip._device import DeviceArray

MOST_ROWS = 1 << 31  # the kernels count rows in 32 bits, and step beyond the last one
WARP, MOST_WARPS = 32, 32  # threads; of a block
RESERVED = 1024  # bytes of shared memory that CUDA takes of each block
CLUSTERS = 9  # the first chips that have them, sm_90


class Way(NamedTuple):
    """A kernel, and how it is launched."""

    name: str
    grid: int  # blocks
    block: int  # threads
    shared: int = 0  # bytes of dynamic shared memory
    chunk: int = 0  # bytes that a warp adds at a time, where rows are kept in shared memory
    chunks: int = 0  # of a row


class InRegisters(NamedTuple):
    """One of the kernels in `_cuda/rows.cu`."""

    most: int  # bytes of a row
    name: str
    rows: int  # that a block has at a time
    block: int  # threads
    blocks: int  # of a multiprocessor


REGISTERS = (
    InRegisters(2048, "rows_warp", chunks.WARPS, WARP * chunks.WARPS, 4),
    InRegisters(16384, "rows_block", 1, WARP * chunks.WARPS, 4),
    InRegisters(65536, "rows_block", 1, WARP * MOST_WARPS, 1),
)
#: the kernels that keep rows in shared memory, and of how many blocks
SHARED = (("rows_shared", 1), ("rows_cluster", 8))


def way(cp: Any, device: int, form: Form) -> Way | None:
    """Find the kernel for such rows: each in one piece, all at one distance, no longer than the chip has room for."""
    rows = form.rows or ()
    if form.outer or len(rows) != 1 or rows[0][0] > MOST_ROWS:
        return None
    size, count = form.run * form.size, rows[0][0]
    processors = modules.attribute(cp, device, modules.MULTIPROCESSORS)
    for kernel in REGISTERS:
        if size <= kernel.most:
            grid = max(1, min(kernel.blocks * processors, -(-count // kernel.rows)))
            return Way(kernel.name, grid, kernel.block)
    room = modules.attribute(cp, device, modules.SHARED)
    chunk = chunks.row_chunk_bytes(size)
    parts = -(-size // chunk)
    for name, ranks in SHARED:
        own = -(-parts // ranks)
        shared = records.VERDICT.itemsize + own * (chunk + records.TOTAL.itemsize)
        if shared > room or (ranks > 1 and modules.attribute(cp, device, modules.MAJOR) < CLUSTERS):
            continue
        # Where two blocks have room, one reads while the other writes.
        blocks = 2 if 2 * (shared + RESERVED) <= room + RESERVED else 1
        grid = ranks * max(1, min(blocks * processors // ranks, count))
        return Way(name, grid, WARP * min(own, MOST_WARPS // blocks), shared, chunk, parts)
    return None


def launch(cp: Any, found: Way, array: DeviceArray, form: Form, request: np.void) -> None:
    """Clip the rows of an array."""
    rows = records.zeros(records.ROWS)
    ((rows["rows"], rows["step"]),) = form.rows or ((1, 0),)
    rows["data"], rows["count"], rows["dtype"] = array.pointer, form.run, array.dtype
    rows["chunk"], rows["chunks"] = found.chunk, found.chunks
    kernel = modules.kernel(cp, found.name, array.device)
    kernel((found.grid,), (found.block,), (rows, request), shared_mem=found.shared)
