# SPDX-License-Identifier: BSD-3-Clause
"""The rows of a run: named workloads, and those that differ in size, threads or caches alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from fastclip._bench.cases import WORKLOADS, Workload
from fastclip._bench.limit import thread_counts
from fastclip._bench.peers import PEERS

Sweep = Literal["size", "threads", "cache"]  # as SWEEPS of this package lists them
SIZES = tuple(1 << i for i in range(10, 31, 2))  # bytes: 1 KB to 1 GB
SHARED = 1 << 28  # beyond this many bytes isolated peers, each with copies of its own, take no part
NORM = ("within", "clip", "clip_new")  # operations that find a norm, whose error is told


@dataclass(frozen=True)
class Step:
    """Say what one row measures."""

    workload: Workload
    operation: str
    sweep: Sweep | None = None
    cache: Literal["warm", "cold"] = "warm"
    threads: int | None = None  # None: as many as each peer likes

    @property
    def text(self) -> str:
        """Tell what it is, for a progress bar."""
        how = "".join([", cold" * (self.cache == "cold"), f", {self.threads} threads" if self.threads else ""])
        return f"{self.workload.name}, {self.operation}{how}"

    @property
    def asks_norm(self) -> bool:
        """Tell whether the norm that a peer finds can be right or wrong."""
        return self.operation in NORM

    @property
    def most_threads(self) -> int:
        """Return how many threads there may be."""
        return thread_counts()[-1]

    def takes(self, peer: str) -> bool:
        """Tell whether a peer takes part."""
        entry = PEERS[peer]
        if not entry.takes(self.operation, self.workload.dtype):
            return False
        if self.threads is not None and not entry.threads:
            return False
        if not entry.isolated or self.sweep is None:
            return True
        return self.cache == "warm" and self.workload.nbytes <= SHARED


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def named(workloads: Sequence[str], operations: Sequence[str]) -> Iterator[Step]:
    """Yield the operations of named workloads."""
    for name in workloads:
        workload = WORKLOADS[name]
        for operation in workload.timed:
            if operation in operations:
                yield Step(workload, operation)


def _sizes(operations: Sequence[str]) -> Iterator[Step]:
    for nbytes in SIZES:
        if 6 * nbytes > _memory():  # the data, two peers' copies or results, the limit's
            return
        for operation in operations:
            yield Step(Workload("one array", "memory", ((nbytes // 4,),)), operation, "size")


def _thread_counts(operations: Sequence[str]) -> Iterator[Step]:
    for count in thread_counts():
        for operation in operations:
            yield Step(WORKLOADS["resnet50"], operation, "threads", threads=count)


def _caches(operations: Sequence[str]) -> Iterator[Step]:
    for name in ("rl_policy", "thousand_tens", "tiny_many", "cache_1mb", "cache_4mb"):
        for operation in operations:
            yield Step(WORKLOADS[name], operation, "cache", "cold")


def sweep(name: Sweep, operations: Sequence[str]) -> Iterator[Step]:
    """Yield the rows of a sweep, for those of the operations that it is about."""
    about = [operation for operation in ("within", "clip") if operation in operations]
    yield from {"size": _sizes, "threads": _thread_counts, "cache": _caches}[name](about)
