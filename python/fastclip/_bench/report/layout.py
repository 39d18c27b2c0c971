# SPDX-License-Identifier: BSD-3-Clause
"""What a report shows, as tables of text; the terminal and Markdown lay out the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from fastclip._bench.record import Accuracy, Record, Row
from fastclip._bench.report.figures import LIMITS, median, peers, point, ratio, title
from fastclip._bench.report.formats import count, duration, error, in_order, label, operation, over, size, times

Cells = tuple[str, ...]

WRONG = "!"  # behind a number in a narrow column
_BRACKETS = "Medians of ratios paired within a round; in brackets their 95 % intervals."


@dataclass(frozen=True)
class Group:
    """Hold rows that belong together, and the lines that say what they are."""

    heads: tuple[str, ...]
    rows: list[Cells]


@dataclass(frozen=True)
class Section:
    """Hold one table. Its first column is for the heads of its groups; then come those of text and those of numbers."""

    title: str
    first: str
    texts: Cells
    numbers: Cells
    groups: list[Group]
    note: str = ""
    kept: int = 0  # columns that each part repeats where the table is too wide for one
    apart: bool = False  # where there is room each group has a table of its own

    @property
    def columns(self) -> Cells:
        """Return the headings of all columns but the first."""
        return self.texts + self.numbers


def _marked(text: str, wrong: bool) -> str:
    return f"{text} {WRONG}" if wrong else text


def _compact(
    heading: str,
    rows: Sequence[Row],
    first: str,
    heads: Callable[[Row], tuple[str, ...]],
    second: str,
    at: Callable[[Row], str],
    *,
    number: bool = False,
) -> Section:
    """Lay out a line for each row: fastclip's time, and how many times slower the others are."""
    others = [name for name in peers(rows) if name != "fastclip"]
    limited = any("limit" in row["seconds"] for row in rows)

    def cells(row: Row) -> Cells:
        seconds = row["seconds"]
        limit = over(point(row, "fastclip", "limit")) if "limit" in seconds else ""
        slower = (
            _marked(times(point(row, name, "fastclip")), name in row["wrong"]) if name in seconds else ""
            for name in others
        )
        return (at(row), duration(median(row, "fastclip")), *([limit] if limited else []), *slower)

    columns = ("fastclip", *(["x limit"] if limited else []), *map(label, others))
    texts, numbers = ((), (second, *columns)) if number else ((second,), columns)
    notes = ["Under a name: its time over fastclip's."]
    if limited:
        notes.insert(0, "x limit: fastclip's time over the memory limit's.")
    if any(row["wrong"] for row in rows):
        notes.append(f"{WRONG}: its answer is wrong.")
    groups = [Group(lines, [cells(row) for row in group]) for lines, group in groupby(rows, heads)]
    return Section(heading, first, texts, numbers, groups, " ".join(notes), kept=3 if limited else 2)


def _swept(record: Record, sweep: str | None) -> list[Row]:
    return [row for row in record["rows"] if row["sweep"] == sweep]


def overview(rows: Sequence[Row]) -> Section:
    """Lay out workloads by peers."""
    return _compact(
        "Overview", rows, "workload", lambda row: (title(row),), "operation", lambda row: operation(row["operation"])
    )


def _details(rows: Sequence[Row]) -> Section:
    """Lay out every peer's time, ratios and error, and the limit's."""
    groups = []
    for row in rows:
        dtype = "" if row["dtype"] == "f32" else f", {row['dtype']}"
        heads = (
            title(row),
            operation(row["operation"]),
            count(row["arrays"], "array"),
            f"{size(row['bytes'])}{dtype}",
            count(row["rounds"], "round"),
        )
        groups.append(Group(heads, [_detail(row, name) for name in in_order(row["seconds"])]))
    numbers = ("time", "x limit", "x fastclip", "error")
    return Section("Details", "workload", ("who",), numbers, groups, _BRACKETS, apart=True)


def _detail(row: Row, name: str) -> Cells:
    limited = "limit" in row["seconds"] and name != "limit"
    slower = name not in (*LIMITS, "fastclip")
    wrong = " WRONG" if name in row["wrong"] else ""
    return (
        label(name),
        duration(median(row, name)),
        over(ratio(row, name, "limit")) if limited else "",
        times(ratio(row, name, "fastclip")) if slower else "",
        f"{error(row['errors'].get(name))}{wrong}".strip(),
    )


def _sweeps(record: Record) -> Iterable[Section]:
    """Lay out time against size, threads, and caches."""

    def on(row: Row) -> tuple[str, ...]:
        return (row["workload"], operation(row["operation"]))

    if rows := _swept(record, "size"):
        yield _compact(
            "Against size",
            rows,
            "operation",
            lambda row: (operation(row["operation"]), row["dtype"]),
            "size",
            lambda row: size(row["bytes"]),
            number=True,
        )
    if rows := _swept(record, "threads"):
        yield _compact("Against threads", rows, "workload", on, "threads", lambda row: str(row["threads"]), number=True)
    if rows := _swept(record, "cache"):
        yield _compact("Warm and cold caches", rows, "workload", on, "caches", lambda row: row["cache"])


def _accuracy(heading: str, entries: Sequence[Accuracy]) -> Section:
    """Lay out the error of each peer's norm."""
    names = in_order(name for entry in entries for name in entry["errors"])

    def cell(entry: Accuracy, name: str) -> str:
        if name not in entry["errors"]:
            return ""
        return _marked(error(entry["errors"][name]) or "inf", name in entry["wrong"])

    rows: list[Cells] = [
        (entry["dtype"], f"{entry['elements']:,}", *(cell(entry, name) for name in names)) for entry in entries
    ]
    groups = [Group((entry["case"],), [cells]) for entry, cells in zip(entries, rows, strict=True)]
    note = "Relative, against the exact norm."
    if any(entry["wrong"] for entry in entries):
        note += f" {WRONG}: wrong."
    return Section(heading, "input", ("dtype",), ("elements", *map(label, names)), groups, note, kept=2)


def _bandwidth(record: Record) -> Section:
    """Lay out what the memory gives."""
    counts = sorted({int(threads) for by in record["bandwidth"].values() for threads in by})
    rows = {
        kind: tuple(f"{by[str(n)]:.1f}" if str(n) in by else "" for n in counts)
        for kind, by in record["bandwidth"].items()
    }
    groups = [Group((kind,), [cells]) for kind, cells in rows.items()]
    note = "GB of data per second; write counts what is read and written back once."
    return Section("Bandwidth of the memory", "pass", (), tuple(count(n, "thread") for n in counts), groups, note)


def sections(record: Record) -> list[Section]:
    """Lay out all of a record's tables that have anything to show, the overview first."""
    made = []
    if rows := _swept(record, None):
        made += [overview(rows), _details(rows)]
    made += _sweeps(record)
    for group, heading in (("size", "Error of the norm against size"), ("hard", "Error of the norm on hard inputs")):
        if entries := [entry for entry in record["accuracy"] if entry["group"] == group]:
            made.append(_accuracy(heading, entries))
    if record["bandwidth"]:
        made.append(_bandwidth(record))
    return made
