# SPDX-License-Identifier: BSD-3-Clause
"""Speed against threads, with the limit's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastclip._bench.record import Record, Row
from fastclip._bench.report.figures import median, peers
from fastclip._bench.report.formats import operation, size
from fastclip._bench.report.plots import style

COLUMNS = 2
HEIGHT = 2.6  # of a panel


def _panel(axes: Axes, rows: Sequence[Row], looks: dict[str, style.Style]) -> dict[str, Any]:
    """Draw one operation on one workload; return a handle for each name."""
    handles: dict[str, Any] = {}
    named: dict[str, dict[str, Any]] = {name: look.line() for name, look in looks.items()}
    for name, line in {**named, "limit": {**style.LIMIT, "zorder": 5}}.items():
        points = [(row["threads"], row["bytes"] / median(row, name) / 1e9) for row in rows if name in row["seconds"]]
        if points:
            handles[name] = axes.plot(*zip(*points, strict=True), **line)[0]
    counts = sorted({row["threads"] for row in rows})
    axes.set_xscale("log")
    axes.set_xlim(counts[0] / 1.15, counts[-1] * 1.15)
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    axes.set_ylim(0, None)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.5)
    style.plain(axes)
    axes.set_xlabel("threads")
    first = rows[0]
    axes.set_title(f"{first['workload']}, {size(first['bytes'])}:\n{operation(first['operation'])}", fontsize=9)
    return handles


def figures(record: Record) -> Iterator[tuple[str, Figure]]:
    """Yield one figure with a panel for each operation on each workload."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in record["rows"]:
        if row["sweep"] == "threads":
            groups.setdefault((row["workload"], row["operation"], row["dtype"]), []).append(row)
    if not groups:
        return
    looks = style.styles(peers(row for rows in groups.values() for row in rows))
    with style.drawing():
        lines = math.ceil(len(groups) / COLUMNS)
        made = style.figure(0.8 + HEIGHT * lines, len(looks) + 1)
        grid = made.subplots(lines, min(COLUMNS, len(groups)), squeeze=False)
        handles: dict[str, Any] = {}
        for axes, rows in zip(grid.ravel(), groups.values(), strict=False):
            handles |= _panel(axes, sorted(rows, key=lambda row: row["threads"]), looks)
        for axes in grid.ravel()[len(groups) :]:
            axes.set_axis_off()
        made.supylabel("GB of data per second", fontsize=8.5)
        made.suptitle("Speed against threads, higher is better", fontsize=10)
        style.legend(made, handles)
    yield "threads", made
