# SPDX-License-Identifier: BSD-3-Clause
"""What is timed: a loop of the memory limit, or a peer at one of the operations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastclip._bench.cases import FloatArray, Workload
from fastclip._bench.exact import exact_norm
from fastclip._bench.limit import Probe, Setting
from fastclip._bench.peers.base import Peer, able

STEP = 1e-5  # by this part the limit falls from call to call, so that every call has something to clip
ROWS_SEEN = 8  # rows whose norms are looked at after each sample


class Contestant(Protocol):
    """Be timed: `sample` returns the seconds per call over a batch of calls."""

    def sample(self, calls: int) -> float: ...


class Limit:
    """One plain loop of the memory probe."""

    def __init__(self, probe: Probe, setting: Setting, kind: str) -> None:
        self.probe, self.setting, self.kind = probe, setting, kind

    def sample(self, calls: int) -> float:
        return self.probe.seconds(self.setting, self.kind, warm=0, passes=calls)


def _timed(call: Callable[[float], Any], arguments: Sequence[float]) -> tuple[float, list[Any]]:
    start = time.perf_counter_ns()
    answers = [call(argument) for argument in arguments]
    stop = time.perf_counter_ns()
    return (stop - start) * 1e-9 / len(arguments), answers


def _falling(last: float, calls: int) -> list[float]:
    return [last * (1 - STEP) ** (i + 1) for i in range(calls)]


@dataclass
class Values:
    """What is known of the values in the shared memory, whoever clipped them last."""

    norm: float
    bound: float  # of the absolute values
    first: FloatArray  # the first array
    row: float = math.nan  # no row of the first array has a smaller norm; for those who ask about rows
    coarse: bool = False  # products with what is closer to 1 than STEP are rounded back: f16, bf16


def _row_norms(rows: FloatArray) -> npt.NDArray[np.float64]:
    return np.array([exact_norm([row]) for row in rows])


def values_of(arrays: Sequence[FloatArray]) -> Values:
    """Look at the arrays. The bound, two standard deviations, cuts 5 % of normally distributed values off."""
    norm = exact_norm(arrays)
    first = arrays[0]
    bound = 2 * norm / math.sqrt(sum(array.size for array in arrays))
    return Values(norm, bound, first, coarse=first.dtype.itemsize < 4)


class _Within:
    """Clipping by global norm, with a limit that is not reached."""

    def __init__(self, peer: Peer, values: Values) -> None:
        self.peer, self.limit = peer, 10 * values.norm

    def sample(self, calls: int) -> float:
        return _timed(able(self.peer.clip_norm), [self.limit] * calls)[0]


class _Clip:
    """Clipping by global norm, every call to a limit just below the norm.

    Just below as the peer itself sees it: torch's norm can be off by more than the step, and an idiom that
    multiplies only beyond the limit would then not multiply. (torch always does, and its error changes from call to
    call with the threads that its sum is shared out to.) The norm is not asked for before a sample: that
    read pass would write back the lines that the last call left dirty, and so take work off the timed call.

    In f16 and bf16 most products are rounded back, so the true norm follows the limit from above, by half of a last
    place. torch's own norm, in that dtype, would lead it astray: torch gets the same work by a limit beyond the norm.
    """

    def __init__(self, peer: Peer, values: Values) -> None:
        self.peer, self.values = peer, values
        self.bias = float(able(peer.clip_norm)(10 * values.norm)) / values.norm

    def sample(self, calls: int) -> float:
        if self.values.coarse and self.peer.always_writes:
            return _timed(able(self.peer.clip_norm), [10 * self.values.norm] * calls)[0]
        limits = _falling(self.values.norm * self.bias, calls)
        seconds, norms = _timed(able(self.peer.clip_norm), limits)
        self.values.norm = limits[-1] / self.bias
        missed = sum(float(norm) <= limit for norm, limit in zip(norms, limits, strict=True))
        if missed and not self.peer.always_writes:
            raise AssertionError(f"{self.peer.name}: {missed} of {calls} timed calls had nothing to clip")
        return seconds


class _New:
    """Clipping by global norm into new arrays, to half the norm; nobody keeps them, so their memory is free again."""

    def __init__(self, peer: Peer, values: Values) -> None:
        self.peer, self.limit = peer, values.norm / 2

    def sample(self, calls: int) -> float:
        return _timed(lambda limit: able(self.peer.clip_new)(limit)[0], [self.limit] * calls)[0]


class _Value:
    """Clipping by value, every call to bounds just inside the last ones, on which 5 % of the values lie."""

    def __init__(self, peer: Peer, values: Values) -> None:
        self.clip, self.values = able(peer.clip_value), values

    def sample(self, calls: int) -> float:
        bounds = _falling(self.values.bound, calls)
        seconds, _ = _timed(self.clip, bounds)
        self.values.bound = bounds[-1]
        return seconds


class _Out(_Value):
    """The same by a clip with `out=`, the array itself."""

    def __init__(self, peer: Peer, values: Values) -> None:
        self.clip, self.values = able(peer.clip_out), values


class _Rows:
    """Clipping every row by its own norm, every call to a limit just below the smallest."""

    def __init__(self, peer: Peer, values: Values) -> None:
        self.peer, self.values, self.first = peer, values, values.first
        if math.isnan(values.row):
            values.row = float(_row_norms(self.first).min())

    def sample(self, calls: int) -> float:
        limits = _falling(self.values.row, calls)
        seconds, _ = _timed(able(self.peer.clip_rows), limits)
        self.values.row = limits[-1]
        seen = _row_norms(self.first[:: max(1, len(self.first) // ROWS_SEEN)])
        if not np.allclose(seen, limits[-1], rtol=STEP / 2, atol=0):
            raise AssertionError(f"{self.peer.name}: the timed calls did not clip every row")
        return seconds


class _Call:
    """One call like np.clip's, as written; a microsecond holds no wrapper, so the loop is written out twice."""

    def __init__(self, peer: Peer, values: Values) -> None:
        self.clip, self.array, self.bound = able(peer.clip), values.first, values.bound


class _Positional(_Call):
    def sample(self, calls: int) -> float:
        clip, array, low, high = self.clip, self.array, -self.bound, self.bound
        start = time.perf_counter_ns()
        for _ in repeat(None, calls):
            clip(array, low, high)
        stop = time.perf_counter_ns()
        return (stop - start) * 1e-9 / calls


class _Keywords(_Call):
    def sample(self, calls: int) -> float:
        clip, array, low, high = self.clip, self.array, -self.bound, self.bound
        start = time.perf_counter_ns()
        for _ in repeat(None, calls):
            clip(array, a_min=low, a_max=high)
        stop = time.perf_counter_ns()
        return (stop - start) * 1e-9 / calls


@dataclass(frozen=True)
class Operation:
    """Say how a peer does it, and what the memory allows: the passes whose times add up to the limit."""

    start: Callable[[Peer, Values], Contestant]
    passes: tuple[str, ...] = ()  # none: it is the call that counts, not the memory
    peers: tuple[str, ...] = ("fastclip", "numpy", "torch")

    def takes(self, peer: str, workload: Workload) -> bool:
        """Tell whether a peer takes part. NumPy does not in f16 and bf16: its dot there is no idiom of anybody's."""
        return peer in self.peers and (peer != "numpy" or workload.dtype == "f32")


_CALLERS = ("fastclip", "numpy")

OPERATIONS: dict[str, Operation] = {
    "within": Operation(_Within, ("read",)),
    "clip": Operation(_Clip, ("read", "write")),
    "value": Operation(_Value, ("write",)),
    "clip_out": Operation(_Out, ("write",)),
    "clip_new": Operation(_New, ("read", "copy")),
    "rows": Operation(_Rows, ("write",)),
    "positional": Operation(_Positional, peers=_CALLERS),
    "keywords": Operation(_Keywords, peers=_CALLERS),
}
