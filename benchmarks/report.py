# SPDX-License-Identifier: BSD-3-Clause
"""The table and the JSON record of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.bars import MIN_ROUNDS, Bar, bars, opponents
from benchmarks.memory import Growth
from fastclip._bench.cases import Workload
from fastclip._bench.exact import WRONG
from fastclip._bench.intervals import Interval, median_interval
from fastclip._bench.ruler import Result

_AGAINST = ("limit", "streams", "numpy", "torch", "tensorflow", "tf.function")


@dataclass(frozen=True)
class Row:
    """Hold one operation on one workload with its ratios."""

    workload: Workload
    result: Result
    ours: str = "fastclip"  # or one of its drop-ins

    @property
    def ratios(self) -> dict[str, Interval]:
        """Return our time over each other's: those that have a column, and whom a bar names here or elsewhere."""
        others = dict.fromkeys([*_AGAINST, *(bar.against for bar in self.bars), *opponents(self.ours)])
        return {other: self.result.ratio(other, self.ours) for other in others if other in self.result.seconds}

    @property
    def bars(self) -> tuple[Bar, ...]:
        """Return the bars whose opponent took part."""
        all_bars = bars(self.workload, self.result.operation, self.ours)
        return tuple(bar for bar in all_bars if bar.against in self.result.seconds)

    @property
    def settled(self) -> bool:
        """Tell whether enough rounds without others on the machine stand behind the verdict."""
        return self.result.rounds - self.result.disturbed >= MIN_ROUNDS

    @property
    def missed(self) -> tuple[Bar, ...]:
        """Return the bars that were not reached."""
        return tuple(bar for bar in self.bars if not bar.passed(self.ratios[bar.against]))


def _times(seconds: float) -> str:
    if seconds < 1e-5:
        return f"{seconds * 1e6:.3f}"
    return f"{seconds * 1e6:,.1f}" if seconds < 1e-4 else f"{seconds * 1e6:,.0f}"


def _ratio(name: str, ratio: Interval) -> str:
    if name in ("limit", "streams"):
        return f"{ratio.median:.3f} ({ratio.low:.3f}-{ratio.high:.3f})"
    return f"{1 / ratio.median:.2f} ({1 / ratio.high:.2f}-{1 / ratio.low:.2f})"


def _bar(bar: Bar, row: Row) -> str:
    if bar.against == "limit":
        return f"limit <= {bar.at_most:g}"
    found = "" if bar.against in _AGAINST else f": {_ratio(bar.against, row.ratios[bar.against])}"  # it has no column
    return f"{bar.against} >= {1 / bar.at_most:.3g}{found}"


def _verdict(row: Row) -> str:
    if not row.bars:
        return "no bar"
    verdict = "MISSED " + ", ".join(bar.against for bar in row.missed) if row.missed else "pass"
    return verdict if row.settled else f"({verdict})"


HEADER = (
    "Times in us. x limit: our time over the memory limit's; x streams: over the best loop's with four\n"
    "streams a buffer; x numpy and so on: their time over ours: medians of ratios paired within a round,\n"
    "with 95 % binomial order-statistic intervals, judged by the worse end. noise: the middle 80 % of the limit\n"
    "(of numpy where there is no limit) over the rounds. A verdict in brackets\n"
    f"has fewer than {MIN_ROUNDS} rounds behind it in which nobody else used the machine."
)
_COLUMNS = ("workload", "operation", "who", "time", "limit", "noise", *(f"x {name}" for name in _AGAINST))


def table(rows: Sequence[Row]) -> str:
    """Lay out the rows as text."""
    cells = [[*_COLUMNS, "bars", "verdict"]]
    for row in rows:
        median = {name: median_interval(times).median for name, times in row.result.seconds.items()}
        ratios = {name: _ratio(name, ratio) for name, ratio in row.ratios.items()}
        cells.append(
            [
                row.workload.name,
                row.result.operation,
                row.ours,
                _times(median[row.ours]),
                _times(median["limit"]) if "limit" in median else "-",
                f"{row.result.noise():.0%}",
                *(ratios.get(name, "-") for name in _AGAINST),
                ", ".join(_bar(bar, row) for bar in row.bars),
                _verdict(row),
            ]
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in cells)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def memory_table(rows: Sequence[Growth]) -> str:
    """Lay out the memory rows as text."""
    lines = ["Memory: bytes by which one clipping call raises the process's peak"]
    for row in rows:
        lines.append(
            f"{row.workload}  {row.call:18s} data {row.data / 1e6:.1f} MB, result {row.result / 1e6:.1f} MB; "
            f"raised by {row.extra / 1e6:.2f} MB, allowed {row.allowed / 1e6:.2f} MB: "
            f"{'pass' if row.passed else 'MISSED'}"
        )
    return "\n".join(lines)


def errors_line(workload: Workload, errors: dict[str, float]) -> str:
    """Lay out the peers' errors against the exact norm."""
    size = f"{len(workload.shapes)} arrays, {workload.nbytes / 1e6:.2f} MB"
    wrong = WRONG[workload.dtype]
    parts = [f"{name} {error:.1e}{' WRONG' if error > wrong else ''}" for name, error in errors.items()]
    return f"{workload.name}: {size}" + (f"; error of the norm: {', '.join(parts)}" if parts else "")


def _judged(bar: Bar, row: Row) -> dict[str, Any]:
    passed = bar.passed(row.ratios[bar.against]) if row.settled else None
    return {**asdict(bar), "passed": passed}


def record(rows: Sequence[Row], errors: dict[str, dict[str, float]], memory: Sequence[Growth]) -> dict[str, Any]:
    """Return all samples and verdicts as plain data."""
    operations = [
        {
            "workload": row.workload.name,
            "arrays": len(row.workload.shapes),
            "bytes": row.workload.nbytes,
            "dtype": row.workload.dtype,
            "operation": row.result.operation,
            "ours": row.ours,
            "rounds": row.result.rounds,
            "retaken": row.result.retaken,
            "disturbed": row.result.disturbed,
            "limit_loops": row.result.limits,
            "stream_loops": row.result.streams,
            "calls_per_sample": row.result.calls,
            "seconds": row.result.seconds,
            "noise": row.result.noise(),
            "ratios": {name: ratio._asdict() for name, ratio in row.ratios.items()},
            "bars": [_judged(bar, row) for bar in row.bars],
        }
        for row in rows
    ]
    growths = [{**asdict(row), "allowed": row.allowed, "passed": row.passed} for row in memory]
    return {"operations": operations, "norm_errors": errors, "memory": growths}
