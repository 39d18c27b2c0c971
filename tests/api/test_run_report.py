# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip run --report`: every call that the script made, at the end."""

import os
import re
import time

import pytest
from scripts import fastclip_run, script, write

from fastclip._cli import run

CLIPS = "import numpy as np\nfor _ in range(5): np.clip(np.ones(3), 0, 1)\nnp.linalg.norm(np.ones(3))\n"
ROW = re.compile(r"(\S+) +(\d+) +([\d.]+) (s|ms|us) +([\d.]+) (s|ms|us) +([\d.]+)%")
SIZE = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


def counts(stderr):
    """The number of calls of each function, in order."""
    title, columns, *rows = stderr.splitlines()
    assert re.fullmatch(r"fastclip run: [\d.]+ m?s, of which [\d.]+% in fastclip", title)
    assert columns.split() == ["calls", "total", "mean", "share"]
    assert len({len(row) for row in (columns, *rows)}) == 1
    found = {}
    for row in rows:
        name, calls, total, total_unit, mean, mean_unit, _ = ROW.fullmatch(row).groups()
        found[name] = int(calls)
        assert float(total) * SIZE[total_unit] == pytest.approx(
            int(calls) * float(mean) * SIZE[mean_unit], rel=0.02, abs=1e-8
        )
    return found


def test_the_report_counts_the_calls(folder):
    done = script(folder, CLIPS, "--report")
    assert counts(done.stderr) == {"numpy.clip": 5, "numpy.linalg.norm": 1}
    assert script(folder, CLIPS).stderr == ""


@pytest.mark.parametrize(("end", "status"), [("1 / 0", 1), ("raise SystemExit(4)", 4), ("raise KeyboardInterrupt", -2)])
def test_the_report_comes_last_however_the_script_ends(folder, end, status):
    done = fastclip_run("--report", write(folder / "script.py", CLIPS + end))
    assert done.returncode == status
    before, _, report = done.stderr.rpartition("fastclip run: ")
    assert counts("fastclip run: " + report) == {"numpy.clip": 5, "numpy.linalg.norm": 1}
    assert before.startswith("Traceback") == (status != 4)


def test_the_report_waits_for_threads_and_goes_to_stderr_as_it_was(folder):
    done = script(
        folder,
        """
        import io, sys, threading
        import numpy as np
        def later():
            threading.main_thread().join()
            np.clip(np.ones(3), 0, 1)
        threading.Thread(target=later).start()
        sys.stderr = io.StringIO()
        """,
        "--report",
    )
    assert counts(done.stderr) == {"numpy.clip": 1}


def test_a_report_of_nothing_says_so(folder):
    done = script(folder, "", "--report")
    assert re.fullmatch(r"fastclip run: [\d.]+ m?s, and no function of fastclip's was called\n", done.stderr)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_report(folder):
    fork = "import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\n"
    done = script(folder, CLIPS + fork, "--report")
    assert done.stderr.count("fastclip run: ") == 1


def test_a_counted_function_keeps_its_face(folder):
    script(
        folder,
        """
        import inspect, numpy as np, fastclip
        assert np.clip is not fastclip.clip
        assert inspect.signature(np.clip) == inspect.signature(fastclip.clip)
        assert (np.clip.__name__, np.clip.__doc__) == ("clip", fastclip.clip.__doc__)
        """,
        "--report",
    )


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_the_report_adds_up(clock, capsys):
    report = run._Report()

    def takes(seconds):
        clock[0] += seconds

    def fails():
        clock[0] += 1.0
        raise ValueError("failed")

    quick, slow = report.counted("a.quick", takes), report.counted("b.slower_", lambda: quick(4.0))
    failing = report.counted("c.failing", fails)
    quick(0.001)
    quick(0.002)
    slow()  # what it calls itself is in its time, and not counted again
    with pytest.raises(ValueError, match=r"^failed$"):
        failing()
    quick(0.0005)
    clock[0] = 140.0
    report.show()
    assert capsys.readouterr().err == (
        "fastclip run: 40.0 s, of which 12.5% in fastclip\n"
        "               calls      total       mean   share\n"
        "b.slower_          1     4.00 s     4.00 s   10.0%\n"
        "c.failing          1     1.00 s     1.00 s    2.5%\n"
        "a.quick            3    3.50 ms    1.17 ms    0.0%\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (123.4, "123 s"),
        (10.0, "10.0 s"),
        (1.0, "1.00 s"),
        (0.5, "500 ms"),
        (0.0123, "12.3 ms"),
        (1e-4, "100 us"),
        (2e-8, "0.02 us"),
    ],
)
def test_a_duration_has_three_digits(seconds, text):
    assert run._duration(seconds) == text
