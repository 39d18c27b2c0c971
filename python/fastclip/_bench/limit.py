# SPDX-License-Identifier: BSD-3-Clause
"""The memory limit: csrc/limit, plain loops called through ctypes."""

from __future__ import annotations

import ctypes
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fastclip._bench.cases import FloatArray

LIBRARY = Path(__file__).with_name("_limit.so")
Words = npt.NDArray[np.uint32]
LINE = 64
PASSES = ("read", "write", "copy")  # as csrc/limit/limit.cpp numbers them
STREAMS = 4  # of the loops beside the plain ones; they have no copy of their own


def available() -> bool:
    """Tell whether the loops were built: they are not where fastclip was installed without a compiler."""
    return LIBRARY.exists()


def usable_cores() -> list[int]:
    """List the cores that this process may use."""
    everything = range(os.cpu_count() or 1)
    return sorted(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else everything)


def thread_counts() -> tuple[int, ...]:
    """Return 1, 2, 4, ... and the number of cores this process may use."""
    cores = len(usable_cores())
    powers = [1 << i for i in range(cores.bit_length()) if 1 << i < cores]
    return (*powers, cores)


@dataclass(frozen=True)
class Setting:
    """Choose a loop of the probe: its variant's index and name, the number of threads, the streams a buffer has."""

    variant: int
    name: str
    threads: int
    streams: int = 1


class Probe:
    """Time plain passes over a fixed list of arrays."""

    def __init__(self, arrays: Sequence[FloatArray]) -> None:
        for array in arrays:
            whole = array.nbytes % 4 == 0 and array.ctypes.data % 4 == 0
            if not (array.flags.c_contiguous and array.flags.writeable and whole):
                raise ValueError("Probe: expected writable C-contiguous arrays of 4-byte words.")
        self._arrays = list(arrays)  # keeps the memory alive
        self.copies: list[Words] = []  # where copies go, once there are any
        self._pointers = np.array([a.ctypes.data for a in arrays], dtype=np.uint64)
        self._copies = np.zeros_like(self._pointers)
        self._bytes = np.array([a.nbytes for a in arrays], dtype=np.uint64)
        self._native = ctypes.CDLL(str(LIBRARY))
        self._native.limit_variant_name.restype = ctypes.c_char_p
        self._native.limit_seen.restype = ctypes.c_uint32
        self._native.limit_run.restype = ctypes.c_int64
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        self._native.limit_run.argtypes = [pointer, pointer, pointer, ctypes.c_size_t, *[integer] * 5]

    def settings(self, streams: int = 1) -> list[Setting]:
        """List every loop over so many streams that this CPU can run, at every thread count."""
        native = self._native
        variants = [
            (i, native.limit_variant_name(i).decode())
            for i in range(native.limit_variant_count())
            if native.limit_variant_supported(i) and native.limit_variant_streams(i) == streams
        ]
        return [Setting(i, name, threads, streams) for i, name in variants for threads in thread_counts()]

    def _make_copies(self) -> None:
        """Make a place for each array's copy, as far from a cache line's begin as the array."""
        for i, array in enumerate(self._arrays):
            room = np.empty(array.nbytes // 4 + LINE // 4, np.uint32)
            start = (array.ctypes.data - room.ctypes.data) % LINE // 4
            self.copies.append(room[start : start + array.nbytes // 4])
            self._copies[i] = self.copies[i].ctypes.data

    def seconds(self, setting: Setting, kind: str, *, warm: int = 1, passes: int = 1) -> float:
        """Return the seconds per pass, over `passes` passes after `warm` uncounted ones.

        A pass of kind "read" reads all words, "write" stores them where they were, too, "copy" elsewhere.
        """
        if kind == "copy" and not self.copies:
            self._make_copies()
        ns = self._native.limit_run(
            self._pointers.ctypes.data,
            self._copies.ctypes.data,
            self._bytes.ctypes.data,
            len(self._arrays),
            PASSES.index(kind),
            setting.variant,
            setting.threads,
            warm,
            passes,
        )
        if ns < 0:
            raise ValueError(f"Probe.seconds: this CPU cannot run {setting}.")
        return float(ns) * 1e-9 / passes

    def bandwidth(self, kind: str) -> dict[str, float]:
        """Return the GB of data per second at each thread count, each by its best loop."""
        found = {}
        for n in thread_counts():
            (best,) = self.fastest(kind, threads=n)
            seconds = statistics.median(self.seconds(best, kind) for _ in range(7))
            found[str(n)] = float(self._bytes.sum()) * 1e-9 / seconds
        return found

    def checksum(self, setting: Setting) -> int:
        """Return the xor of all words as one read pass sees it, to prove that it reads each of them once."""
        self.seconds(setting, "read", warm=0)
        return int(self._native.limit_seen())

    def fastest(
        self, kind: str, streams: int = 1, threads: int | None = None, *, rounds: int = 7, batch: float = 200e-6
    ) -> list[Setting]:
        """Return the best loop for each thread count, or for the one given, by the median over interleaved rounds.

        Counts at which even the best loop takes twice as long as elsewhere are left out. The others all run
        in the measurement itself, since at the memory's speed a few rounds would name the best by chance.
        """
        settings = [s for s in self.settings(streams) if threads in (None, s.threads)]
        if not settings:
            return []
        once = {s: self.seconds(s, kind) for s in settings}
        passes = {s: max(1, int(batch / once[s])) for s in settings}
        times: dict[Setting, list[float]] = {s: [] for s in settings}
        for _ in range(rounds):
            for s in settings:
                times[s].append(self.seconds(s, kind, warm=passes[s], passes=passes[s]))
        median = {s: statistics.median(times[s]) for s in settings}
        counts = sorted({s.threads for s in settings})
        best = [min((s for s in settings if s.threads == n), key=median.__getitem__) for n in counts]
        return [s for s in best if median[s] < 2 * min(median.values())]
