# SPDX-License-Identifier: BSD-3-Clause
"""The measurement: contestants in turn, round after round, in one process on one memory."""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fastclip._bench.cases import FloatArray
from fastclip._bench.contestants import OPERATIONS, Contestant, Limit, values_of
from fastclip._bench.intervals import Interval, median_interval, spread
from fastclip._bench.limit import STREAMS, Probe
from fastclip._bench.peers import bind
from fastclip._bench.quiet import Others, settle

BATCH = 200e-6  # seconds a sample takes at least: the clock and one interrupt (1 us or so) are lost in it
WARM = 1e-3  # seconds of untimed calls before each sample
FAR = 3.0  # times its best at which a contestant's threads are taken to be misplaced,
PATIENCE = 0.1  # and the seconds that it is given to sort them out
WINDOW = 0.5  # seconds of rounds judged together: the kernel counts CPU time in ticks of 10 ms
BUSY = 0.15  # share of one core taken by others beyond which a window's rounds are thrown away
RETAKES = 3  # at most so many times the rounds asked for are thrown away, then all count


@dataclass
class Result:
    """Hold the seconds per call of every contestant, round by round, for one operation on one workload.

    Besides the peers these are "limit" and "streams", each the sum over the passes, where there are any.
    """

    operation: str
    seconds: dict[str, list[float]]
    calls: dict[str, int]
    limits: dict[str, str]  # which loop was the limit, for each pass: "read", "write" or "copy"
    streams: dict[str, str]  # and which was the best of those over several streams
    retaken: int  # rounds thrown away because others used the machine
    disturbed: int  # rounds kept although they did

    @property
    def rounds(self) -> int:
        """Count the rounds."""
        return len(self.seconds["fastclip"])

    def ratio(self, other: str) -> Interval:
        """Return fastclip's time over another's, paired within each round."""
        pairs = zip(self.seconds["fastclip"], self.seconds[other], strict=True)
        return median_interval([ours / theirs for ours, theirs in pairs])

    def noise(self) -> float:
        """Return the spread over the rounds of the limit, or of NumPy where there is none."""
        return spread(self.seconds["limit" if "limit" in self.seconds else "numpy"])


@contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Turns:
    """Give the contestants their turns and gather their times."""

    def __init__(self, contestants: dict[str, Contestant], seed: int) -> None:
        self.contestants = contestants
        self.order = list(contestants)
        self.shuffle = random.Random(seed).shuffle
        self.seconds: dict[str, list[float]] = {name: [] for name in contestants}
        self.calls: dict[str, int] = {}
        self.best: dict[str, float] = {}
        self.retaken = self.disturbed = 0
        for name in contestants:
            settle()
            self._calibrate(name)

    def _calibrate(self, name: str) -> None:
        """Find out how many calls make a batch, and with peers how fast they are once their threads are in place.

        The limit's threads are in place from the start, and its loops have been timed already.
        """
        calls, best = 1, math.inf
        patience = PATIENCE / 10 if isinstance(self.contestants[name], Limit) else PATIENCE
        deadline = time.monotonic() + patience
        while best * calls < BATCH or time.monotonic() < deadline:
            best = min(best, self.contestants[name].sample(calls))
            calls = max(1, math.ceil(1.2 * BATCH / best))
        self.calls[name], self.best[name] = calls, best

    def _sample(self, name: str) -> float:
        """Take a sample after untimed ones: for WARM seconds, and on while the contestant is far from its best.

        They bring the data back to the caches and wake the contestant's threads. A woken thread may land on
        the core of the thread that waits for it (torch on 1 MB: 28 ms a call instead of 0.13, six in a row).
        In memory WARM is one call, the same for all: each further one leaves more of 64 MB in a 32 MB cache.
        """
        contestant, calls = self.contestants[name], self.calls[name]
        settle()
        start = time.monotonic()
        while True:
            far = contestant.sample(calls) > FAR * self.best[name]
            spent = time.monotonic() - start
            if spent >= PATIENCE or (spent >= WARM and not far):
                break
        seconds = contestant.sample(calls)
        self.best[name] = min(self.best[name], seconds)
        return seconds

    def _round(self) -> dict[str, float]:
        self.shuffle(self.order)
        return {name: self._sample(name) for name in self.order}

    def play(self, rounds: int) -> None:
        """Play at least so many rounds, those of a whole window at a time.

        A window in which others used the machine is thrown away whole, whoever suffered from it.
        """
        kept = 0
        while kept < rounds:
            others = Others()
            end = time.monotonic() + WINDOW
            window = [self._round()]
            while time.monotonic() < end:
                window.append(self._round())
            if others.share() > BUSY:
                if self.retaken < RETAKES * rounds:
                    self.retaken += len(window)
                    continue
                self.disturbed += len(window)
            kept += len(window)
            for times in window:
                for name, seconds in times.items():
                    self.seconds[name].append(seconds)


def _loops(probe: Probe, kind: str, streams: int) -> dict[str, Contestant]:
    """Return the limit's loops that are to run, by names such as "read: avx2 x4, 2 threads"."""
    named: dict[str, Contestant] = {}
    for s in probe.fastest(kind, streams):
        many = f", {streams} streams" if streams > 1 else ""
        named[f"{kind}: {s.name}, {s.threads} thread{'s' * (s.threads > 1)}{many}"] = Limit(probe, s, kind)
    return named


def _sum(seconds: dict[str, list[float]], loops: Iterable[str]) -> list[float]:
    return [sum(times) for times in zip(*(seconds[loop] for loop in loops), strict=True)]


def measure(arrays: Sequence[FloatArray], operation: str, peers: Sequence[str], rounds: int, seed: int = 0) -> Result:
    """Time one operation by all peers and the memory limit, interleaved in shuffled order.

    Where the CPU has loops over several streams they run as well; copies have none and count as they are.
    """
    passes = OPERATIONS[operation].passes
    probe = Probe(arrays if passes else ())
    contestants: dict[str, Contestant] = {}
    limit_loops: dict[str, list[str]] = {}
    stream_loops: dict[str, list[str]] = {}
    for kind in passes:
        plain = _loops(probe, kind, 1)
        several = plain if kind == "copy" else _loops(probe, kind, STREAMS)
        limit_loops[kind], stream_loops[kind] = list(plain), list(several)
        contestants.update({**plain, **several})
    values = values_of(arrays)
    for name in peers:
        contestants[name] = OPERATIONS[operation].start(bind(name, arrays), values)

    with _no_collection():
        turns = _Turns(contestants, seed)
        turns.play(rounds)

    seconds = turns.seconds
    median = {name: statistics.median(times) for name, times in seconds.items()}

    def best(loops: dict[str, list[str]]) -> dict[str, str]:
        return {kind: min(names, key=median.__getitem__) for kind, names in loops.items()}

    limits = best(limit_loops)
    streams = best(stream_loops) if all(stream_loops.values()) else {}
    sums = {"limit": _sum(seconds, limits.values()), "streams": _sum(seconds, streams.values())}
    return Result(
        operation,
        seconds={**{name: times for name, times in sums.items() if times}, **{name: seconds[name] for name in peers}},
        calls={name: turns.calls[name] for name in peers},
        limits={kind: loop.partition(": ")[2] for kind, loop in limits.items()},
        streams={kind: loop.partition(": ")[2] for kind, loop in streams.items()},
        retaken=turns.retaken,
        disturbed=turns.disturbed,
    )
