# SPDX-License-Identifier: BSD-3-Clause
"""A record against an earlier one, by ratios of ratios: the machine may be faster or slower than it was."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fastclip._bench.intervals import Interval
from fastclip._bench.record import Record, Row
from fastclip._bench.report.figures import ratio, title
from fastclip._bench.report.formats import count, label, operation, over, size
from fastclip._bench.report.layout import Group, Section

CHANGED = 1.05  # both ways
CONFIDENCE = 0.975  # of each of the two intervals, so that both hold in 95 % of cases
YARDSTICKS = ("limit", "numpy")  # the first that both have
NAMED = 3  # rows that only one run has

Key = tuple[str, str, str, str, int, str, int, int]


def _key(row: Row) -> Key:
    return (
        row["sweep"] or "",
        row["workload"],
        row["operation"],
        row["dtype"],
        row["threads"],
        row["cache"],
        row["arrays"],
        row["bytes"],
    )


@dataclass(frozen=True)
class Change:
    """Hold fastclip's time over the same yardstick's, now and then."""

    row: Row
    yardstick: str
    then: Interval
    now: Interval
    became_wrong: bool

    @property
    def ratio(self) -> Interval:
        """Return now over then; its interval reaches from the best case of both to the worst."""
        low = self.now.low / self.then.high
        high = self.now.high / self.then.low if self.then.low else math.inf
        return Interval(self.now.median / self.then.median, low, high)

    @property
    def slower(self) -> bool:
        """Tell whether the whole interval says so."""
        return self.ratio.low > CHANGED

    @property
    def faster(self) -> bool:
        """Tell whether the whole interval says so."""
        return self.ratio.high < 1 / CHANGED


@dataclass
class Comparison:
    """Hold the rows that both records have, the others by name, and what else differs."""

    changes: list[Change] = field(default_factory=list)
    only_now: list[str] = field(default_factory=list)
    only_then: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)  # have no yardstick in common
    differences: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # rows that had times then, or are new
    became_wrong: list[str] = field(default_factory=list)  # inputs without times, of whose norm only the error is asked

    @property
    def regressed(self) -> bool:
        """Tell whether anything is slower, wrong or without an answer that was not."""
        return bool(self.failed or self.became_wrong) or any(
            change.slower or change.became_wrong for change in self.changes
        )


def _differences(now: Record, then: Record) -> list[str]:
    was, is_ = then["environment"], now["environment"]
    pairs = {
        "CPU": (was["cpu"], is_["cpu"]),
        "cores": (was["cores"], is_["cores"]),
        **{name: (was["fastclip"].get(name), is_["fastclip"].get(name)) for name in ("isa", "threads", "compiler")},
        "NumPy": (was["versions"].get("numpy"), is_["versions"].get("numpy")),
    }
    said = [f"{name}: {old} then, {new} now." for name, (old, new) in pairs.items() if old != new]
    if was["cpu"] != is_["cpu"]:
        said.append("Ratios to the limit of another CPU are no measure of a change in fastclip.")
    return said


def _name(row: Row) -> str:
    return f"{title(row, threads=True)}, {operation(row['operation'])}, {row['dtype']}, {size(row['bytes'])}"


def _wrong_inputs(record: Record) -> set[str]:
    """Name the inputs whose norm fastclip gets wrong."""
    return {
        f"{entry['case']}, {entry['dtype']}, {count(entry['elements'], 'element')}"
        for entry in record["accuracy"]
        if "fastclip" in entry["wrong"]
    }


def compare(now: Record, then: Record) -> Comparison:
    """Compare what is in both records."""
    rows, old_rows = ({_key(row): row for row in record["rows"]} for record in (now, then))
    made = Comparison(
        only_now=[_name(row) for key, row in rows.items() if key not in old_rows],
        only_then=[_name(row) for key, row in old_rows.items() if key not in rows],
        differences=_differences(now, then),
        failed=[f"{row} ({why})" for row, why in now["failed"].items() if row not in then["failed"]],
        became_wrong=sorted(_wrong_inputs(now) - _wrong_inputs(then)),
    )
    for key, row in rows.items():
        old = old_rows.get(key)
        if old is None:
            continue
        yardstick = next((name for name in YARDSTICKS if name in row["seconds"] and name in old["seconds"]), None)
        if yardstick is None:
            made.without.append(_name(row))
            continue
        was, is_ = (ratio(one, "fastclip", yardstick, CONFIDENCE) for one in (old, row))
        became_wrong = "fastclip" in row["wrong"] and "fastclip" not in old["wrong"]
        made.changes.append(Change(row, yardstick, was, is_, became_wrong))
    return made


def _verdict(change: Change) -> str:
    words = [
        *(["WRONG"] if change.became_wrong else []),
        *(["SLOWER"] if change.slower else []),
        *(["faster"] if change.faster else []),
    ]
    return " ".join(words)


def section(comparison: Comparison) -> Section:
    """Lay out every change, the slower ones first."""
    ordered = sorted(comparison.changes, key=lambda change: -change.ratio.median)
    groups = [
        Group(
            (title(change.row, threads=change.row["sweep"] == "threads"),),
            [
                (
                    operation(change.row["operation"]),
                    label(change.yardstick),
                    size(change.row["bytes"]),
                    *(f"{ratio.median:.3g}" for ratio in (change.then, change.now)),
                    over(change.ratio),
                    _verdict(change),
                )
            ],
        )
        for change in ordered
    ]
    note = (
        "Then, now: fastclip's time over that of the limit, or of NumPy where there is none. now / then: above 1 it "
        "became slower; in brackets the interval that holds the change with 95 % confidence, as far as the rounds "
        f"of the two runs tell. SLOWER and faster: the whole of it is beyond {CHANGED:g} times."
    )
    numbers = ("size", "then", "now", "now / then", "")
    return Section("Against the earlier run", "workload", ("operation", "over"), numbers, groups, note)


def remarks(comparison: Comparison) -> list[str]:
    """Say what could not be compared, what differs, and what came of it."""
    said = list(comparison.differences)
    for names, where in (
        (comparison.only_now, "Only in this run"),
        (comparison.only_then, "Only in the earlier run"),
        (comparison.without, "Without a limit or NumPy in both"),
    ):
        if names:
            more = f", and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
            said.append(f"{where}: {count(len(names), 'row')}: {'; '.join(names[:NAMED])}{more}.")
    said += [f"FAILED {row}" for row in comparison.failed]
    said += [f"WRONG norm, right in the earlier run: {given}" for given in comparison.became_wrong]
    slower = sum(change.slower for change in comparison.changes)
    faster = sum(change.faster for change in comparison.changes)
    wrong = sum(change.became_wrong for change in comparison.changes)
    said.append(
        f"{count(len(comparison.changes), 'row')} compared: {slower} slower, {faster} faster"
        + (f", {wrong} wrong that were right." if wrong else ".")
    )
    return said
