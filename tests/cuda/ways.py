# SPDX-License-Identifier: BSD-3-Clause
"""Runs these tests again in another process, their kernels built in another way."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import build
from mutants import ALL

HERE = Path(__file__).resolve().parent
CPU_SECONDS = 60  # four times what the slowest run takes
#: exit codes: all tests passed, none was run, and two of a process that did not end, which no defect is meant to do
NOTHING_NOTICED = (0, 5, -signal.SIGKILL, -signal.SIGXCPU)


def _runtime(*libraries):
    compiler = build.compiler()
    return " ".join(
        subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip() for name in libraries
    )


def _environment(way):
    if way == "plain":
        return {"FASTCLIP_EMULATOR_FLAGS": "-O0"}
    if way == "memory":  # LeakSanitizer would look at all of Python
        return {
            "FASTCLIP_EMULATOR_FLAGS": "-O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined",
            "LD_PRELOAD": _runtime("libasan.so", "libubsan.so"),
            "ASAN_OPTIONS": "detect_leaks=0",
        }
    assert way == "threads"
    return {
        "FASTCLIP_EMULATOR_FLAGS": "-O1 -fsanitize=thread",
        "LD_PRELOAD": _runtime("libtsan.so"),
        "TSAN_OPTIONS": "exitcode=66",
    }


def _limit_time():
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


def run(way, tests=ALL, **environment):
    """Run test_schedules.py, or a test by its name; return the exit code and the output.

    With threads: schedules that have some. A process that does not end is killed by the system, and its code is
    negative; what others do to the machine meanwhile does not count.
    """
    words = [f"workers2 and ({tests})" if tests else "workers2"] if way == "threads" else [tests] if tests else []
    where = (
        [str(HERE / tests)] if "::" in tests else [str(HERE / "test_schedules.py"), *(["-k", *words] if words else [])]
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *where],
        env={**os.environ, "FASTCLIP_EMULATOR_FOLDER": str(build.FOLDER), **_environment(way), **environment},
        cwd=HERE.parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_limit_time,
        timeout=1200,
        check=False,
    )
    return done.returncode, done.stdout
