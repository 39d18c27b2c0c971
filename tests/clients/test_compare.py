# SPDX-License-Identifier: BSD-3-Clause
"""The scripts in benchmarks/clients, as they are started; the fast ones, since PPO's shortest run takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "clients"


# In the first script the function is in `torch.nn.utils`, in the second in `__main__`.
@pytest.mark.parametrize("client", ["accelerate_loop", "transformer"], indirect=True)
def test_a_script_prints_a_table_and_writes_its_record(client, tmp_path):
    script, out = SCRIPTS / f"{client.module.__name__.rpartition('.')[2]}.py", tmp_path / "out.json"
    command = [sys.executable, "-W", "error", script, "--steps", "3", "--repeats", "2", "--json", out]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "3 steps, 3 of them clipped" in printed
    for line in ("torch  ", "fastclip  ", "torch's runs are the same to the bit", "by torch's norm: the same bits"):
        assert f"\n{line}" in printed
    record = json.loads(out.read_text())
    assert record["client"] == script.stem
    assert {name: len(runs) for name, runs in record["runs"].items()} == {"torch": 2, "fastclip": 2}
    for run in record["runs"]["fastclip"]:
        assert 0 < run["clipping_seconds"] < run["seconds"]
    assert record["repeatable"]
    assert record["same_bits_by_torchs_norm"]
    assert record["departure"]["by_fastclips_norm"]["parameters"] < 1e-6
