# SPDX-License-Identifier: BSD-3-Clause
"""Quiet: waiting until our own threads rest, and telling when others used the machine."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

_STAT = Path("/proc/stat")


def settle(step: float = 2e-3, patience: float = 0.25) -> None:
    """Sleep until no thread of this process runs.

    OpenBLAS's threads spin for some 30 ms after a call and torch's OpenMP team for some milliseconds. On two
    cores that halves the next contestant's speed, so each is given an idle process.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = time.process_time()
        time.sleep(step)
        if time.process_time() - before < 0.1 * step:
            return


def _machine_seconds() -> float:
    """Return the CPU time spent by everything on this machine, time stolen by its host included."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(field) for field in _STAT.read_text().split(maxsplit=9)[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def process_seconds(pid: int) -> float:
    """Return the CPU time spent by a process of ours, 0 once it is gone."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        )  # the name in brackets may hold spaces
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Others:
    """Measure the CPU time that others took since the object was made; 0 where /proc/stat is missing."""

    def __init__(self, ours: Sequence[int] = ()) -> None:
        self.ours = ours  # other processes that are none of the others
        self._wall, self._all, self._own = self._now()

    def _now(self) -> tuple[float, float, float]:
        own = time.process_time()
        if not _STAT.exists():
            return time.monotonic(), own, own
        return time.monotonic(), _machine_seconds(), own + sum(map(process_seconds, self.ours))

    def share(self) -> float:
        """Return their time as a fraction of one core's."""
        wall, everything, own = self._now()
        if wall <= self._wall:
            return 0.0
        return max(0.0, (everything - self._all) - (own - self._own)) / (wall - self._wall)
