# SPDX-License-Identifier: BSD-3-Clause
"""What stays on the device from one call to the next: chunks, room for partial sums, the verdict."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastclip._backends.cuda import chunks, modules, records
from fastclip._backends.cuda.chunks import Form

BLOCK = (32 * chunks.WARPS,)
BLOCKS = 4  # of a multiprocessor: __launch_bounds__ of the kernels
ROUNDS = (2.0**-24, 2.0**-24, 2.0**-24, 2.0**-53)  # by dtype
PINNED = 4  # uploads of addresses that may be under way


class Plan:
    """The device side of one list, by its sizes and dtypes; only addresses change. For one stream of one device."""

    def __init__(self, cp: Any, forms: tuple[Form, ...], each: bool, device: int) -> None:
        self.lock = threading.Lock()
        self._cp = cp
        self._kernels = {}
        for module in modules.MODULES:
            self._kernels |= modules.kernels(cp, module, device)
        made = chunks.make(forms)
        self.chunk_count, self.lane_count = len(made.chunks), len(made.lanes) - 1
        self.round = max((ROUNDS[form.dtype] for form in forms), default=0.0)
        verdicts = len(forms) if each else 1
        partials = self.chunk_count if each else self.lane_count
        rounds = np.array([ROUNDS[form.dtype] for form in forms])
        self._tables = {
            "arrays": cp.zeros(max(len(forms), 1), np.uint64),
            "chunks": self._upload(made.chunks),
            "firsts": self._upload(made.arrays if each else made.lanes),
            "counts": self._upload(made.counts),
            "rounds": self._upload(rounds),
            "partials": cp.zeros(max(partials, 1) * records.TOTAL.itemsize, np.uint8),
            "counters": cp.zeros(max(verdicts, 1), np.uint32),
            "verdicts": cp.zeros(max(verdicts, 1) * records.VERDICT.itemsize, np.uint8),
        }
        self.argument = np.zeros((), records.PLAN)
        for name, table in self._tables.items():
            self.argument[name] = table.data.ptr
        self.argument["chunk_count"], self.argument["lane_count"] = self.chunk_count, self.lane_count
        self._pointers: NDArray[np.uint64] | None = None
        self._pinned: list[tuple[Any, Any]] = []
        self._uploads = 0
        blocks = BLOCKS * cp.cuda.Device().attributes["MultiProcessorCount"]
        by_chunks = -(-self.chunk_count // chunks.WARPS)
        self._norm_grid = (max(1, min(blocks, by_chunks if each else self.lane_count)),)
        self._grid = (max(1, min(blocks, by_chunks)),)

    def _upload(self, table: NDArray[Any]) -> Any:
        raw = np.ascontiguousarray(table).view(np.uint8).reshape(-1)
        return self._cp.asarray(raw if raw.size else np.zeros(8, np.uint8))

    def bind(self, pointers: list[int]) -> bool:
        """Put the arrays' addresses on the device, on the current stream; False if they are there."""
        new = np.array(pointers, np.uint64)
        if self._pointers is not None and np.array_equal(new, self._pointers):
            return False
        if new.size:
            self._copy(new)
        self._pointers = new
        return True

    def _copy(self, pointers: NDArray[np.uint64]) -> None:
        """Copy through pinned memory, so that nobody waits; what is written there again has been copied before."""
        cp = self._cp
        if len(self._pinned) < PINNED:
            self._pinned.append((cp.cuda.alloc_pinned_memory(pointers.nbytes), cp.cuda.Event(disable_timing=True)))
        memory, copied = self._pinned[self._uploads % PINNED]
        copied.synchronize()
        staged = np.frombuffer(memory, np.uint64, pointers.size)
        staged[:] = pointers
        stream = cp.cuda.get_current_stream()
        self._tables["arrays"].data.copy_from_host_async(staged.ctypes.data, pointers.nbytes, stream)
        copied.record(stream)
        self._uploads += 1

    def norm(self, name: str, request: NDArray[Any]) -> None:
        """Launch norm_list or norm_each."""
        grid = self._norm_grid if request["reads"] else (1,)
        self._kernels[name](grid, BLOCK, (self.argument, request))

    def scale(self, request: NDArray[Any]) -> None:
        """Launch what applies the verdicts."""
        self._kernels["scale"](self._grid, BLOCK, (self.argument, request))

    def clamp(self, bounds: list[NDArray[Any]]) -> None:
        """Launch what applies bounds, one pair for each dtype."""
        self._kernels["clamp"](self._grid, BLOCK, (self.argument, *bounds))

    def verdicts(self) -> NDArray[Any]:
        """Wait for the verdicts and return them."""
        found: NDArray[Any] = self._tables["verdicts"].get().view(records.VERDICT)
        return found


KEPT = 64
_plans: OrderedDict[Any, Plan] = OrderedDict()
_lock = threading.Lock()


def plan_for(cp: Any, forms: tuple[Form, ...], each: bool, device: int, stream: int) -> Plan:
    """Find the plan of a list or make it. Streams don't share one, since they would share its partial sums."""
    key = (id(cp), forms, each, device, stream)
    with _lock:
        plan = _plans.get(key)
        if plan is None:
            plan = _plans[key] = Plan(cp, forms, each, device)
            if len(_plans) > KEPT:
                _plans.popitem(last=False)
        else:
            _plans.move_to_end(key)
    return plan
