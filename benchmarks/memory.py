# SPDX-License-Identifier: BSD-3-Clause
"""The memory row: how far a call raises the process's peak.

Only the kernel sees native allocations, so the figure is VmHWM, the peak of the resident set, of a fresh
process: `python -m benchmarks.memory in_place` prints it as JSON.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from fastclip._bench.cases import WORKLOADS, FloatArray

_ROOT = Path(__file__).resolve().parents[1]
PAGE = 4096
SLACK = 1 << 20  # stacks, the interpreter's own pools, pages that the kernel counts late


@dataclass(frozen=True)
class Growth:
    """Hold by how many bytes a call raised the peak, and how many new ones its result takes."""

    call: str
    workload: str
    data: int
    result: int
    extra: int

    @property
    def allowed(self) -> int:
        """Return the bar: the result, each array rounded up to whole pages, and a constant."""
        arrays = len(WORKLOADS[self.workload].shapes) if self.result else 0
        return self.result + arrays * PAGE + SLACK

    @property
    def passed(self) -> bool:
        """Judge the growth by the bar."""
        return self.extra <= self.allowed


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"memory: /proc/self/status has no {key}; the memory row needs Linux.")


def _reset_peak() -> None:
    # Where this is forbidden the peak so far is the base, which is why the arrays are made in place.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _calls() -> dict[str, Callable[[list[FloatArray], float], object]]:
    import fastclip

    return {
        "in_place": lambda arrays, limit: fastclip.clip_by_global_norm_(arrays, limit),
        "in_place_value": lambda arrays, limit: fastclip.clip_by_value_(arrays, -limit, limit),
        "out_of_place": lambda arrays, limit: fastclip.clip_by_global_norm(arrays, limit),
        "out_of_place_again": lambda arrays, limit: fastclip.clip_by_global_norm(arrays, limit),
    }


def grow(call: str, workload: str) -> Growth:
    """Make one call that clips in this process and return how far it raised the peak."""
    import fastclip

    run = _calls()[call]
    small = WORKLOADS["cache_16mb"].arrays()
    run(small, 1e-3)  # code, threads and their stacks are there before the count begins
    del small
    limit = fastclip.show_config()["recycling"]["limit"]
    fastclip.set_recycling(0)  # gives back what those results took
    fastclip.set_recycling(limit)
    arrays = WORKLOADS[workload].arrays()
    data = WORKLOADS[workload].nbytes
    if call == "out_of_place_again":
        run(arrays, 1e-3)  # its results are dropped here, the next call's take their place
    _reset_peak()
    before = max(_status("VmHWM"), _status("VmRSS"))
    kept = run(arrays, 1e-3)
    extra = _status("VmHWM") - before
    del kept
    return Growth(call, workload, data, data if call == "out_of_place" else 0, extra)


def memory_rows(workload: str = "resnet50") -> list[Growth]:
    """Measure every call in a process of its own."""
    rows = []
    for call in ("in_place", "in_place_value", "out_of_place", "out_of_place_again"):
        command = [sys.executable, "-m", "benchmarks.memory", call, workload]
        answer = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
        rows.append(Growth(**json.loads(answer.stdout)))
    return rows


if __name__ == "__main__":
    print(json.dumps(asdict(grow(sys.argv[1], sys.argv[2]))))
