# SPDX-License-Identifier: BSD-3-Clause
"""Peers in processes of their own; NumPy stands in for those that take seconds to import."""

import dataclasses
import functools
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastclip._bench import isolation
from fastclip._bench.cases import WORKLOADS
from fastclip._bench.contestants import STEP
from fastclip._bench.exact import exact_norm, norm_error
from fastclip._bench.intervals import MIN_SAMPLES
from fastclip._bench.isolation import Isolated, Processes
from fastclip._bench.peers import PEERS, bind
from fastclip._bench.peers.base import PeerError
from fastclip._bench.quiet import Others, process_seconds
from fastclip._bench.ruler import Conditions, Turns, measure

WORKLOAD = WORKLOADS["rl_policy"]


@pytest.fixture(scope="module")
def numpy_apart():
    isolated = Isolated("numpy")
    yield isolated
    isolated.close()


def gone(pid):
    """Wait until a process has ended; nobody may have collected it yet."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_it_has_the_same_data_and_answers(numpy_apart):
    arrays = WORKLOAD.arrays(seed=3)
    here = norm_error(functools.partial(bind, "numpy"), arrays, exact_norm(arrays))
    assert numpy_apart.norm_error(WORKLOAD, exact_norm(arrays), seed=3) == here > 0
    assert numpy_apart.norm_error(WORKLOAD, exact_norm(arrays), seed=4) > 100 * here  # other data
    assert numpy_apart.verdict("clip", "f32").fault == ""
    assert numpy_apart.pid != os.getpid()


def test_it_takes_turns_and_can_be_given_the_next_operation(numpy_apart):
    for operation in ("clip", "value"):
        numpy_apart.start(WORKLOAD, operation)
        assert numpy_apart.calibrate() >= 1
        assert 0 < numpy_apart.turn() < 1
    numpy_apart.stop()
    with pytest.raises(PeerError, match="numpy: AssertionError"):
        numpy_apart.turn()


def test_an_error_comes_back_with_the_peers_name_and_nothing_else_is_lost(numpy_apart):
    with pytest.raises(PeerError, match="numpy: KeyError: 'no such operation'"):
        numpy_apart.start(WORKLOAD, "no such operation")
    assert numpy_apart.verdict("value", "f32").fault == ""


def test_a_process_that_died_is_told_and_replaced():
    with Processes() as processes:
        first = processes.of("numpy")
        assert processes.of("numpy") is first
        os.kill(first.pid, signal.SIGKILL)
        with pytest.raises(PeerError, match="numpy: its process ended with status -9"):
            first.turn()
        assert processes.of("numpy") is not first
        last = processes.of("numpy").pid
        assert Path(f"/proc/{last}").exists()
    assert gone(last)


def test_what_it_said_last_is_told(monkeypatch):
    isolated = Isolated("numpy")
    isolated._log.write_text("a\nb\nlibrary: out of memory\n")
    os.kill(isolated.pid, signal.SIGKILL)
    isolated._process.join()
    isolated._log.write_text("a\nb\nc\nlibrary: out of memory\n")
    with pytest.raises(PeerError, match="status -9: b / c / library: out of memory"):
        isolated.verdict("clip", "f32")
    isolated.close()
    assert not isolated._log.exists()


def test_who_hangs_is_ended(monkeypatch):
    isolated = Isolated("numpy")
    monkeypatch.setattr(isolation, "ANSWER_WITHIN", 0.0)
    with pytest.raises(PeerError, match="numpy: no answer"):
        isolated.verdict("clip", "f32")
    assert not isolated.alive
    isolated.close()


SCRIPT = """
import os, signal, sys
from fastclip._bench.cases import WORKLOADS
from fastclip._bench.isolation import Processes

if __name__ == "__main__":
    with Processes() as processes:
        isolated = processes.start("numpy", WORKLOADS["rl_policy"], "clip", 0)
        print(isolated.pid, isolated._log, flush=True)
        if sys.argv[1] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        while True:
            isolated.calibrate()
"""


@pytest.mark.parametrize("end", ["killed", "interrupted"])
def test_no_process_outlives_its_parent(tmp_path, end):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), end]
    parent = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    pid, log = parent.stdout.readline().split()
    if end == "interrupted":
        time.sleep(0.2)
        os.killpg(parent.pid, signal.SIGINT)  # as Ctrl-C does it: the terminal's whole group
    errors = parent.communicate(timeout=30)[1]
    assert gone(int(pid))
    assert not Path(log).exists()
    assert errors.count("Traceback") == (end == "interrupted")


def test_its_cpu_time_is_not_others(numpy_apart):
    numpy_apart.start(WORKLOAD, "clip")
    spent, strangers, ours = process_seconds(numpy_apart.pid), Others(), Others([numpy_apart.pid])
    for _ in range(5):
        numpy_apart.calibrate()  # a tenth of a second each
    assert process_seconds(numpy_apart.pid) - spent > 0.2
    assert strangers.share() - ours.share() > 0.2
    assert process_seconds(1 << 30) == 0


def test_isolated_peers_take_part_in_the_measurement(monkeypatch):
    monkeypatch.setitem(PEERS, "numpy", dataclasses.replace(PEERS["numpy"], isolated=True))
    arrays = WORKLOAD.arrays()
    norm = exact_norm(arrays)
    with Processes() as processes:
        assert processes.verdict("numpy", "clip").fault == ""
        result = measure(WORKLOAD, arrays, "clip", ["fastclip", "numpy"], processes, Conditions(MIN_SAMPLES))
        assert not result.failed
        assert {"limit", "fastclip", "numpy"} <= set(result.seconds)
        assert {len(times) for times in result.seconds.values()} == {result.rounds}
        assert result.ratio("numpy").median > 0
        processes.of("numpy").close()
        failed = processes.verdict("numpy", "nothing")
        assert failed.fault == "fails: KeyError: 'nothing'"
    assert exact_norm(arrays) < norm * (1 - STEP)


def test_a_peer_that_cannot_is_left_out_and_told():
    with Processes() as processes:
        result = measure(WORKLOAD, WORKLOAD.arrays(), "value", ["fastclip", "scipy"], processes, Conditions(1))
    assert result.failed == {"scipy": "TypeError: asked for what this peer can't do"}
    assert set(result.seconds) - {"limit", "streams"} == set(result.calls) == {"fastclip"}


class Player:
    def __init__(self, turns):
        self.turns = turns

    def calibrate(self):
        return 7

    def turn(self):
        self.turns -= 1
        if self.turns < 0:
            raise PeerError("broken: no more")
        return 1e-6


def test_who_fails_halfway_is_left_out_whole():
    turns = Turns(seed=0)
    turns.join("steady", lambda: Player(10**6))
    turns.join("broken", lambda: Player(3), may_fail=True)
    turns.play(8, math.inf)
    assert turns.failed == {"broken": "broken: no more"}
    assert list(turns.seconds) == turns.order == ["steady"]
    assert len(turns.seconds["steady"]) >= 8
    turns.join("needed", lambda: Player(0))
    with pytest.raises(PeerError, match="no more"):
        turns.play(8, math.inf)
