# SPDX-License-Identifier: BSD-3-Clause
"""Calls that find nothing in the caches, as in a training step that has just gone through a whole model."""

from __future__ import annotations

import functools

import numpy as np

from fastclip._bench.contestants import Contestant
from fastclip._bench.environment import last_level_bytes
from fastclip._bench.limit import Probe, Setting, available

CALLS = 5  # timed of each sample: emptying the caches takes a thousand times as long as the call
TIMES = 4  # as much as the caches hold is read to empty them: they do not forget the oldest line first
UNKNOWN = 32 << 20  # bytes of the caches where nobody knows them


class _Room:
    """Memory that fills the caches of all cores when it is read, each core its own part."""

    def __init__(self) -> None:
        self.data = np.ones(TIMES * (last_level_bytes() or UNKNOWN) // 4, np.float32)
        self.probe = Probe([self.data]) if available() else None
        self.setting: Setting | None = self.probe.settings()[-1] if self.probe else None  # with the most threads

    def read(self) -> None:
        if self.probe and self.setting:
            self.probe.seconds(self.setting, "read", warm=0)
        else:
            self.data.sum()


_room = functools.cache(_Room)


class Cold:
    """Empty the caches before each call of a contestant."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant

    def sample(self, calls: int) -> float:
        total = 0.0
        count = min(calls, CALLS)
        for _ in range(count):
            _room().read()
            total += self.contestant.sample(1)
        return total / count
