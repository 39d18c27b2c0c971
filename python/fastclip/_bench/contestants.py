# SPDX-License-Identifier: BSD-3-Clause
"""What is timed: a loop of the memory limit, or a peer at one of the operations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastclip._bench.cases import FloatArray
from fastclip._bench.exact import exact_norm
from fastclip._bench.limit import Probe, Setting
from fastclip._bench.peers.base import Peer, able

STEP = 1e-5  # by this part the limit falls from call to call, so that every call has something to clip
ADDED = 1e-6  # by torch to the norm that it divides by: it leaves less than the limit by as much
FADED = 2.0**10  # how many times less than at first the norm may be before the arrays are multiplied by as much
SEEN = 8  # rows, or arrays, whose norms are looked at after each sample
Call = Callable[[float], Any]


class Contestant(Protocol):
    """Be timed: `sample` returns the seconds per call over a batch of calls."""

    def sample(self, calls: int) -> float: ...


class Limit:
    """One plain loop of the memory probe."""

    def __init__(self, probe: Probe, setting: Setting, kind: str) -> None:
        self.probe, self.setting, self.kind = probe, setting, kind

    def sample(self, calls: int) -> float:
        return self.probe.seconds(self.setting, self.kind, warm=0, passes=calls)


def _timed(call: Call, arguments: Sequence[float]) -> tuple[float, list[Any]]:
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
    arrays: Sequence[FloatArray]
    coarse: bool = False  # products with what is closer to 1 than STEP are rounded back: f16, bf16
    whole: float = math.nan  # the norm at first
    smallest: float = math.nan  # no array, or no row of the first, has a smaller norm; for those who ask about one

    @property
    def first(self) -> FloatArray:
        """Return the first array."""
        return self.arrays[0]

    def refresh(self) -> None:
        """Let the arrays grow, to the bit, before millions of calls on few elements have clipped them to nothing."""
        if self.norm * FADED < self.whole:
            for array in self.arrays:
                np.multiply(array, array.dtype.type(FADED), out=array)
            self.norm *= FADED


def norms_of(arrays: Iterable[FloatArray]) -> npt.NDArray[np.float64]:
    """Return the norm of each array, or of each row of one."""
    return np.array([exact_norm([array]) for array in arrays])


def example_norms(arrays: Sequence[FloatArray]) -> npt.NDArray[np.float64]:
    """Return the norm of each example over all arrays, whose first axis counts the examples."""
    return np.array([exact_norm(example) for example in zip(*arrays, strict=True)])


def values_of(arrays: Sequence[FloatArray]) -> Values:
    """Look at the arrays. The bound, two standard deviations, cuts 5 % of normally distributed values off."""
    norm = exact_norm(arrays)
    bound = 2 * norm / math.sqrt(sum(array.size for array in arrays))
    return Values(norm, bound, arrays, coarse=arrays[0].dtype.itemsize < 4, whole=norm)


class _Same:
    """The same call again and again; nobody keeps what it returns, so that its memory is free again."""

    def __init__(self, call: Call, argument: float) -> None:
        self.call, self.argument = call, argument

    def sample(self, calls: int) -> float:
        call, argument = self.call, self.argument
        start = time.perf_counter_ns()
        for _ in repeat(None, calls):
            call(argument)
        stop = time.perf_counter_ns()
        return (stop - start) * 1e-9 / calls


class _Clip:
    """Clipping by global norm, every call to a limit just below the norm.

    Just below as the peer itself sees it: torch's norm can be off by more than the step, and an idiom that
    multiplies only beyond the limit would then not multiply. (torch always does, and its error changes from call to
    call with the threads that its sum is shared out to.) The norm is not asked for before a sample: that
    read pass would write back the lines that the last call left dirty, and so take work off the timed call.

    In f16 and bf16 most products are rounded back, so the true norm follows the limit from above, by half of a last
    place. torch's own norm, in that dtype, would lead it astray: torch gets the same work by a limit beyond the norm.
    So does who keeps the norm to itself.
    """

    def __init__(self, peer: Peer, call: Call, values: Values) -> None:
        self.peer, self.call, self.values = peer, call, values
        self.beyond = peer.always_writes and (values.coarse or not peer.returns_norm)
        self.added = ADDED if peer.adds_to_norm else 0.0
        self.silent = not peer.returns_norm  # and writes beyond the limit alone: fastclip's, whose norm is exact
        self.bias = 1.0 if self.beyond or self.silent else peer.norm(call(10 * values.norm)) / values.norm

    def sample(self, calls: int) -> float:
        if self.beyond:
            return _timed(self.call, [10 * self.values.norm] * calls)[0]
        if self.peer.own is None and self.call is not self.peer.clip_update:  # it works on the arrays themselves
            self.values.refresh()
        norm, limits = self.values.norm, []
        for _ in range(calls):
            limit = norm * (1 - STEP)
            limits.append(limit * self.bias)
            norm = limit * norm / (norm + self.added)
        seconds, norms = _timed(self.call, limits)
        self.values.norm = norm
        known = [] if self.silent or self.peer.always_writes else zip(norms, limits, strict=True)
        missed = sum(float(norm) <= limit for norm, limit in known)
        if missed:
            raise AssertionError(f"{self.peer.name}: {missed} of {calls} timed calls had nothing to clip")
        return seconds


class _Value:
    """Clipping by value, every call to bounds just inside the last ones, on which 5 % of the values lie."""

    def __init__(self, peer: Peer, call: Call, values: Values) -> None:
        self.call, self.values = call, values

    def sample(self, calls: int) -> float:
        bounds = _falling(self.values.bound, calls)
        seconds, _ = _timed(self.call, bounds)
        self.values.bound = bounds[-1]
        return seconds


class _Rows:
    """Clipping every row by its own norm, every call to a limit just below the smallest."""

    what, off = "row", STEP / 2

    def __init__(self, peer: Peer, call: Call, values: Values) -> None:
        self.peer, self.call, self.values = peer, call, values
        if math.isnan(values.smallest):
            values.smallest = float(norms_of(self.parts(values.arrays)).min())

    @staticmethod
    def parts(arrays: Sequence[FloatArray]) -> Sequence[FloatArray] | FloatArray:
        return arrays[0]

    def sample(self, calls: int) -> float:
        limits = _falling(self.values.smallest, calls)
        seconds, _ = _timed(self.call, limits)
        self.values.smallest = limits[-1]
        parts = self.parts(self.peer.now(self.values.arrays))
        places = np.linspace(0, len(parts) - 1, SEEN).astype(int)  # no stride: weights and biases alternate
        seen = norms_of(parts[place] for place in places)
        if not np.allclose(seen, limits[-1], rtol=self.off, atol=0):
            raise AssertionError(f"{self.peer.name}: the timed calls did not clip every {self.what}")
        return seconds


class _Each(_Rows):
    """Clipping every array by its own norm. torch adds 1e-6 to it, and the smallest are below 0.1."""

    what, off = "array", 5 * STEP

    @staticmethod
    def parts(arrays: Sequence[FloatArray]) -> Sequence[FloatArray]:
        return arrays


class _Call:
    """One call like np.clip's, as written; a microsecond holds no wrapper, so the loop is written out twice."""

    def __init__(self, peer: Peer, clip: Callable[..., Any], values: Values) -> None:
        self.clip, self.bound = clip, values.bound
        self.array = values.first if values.first.ndim else float(values.first)


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
    """Say which of a peer's calls it is and with what, and what the memory allows."""

    call: str
    passes: tuple[str, ...] = ()  # whose times add up to the limit; none: it is the call that counts
    fixed: Callable[[Values], float] | None = None  # what is given to every call that leaves the data alone
    moving: Callable[[Peer, Callable[..., Any], Values], Contestant] | None = None  # how the others are called
    bitwise: bool = False  # answers have np.clip's bits, or are wrong: there is no error to tell

    def start(self, peer: Peer, values: Values) -> Contestant:
        """Make the contestant: in place each call must find something to do, whatever the last one did."""
        call = able(getattr(peer, self.call))
        if self.moving and (peer.in_place or not self.fixed):
            return self.moving(peer, call, values)
        assert self.fixed
        return _Same(call, self.fixed(values))


OPERATIONS: dict[str, Operation] = {
    "within": Operation("clip_norm", ("read",), lambda values: 10 * values.norm),
    "clip": Operation("clip_norm", ("read", "write"), lambda values: values.norm / 2, _Clip),
    "value": Operation("clip_value", ("write",), lambda values: values.bound, _Value, bitwise=True),
    "clip_out": Operation("clip_out", ("write",), moving=_Value, bitwise=True),
    "clip_new": Operation("clip_new", ("read", "copy"), lambda values: values.norm / 2),
    "each": Operation("clip_each", ("write",), lambda values: norms_of(values.arrays).min() / 2, _Each),
    "rows": Operation("clip_rows", ("write",), lambda values: norms_of(values.first).min() / 2, _Rows),
    "per_example": Operation("per_example", ("read",), lambda values: float(np.median(example_norms(values.arrays)))),
    "update_within": Operation("clip_update", fixed=lambda values: 10 * values.norm),
    "update_clip": Operation("clip_update", moving=_Clip),
    "positional": Operation("clip", moving=_Positional, bitwise=True),
    "keywords": Operation("clip", moving=_Keywords, bitwise=True),
}
