# SPDX-License-Identifier: BSD-3-Clause
"""The pool's threads stay on the CPUs that somebody else gave them."""

import os
import subprocess
import sys

import pytest

import fastclip

PROGRAM = """
import os, threading, time
import numpy as np, fastclip
fastclip.set_num_threads(2)
x = np.ones(8_000_000, np.float32)
before = set(os.listdir("/proc/self/task"))
fastclip.global_norm([x])
(worker,) = {int(task) for task in set(os.listdir("/proc/self/task")) - before}
one = max(os.sched_getaffinity(0))
for _ in range(20):
    time.sleep(0.01)  # it falls asleep, and is woken by the next call
    os.sched_setaffinity(worker, {one})
    fastclip.global_norm([x])
    time.sleep(0.01)
    assert os.sched_getaffinity(worker) == {one}, os.sched_getaffinity(worker)
"""


@pytest.mark.skipif(fastclip.show_config()["backend"] != "native", reason="the reference backend has no threads")
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda _: [0])(0)) < 2, reason="one CPU has no pool")
def test_a_narrowed_worker_stays_where_it_was_put():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
