# SPDX-License-Identifier: BSD-3-Clause
"""What stays on the device from one call to the next: chunks, room for partial sums, the verdict."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastclip._backends.cuda import chunks, modules, records
from fastclip._backends.cuda.chunks import Form
from fastclip._device import DTYPES, DeviceArray, round_to
from fastclip._known import Known

BLOCK = (32 * chunks.WARPS,)
BLOCKS = 4  # of a multiprocessor: __launch_bounds__ of the kernels
ROUNDS = (2.0**-24, 2.0**-24, 2.0**-24, 2.0**-53)  # by dtype
PINNED = 4  # uploads of addresses that may be under way


class Tables:
    """What stays on the device for one stream, and in a graph as long as the process lives."""

    def __init__(self, cp: Any, device: int) -> None:
        _refuse_capture(cp)
        self.lock = threading.Lock()
        self._cp, self._device = cp, device
        self._in_graph = False

    def serves(self, stream: Any) -> bool:
        """Tell whether a call may use them: what is in a graph is left to graphs, which have the addresses."""
        return not self._in_graph or bool(stream.is_capturing())

    def _note_capture(self) -> None:
        if not self._in_graph and self._cp.cuda.get_current_stream().is_capturing():
            self._in_graph = True
            _in_graphs.append(self)

    def _room(self, count: int, dtype: np.dtype[Any]) -> Any:
        return self._cp.zeros(max(count, 1) * dtype.itemsize, np.uint8)


class Plan(Tables):
    """The device side of one list, by its sizes and dtypes; only addresses change. For one stream of one device.

    What is reckoned: one verdict for the list ("list"), or one ("each") or statistics ("measure") for each array or
    example, one for each row of an array ("rows"), or sums over the rows of each array ("sum").
    """

    def __init__(self, cp: Any, forms: tuple[Form, ...], what: str, device: int) -> None:
        super().__init__(cp, device)
        self._kernels: dict[str, Any] = {}
        if what == "sum":
            self._starts = self._upload(np.array(chunks.sum_starts(forms), np.int64))
            self._steps = self._upload(np.array([form.rows[0][1] for form in forms], np.int64))
            forms = tuple(form._replace(rows=()) for form in forms)
        made = chunks.make(forms, what)
        each = what in ("each", "rows", "measure")
        self._groups = len(made.counts) if each else 1
        chunk_count, lane_count = len(made.chunks), len(made.lanes) - 1
        self.round = max((ROUNDS[form.dtype] for form in forms), default=0.0)
        partial = records.STATISTICS if what == "measure" else records.TOTAL
        found = records.STATISTICS if what == "measure" else records.VERDICT
        by_row = any(form.rows for form in forms)
        rounds = np.array([ROUNDS[form.dtype] for form in forms])
        self._tables = {
            "arrays": cp.zeros(max(len(forms), 1), np.uint64),
            "chunks": self._upload(made.chunks),
            "groups": self._upload(made.groups),
            "firsts": self._upload(made.firsts if each else made.lanes),
            "counts": self._upload(made.counts),
            "rounds": self._upload(np.full(self._groups, self.round) if by_row else rounds),
            "partials": self._room(chunk_count if each else lane_count, partial),
            "counters": self._room(self._groups, np.dtype(np.uint32)),
            "verdicts": self._room(self._groups, found),
        }
        self._argument = records.zeros(records.PLAN)
        for name, table in self._tables.items():
            self._argument[name] = table.data.ptr
        if not by_row:
            self._argument["groups"] = 0
        self._argument["chunk_count"], self._argument["lane_count"] = chunk_count, lane_count
        self._addresses = b""
        self._bound: Known | None = None
        self._pinned: list[tuple[Any, Any]] = []
        weakref.finalize(self, _under_way.extend, self._pinned).atexit = False
        self._uploads = 0
        blocks = BLOCKS * modules.attribute(cp, device, modules.MULTIPROCESSORS)
        by_chunks = -(-chunk_count // chunks.WARPS)
        self._grid = max(1, min(blocks, by_chunks))
        self._norm_grid = self._grid if each else max(1, min(blocks, lane_count))

    def _upload(self, table: NDArray[Any]) -> Any:
        raw = np.ascontiguousarray(table).view(np.uint8).reshape(-1)
        return self._cp.asarray(raw if raw.size else np.zeros(8, np.uint8))

    def bind(self, arrays: list[DeviceArray]) -> None:
        """Put the arrays' addresses on the device, on the current stream, if others are there."""
        if self._bound is not arrays:
            self.bind_addresses(np.array([a.pointer for a in arrays], np.uint64).tobytes())
            self._bound = arrays if isinstance(arrays, Known) else None
        self._note_capture()

    def bind_addresses(self, addresses: bytes) -> None:
        """Do the same with the addresses themselves, 8 bytes each."""
        if addresses != self._addresses:
            self._bound = None
            self._copy(addresses)
            self._addresses = addresses

    def _copy(self, addresses: bytes) -> None:
        """Copy through pinned memory, so that nobody waits; what is written there again has been copied before."""
        cp, size = self._cp, len(addresses)
        _refuse_capture(cp)
        if len(self._pinned) < PINNED:
            _forget_what_has_run()
            self._pinned.append((cp.cuda.alloc_pinned_memory(size), cp.cuda.Event(disable_timing=True)))
        memory, copied = self._pinned[self._uploads % PINNED]
        copied.synchronize()
        staged = np.frombuffer(memory, np.uint8, size)
        staged[:] = np.frombuffer(addresses, np.uint8)
        stream = cp.cuda.get_current_stream()
        self._tables["arrays"].data.copy_from_host_async(staged.ctypes.data, size, stream)
        copied.record(stream)
        self._uploads += 1

    def prepare(self, *names: str) -> None:
        """Compile and load kernels."""
        for name in names:
            self._kernels[name] = modules.kernel(self._cp, name, self._device)

    def _launch(self, name: str, grid: int, *arguments: Any) -> None:
        if name not in self._kernels:
            self.prepare(name)
        self._kernels[name]((grid,), BLOCK, (self._argument, *arguments))

    def norm(self, request: np.void) -> None:
        """Launch what makes the verdicts."""
        name = "norm_each" if request["each"] else "norm_list"
        self._launch(name, self._norm_grid if request["reads"] else 1, request)

    def scale(self, request: np.void) -> None:
        """Launch what applies the verdicts."""
        self._launch("scale", self._grid, request)

    def clamp(self, bounds: list[np.void]) -> None:
        """Launch what applies bounds, one pair for each dtype."""
        self._launch("clamp", self._grid, *bounds)

    def measure(self) -> NDArray[Any]:
        """Launch what gathers statistics, wait, and return them."""
        partials, found = (np.uint64(self._tables[name].data.ptr) for name in ("partials", "verdicts"))
        self._launch("measure", self._grid, partials, found)
        statistics: NDArray[Any] = self._tables["verdicts"].get().view(records.STATISTICS)[: self._groups]
        return statistics

    def weighted_sum(self, verdicts: int, block: int, examples: int) -> None:
        """Launch what adds examples, each times the coefficient in its verdict, into a block of memory."""
        addresses = (block, self._starts.data.ptr, self._steps.data.ptr, verdicts)
        self._launch("weighted_sum", self._grid, *map(np.uint64, addresses), np.uint32(examples))

    @property
    def verdicts(self) -> int:
        """Where the verdicts are."""
        return int(self._tables["verdicts"].data.ptr)

    def verdict(self) -> Any:
        """Wait for the verdict on the list and return it."""
        return self._tables["verdicts"].get().view(records.VERDICT)[0]


def bounds(lo: float, hi: float) -> list[np.void]:
    """Round a pair of bounds to each dtype."""
    pairs = np.zeros(len(DTYPES), records.BOUNDS)
    pairs["lo"], pairs["hi"] = ([round_to(x, dtype) for dtype in DTYPES] for x in (lo, hi))
    return list(pairs)


KEPT = 64
_plans: OrderedDict[Any, Tables] = OrderedDict()
_in_graphs: list[Tables] = []  # for good: nobody says when the last graph with their tables' addresses is gone
_lock = threading.Lock()
#: pinned memory of plans that are gone, and events: an upload from there may not have run, and CuPy would hand it out
_under_way: deque[tuple[Any, Any]] = deque()


def _forget_what_has_run() -> None:
    with _lock:
        for _ in range(len(_under_way)):
            memory, copied = _under_way.popleft()
            if not copied.done:
                _under_way.append((memory, copied))


def _refuse_capture(cp: Any) -> None:
    """Raise if a graph is being captured: its launch would fill tables, from memory that is others' by then."""
    if cp.cuda.get_current_stream().is_capturing():
        raise RuntimeError(
            "fastclip: these arrays come for the first time, or others came since, on a stream that captures a CUDA "
            "graph; make the same call with the same arrays on that stream once before the capture begins."
        )


def stream_key(stream: int) -> tuple[int, int]:
    """Tell streams apart: CUDA's handle of the per-thread default stream, 2, is another stream in each thread."""
    return stream, threading.get_ident() if stream == 2 else 0


def plan_for(cp: Any, forms: tuple[Form, ...], what: str, device: int, stream: Any) -> Plan:
    """Find the plan of a list or make it. Streams don't share one, since they would share its partial sums."""
    plan: Plan = tables_for(cp, (forms, what), device, stream, lambda: Plan(cp, forms, what, device))
    return plan


def tables_for(cp: Any, key: Any, device: int, stream: Any, make: Callable[[], Tables]) -> Any:
    """Find what is kept under a key for a stream of a device, or make it."""
    return recall(_plans, (id(cp), key, device, stream_key(stream.ptr)), make, lambda tables: tables.serves(stream))


def recall(
    kept: OrderedDict[Any, Any], key: Any, make: Callable[[], Any], serves: Callable[[Any], bool] = lambda _: True
) -> Any:
    """Return what is kept under a key if it serves, or make it; what has not been asked for the longest goes."""
    with _lock:
        found = kept.get(key)
        if found is None or not serves(found):
            found = kept[key] = make()
            if len(kept) > KEPT:
                kept.popitem(last=False)
        else:
            kept.move_to_end(key)
    return found
