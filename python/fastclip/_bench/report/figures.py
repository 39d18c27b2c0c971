# SPDX-License-Identifier: BSD-3-Clause
"""What is computed from a row of a record: medians, ratios, who took part, what to beware of."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from fastclip._bench.intervals import Interval, median_interval
from fastclip._bench.record import Record, Row
from fastclip._bench.report.formats import count, in_order, label, size

NOISY = 0.10  # spread of the limit above which a row is called noisy
LOADED = 0.5  # cores that others kept busy before the run
WORST = 5  # noisy rows that are named
LIMITS = ("limit", "streams")


def peers(rows: Iterable[Row]) -> list[str]:
    """List who took part in any of the rows, the limits left out."""
    return in_order(name for row in rows for name in row["seconds"] if name not in LIMITS)


def median(row: Row, name: str) -> float:
    """Return the median time of a peer or a limit."""
    return statistics.median(row["seconds"][name])


def ratio(row: Row, name: str, other: str, confidence: float = 0.95) -> Interval:
    """Return the time of one over that of another, paired within each round.

    The interval has no ends, 0 and infinity, where not even the smallest and the largest of the samples enclose the
    median with that confidence.
    """
    pairs = [one / two for one, two in zip(row["seconds"][name], row["seconds"][other], strict=True)]
    if 2.0 ** (1 - len(pairs)) > 1 - confidence:
        return Interval(statistics.median(pairs), 0.0, math.inf)
    return median_interval(pairs, confidence)


def point(row: Row, name: str, other: str) -> Interval:
    """Return the same ratio without an interval, for where there is no room for one."""
    return Interval(ratio(row, name, other).median, 0.0, math.inf)


def title(row: Row, *, threads: bool = False) -> str:
    """Name a row by its workload and, where they matter, its threads and cold caches."""
    parts = [row["workload"]]
    if threads:
        parts.append(count(row["threads"], "thread"))
    if row["cache"] == "cold":
        parts.append("cold")
    return ", ".join(parts)


def wrongs(record: Record) -> list[str]:
    """Say whose norms are wrong, why, and on what."""
    places: dict[str, dict[str, str]] = {}
    on = [(size(row["bytes"]) if row["sweep"] == "size" else title(row), row["wrong"]) for row in record["rows"]]
    for place, wrong in [*on, *((entry["case"], entry["wrong"]) for entry in record["accuracy"])]:
        for peer, why in wrong.items():
            places.setdefault(peer, {})[place] = why
    return [
        f"{label(peer)}: {'; '.join(f'{place} ({why})' for place, why in places[peer].items())}"
        for peer in in_order(places)
    ]


def missing(record: Record, quote: str = "") -> list[str]:
    """Say who did not take part, and what to do about it."""
    names: dict[str, list[str]] = {}
    for name, remedy in record["missing"].items():
        names.setdefault(remedy, []).append(label(name))
    said = []
    for remedy, absent in names.items():
        are = "are" if len(absent) > 1 else "is"
        how = f"not installed: {quote}{remedy}{quote}" if remedy.startswith("pip ") else f"left out: {remedy}"
        said.append(f"{', '.join(absent)} {are} {how}")
    return said


def warnings(record: Record) -> list[str]:
    """Say what makes the numbers less sure."""
    said = []
    rows: Sequence[Row] = record["rows"]
    said += [f"FAILED {row}: {why}" for row, why in record["failed"].items()]
    if record["interrupted"]:
        said.append("Interrupted: this is what had been measured until then.")
    if note := record["environment"]["fastclip"].get("note"):
        said.append(f"fastclip: {note}.")
    if rows and not record["bandwidth"]:
        said.append("No memory limit: its loops are built with fastclip's native code, on Linux.")
    noisy = sorted((row for row in rows if row["noise"] > NOISY), key=lambda row: -row["noise"])
    if noisy:
        where = f"{len(noisy)} of {len(rows)} rows"
        worst = ", ".join(f"{title(row)} {row['operation']} ({row['noise']:.0%})" for row in noisy[:WORST])
        said.append(f"Noisy machine: times spread over more than {NOISY:.0%} on {where}, most on {worst}.")
    disturbed = sum(row["disturbed"] for row in rows)
    if disturbed:
        said.append(f"Busy machine: others ran during {disturbed:,} of {sum(row['rounds'] for row in rows):,} rounds.")
    load = record["environment"]["load_average"][0]
    if load > LOADED:
        said.append(f"Load average {load:.2f} before the run: something else kept the machine busy.")
    return said


def machine(environment: dict[str, Any]) -> list[str]:
    """Say in three lines what the numbers depend on."""
    config, versions = environment["fastclip"], environment["versions"]
    caches = ", ".join(f"{name} {size}" for name, size in environment["caches"].items())
    others = ", ".join(f"{name} {versions[name]}" for name in versions if name != "fastclip")
    huge = environment["huge_pages"]
    return [
        f"{environment['cpu']}, {count(environment['cores'], 'core')} ({caches}), {environment['system']}"
        + (f", huge pages {huge}" if huge else ""),
        f"fastclip {config['version']} at commit {config['commit']}, ISA {config['isa']}, "
        f"{count(config['threads'], 'thread')}, compiler {config['compiler']}",
        f"Python {environment['python']}, {others}, load average {environment['load_average'][0]:.2f}",
    ]
