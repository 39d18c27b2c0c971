# SPDX-License-Identifier: BSD-3-Clause
"""Columns of a matrix: norms along its first axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastclip._backends.cuda import chunks, modules, records
from fastclip._backends.cuda.chunks import Form
from fastclip._backends.cuda.plan import BLOCK, Tables, tables_for
from fastclip._device import DeviceArray

MOST = 1 << 24  # columns: their tables, which are kept, have 72 bytes or more for each: 1.2 GB
WARP, VECTOR = 32, 16
LEAST = 256  # rows of a slab: their 1 KB of f32 cost 20 times what is written and read of a column's total
BLOCKS = 2  # of a multiprocessor
TASKS = 4 * BLOCKS * 132  # four for each block that an H100 or H200 holds at a time


def are(form: Form) -> bool:
    """Tell whether what is clipped are adjacent columns of rows at one distance."""
    if form.run != 1 or len(form.outer) != 1 or len(form.rows) != 1:
        return False
    ((columns, stride),) = form.rows
    return stride == form.size and columns < MOST


def share(rows: int, columns: int, size: int) -> int:
    """Return how many rows a warp has: a number of the shape alone, as it decides the order of the sums."""
    strips = -(-columns * size // (WARP * VECTOR))
    slabs = max(1, min(-(-TASKS // strips), rows // LEAST))
    return -(-rows // (slabs * chunks.WARPS * 4)) * 4


class ColumnTables(Tables):
    """The device side of matrices of one form."""

    def __init__(self, cp: Any, form: Form, device: int) -> None:
        super().__init__(cp, device)
        ((rows, step),), ((columns, _),) = form.outer, form.rows
        self._size = form.size
        part = share(rows, columns, form.size)
        self._slabs = -(-rows // (chunks.WARPS * part))
        self._tables = {
            "partials": self._room(self._slabs * columns, records.TOTAL),
            "verdicts": self._room(columns, records.VERDICT),
            "counters": self._room(-(-columns // WARP), np.dtype(np.uint32)),
        }
        self._argument = records.zeros(records.COLUMNS)
        for name, table in self._tables.items():
            self._argument[name] = table.data.ptr
        self._argument["step"], self._argument["rows"], self._argument["columns"] = step, rows, columns
        self._argument["dtype"], self._argument["share"] = form.dtype, part
        self._blocks = BLOCKS * modules.attribute(cp, device, modules.MULTIPROCESSORS)

    def clip(self, array: DeviceArray, request: np.void) -> None:
        """Launch what makes a verdict for each column, and what applies them."""
        self._note_capture()
        columns, step = int(self._argument["columns"]), int(self._argument["step"])
        per = VECTOR // self._size
        width = 1 if (array.pointer | step) % VECTOR or columns % per else per
        self._argument["data"], self._argument["width"] = array.pointer, width
        grid = min(self._blocks, -(-columns // (WARP * width)) * self._slabs)
        for name, arguments in (("norm_columns", (self._argument, request)), ("scale_columns", (self._argument,))):
            modules.kernel(self._cp, name, self._device)((grid,), BLOCK, arguments)


def clip(cp: Any, stream: Any, array: DeviceArray, form: Form, request: np.void) -> None:
    """Clip the columns of an array on a stream."""
    tables: ColumnTables = tables_for(cp, form, array.device, stream, lambda: ColumnTables(cp, form, array.device))
    with tables.lock:
        tables.clip(array, request)
