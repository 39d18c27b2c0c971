# SPDX-License-Identifier: BSD-3-Clause
"""The measurement: contestants in turn, round after round, on one memory where they can share it."""

from __future__ import annotations

import functools
import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastclip._bench.cases import FloatArray, Workload
from fastclip._bench.checks import reason
from fastclip._bench.cold import CALLS, Cold
from fastclip._bench.contestants import OPERATIONS, Contestant, Limit, values_of
from fastclip._bench.intervals import MIN_SAMPLES, Interval, median_interval, spread
from fastclip._bench.isolation import Isolated, Processes
from fastclip._bench.limit import STREAMS, Probe, available
from fastclip._bench.peers import PEERS, bind
from fastclip._bench.quiet import Others, settle
from fastclip._bench.turns import Here, Player, no_collection

WINDOW = 0.5  # seconds of rounds judged together: the kernel counts CPU time in ticks of 10 ms
BUSY = 0.15  # share of one core taken by others beyond which a window's rounds are thrown away
RETAKES = 3  # at most so many times the rounds asked for are thrown away, then all count


@dataclass(frozen=True)
class Conditions:
    """Say how long to measure, and under which conditions."""

    rounds: int
    seconds: float = math.inf  # after which fewer rounds are enough
    seed: int = 0
    cold: bool = False  # the caches are emptied before each call
    threads: int | None = None  # of the limit's loops; None: as many as are best

    def apply(self, contestant: Contestant) -> Contestant:
        """Put a contestant under these conditions."""
        return Cold(contestant) if self.cold else contestant

    def timed(self, calls: int) -> int:
        """Return how many calls of a batch are timed."""
        return min(calls, CALLS) if self.cold else calls


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
    failed: dict[str, str] = field(
        default_factory=dict
    )  # what went wrong with the peers that are left out because it did

    @property
    def rounds(self) -> int:
        """Count the rounds."""
        return len(self.seconds["fastclip"])

    def ratio(self, other: str, of: str = "fastclip") -> Interval:
        """Return fastclip's time, or somebody else's, over another's, paired within each round."""
        pairs = zip(self.seconds[of], self.seconds[other], strict=True)
        return median_interval([ours / theirs for ours, theirs in pairs])

    def noise(self) -> float:
        """Return the spread over the rounds of the limit, or where there is none of NumPy, or of fastclip itself."""
        steady = next(name for name in ("limit", "numpy", "fastclip") if name in self.seconds)
        return spread(self.seconds[steady])


class Turns:
    """Give the contestants their turns and gather their times."""

    def __init__(self, seed: int) -> None:
        self.players: dict[str, Player] = {}
        self.order: list[str] = []
        self.shuffle = random.Random(seed).shuffle
        self.seconds: dict[str, list[float]] = {}
        self.calls: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        self.may_fail: set[str] = set()
        self.retaken = self.disturbed = 0

    def join(self, name: str, start: Callable[[], Player], *, may_fail: bool = False) -> None:
        """Start a contestant and find out how long it takes."""
        if may_fail:
            self.may_fail.add(name)
        self.order.append(name)
        self.seconds[name] = []
        with self._at_its_turn(name):
            self.players[name] = start()
            self.calls[name] = self.players[name].calibrate()

    @contextmanager
    def _at_its_turn(self, name: str) -> Iterator[None]:
        """Let all threads rest; leave a contestant that may fail out for good when it does."""
        settle()
        try:
            yield
        except Exception as error:  # of a library, hence of any kind
            if name not in self.may_fail:
                raise
            self.failed[name] = reason(error)
            self.order.remove(name)
            del self.seconds[name]

    def _round(self) -> dict[str, float]:
        self.shuffle(self.order)
        times = {}
        for name in list(self.order):
            with self._at_its_turn(name):
                times[name] = self.players[name].turn()
        return times

    def play(self, rounds: int, seconds: float) -> None:
        """Play at least so many rounds, those of a whole window at a time; after so many seconds fewer are enough.

        A window in which others used the machine is thrown away whole, whoever suffered from it.
        """
        kept = 0
        deadline = time.monotonic() + seconds
        while kept < rounds and (kept < MIN_SAMPLES or time.monotonic() < deadline):
            others = Others([player.pid for player in self.players.values() if isinstance(player, Isolated)])
            end = time.monotonic() + WINDOW
            window = [self._round()]
            while time.monotonic() < end:
                window.append(self._round())
            if others.share() > BUSY:
                if self.retaken < RETAKES * rounds and time.monotonic() < deadline:
                    self.retaken += len(window)
                    continue
                self.disturbed += len(window)
            kept += len(window)
            for times in window:
                for name, samples in self.seconds.items():
                    samples.append(times[name])


def _sum(seconds: dict[str, list[float]], loops: Iterable[str]) -> list[float]:
    return [sum(times) for times in zip(*(seconds[loop] for loop in loops), strict=True)]


def _join_loops(turns: Turns, probe: Probe, kind: str, streams: int, conditions: Conditions) -> list[str]:
    """Let the limit's loops take part, by names such as "read: avx2 x4, 2 threads", and return those."""
    names = []
    for s in probe.fastest(kind, streams, conditions.threads):
        many = f", {streams} streams" if streams > 1 else ""
        names.append(f"{kind}: {s.name}, {s.threads} thread{'s' * (s.threads > 1)}{many}")
        turns.join(names[-1], functools.partial(Here, conditions.apply(Limit(probe, s, kind))))
    return names


def measure(
    workload: Workload,
    arrays: Sequence[FloatArray],
    operation: str,
    peers: Sequence[str],
    processes: Processes,
    conditions: Conditions,
) -> Result:
    """Time one operation by fastclip, its peers and the memory limit, interleaved in shuffled order.

    The arrays are the workload's, made from the seed; earlier operations may have clipped them. Isolated peers, which
    take no part in cold or threaded conditions, make their own. Where the CPU has loops over several streams they run
    as well; copies have none and count as they are.
    """
    passes = OPERATIONS[operation].passes if available() else ()
    turns = Turns(conditions.seed)
    limit_loops: dict[str, list[str]] = {}
    stream_loops: dict[str, list[str]] = {}
    values = values_of(arrays)

    def start(name: str) -> Player:
        if PEERS[name].isolated:
            return processes.start(name, workload, operation, conditions.seed)
        return Here(conditions.apply(OPERATIONS[operation].start(bind(name, arrays), values)))

    with no_collection():
        if passes:
            probe = Probe(arrays)
            for kind in passes:
                limit_loops[kind] = _join_loops(turns, probe, kind, 1, conditions)
                streams_too = kind != "copy"
                stream_loops[kind] = (
                    _join_loops(turns, probe, kind, STREAMS, conditions) if streams_too else limit_loops[kind]
                )
        for name in peers:
            turns.join(name, functools.partial(start, name), may_fail=name != "fastclip")
        turns.play(conditions.rounds, conditions.seconds)
    processes.rest()

    seconds = turns.seconds
    median = {name: statistics.median(times) for name, times in seconds.items()}

    def best(loops: dict[str, list[str]]) -> dict[str, str]:
        return {kind: min(names, key=median.__getitem__) for kind, names in loops.items()}

    limits = best(limit_loops)
    streams = best(stream_loops) if all(stream_loops.values()) else {}
    sums = {"limit": _sum(seconds, limits.values()), "streams": _sum(seconds, streams.values())}
    here = [name for name in peers if name in seconds]
    return Result(
        operation,
        seconds={**{name: times for name, times in sums.items() if times}, **{name: seconds[name] for name in here}},
        calls={name: conditions.timed(turns.calls[name]) for name in here},
        limits={kind: loop.partition(": ")[2] for kind, loop in limits.items()},
        streams={kind: loop.partition(": ")[2] for kind, loop in streams.items()},
        retaken=turns.retaken,
        disturbed=turns.disturbed,
        failed=turns.failed,
    )
