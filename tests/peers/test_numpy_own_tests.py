# SPDX-License-Identifier: BSD-3-Clause
"""NumPy's own tests of clip and norm, which its wheel ships, with fastclip in the place of NumPy's functions."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastclip

MODERN = np.lib.NumpyVersion(np.__version__) >= "2.1.0"  # before, numpy._core was numpy.core

SUITES = {
    "clip": (["numpy._core.tests.test_numeric", "numpy._core.tests.test_multiarray"], "clip or Clip", 80),
    "norm": (["numpy.linalg.tests.test_linalg"], "norm or Norm", 30),
    "norm, regressions": (["numpy.linalg.tests.test_regression"], "norm", 3),
    "norm, matrices": (["numpy.matrixlib.tests.test_matrix_linalg"], "norm or Norm", 12),
}


@pytest.mark.skipif(not MODERN, reason="the tests have other names before NumPy 2.1")
@pytest.mark.parametrize("suite", SUITES)
def test_numpy_own_tests_pass(suite):
    modules, chosen, at_least = SUITES[suite]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "point_numpy_at_fastclip", "-p", "no:cacheprovider"]
    command += ["-c", os.devnull, "--rootdir", os.curdir, "--pyargs", *modules, "-k", chosen]
    path = [str(Path(__file__).parent), str(Path(fastclip.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(path)}, timeout=600
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " failed" not in done.stdout
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    native, delegated = map(int, re.search(r"native (\d+), delegated (\d+)", done.stdout).groups())
    print(f"{suite}: {passed} passed; fastclip calls: native {native}, delegated {delegated}")
    assert passed >= at_least
    assert delegated > 0
    assert native > 0 or "regressions" in suite  # which are about bad arguments and objects
