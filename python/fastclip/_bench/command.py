# SPDX-License-Identifier: BSD-3-Clause
"""The command behind its arguments: what is to be run, and what becomes of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fastclip._bench import ROUNDS, SECONDS, SWEEPS
from fastclip._bench.accuracy import SIZES
from fastclip._bench.cases import WORKLOADS, Workload
from fastclip._bench.contestants import OPERATIONS
from fastclip._bench.intervals import MIN_SAMPLES
from fastclip._bench.peers import PEERS, installed, missing
from fastclip._bench.progress import Bar
from fastclip._bench.record import Record, RecordError, load
from fastclip._bench.report import against, markdown, plots, table
from fastclip._bench.report.formats import count, operation, size
from fastclip._bench.session import Orders, Session
from fastclip._bench.sweeps import Step, named, sweep

QUICK_WORKLOADS = ("rl_policy", "thousand_tens", "one64mb", "clip_100")
QUICK_OPERATIONS = ("within", "clip", "positional")
QUICK_SECONDS = 2.5  # for each row: a third of a minute for all
QUICK_LARGEST = 1_000_000
INTERRUPTED = 130  # what a shell reports for an interrupted command


class UsageError(ValueError):
    """Say what is wrong with the arguments, and what would be right."""


def _known(option: str, given: Iterable[str], known: Iterable[str], hint: str = "") -> None:
    names = list(known)
    for name in given:
        if name not in names:
            raise UsageError(f"--{option} {name} is unknown; expected {', '.join(names)}.{hint}")


def _too_slow(given: argparse.Namespace) -> dict[str, str]:
    """Return whom a quick run leaves out, and why."""
    if not given.quick or given.peers is not None:
        return {}
    why = "its own process takes too long to begin for --quick"
    return {name: why for name in installed() if PEERS[name].isolated}


def _chosen_peers(given: argparse.Namespace) -> list[str]:
    """Return who takes part."""
    here = installed()
    if given.peers is None:
        return [name for name in here if name not in _too_slow(given)]
    _known("peers", given.peers, PEERS)
    absent = missing()
    for name in given.peers:
        if name in absent:
            raise UsageError(f"--peers {name} can't run here: {absent[name]}")
    return [name for name in here if name == "fastclip" or name in given.peers]


def _steps(given: argparse.Namespace) -> Iterator[Step]:
    workloads, operations, sweeps = given.workloads, given.operations, given.sweeps
    _known("workloads", workloads or (), WORKLOADS)
    _known("operations", operations or (), OPERATIONS)
    _known("sweeps", sweeps or (), SWEEPS)
    narrowed = workloads is not None or sweeps is not None
    if workloads is None:
        workloads = [] if narrowed else QUICK_WORKLOADS if given.quick else list(WORKLOADS)
    if operations is None:
        operations = QUICK_OPERATIONS if given.quick and not narrowed else list(OPERATIONS)
    if sweeps is None:
        sweeps = [] if narrowed or given.quick else SWEEPS
    for step in named(workloads, operations):
        if step.workload.possible:
            yield step
    for name in sweeps:
        yield from sweep(name, operations)


def _orders(given: argparse.Namespace) -> Orders:
    rounds = ROUNDS if given.rounds is None else given.rounds
    if rounds < MIN_SAMPLES:
        raise UsageError(f"--rounds is {rounds}; expected at least {MIN_SAMPLES}, or no interval can be told.")
    seconds = (QUICK_SECONDS if given.quick else SECONDS) if given.seconds is None else given.seconds
    if not seconds > 0:
        raise UsageError(f"--seconds is {seconds:g}; expected a positive number.")
    if given.seed < 0:
        raise UsageError(f"--seed is {given.seed}; expected a natural number.")
    steps = list(_steps(given))
    if not steps:
        raise UsageError("nothing is left to measure: these operations do not apply to these workloads; see --list.")
    everything = given.workloads is None and given.sweeps is None
    largest = (QUICK_LARGEST if given.quick else SIZES[-1]) if everything else 0
    return Orders(steps, _chosen_peers(given), rounds, seconds, largest, given.seed, _too_slow(given))


def _load(path: Path) -> Record:
    try:
        return load(path)
    except RecordError as error:
        raise UsageError(str(error)) from error


def _measure(orders: Orders) -> Record:
    with Bar(Console(stderr=True)) as bar:
        session = Session(orders, bar)
        session.run()
    return session.record


def _size_of(workload: Workload) -> str:
    return f"{count(len(workload.shapes), 'array')}, {size(workload.nbytes)}"


def _list(console: Console) -> None:
    """Show what there is to choose from."""
    workloads = Table(title="workloads", box=None, title_justify="left", title_style="bold", padding=(0, 2, 0, 0))
    for heading in ("name", "data", "dtype", "operations"):
        workloads.add_column(heading)
    for name, workload in WORKLOADS.items():
        workloads.add_row(name, _size_of(workload), workload.dtype, " ".join(workload.timed))
    peers = Table(title="\npeers", box=None, title_justify="left", title_style="bold", padding=(0, 2, 0, 0))
    for heading in ("name", "here", "operations"):
        peers.add_column(heading)
    absent = missing()
    for name, entry in PEERS.items():
        peers.add_row(name, absent.get(name, "yes"), " ".join(entry.operations))
    console.print(workloads, peers)
    console.print("\noperations:", ", ".join(f"{name} ({operation(name)})" for name in OPERATIONS), soft_wrap=True)
    console.print("sweeps:", ", ".join(SWEEPS))


def _write(record: Record, given: argparse.Namespace) -> list[Path]:
    written: list[Path] = []
    if given.json:
        given.json.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", "utf-8")
        written.append(given.json)
    if given.markdown:
        given.markdown.write_text(markdown.document(record), "utf-8")
        written.append(given.markdown)
    if given.plot:
        written += plots.write(record, given.plot)
    return written


def _compare(record: Record, then: Record, console: Console) -> bool:
    comparison = against.compare(record, then)
    table.show_section(against.section(comparison), console)
    for line in against.remarks(comparison):
        console.print(line, soft_wrap=True)
    if not (comparison.changes or comparison.regressed):
        raise UsageError("--against: no row of that run was measured in this one; choose the same workloads.")
    return comparison.regressed


def run(given: argparse.Namespace) -> int:
    """Do what the arguments say; return 1 if fastclip became slower than in the run that it is compared with."""
    console = table.console()
    if given.list:
        _list(console)
        return 0
    then = _load(given.against) if given.against else None
    record = _load(given.load) if given.load else _measure(_orders(given))
    table.show(record, console)
    _tell(_write(record, given))
    slower = then is not None and _compare(record, then, console)
    return INTERRUPTED if record["interrupted"] and not given.load else int(slower)


def _tell(written: Sequence[Path]) -> None:
    if written:
        print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
