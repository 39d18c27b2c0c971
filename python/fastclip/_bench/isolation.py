# SPDX-License-Identifier: BSD-3-Clause
"""Peers that have a process of their own: the same data, the same turns, told over a pipe.

A process serves one peer for the whole run, since importing TensorFlow takes seconds, and forgets the last operation's
memory when it is given the next. It ends with its parent, whatever ends that: its end of the pipe closes.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import math
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from fastclip._bench.accuracy import Input
from fastclip._bench.cases import FloatArray, Workload
from fastclip._bench.checks import Verdict, reason, verdict
from fastclip._bench.contestants import OPERATIONS, values_of
from fastclip._bench.exact import norm_error
from fastclip._bench.peers import PEERS, bind
from fastclip._bench.peers.base import PeerError
from fastclip._bench.quiet import settle
from fastclip._bench.turns import Here

ANSWER_WITHIN = 600.0  # seconds; one that takes longer hangs
END_WITHIN = 5.0


class _Host:
    """Live in the process of one peer and do what its parent asks, by the names of these methods."""

    def __init__(self, name: str) -> None:
        self.make = functools.partial(bind, name)
        self.here: Here | None = None

    def verdict(self, operation: str, dtype: str) -> Verdict:
        return verdict(self.make, operation, dtype)

    def norm_error(self, workload: Workload | Input, exact: float, seed: int) -> float:
        return norm_error(self.make, workload.arrays(seed), exact)

    def start(self, workload: Workload, operation: str, seed: int) -> None:
        self.stop()
        arrays = workload.arrays(seed)
        self.here = Here(OPERATIONS[operation].start(self.make(arrays), values_of(arrays)))

    def calibrate(self) -> int:
        assert self.here
        return self.here.calibrate()

    def turn(self) -> float:
        assert self.here
        return self.here.turn()

    def stop(self) -> None:
        self.here = None
        gc.collect()


def _serve(pipe: Connection, name: str, log: str) -> None:
    """Answer the parent until it closes the pipe; what libraries print goes to the log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches a terminal's every process; the parent ends this one
    if not PEERS[name].gpu:
        os.environ.update({"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"})
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with open(log, "wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    host = _Host(name)
    gc.disable()
    with contextlib.suppress(EOFError, OSError):
        while True:
            method, arguments = pipe.recv()
            try:
                answer = True, getattr(host, method)(*arguments)
            except Exception as error:  # of a library, hence of any kind
                answer = False, reason(error)
            settle()  # nobody's threads may run here when the next contestant's do there
            pipe.send(answer)
    Path(log).unlink(missing_ok=True)


class Isolated:
    """A peer in a process of its own, which starts here. It takes turns like a contestant of this one."""

    def __init__(self, name: str) -> None:
        self.name = name
        handle, log = tempfile.mkstemp(prefix="fastclip-bench-", suffix=".log")
        os.close(handle)
        self._log = Path(log)
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, log), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Return the number of its process."""
        return self._process.pid or 0

    @property
    def alive(self) -> bool:
        """Tell whether its process runs."""
        return self._process.is_alive()

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            self._pipe.send((method, arguments))
            if not self._pipe.poll(ANSWER_WITHIN):
                self._process.kill()  # lest a late answer be taken for the next one
                self._process.join()
                raise PeerError(f"{self.name}: no answer within {ANSWER_WITHIN:.0f} seconds")
            right, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(END_WITHIN)
            said = self._log.read_text(errors="replace").strip().splitlines()[-3:]
            how = f"its process ended with status {self._process.exitcode}"
            raise PeerError(": ".join([f"{self.name}: {how}", *filter(None, [" / ".join(said)])])) from None
        if not right:
            raise PeerError(f"{self.name}: {answer}")
        return answer

    def verdict(self, operation: str, dtype: str) -> Verdict:
        """Check the peer's results."""
        answer: Verdict = self._ask("verdict", operation, dtype)
        return answer

    def norm_error(self, workload: Workload | Input, exact: float, seed: int = 0) -> float:
        """Return the relative error of the peer's norm of the workload made from the seed."""
        return float(self._ask("norm_error", workload, exact, seed))

    def start(self, workload: Workload, operation: str, seed: int = 0) -> None:
        """Make the workload's data there and bind the peer to it."""
        self._ask("start", workload, operation, seed)

    def calibrate(self) -> int:
        """Do as `Here` does, there."""
        return int(self._ask("calibrate"))

    def turn(self) -> float:
        """Do as `Here` does, there; the clock is theirs."""
        return float(self._ask("turn"))

    def stop(self) -> None:
        """Forget the data."""
        self._ask("stop")

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._pipe.close()
        self._process.kill()
        self._process.join(END_WITHIN)
        self._log.unlink(missing_ok=True)


class Processes:
    """The processes of the isolated peers, each started when it is first needed."""

    def __init__(self) -> None:
        self._started: dict[str, Isolated] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for isolated in self._started.values():
            isolated.close()

    def of(self, name: str) -> Isolated:
        """Return the process of a peer, a new one if the last has ended."""
        if name in self._started and not self._started[name].alive:
            self._started.pop(name).close()
        if name not in self._started:
            self._started[name] = Isolated(name)
        return self._started[name]

    def start(self, name: str, workload: Workload, operation: str, seed: int) -> Isolated:
        """Return a peer that waits for its turns."""
        isolated = self.of(name)
        isolated.start(workload, operation, seed)
        return isolated

    def rest(self) -> None:
        """Let all forget their data."""
        for isolated in self._started.values():
            if isolated.alive:
                isolated.stop()

    def verdict(self, name: str, operation: str, dtype: str = "f32") -> Verdict:
        """Check a peer's results on small arrays, wherever it lives."""
        if not PEERS[name].isolated:
            return verdict(functools.partial(bind, name), operation, dtype)
        try:
            return self.of(name).verdict(operation, dtype)
        except PeerError as error:
            return Verdict(math.inf, f"fails: {error}")

    def norm_error(
        self, name: str, workload: Workload | Input, arrays: Sequence[FloatArray], exact: float, seed: int = 0
    ) -> float:
        """Return the relative error of a peer's norm of the workload; the arrays are as made from the seed."""
        if not PEERS[name].isolated:
            return norm_error(functools.partial(bind, name), arrays, exact)
        try:
            return self.of(name).norm_error(workload, exact, seed)
        except PeerError:
            return math.inf
