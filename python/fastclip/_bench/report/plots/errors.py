# SPDX-License-Identifier: BSD-3-Clause
"""The error of the norm: against size, and on inputs that are hard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastclip._bench.record import Accuracy, Record
from fastclip._bench.report.formats import in_order
from fastclip._bench.report.plots import style

NONE = 1e-18  # where an error of 0 is drawn
INFINITE = 1e2  # and one that is no number
_THIN: dict[str, Any] = {"color": style.GREY, "linewidth": 0.7, "linestyle": ":", "zorder": 1}
LOW, HIGH = NONE / 3, INFINITE * 3
ROUNDINGS = {"one rounding of f64": 2.0**-53, "one rounding of f32": 2.0**-24}


def _shown(entry: Accuracy, name: str) -> float:
    """Return where an error is drawn."""
    error = entry["errors"][name]
    return INFINITE if error is None else min(max(error, NONE), INFINITE)


def _axis(axis: Any) -> None:
    axis.set_ticks(
        [NONE, *(10.0**power for power in range(-16, 1, 4)), INFINITE],
        ["0", *(f"1e{power:d}" for power in range(-16, 0, 4)), "1", "inf or\nNaN"],
    )
    axis.set_tick_params(which="minor", length=0)


def _label_roundings_above(axes: Axes) -> None:
    for text, error in ROUNDINGS.items():
        axes.axvline(error, **_THIN)
        place = axes.get_xaxis_transform()
        axes.text(error, 1.01, text, color=style.GREY, transform=place, horizontalalignment="center")


def _label_roundings_beside(axes: Axes) -> None:
    for text, error in ROUNDINGS.items():
        axes.axhline(error, **_THIN)
        place = axes.get_yaxis_transform()
        axes.text(
            1.02, error, text.replace(" of", "\nof"), color=style.GREY, transform=place, verticalalignment="center"
        )


def _ring_wrong(axes: Axes, entries: Sequence[Accuracy], at: Callable[[int, str], tuple[float, float]]) -> list[Any]:
    """Draw a ring around each wrong answer; return one of them for the legend."""
    points = [at(k, name) for k, entry in enumerate(entries) for name in entry["wrong"] if name in entry["errors"]]
    if not points:
        return []
    ring: dict[str, Any] = {
        "marker": "o",
        "markersize": 10,
        "markerfacecolor": "none",
        "color": "#000000",
        "markeredgewidth": 0.7,
    }
    return list(axes.plot(*zip(*points, strict=True), linestyle="none", zorder=5, clip_on=False, **ring))


def _against_size(entries: Sequence[Accuracy], looks: dict[str, style.Style]) -> Figure:
    made = style.figure(4.0, len(looks) + 1)
    axes = made.subplots()
    axes.set(xscale="log", yscale="log", xlabel="elements", ylabel="relative error of the norm")
    handles: dict[str, Any] = {}
    for name, look in looks.items():
        points = [(entry["elements"], _shown(entry, name)) for entry in entries if name in entry["errors"]]
        if points:
            line = {**look.line(), **({} if look.bold else {"markerfacecolor": "none"})}  # equal ones shine through
            handles[name] = axes.plot(*zip(*sorted(points), strict=True), **line, clip_on=False)[0]
    for ring in _ring_wrong(axes, entries, lambda k, name: (entries[k]["elements"], _shown(entries[k], name))):
        handles["wrong"] = ring
    axes.set_ylim(LOW, HIGH)
    _axis(axes.yaxis)
    low, high = axes.get_xlim()
    style.powers(axes.xaxis, low, high, 10.0, lambda n: f"1e{len(str(round(n))) - 1}")
    axes.grid(color="#DDDDDD", linewidth=0.5)
    axes.set_axisbelow(True)
    style.plain(axes)
    _label_roundings_beside(axes)
    axes.set_title(f"Error of the norm against size: {entries[0]['case']}, {entries[0]['dtype']}", fontsize=10)
    style.legend(made, handles)
    return made


def _hard(entries: Sequence[Accuracy], looks: dict[str, style.Style]) -> Figure:
    """Draw a band for each input, and in it each peer at a height of its own: many errors are the same."""
    made = style.figure(1.0 + len(entries) * (0.25 + 0.12 * len(looks)), len(looks) + 1)
    axes = made.subplots()
    axes.set(xscale="log", xlim=(LOW, HIGH), xlabel="relative error of the norm")
    handles: dict[str, Any] = {}
    heights = {name: (i + 1) / (len(looks) + 1) - 0.5 for i, name in enumerate(looks)}
    for name, look in looks.items():
        points = [
            (_shown(entry, name), k + heights[name]) for k, entry in enumerate(entries) if name in entry["errors"]
        ]
        if points:
            line = {**look.line(), "linestyle": "none"}
            handles[name] = axes.plot(*zip(*points, strict=True), **line)[0]
    for ring in _ring_wrong(axes, entries, lambda k, name: (_shown(entries[k], name), k + heights[name])):
        handles["wrong"] = ring
    several = len({entry["dtype"] for entry in entries}) > 1
    axes.set_yticks(
        range(len(entries)), [entry["case"] + (f", {entry['dtype']}" if several else "") for entry in entries]
    )
    axes.set_ylim(len(entries) - 0.5, -0.5)
    axes.tick_params(left=False)
    for k in range(0, len(entries), 2):
        axes.axhspan(k - 0.5, k + 0.5, color="#F2F2F2", zorder=0, linewidth=0)
    _axis(axes.xaxis)
    style.plain(axes)
    _label_roundings_above(axes)
    axes.set_title("Error of the norm on hard inputs", pad=18, fontsize=10)
    style.legend(made, handles)
    return made


def figures(record: Record) -> Iterator[tuple[str, Figure]]:
    """Yield a figure against size for each series, and one of all hard inputs."""
    entries = record["accuracy"]
    looks = style.styles(in_order(name for entry in entries for name in entry["errors"]))
    with style.drawing():
        series: dict[tuple[str, str], list[Accuracy]] = {}
        for entry in entries:
            if entry["group"] == "size":
                series.setdefault((entry["case"], entry["dtype"]), []).append(entry)
        for (case, dtype), chosen in series.items():
            name = re.sub(r"[^a-z0-9.]+", "-", f"error-size-{case}-{dtype}".lower())
            yield name, _against_size(chosen, looks)
        hard = [entry for entry in entries if entry["group"] == "hard"]
        if hard:
            yield "error-hard", _hard(hard, looks)
