# SPDX-License-Identifier: BSD-3-Clause
"""The memory limit: limit.cpp, compiled on demand and called through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.cases import FloatArray

SOURCE = Path(__file__).with_name("limit.cpp")
BUILD = Path(__file__).resolve().parents[1] / "build" / "benchmarks"
FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC", "-pthread")


def compiler() -> str:
    """Return the C++ compiler's command, from CXX or the usual names."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return name
    raise RuntimeError("benchmarks: no C++ compiler for limit.cpp; install g++ or clang++, or set CXX.")


def compiler_version() -> str:
    """Return the first line of the compiler's `--version`."""
    answer = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True)
    return answer.stdout.splitlines()[0]


def _library() -> Path:
    key = "\n".join((SOURCE.read_text(), compiler_version(), *FLAGS))
    library = BUILD / f"limit-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    if not library.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        partial = library.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler(), *FLAGS, str(SOURCE), "-o", str(partial)], check=True)
        partial.replace(library)
    return library


def thread_counts() -> tuple[int, ...]:
    """Return 1, 2, 4, ... and the number of cores this process may use."""
    cores = len(os.sched_getaffinity(0))
    powers = [1 << i for i in range(cores.bit_length()) if 1 << i < cores]
    return (*powers, cores)


@dataclass(frozen=True)
class Setting:
    """Choose a loop of the probe: its variant's index and name, and the number of threads."""

    variant: int
    name: str
    threads: int


class Probe:
    """Time plain passes over a fixed list of arrays."""

    def __init__(self, arrays: Sequence[FloatArray]) -> None:
        for array in arrays:
            if not (array.flags.c_contiguous and array.flags.writeable and array.dtype.itemsize % 4 == 0):
                raise ValueError("Probe: expected writable C-contiguous arrays of 4-byte words.")
        self._arrays = list(arrays)  # keeps the memory alive
        self._pointers = np.array([a.ctypes.data for a in arrays], dtype=np.uint64)
        self._bytes = np.array([a.nbytes for a in arrays], dtype=np.uint64)
        self._native = ctypes.CDLL(str(_library()))
        self._native.limit_variant_name.restype = ctypes.c_char_p
        self._native.limit_seen.restype = ctypes.c_uint32
        self._native.limit_run.restype = ctypes.c_int64
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        self._native.limit_run.argtypes = [pointer, pointer, ctypes.c_size_t, *[integer] * 5]

    def settings(self) -> list[Setting]:
        """List every loop that this CPU can run, at every thread count."""
        native = self._native
        variants = [
            (i, native.limit_variant_name(i).decode())
            for i in range(native.limit_variant_count())
            if native.limit_variant_supported(i)
        ]
        return [Setting(i, name, threads) for i, name in variants for threads in thread_counts()]

    def seconds(self, setting: Setting, *, write: bool, warm: int = 1, passes: int = 1) -> float:
        """Return the seconds per pass, over `passes` passes after `warm` uncounted ones.

        A pass reads all words; with `write` it multiplies them, as f32, by exactly 1 and stores them.
        """
        ns = self._native.limit_run(
            self._pointers.ctypes.data,
            self._bytes.ctypes.data,
            len(self._arrays),
            write,
            setting.variant,
            setting.threads,
            warm,
            passes,
        )
        if ns < 0:
            raise ValueError(f"Probe.seconds: this CPU cannot run {setting}.")
        return float(ns) * 1e-9 / passes

    def checksum(self, setting: Setting) -> int:
        """Return the xor of all words as one read pass sees it, to prove that it reads each of them once."""
        self.seconds(setting, write=False, warm=0)
        return int(self._native.limit_seen())

    def fastest(self, *, write: bool, rounds: int = 7, batch: float = 200e-6) -> list[Setting]:
        """Return the best loop for each thread count, by the median over interleaved rounds.

        Counts at which even the best loop takes twice as long as elsewhere are left out. The others all run
        in the measurement itself, since at the memory's speed a few rounds would name the best by chance.
        """
        settings = self.settings()
        once = {s: self.seconds(s, write=write) for s in settings}
        passes = {s: max(1, int(batch / once[s])) for s in settings}
        times: dict[Setting, list[float]] = {s: [] for s in settings}
        for _ in range(rounds):
            for s in settings:
                times[s].append(self.seconds(s, write=write, warm=passes[s], passes=passes[s]))
        median = {s: statistics.median(times[s]) for s in settings}
        best = [min((s for s in settings if s.threads == n), key=median.__getitem__) for n in thread_counts()]
        return [s for s in best if median[s] < 2 * min(median.values())]
