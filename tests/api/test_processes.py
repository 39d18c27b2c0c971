# SPDX-License-Identifier: BSD-3-Clause
"""Forked children, exits, scarce threads, imports: each in an interpreter of its own, with a watchdog."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
NATIVE_ONLY = [
    "test_large.py",
    "test_lifetime.py",
    "test_processes.py",
    "test_rows.py",
    "test_run.py",
    "test_run_report.py",
]

PREAMBLE = """
import math, os, sys, threading, time
import numpy as np
import fastclip

fastclip.set_num_threads(4)

def ones(megabytes, value=1.0):
    return [np.full(megabytes << 18, value, np.float32)]

def clip(t):
    n = sum(a.size for a in t)
    assert fastclip.clip_by_global_norm_(t, 1.0) == math.sqrt(n), "norm"
    expected = np.float32(1.0) * np.float32(1.0 / math.sqrt(n))
    assert all(a.min() == a.max() == expected for a in t), "elements"

def child(work):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid

def wait(pid):
    pid, status = os.waitpid(pid, 0)
    assert status == 0, status

def background(loop):
    started = threading.Event()
    def run():
        while True:
            loop()
            started.set()
    threading.Thread(target=run, daemon=True).start()
    started.wait()

def tasks():
    return len(os.listdir("/proc/self/task"))
"""


def python(script, timeout=10.0, **env):
    """Run a script in a new interpreter and return what it printed; it must end well, in time and in silence."""
    code = PREAMBLE + textwrap.dedent(script)
    # one thread for NumPy's BLAS: what is counted below is ours
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **env}
    done = subprocess.run(
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", code],
        env=env,
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


# ---- fork


def test_children_clip_after_their_parent_did():
    python("""
        clip(ones(24))
        assert tasks() > 1  # the parent has workers, the child none of them
        def work():
            assert tasks() == 1
            clip(ones(24))
            assert tasks() > 1
        wait(child(work))
        clip(ones(24))
    """)


def test_children_of_children():
    python("""
        def work(depth):
            clip(ones(20))
            if depth:
                wait(child(lambda: work(depth - 1)))
            clip(ones(20))
        work(4)
    """)


def test_fork_while_another_thread_is_inside_a_call():
    python("""
        quiet = ones(32, 1e-9)
        background(lambda: fastclip.clip_by_global_norm_(quiet, 1.0))
        for _ in range(20):
            wait(child(lambda: clip(ones(20))))
        os._exit(0)  # with a daemon thread inside: below
    """)


def test_a_hundred_forks():
    python("""
        clip(ones(20))
        for _ in range(100):
            wait(child(lambda: clip(ones(9))))
    """)


def test_many_children_at_once():
    python("""
        clip(ones(20))
        for pid in [child(lambda: clip(ones(12))) for _ in range(12)]:
            wait(pid)
    """)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pools_of_processes(method, tmp_path):
    script = tmp_path / "pool.py"  # spawn imports it again in each child
    script.write_text(
        textwrap.dedent(f"""
        import math, multiprocessing
        import numpy as np
        import fastclip

        def norm(n):
            t = [np.ones(n, np.float32), np.ones(5)]
            return fastclip.clip_by_global_norm_(t, 1.0), float(t[1][0])

        if __name__ == "__main__":
            sizes = [10, 3_000_000, 2_500_000, 100, 6_000_000]
            expected = [norm(n) for n in sizes]
            with multiprocessing.get_context("{method}").Pool(2) as pool:
                assert pool.map(norm, sizes, chunksize=1) == expected
        """)
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", script],
        timeout=20.0,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# ---- exit


@pytest.mark.parametrize("megabytes", [5, 9, 200])
def test_the_interpreter_ends_while_a_daemon_thread_is_inside(megabytes):
    for i in range(10):
        python(f"""
            t = ones({megabytes}, 1e-9)
            background(lambda: fastclip.clip_by_global_norm_(t, 1.0))
            time.sleep({0.001 * i})
        """)


def test_the_interpreter_ends_after_a_call_and_with_sleeping_workers():
    python("clip(ones(32)); time.sleep(0.05)")
    python("clip(ones(32))")
    python("clip(ones(32)); sys.exit(0)")


def test_the_interpreter_ends_inside_every_function():
    for call in ("measure(t)", "clip_by_value_(t, -2, 2)", "clip_by_norm(t[0], 9e9)", "clip_by_norm_(t, 9e9, axes=0)"):
        python(f"""
            t = ones(64, 1e-9)
            background(lambda: fastclip.{call})
        """)


# ---- threads


def test_where_the_system_gives_no_threads_fewer_do_the_work():
    # root may start threads beyond the limit, so that it must become somebody else first
    python("""
        import resource
        if os.getuid() == 0:
            os.setuid(65534)
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        try:
            threading.Thread(target=int).start()
        except RuntimeError:
            pass
        else:
            raise AssertionError("a thread could be started")
        clip(ones(32))
        assert tasks() == 1
    """)


def test_where_there_is_no_room_for_their_stacks_fewer_do_the_work():
    python("""
        import resource
        t = ones(32)
        clip(ones(1))
        pages = int(open("/proc/self/statm").read().split()[0])
        room = pages * os.sysconf("SC_PAGE_SIZE") + (4 << 20)  # half a stack
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        clip(t)
        assert tasks() == 1
    """)


def test_small_lists_start_no_thread():
    assert (
        python("""
        before = tasks()
        clip(ones(1))
        print(tasks() - before)
    """)
        == "0\n"
    )


def test_signals_reach_the_main_thread():
    python("""
        import signal
        heard = []
        signal.signal(signal.SIGUSR1, lambda *_: heard.append(threading.current_thread()))
        clip(ones(32))
        for _ in range(20):
            os.kill(os.getpid(), signal.SIGUSR1)
            clip(ones(9))
        assert set(heard) == {threading.main_thread()}
        for task in os.listdir("/proc/self/task"):
            if int(task) != os.getpid():
                status = dict(line.split(":", 1) for line in open(f"/proc/self/task/{task}/status"))
                assert int(status["SigBlk"], 16) >> (signal.SIGUSR1 - 1) & 1, "a worker takes signals"
    """)


# ---- import


def test_an_import_starts_no_thread_and_loads_no_framework():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent("""
            import os, sys
            import numpy
            environment, before = dict(os.environ), os.listdir("/proc/self/task")
            modules = set(sys.modules)
            import fastclip
            assert os.listdir("/proc/self/task") == before
            assert dict(os.environ) == environment
            frameworks = "torch tensorflow keras jax optax cupy numba sklearn matplotlib rich scipy pandas"
            assert not set(frameworks.split()) & set(sys.modules)
            new = {name.partition(".")[0] for name in set(sys.modules) - modules}
            print(*sorted(new - set(sys.stdlib_module_names) - {"numpy"}))
            """),
        ],
        timeout=10.0,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "fastclip\n"


# ---- the reference backend


@pytest.mark.skipif(os.environ.get("FASTCLIP_BACKEND") == "reference", reason="this is that run")
def test_the_reference_backend_passes_the_same_tests():
    ignored = [f"--ignore={TESTS / 'api' / name}" for name in NATIVE_ONLY]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ignored, str(TESTS / "api")],
        env={**os.environ, "FASTCLIP_BACKEND": "reference"},
        timeout=120.0,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
