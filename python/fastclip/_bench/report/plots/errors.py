# SPDX-License-Identifier: BSD-3-Clause
"""The error of the norm: against size, and on inputs that are hard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastclip._bench.record import Accuracy, Record
from fastclip._bench.report.formats import in_order
from fastclip._bench.report.plots import style

NONE = 1e-18  # where an error of 0 is drawn
INFINITE = 1e2  # and one that is no number
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


def _label_roundings(axes: Axes, *, upright: bool) -> None:
    for text, error in ROUNDINGS.items():
        if upright:
            axes.axvline(error, color=style.GREY, linewidth=0.7, linestyle=":", zorder=1)
            where = {"x": error, "y": 1.01, "transform": axes.get_xaxis_transform(), "horizontalalignment": "center"}
        else:
            axes.axhline(error, color=style.GREY, linewidth=0.7, linestyle=":", zorder=1)
            where = {"x": 1.01, "y": error, "transform": axes.get_yaxis_transform()}
        said = text if upright else text.replace(" of", "\nof")
        axes.text(**where, s=said, color=style.GREY, verticalalignment="bottom" if upright else "center")


def _against_size(entries: Sequence[Accuracy], looks: dict[str, style.Style]) -> Figure:
    made = style.figure(4.4)
    axes = made.subplots()
    axes.set(xscale="log", yscale="log", xlabel="elements", ylabel="relative error of the norm")
    handles: dict[str, Any] = {}
    for name, look in looks.items():
        points = [(entry["elements"], _shown(entry, name)) for entry in entries if name in entry["errors"]]
        if points:
            handles[name] = axes.plot(*zip(*sorted(points), strict=True), **look.line(), clip_on=False)[0]
    axes.set_ylim(LOW, HIGH)
    _axis(axes.yaxis)
    low, high = axes.get_xlim()
    style.powers(axes.xaxis, low, high, 10.0, lambda n: f"1e{len(str(round(n))) - 1}")
    axes.grid(color="#DDDDDD", linewidth=0.5)
    axes.set_axisbelow(True)
    style.plain(axes)
    _label_roundings(axes, upright=False)
    axes.set_title(f"Error of the norm against size, {entries[0]['dtype']}", fontsize=10)
    style.legend(made, handles)
    return made


def _hard(entries: Sequence[Accuracy], looks: dict[str, style.Style]) -> Figure:
    """Draw a band for each input, and in it each peer at a height of its own: many errors are the same."""
    made = style.figure(1.4 + len(entries) * (0.25 + 0.1 * len(looks)))
    axes = made.subplots()
    axes.set(xscale="log", xlim=(LOW, HIGH), xlabel="relative error of the norm")
    handles: dict[str, Any] = {}
    for i, (name, look) in enumerate(looks.items()):
        height = (i + 1) / (len(looks) + 1) - 0.5
        points = [(_shown(entry, name), k + height) for k, entry in enumerate(entries) if name in entry["errors"]]
        if points:
            line = {**look.line(), "linestyle": "none"}
            handles[name] = axes.plot(*zip(*points, strict=True), **line)[0]
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
    _label_roundings(axes, upright=True)
    axes.set_title("Error of the norm on hard inputs", pad=18, fontsize=10)
    style.legend(made, handles)
    return made


def figures(record: Record) -> Iterator[tuple[str, Figure]]:
    """Yield a figure against size for each dtype, and one of all hard inputs."""
    entries = record["accuracy"]
    looks = style.styles(in_order(name for entry in entries for name in entry["errors"]))
    with style.drawing():
        for dtype in dict.fromkeys(entry["dtype"] for entry in entries if entry["group"] == "size"):
            chosen = [entry for entry in entries if entry["group"] == "size" and entry["dtype"] == dtype]
            yield "error-size" + ("" if dtype == "f32" else f"-{dtype}"), _against_size(chosen, looks)
        hard = [entry for entry in entries if entry["group"] == "hard"]
        if hard:
            yield "error-hard", _hard(hard, looks)
