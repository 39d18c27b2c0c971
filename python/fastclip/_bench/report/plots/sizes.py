# SPDX-License-Identifier: BSD-3-Clause
"""Time against size, both logarithmic, with the sizes of the caches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure

from fastclip._bench.record import Record, Row
from fastclip._bench.report.figures import median, peers
from fastclip._bench.report.formats import BYTES, SECONDS, count, in_units, operation
from fastclip._bench.report.plots import style

HEIGHT = 4.2


def _figure(record: Record, rows: Sequence[Row]) -> Figure:
    first = rows[0]
    with style.drawing():
        looks = style.styles(peers(rows))
        made = style.figure(HEIGHT, len(looks) + 1)
        axes = made.subplots()
        axes.set(xscale="log", yscale="log")
        handles: dict[str, Any] = {}
        for name, look in looks.items():
            points = [(row["bytes"], median(row, name)) for row in rows if name in row["seconds"]]
            handles[name] = axes.plot(*zip(*points, strict=True), **look.line())[0]
        points = [(row["bytes"], median(row, "limit")) for row in rows if "limit" in row["seconds"]]
        if points:
            handles["limit"] = axes.plot(*zip(*points, strict=True), **style.LIMIT, zorder=5)[0]
        low, high = first["bytes"] / 1.5, rows[-1]["bytes"] * 1.5
        axes.set_xlim(low, high)
        style.mark_caches(axes, record, low, high)
        style.powers(axes.xaxis, low, high, 4.0, lambda size: in_units(size, BYTES))
        style.powers(axes.yaxis, *axes.get_ylim(), 10.0, lambda time: in_units(time, SECONDS))
        axes.grid(color="#DDDDDD", linewidth=0.5)
        axes.set_axisbelow(True)
        style.plain(axes)
        axes.set_xlabel("size of the data")
        axes.set_ylabel("time of a call")
        cold = ", cold caches" if first["cache"] == "cold" else ""
        what = f"{operation(first['operation'])}, {first['dtype']}, {count(first['threads'], 'thread')}{cold}"
        axes.set_title(f"Time against size: {what}", pad=18, fontsize=10)
        style.legend(made, handles)
    return made


def figures(record: Record) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for each operation, dtype and state of the caches."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in record["rows"]:
        if row["sweep"] == "size":
            groups.setdefault((row["operation"], row["dtype"], row["cache"]), []).append(row)
    for (name, dtype, cache), rows in groups.items():
        parts = ["size", name, *([dtype] if dtype != "f32" else []), *([cache] if cache != "warm" else [])]
        yield "-".join(parts), _figure(record, sorted(rows, key=lambda row: row["bytes"]))
