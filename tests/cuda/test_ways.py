# SPDX-License-Identifier: BSD-3-Clause
"""The same tests under sanitizers and with seeded defects; which lines of the CUDA sources they run."""

import concurrent.futures
import json
import subprocess
import sys
from pathlib import Path

import pytest
import ways
from mutants import MUTANTS

from fastclip._backends.cuda.source import MODULES, source

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def sanitized():
    """Both sanitizers' runs, side by side: 30 and 40 seconds."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield {way: pool.submit(ways.run, way) for way in ("memory", "threads")}


@pytest.mark.parametrize("way", ["memory", "threads"])
def test_sanitizers_have_nothing_to_say(way, sanitized):
    code, output = sanitized[way].result()
    assert code == 0, output[-4000:]
    assert "Sanitizer" not in output


def test_every_line_of_every_kernel_is_run(tmp_path):
    names = ("schedules", "list", "each", "rows", "kept_rows", "columns", "torch")
    files = [str(HERE / f"test_{name}.py") for name in names]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    environment = {"FASTCLIP_EMULATOR_FOLDER": str(tmp_path), "FASTCLIP_EMULATOR_FLAGS": "-O0 --coverage"}
    done = subprocess.run(
        command,
        env={**ways.os.environ, **environment},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    executed = {}
    for data in tmp_path.glob("*.gcda"):
        report = subprocess.run(
            ["gcov", "--json-format", "--stdout", data.name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        for line in report.stdout.splitlines():
            for file in json.loads(line)["files"]:
                if file["file"].endswith((".cu", ".cuh")):
                    for at in file["lines"]:
                        key = (file["file"], at["line_number"])
                        executed[key] = executed.get(key, 0) + at["count"]
    assert {file for file, _ in executed} >= {f"{module}.cu" for module in MODULES}
    assert [key for key, count in sorted(executed.items()) if not count] == []


def test_seeded_defects_change_a_source():
    """One that does not is a mistake in the list: its text is no longer there."""
    sources = list(map(source, MODULES))
    assert [n for n, m in MUTANTS.items() if not any(m.apply(s) != s for s in sources)] == []


def test_seeded_defects_are_noticed(capsys):
    """Each by the way of running that is meant for it."""
    assert len(MUTANTS) >= 18
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = {n: pool.submit(ways.run, m.run, m.tests, FASTCLIP_MUTANT=n) for n, m in MUTANTS.items()}
        survivors = [n for n, future in running.items() if future.result()[0] in ways.NOTHING_NOTICED]
    with capsys.disabled():
        print(f"\n{len(MUTANTS) - len(survivors)} of {len(MUTANTS)} seeded defects in the CUDA sources were noticed")
    assert survivors == []
