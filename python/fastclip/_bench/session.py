# SPDX-License-Identifier: BSD-3-Clause
"""One run of `fastclip bench`: every row in turn, gathered in a record that is whole after each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fastclip._bench import accuracy
from fastclip._bench.cases import FloatArray, Workload
from fastclip._bench.checks import reason
from fastclip._bench.contestants import OPERATIONS
from fastclip._bench.environment import environment
from fastclip._bench.exact import WRONG, exact_norm
from fastclip._bench.isolation import Processes
from fastclip._bench.limit import PASSES, Probe, available
from fastclip._bench.peers import PEERS, missing, set_threads
from fastclip._bench.record import SCHEMA, Accuracy, Record, Row
from fastclip._bench.report.formats import count
from fastclip._bench.ruler import Conditions, Result, measure
from fastclip._bench.sweeps import Step

BANDWIDTH_BYTES = 256 << 20  # beyond the caches of all but the largest servers


class Progress(Protocol):
    """Be told how far a run has come."""

    def begin(self, steps: int) -> None: ...

    def next(self, what: str) -> None: ...


@dataclass(frozen=True)
class Orders:
    """Say what is to be run, by whom, and for how long."""

    steps: Sequence[Step]
    peers: Sequence[str]
    rounds: int
    seconds: float  # for each row, after which fewer rounds are enough
    largest: int  # elements of the largest array whose norm is asked for its accuracy alone
    seed: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)  # peers that could take part, and why they do not


class Session:
    """Run the orders; `record` holds what is done so far."""

    def __init__(self, orders: Orders, progress: Progress) -> None:
        self.orders, self.progress = orders, progress
        self.record = Record(
            schema=SCHEMA,
            environment=environment(orders.peers),
            bandwidth={},
            rows=[],
            accuracy=[],
            failed={},
            missing={**missing(), **orders.left_out},
            interrupted=True,
        )
        self._asked: Workload | None = None  # whose exact norm and errors these are
        self._exact = math.nan
        self._errors: dict[str, float] = {}

    def run(self) -> None:
        """Do everything. Ctrl-C leaves the record as it is, marked as interrupted."""
        inputs = list(accuracy.inputs(self.orders.largest))
        self.progress.begin(1 + len(inputs) + len(self.orders.steps))
        try:
            with Processes() as processes:
                self.progress.next("memory bandwidth")
                if available():
                    room = Probe([np.ones(BANDWIDTH_BYTES // 4, np.float32)])
                    self.record["bandwidth"] = {kind: room.bandwidth(kind) for kind in PASSES}
                    del room
                for given in inputs:
                    self.progress.next(f"error: {given.case}, {count(given.elements, 'element')}")
                    self._ask(given, processes)
                arrays: list[FloatArray] = []
                made: Workload | None = None
                for step in self.orders.steps:
                    self.progress.next(step.text)
                    if step.workload != made:
                        arrays.clear()  # before as many are made
                        made, arrays = step.workload, step.workload.arrays(self.orders.seed)
                    try:
                        self._measure(step, arrays, processes)
                    except Exception as error:  # one row less, not half an hour's work
                        self.record["failed"][step.text] = reason(error)
            self.record["interrupted"] = False
        except KeyboardInterrupt:
            return

    def _ask(self, given: accuracy.Input, processes: Processes) -> None:
        seed = self.orders.seed
        arrays = given.arrays(seed)
        here = [name for name in self.orders.peers if PEERS[name].takes("within", given.dtype)]
        exact = exact_norm(arrays)
        with np.errstate(all="ignore"):  # what NumPy has to say of 1e20 is told below
            # each on data of its own: who finds an infinite norm makes all of it 0
            errors = {name: processes.norm_error(name, given, given.arrays(seed), exact, seed) for name in here}
        shown, wrong = _judge(errors, given.dtype)
        self.record["accuracy"].append(
            Accuracy(
                case=given.case,
                group=given.group,
                elements=given.elements,
                dtype=given.dtype,
                exact=exact,
                errors=shown,
                wrong=wrong,
            )
        )

    def _norm_errors(
        self, workload: Workload, arrays: list[FloatArray], processes: Processes, here: Sequence[str]
    ) -> dict[str, float]:
        """Ask each peer for the norm of the workload, once for all operations on it."""
        if self._asked != workload:
            self._asked, self._exact, self._errors = workload, exact_norm(arrays), {}
        for name in here:
            if name not in self._errors and PEERS[name].takes("within", workload.dtype):
                error = processes.norm_error(name, workload, arrays, self._exact, self.orders.seed)
                self._errors[name] = error
        return {name: self._errors[name] for name in here if name in self._errors}

    def _measure(self, step: Step, arrays: list[FloatArray], processes: Processes) -> None:
        workload, operation = step.workload, step.operation
        here = [name for name in self.orders.peers if step.takes(name)]
        verdicts = {name: processes.verdict(name, operation, workload.dtype) for name in here}
        errors = {} if OPERATIONS[operation].bitwise else {name: verdict.error for name, verdict in verdicts.items()}
        if step.asks_norm:
            errors |= self._norm_errors(workload, arrays, processes, here)
        shown, wrong = _judge(errors, workload.dtype)
        wrong |= {name: verdict.fault for name, verdict in verdicts.items() if verdict.fault}
        conditions = Conditions(
            self.orders.rounds, self.orders.seconds, self.orders.seed, step.cache == "cold", step.threads
        )
        with _threads(here, step.threads):
            result = measure(workload, arrays, operation, here, processes, conditions)
        wrong |= {name: f"fails: {reason}" for name, reason in result.failed.items()}
        self.record["rows"].append(_row(step, result, shown, wrong))


@contextmanager
def _threads(peers: Sequence[str], number: int | None) -> Iterator[None]:
    """Give all peers so many threads for a while."""
    if number is None:
        yield
        return
    before: list[tuple[str, int]] = []
    try:
        for name in peers:
            before.append((name, set_threads(name, number)))
        yield
    finally:
        for name, threads in reversed(before):  # two peers of one library share its setting: the first knows it
            set_threads(name, threads)


def _judge(errors: dict[str, float], dtype: str) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the errors as JSON has them, and what is wrong with those that are too large."""
    shown = {name: error if math.isfinite(error) else None for name, error in errors.items()}
    wrong = {}
    for name, error in errors.items():
        if not error <= WRONG[dtype]:
            wrong[name] = f"norm off by {error:.1e}" if math.isfinite(error) else "norm not finite"
    return shown, wrong


def _row(step: Step, result: Result, errors: dict[str, float | None], wrong: dict[str, str]) -> Row:
    workload = step.workload
    return Row(
        workload=workload.name,
        arrays=len(workload.shapes),
        bytes=workload.nbytes,
        dtype=workload.dtype,
        operation=step.operation,
        threads=step.threads or step.most_threads,
        cache=step.cache,
        sweep=step.sweep,
        rounds=result.rounds,
        retaken=result.retaken,
        disturbed=result.disturbed,
        limit_loops=result.limits,
        calls_per_sample=result.calls,
        seconds=result.seconds,
        noise=result.noise(),
        errors=errors,
        wrong=wrong,
    )
