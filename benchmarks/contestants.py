# SPDX-License-Identifier: BSD-3-Clause
"""What is timed: a loop of the memory limit, or a peer at one of the three operations."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.baselines import Peer
from benchmarks.limit import Probe, Setting

STEP = 1e-5  # by this part the limit falls from call to call, so that every call has something to clip


class Contestant(Protocol):
    """Be timed: `sample` returns the seconds per call over a batch of calls."""

    def sample(self, calls: int) -> float: ...


class Limit:
    """One plain loop of the memory probe."""

    def __init__(self, probe: Probe, setting: Setting, write: bool) -> None:
        self.probe, self.setting, self.write = probe, setting, write

    def sample(self, calls: int) -> float:
        return self.probe.seconds(self.setting, write=self.write, warm=0, passes=calls)


def _timed(call: Callable[[float], Any], arguments: Sequence[float]) -> tuple[float, list[Any]]:
    start = time.perf_counter_ns()
    answers = [call(argument) for argument in arguments]
    stop = time.perf_counter_ns()
    return (stop - start) * 1e-9 / len(arguments), answers


@dataclass
class Values:
    """What is known of the values in the shared memory, whoever clipped them last."""

    norm: float
    bound: float


class _Within:
    """Clipping by global norm, with a limit that is not reached."""

    def __init__(self, peer: Peer, values: Values) -> None:
        self.peer, self.limit = peer, 10 * values.norm

    def sample(self, calls: int) -> float:
        return _timed(self.peer.clip_norm, [self.limit] * calls)[0]


class _Clip:
    """Clipping by global norm, every call to a limit just below the norm.

    Just below as the peer itself sees it: torch's norm can be off by more than the step, and an idiom that
    multiplies only beyond the limit would then not multiply. (torch always does, and its error changes from call to
    call with the threads that its sum is shared out to.) The norm is not asked for before a sample: that
    read pass would write back the lines that the last call left dirty, and so take work off the timed call.
    """

    def __init__(self, peer: Peer, values: Values) -> None:
        self.peer, self.values = peer, values
        self.bias = float(peer.clip_norm(10 * values.norm)) / values.norm

    def sample(self, calls: int) -> float:
        seen = self.values.norm * self.bias
        limits = [seen * (1 - STEP) ** (i + 1) for i in range(calls)]
        seconds, norms = _timed(self.peer.clip_norm, limits)
        self.values.norm = limits[-1] / self.bias
        missed = sum(float(norm) <= limit for norm, limit in zip(norms, limits, strict=True))
        if missed and not self.peer.always_writes:
            raise AssertionError(f"{self.peer.name}: {missed} of {calls} timed calls had nothing to clip")
        return seconds


class _Value:
    """Clipping by value, every call to bounds just inside the last ones, on which 5 % of the values lie."""

    def __init__(self, peer: Peer, values: Values) -> None:
        self.peer, self.values = peer, values

    def sample(self, calls: int) -> float:
        bounds = [self.values.bound * (1 - STEP) ** (i + 1) for i in range(calls)]
        seconds, _ = _timed(self.peer.clip_value, bounds)
        self.values.bound = bounds[-1]
        return seconds


OPERATIONS: dict[str, Callable[[Peer, Values], Contestant]] = {
    "within": _Within,
    "clip": _Clip,
    "value": _Value,
}
