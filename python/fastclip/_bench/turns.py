# SPDX-License-Identifier: BSD-3-Clause
"""How one contestant takes its turns, in whichever process it lives."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from fastclip._bench.contestants import Contestant, Limit

BATCH = 200e-6  # seconds a sample takes at least: the clock and one interrupt (1 us or so) are lost in it
WARM = 1e-3  # seconds of untimed calls before each sample
FAR = 3.0  # times its best at which a contestant's threads are taken to be misplaced,
PATIENCE = 0.1  # and the seconds that it is given to sort them out


class Player(Protocol):
    """Take turns; all contestants are settled before each."""

    def calibrate(self) -> int: ...

    def turn(self) -> float: ...


class Here:
    """A contestant in this process."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        self.calls, self.best = 1, math.inf

    def calibrate(self) -> int:
        """Return how many calls make a batch; find out how fast a peer is once its threads are in place.

        The limit's threads are in place from the start, and its loops have been timed already.
        """
        patience = PATIENCE / 10 if isinstance(self.contestant, Limit) else PATIENCE
        deadline = time.monotonic() + patience
        while self.best * self.calls < BATCH or time.monotonic() < deadline:
            self.best = min(self.best, self.contestant.sample(self.calls))
            self.calls = max(1, math.ceil(1.2 * BATCH / self.best))
        return self.calls

    def turn(self) -> float:
        """Take a sample after untimed ones: for WARM seconds, and on while the contestant is far from its best.

        They bring the data back to the caches and wake the contestant's threads. A woken thread may land on
        the core of the thread that waits for it (torch on 1 MB: 28 ms a call instead of 0.13, six in a row).
        In memory WARM is one call, the same for all: each further one leaves more of 64 MB in a 32 MB cache.
        """
        start = time.monotonic()
        while True:
            far = self.contestant.sample(self.calls) > FAR * self.best
            spent = time.monotonic() - start
            if spent >= PATIENCE or (spent >= WARM and not far):
                break
        seconds = self.contestant.sample(self.calls)
        self.best = min(self.best, seconds)
        return seconds


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector off."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
