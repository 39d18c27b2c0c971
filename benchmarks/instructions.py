# SPDX-License-Identifier: BSD-3-Clause
"""Instructions per call, counted by callgrind: what small arrays cost, without the noise of a clock.

    python benchmarks/instructions.py             counts and compares with the budget
    python benchmarks/instructions.py --update    makes this machine's counts the budget

A process calls a function many times more than another that is the same otherwise; the difference of their
instructions is those calls. On the AVX2 path with one thread: callgrind knows no AVX-512, and runs one thread at
a time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

import fastclip
from fastclip._bench.cases import WORKLOADS
from fastclip._bench.contestants import STEP
from fastclip._bench.exact import exact_norm

BUDGET = Path(__file__).with_name("results") / "instructions.json"
WARM = 20  # calls that both processes make: imports on demand, pools, caches of the interpreter
# Two runs of the same process differ by 0.3 million of 600 million instructions, most of them NumPy's import; of 40
# million, which each case makes, that is 1 %. Another compiler, interpreter or NumPy has other code: there the budget
# only tells of a blunder.
ROOM, ROOM_ELSEWHERE = 1.03, 1.5


def _within(workload: str) -> Callable[[int], None]:
    arrays = WORKLOADS[workload].arrays()
    limit = 10 * exact_norm(arrays)
    clip = fastclip.clip_by_global_norm_

    def call(times: int) -> None:
        for _ in repeat(None, times):
            clip(arrays, limit)

    return call


def _clip(workload: str) -> Callable[[int], None]:
    arrays = WORKLOADS[workload].arrays()
    norm = exact_norm(arrays)
    clip = fastclip.clip_by_global_norm_

    def call(times: int) -> None:
        nonlocal norm
        for _ in repeat(None, times):
            norm *= 1 - STEP
            clip(arrays, norm)

    return call


def _np_clip(workload: str) -> Callable[[int], None]:
    (array,) = WORKLOADS[workload].arrays()
    clip = fastclip.clip

    def call(times: int) -> None:
        for _ in repeat(None, times):
            clip(array, -0.01, 0.01)

    return call


# what is called, and how often
CASES: dict[str, tuple[Callable[[str], Callable[[int], None]], str, int]] = {
    "rl_policy within": (_within, "rl_policy", 2500),
    "rl_policy clip": (_clip, "rl_policy", 2000),
    "thousand_tens within": (_within, "thousand_tens", 100),
    "thousand_tens clip": (_clip, "thousand_tens", 80),
    "clip_10": (_np_clip, "clip_10", 15_000),
}


def setting() -> dict[str, str]:
    """Return what the counts depend on."""
    config = fastclip.show_config()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {"compiler": config["compiler"], "flags": config["flags"], "python": python, "numpy": np.__version__}


def _total(case: str, times: int) -> int:
    one = {"FASTCLIP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # OpenBLAS's threads spin when it is imported
    environment = {**os.environ, **one, "FASTCLIP_ISA": "avx2", "PYTHONHASHSEED": "0"}
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}", sys.executable, __file__]
    answer = subprocess.run(
        [*command, "--call", case, str(times)], env=environment, capture_output=True, text=True, check=False
    )
    found = re.search(r"Collected : (\d+)", answer.stderr)
    if answer.returncode or not found:
        raise RuntimeError(f"instructions: callgrind failed:\n{answer.stderr}")
    return int(found[1])


def count(case: str) -> int:
    """Return the instructions of one call."""
    calls = CASES[case][2]
    with ThreadPoolExecutor(2) as pool:
        total, base = pool.map(lambda times: _total(case, times), (calls, 0))
    return round((total - base) / calls)


def missing() -> str:
    """Return what keeps this machine from counting, if anything."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    if "avx2" not in fastclip.show_config()["isas"]:
        return "this CPU has no AVX2"
    return ""


def allowed(budget: dict[str, Any], case: str) -> float:
    """Return the most instructions that a call may take here."""
    room = ROOM if budget["setting"] == setting() else ROOM_ELSEWHERE
    return room * float(budget["instructions"][case])


def main() -> int:
    """Count; return 1 if a call takes more than its budget."""
    parser = argparse.ArgumentParser(description="Count instructions per call.")
    parser.add_argument("--update", action="store_true", help=f"write {BUDGET.name}")
    parser.add_argument("--call", nargs=2, metavar=("CASE", "TIMES"), help="make the calls; for callgrind")
    given = parser.parse_args()
    if given.call:
        case, times = given.call
        make, workload, _ = CASES[case]
        call = make(workload)
        call(WARM)
        call(int(times))
        return 0
    if reason := missing():
        print(f"instructions: {reason}.", file=sys.stderr)
        return 2
    counts = {case: count(case) for case in CASES}
    if given.update:
        BUDGET.write_text(json.dumps({"setting": setting(), "instructions": counts}, indent=1) + "\n")
    budget = json.loads(BUDGET.read_text())
    over = False
    for case, instructions in counts.items():
        most = allowed(budget, case)
        over |= instructions > most
        print(f"{case:22s} {instructions:9,d}  at most {most:9,.0f}{'  OVER' if instructions > most else ''}")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
