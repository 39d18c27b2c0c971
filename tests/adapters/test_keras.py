# SPDX-License-Identifier: BSD-3-Clause
"""fastclip.keras on each backend of Keras's: kerascases.py and kerasclippedcases.py, in a process of its own."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SKIPPED = {"tensorflow": 0, "torch": 1, "jax": 3, "numpy": 6}  # what Keras itself can't do there


def _run(backend):
    files = [HERE / "kerascases.py", HERE / "kerasclippedcases.py"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", *files],
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=600,
        cwd=HERE.parents[1],
    )


@pytest.fixture(scope="module")
def runs():
    """One for each backend, two at a time: alone they take 100 seconds."""
    with ThreadPoolExecutor(2) as pool:
        yield {backend: pool.submit(_run, backend) for backend in ("jax", "torch", "tensorflow", "numpy")}


@pytest.mark.parametrize("backend", SKIPPED)
def test_fastclip_keras_on(backend, runs):
    done = runs[backend].result()
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    skipped = re.search(r"(\d+) skipped", done.stdout)
    assert passed > 30
    assert int(skipped[1] if skipped else 0) == SKIPPED[backend]
