# SPDX-License-Identifier: BSD-3-Clause
"""Bars: every peer's time on every workload, and the limit as a line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from fastclip._bench.record import Record, Row
from fastclip._bench.report.figures import median, peers, point, title
from fastclip._bench.report.formats import count, duration, in_order, label, operation, size, times
from fastclip._bench.report.plots import style

COLUMNS = 2
BAR = 0.19  # inches
AROUND = 0.5  # inches of title and space for each panel
LETTER = 0.067  # inches


def _panel(axes: Axes, row: Row, looks: dict[str, style.Style], most: int) -> Text:
    """Draw one workload's bars from 0, fastclip's at the top, where there is room for so many; return the title."""
    names = [name for name in in_order(row["seconds"]) if name in looks]
    seconds = [median(row, name) for name in names]
    drawn = axes.barh(names, seconds, color=[looks[name].colour for name in names], height=0.72)
    longest = max(len(label(name)) for name in names)
    letter = LETTER / (style.WIDTH / COLUMNS - LETTER * (longest + 2))  # of the axes' width
    end = 0.0
    for bar, name, time in zip(drawn, names, seconds, strict=True):
        bar.set_hatch(looks[name].hatch)
        bar.set_edgecolor("white" if looks[name].hatch else looks[name].colour)
        said = [duration(time), *([f"{times(point(row, name, 'fastclip'))}x"] if name != "fastclip" else [])]
        said += ["wrong"] if name in row["wrong"] else []
        text = ", ".join(said)
        end = max(end, time / (1 - letter * (len(text) + 2)))
        axes.annotate(
            text,
            (time, name),
            xytext=(4, 0),
            textcoords="offset points",
            verticalalignment="center",
            fontweight="bold" if name == "fastclip" else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            zorder=5,
        )
    if "limit" in row["seconds"]:
        axes.axvline(median(row, "limit"), **style.LIMIT, zorder=4)
    axes.set_yticks(range(len(names)), [label(name) for name in names])
    axes.get_yticklabels()[names.index("fastclip")].set_fontweight("bold")
    axes.set_ylim(most - 0.5, -0.5)
    axes.set_xlim(0, end)
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    dtype = "" if row["dtype"] == "f32" else f" {row['dtype']}"
    what = f"{title(row)}: {count(row['arrays'], 'array')}, {size(row['bytes'])}{dtype}"
    return axes.set_title(what, loc="left", fontweight="bold", fontsize=8.5)


def _begin_with_the_names(figure: Figure, titles: dict[Axes, Text]) -> None:
    """Let titles begin where the names of the bars do, which only a figure that has been laid out knows."""
    figure.draw_without_rendering()
    for axes, text in titles.items():
        left = min(name.get_window_extent().x0 for name in axes.get_yticklabels())
        text.set_x(axes.transAxes.inverted().transform((left, 0.0))[0])


def _figure(rows: Sequence[Row], looks: dict[str, style.Style]) -> Figure:
    with style.drawing():
        lines = math.ceil(len(rows) / COLUMNS)
        most = max(sum(name in looks for name in row["seconds"]) for row in rows)
        limited = any("limit" in row["seconds"] for row in rows)
        made = style.figure((0.7 if limited else 0.4) + lines * (AROUND + BAR * most))
        grid = made.subplots(lines, COLUMNS, squeeze=False).ravel()
        titles = {axes: _panel(axes, row, looks, most) for axes, row in zip(grid, rows, strict=False)}
        for axes in grid[len(rows) :]:
            axes.set_axis_off()
        made.suptitle(f"Time of a call, shorter is better: {operation(rows[0]['operation'])}", fontsize=10)
        if limited:
            line = Line2D([], [], **style.LIMIT)
            text = "limit: a plain native loop over the same memory"
            made.legend([line], [text], loc="outside lower center", frameon=False, handlelength=3.2)
        _begin_with_the_names(made, titles)
    return made


def figures(record: Record) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for each operation."""
    rows = [row for row in record["rows"] if row["sweep"] is None]
    looks = style.styles(peers(record["rows"]))
    for name in dict.fromkeys(row["operation"] for row in rows):
        yield f"bars-{name}", _figure([row for row in rows if row["operation"] == name], looks)
