# SPDX-License-Identifier: BSD-3-Clause
"""The ruler: time fastclip against the memory limit and its peers and hold it to the bars.

python benchmarks/run.py [--workloads NAME ...] [--operations NAME ...] [--rounds N] [--json FILE] [--quick]
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.bars import DROP_INS, MIN_ROUNDS
from benchmarks.memory import Growth, memory_rows
from benchmarks.report import HEADER, Row, errors_line, memory_table, record, table
from fastclip._bench.cases import WORKLOADS, Workload
from fastclip._bench.checks import check
from fastclip._bench.contestants import OPERATIONS
from fastclip._bench.environment import environment
from fastclip._bench.exact import exact_norm
from fastclip._bench.intervals import MIN_SAMPLES
from fastclip._bench.isolation import Processes
from fastclip._bench.peers import PEERS, bind, missing
from fastclip._bench.ruler import Conditions, measure

# the peers that a bar is set by
RULER = (
    *("fastclip", "numpy", "torch", "flower", "thinc", "optax", "optax donated", "tensorflow", "tf.function"),
    *DROP_INS,
)
# Of the peers with processes of their own those that have a bar here, and where: they double the time elsewhere.
ISOLATED = ("tiny_many", "resnet50", "gpt2")
QUICK_ROUNDS = 10
NOISY = 0.10  # spread of the limit above which the machine is called noisy


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Hold fastclip to its bars, by ratios within this run.")
    parser.add_argument("--workloads", nargs="+", choices=[*WORKLOADS], default=[*WORKLOADS], metavar="NAME")
    parser.add_argument("--operations", nargs="+", choices=[*OPERATIONS], default=[*OPERATIONS], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help=f"default {MIN_ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples and the environment")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, no gpt2, no verdicts")
    parser.add_argument("--no-memory", action="store_true", help="leave out the memory rows")
    parser.add_argument("--list", action="store_true", help="list the workloads and stop")
    given = parser.parse_args()
    if given.quick:
        given.rounds = QUICK_ROUNDS
        given.workloads = [name for name in given.workloads if not name.startswith("gpt2")]
    if given.rounds < MIN_SAMPLES:
        parser.error(f"--rounds is {given.rounds}; expected at least {MIN_SAMPLES}")
    return given


def _peers(workload: Workload, peers: list[str]) -> list[str]:
    return [name for name in peers if workload.name in ISOLATED or not PEERS[name].isolated]


def _chosen(workload: Workload, given: argparse.Namespace) -> list[str]:
    return [name for name in workload.operations if name in given.operations]


def _measure(
    workload: Workload, peers: list[str], given: argparse.Namespace, processes: Processes
) -> tuple[list[Row], dict[str, float]]:
    arrays = workload.arrays()
    errors: dict[str, float] = {}
    if "within" in workload.operations:
        exact = exact_norm(arrays)
        here = [name for name in peers if PEERS[name].takes("within", workload.dtype)]
        errors = {name: processes.norm_error(name, workload, arrays, exact) for name in here}
    print(errors_line(workload, errors), file=sys.stderr)
    rows = []
    for operation in _chosen(workload, given):
        print(f"  {operation} ...", file=sys.stderr)
        here = [name for name in peers if PEERS[name].takes(operation, workload.dtype)]
        for name in here:
            if PEERS[name].isolated:
                _, fault = processes.verdict(name, operation, workload.dtype)
                if fault:
                    raise RuntimeError(f"{name} {operation}: {fault}")
            else:
                check(functools.partial(bind, name), operation, workload.dtype)
        result = measure(workload, arrays, operation, here, processes, Conditions(given.rounds))
        if result.failed:
            raise RuntimeError(f"{workload.name} {operation}: {result.failed}")
        rows += [Row(workload, result, ours) for ours in ("fastclip", *DROP_INS) if ours in result.seconds]
    return rows, errors


def main() -> int:
    """Run the ruler; return 1 if a bar was missed with enough rounds to say so."""
    given = _arguments()
    if given.list:
        for workload in WORKLOADS.values():
            size = f"{len(workload.shapes):5d} arrays {workload.nbytes / 1e6:10.3f} MB {workload.dtype:4s}"
            print(f"{workload.name:14s} {size}  {' '.join(workload.operations)}")
        return 0
    absent = missing()
    peers = [name for name in RULER if name not in absent]
    if "fastclip" not in peers:
        print("fastclip is not installed here: pip install . and run again.", file=sys.stderr)
        return 2
    for name in RULER:
        if name in absent:
            print(f"{name} is not installed and left out: {absent[name]}", file=sys.stderr)
    for name in [name for name in given.workloads if not WORKLOADS[name].possible]:
        print(f"{name} is left out: pip install ml_dtypes", file=sys.stderr)
        given.workloads.remove(name)
    given.workloads = [name for name in given.workloads if _chosen(WORKLOADS[name], given)]

    config = environment(peers)
    rows: list[Row] = []
    errors: dict[str, dict[str, float]] = {}
    with Processes() as processes:
        for name in given.workloads:
            workload = WORKLOADS[name]
            measured, errors[name] = _measure(workload, _peers(workload, peers), given, processes)
            rows.extend(measured)
    memory: list[Growth] = [] if given.no_memory else memory_rows()

    machine = f"{config['cpu']}, {config['cores']} cores, commit {config['fastclip']['commit']}"
    print(f"{machine}, load average {config['load_average'][0]:.2f}")
    print(HEADER, table(rows), sep="\n\n")
    for name in given.workloads:
        print(errors_line(WORKLOADS[name], errors[name]))
    if memory:
        print(memory_table(memory))
    noisy = [f"{row.workload.name} {row.result.operation}" for row in rows if row.result.noise() > NOISY]
    if noisy:
        print(f"Noisy machine: the limit itself spread over more than {NOISY:.0%} on {', '.join(noisy)}.")
    disturbed = sum(row.result.disturbed for row in rows)
    if disturbed:
        everything = sum(row.result.rounds for row in rows)
        print(f"Busy machine: others ran during {disturbed} of {everything} rounds.")
    if given.json:
        report: dict[str, Any] = {"environment": config, **record(rows, errors, memory)}
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    missed = any(row.missed for row in rows if row.settled)
    return 1 if missed or not all(growth.passed for growth in memory) else 0


if __name__ == "__main__":
    sys.exit(main())
