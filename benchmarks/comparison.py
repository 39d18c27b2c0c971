# SPDX-License-Identifier: BSD-3-Clause
"""What is published of a run of `fastclip bench`: a part of docs/performance.md and the table in README.md."""

from __future__ import annotations

from collections.abc import Iterator

from fastclip._bench.record import Record, Row
from fastclip._bench.report.figures import machine, median, peers, point, warnings
from fastclip._bench.report.formats import count, duration, label, operation, over, size, times
from fastclip._bench.report.markdown import body, rows

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
KNOWN = {"resnet50": "ResNet-50", "gpt2": "GPT-2", "rl_policy": "RL policy", "thousand_tens": "1,000 tiny arrays"}
OPERATIONS = ("within", "clip")
POINTER = "[docs/performance.md](docs/performance.md) has the times, against the memory's limit, NumPy and PyTorch.\n"


def part(record: Record) -> str:
    """Write the part of docs/performance.md."""
    return f"## Against other libraries\n\n{body(record)}"


def _chosen(record: Record) -> list[Row]:
    found = {
        (row["workload"], row["operation"]): row
        for row in record["rows"]
        if row["sweep"] is None and row["cache"] == "warm"
    }
    wanted = [(workload, name) for workload in KNOWN for name in OPERATIONS]
    return [found[key] for key in wanted if key in found]


def _lines(chosen: list[Row], others: list[str]) -> Iterator[tuple[str, ...]]:
    for row in chosen:
        seconds, wrong = row["seconds"], row["wrong"]
        yield (
            f"{KNOWN[row['workload']]}: {count(row['arrays'], 'array')}, {size(row['bytes'])}",
            operation(row["operation"]),
            duration(median(row, "fastclip")),
            over(point(row, "fastclip", "limit")) if "limit" in seconds else "",
            *(
                times(point(row, name, "fastclip")) + (" (wrong)" if name in wrong else "") if name in seconds else ""
                for name in others
            ),
        )


def table(record: Record) -> str:
    """Write the table for README.md: what people know, by who takes part."""
    chosen = _chosen(record)
    others = [name for name in peers(chosen) if not name.startswith("fastclip")]  # docs/performance.md has the drop-ins
    columns = ("gradients", "", "fastclip", "x limit", *map(label, others))
    failed = {row: why for row, why in record["failed"].items() if row.partition(",")[0] in KNOWN}
    shown: Record = {**record, "rows": chosen, "failed": failed}
    beware = "".join(f"{line}\n" for line in warnings(shown))
    return (
        rows(columns, _lines(chosen, others), len(columns) - 2)
        + "\n*x limit*: the time over that of a plain native loop over the same memory. Under a library's name: how\n"
        "many times slower than fastclip it is. [docs/performance.md](docs/performance.md) has the intervals.\n"
        f"Measured on {'; '.join(machine(record['environment']))}.\n{beware}"
    )


def fill(readme: str, record: Record | None) -> str:
    """Put the table, or a pointer while there is none, between the marks in README.md."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md: expected {BEGIN} and, behind it, {END}")
    return f"{before}{BEGIN}\n{table(record) if record else POINTER}{END}{after}"
