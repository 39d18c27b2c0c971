# SPDX-License-Identifier: BSD-3-Clause
"""CuPy as it is, over a device of ours: the tests for a GPU, those for the fake, and what CuPy alone can show."""

import _ctypes
import platform
import subprocess
import sys

import build
import pytest
import realcupy

FOR_THE_FAKE = ("list", "each", "rows", "kept_rows", "columns", "backend", "graphs", "interfaces", "ordinary", "torch")
FILES = ("test_gpu.py", "on_cupy.py", *(f"test_{name}.py" for name in FOR_THE_FAKE))
#: why a test may be skipped there
SKIPS = ("this device is the only one", "less than 6 GB", "built without CUDA", "compute-sanitizer is not installed")


def test_a_library_without_cudas_runtime_is_named():
    with pytest.raises(AssertionError, match=r"_ctypes.* names no functions of CUDA's runtime: this CuPy is built in"):
        realcupy._redirect(_ctypes.__file__, None)


def test_on_cupy(tmp_path):
    """In one process, half a minute long: there, kernels are compiled once."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("CuPy has packages for Linux on x86-64, and the jumps are of that")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(str(build.HERE / name) for name in FILES)],
        env=realcupy.environment(tmp_path),
        cwd=build.HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert all(any(why in line for why in SKIPS) for line in skipped), skipped
