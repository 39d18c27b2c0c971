# SPDX-License-Identifier: BSD-3-Clause
"""The GPU's benchmark, over the fake: what it would call can be called."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_cuda.py"


def test_a_dry_run_calls_everything_and_times_nothing(tmp_path):
    command = [sys.executable, str(SCRIPT), "--dry-run", "--json", str(tmp_path / "cuda.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "cuda.json").read_text("utf-8"))
    assert set(found["dry"]) == {"norm", "within", "clip"}
    assert all(times["device_us"] is None and times["bytes"] == 2000 for times in found["dry"].values())
