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
    by_torch = {"torch foreach", "fastclip.torch", "torch, and fused AdamW", "fused AdamW alone"}
    assert (
        set(found["dry"]) - {"apex"} == {"norm", "measure", "within", "clip", "clip_in_step of fused AdamW"} | by_torch
    )
    batches = {"rows": 3 << 14, "rows of 40 B": 120, "rows of 256 B": 3 << 8, "rows of 4 KB": 3 << 12}
    batches |= {"rows of 32 KB": 3 << 15, "rows of 128 KB": 3 << 17, "rows of 1 MB": 2 << 20}
    assert all(set(found[case]) == {"rows, none clipped", "rows, all clipped"} for case in batches)
    assert set(found["columns"]) == {"columns, none clipped", "columns, all clipped"}
    for case, size in {"dry": 2000, "columns": 4800, **batches}.items():
        assert all(times["device_us"] is None and times["bytes"] == size for times in found[case].values())
