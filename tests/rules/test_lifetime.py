# SPDX-License-Identifier: BSD-3-Clause
"""Contract, clause 11: a call that releases the GIL holds its arrays, and lets them go.

In child processes: what is tested against is a crash.
"""

import os
import subprocess
import sys

import pytest

# A thread clips again and again while the main thread looks at the arrays. The call holds a reference, so the
# count is higher meanwhile, which the main thread can see only if the GIL is free.
OBSERVE = """
import sys, threading, time
import numpy as np, fastclip
x = np.ones(16_000_000, {dtype})
arrays = [x]
idle = sys.getrefcount(x)
stop = False
def work():
    while not stop:
        fastclip.clip_by_global_norm_(arrays, 1e30)
thread = threading.Thread(target=work)
thread.start()
most, end = idle, time.monotonic() + 20
while most == idle and time.monotonic() < end:
    most = max(most, sys.getrefcount(x))
stop = True
thread.join()
print(most - idle, sys.getrefcount(x) - idle)
"""

# The list gives up its only reference while the call is in progress: the memory must live until the call is over.
FREE = """
import threading, time
import numpy as np, fastclip
for round in range(10):
    arrays = [np.full(8_000_000, 2.0, {dtype}) for _ in range(2)]
    call = threading.Thread(target=fastclip.clip_by_global_norm_, args=(arrays, 1.0))
    call.start()
    arrays.clear()
    call.join()
print("alive")
"""


def run(script, dtype):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    code = "import ml_dtypes\n" + script.format(dtype=dtype)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stderr}"
    return done.stdout.split()


EACH_DTYPE = pytest.mark.parametrize("dtype", ["np.float16", "ml_dtypes.bfloat16", "np.float32", "np.float64"])


@EACH_DTYPE
def test_clause_11_a_large_call_holds_its_arrays_and_lets_them_go(dtype):
    during, after = map(int, run(OBSERVE, dtype))
    assert during >= 1, "no reference was seen during the call"
    assert after == 0, "a reference was left behind"


@EACH_DTYPE
def test_clause_11_arrays_outlive_their_list(dtype):
    assert run(FREE, dtype) == ["alive"]
