# SPDX-License-Identifier: BSD-3-Clause
"""What all plots share: colours, marks, axes of bytes, and how wide a page is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from fastclip._bench.record import Record
from fastclip._bench.report.formats import BYTES, cache_bytes, in_units, label

WIDTH = 7.0  # inches, that of a page's text
DPI = 150
COLUMNS = 4  # of a legend
LINE = 0.18  # inches of it
LIMIT: dict[str, Any] = {
    "color": "#000000",
    "linestyle": (0, (4, 2)),
    "linewidth": 1.2,
}  # also what a legend shows of it
GREY = "#666666"
CLOSE = 6  # times a cache's size at which the next one's name would touch its own
_FONT: Any = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.6,
    "axes.linewidth": 0.6,
}


class Style(NamedTuple):
    """Tell a peer from the others by colour, and without it by mark and hatch."""

    colour: str
    marker: str
    hatch: str
    dashes: str = "-"
    bold: bool = False

    def line(self) -> dict[str, Any]:
        """Return what matplotlib calls these for a line with marks."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.dashes,
            "markersize": 6 if self.bold else 4.5,
            "linewidth": 2.4 if self.bold else 1.1,
            "zorder": 4 if self.bold else 3,
        }


# Okabe and Ito's colours, which the colour-blind can tell apart. Libraries that are called one through another share
# one, and differ by line, mark and hatch.
_BLUE, _GREEN, _PURPLE, _SKY, _ORANGE, _YELLOW = "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442"
_BRICK = "#8C3B00"  # fastclip's own, darker
_STYLES = {
    "fastclip": Style("#D55E00", "o", "", bold=True),
    "fastclip.torch": Style("#D55E00", "1", "||..", "--"),
    "fastclip.tensorflow": Style("#D55E00", "$f$", "o+||", "-."),
    "fastclip.optax": Style(_BRICK, "|", "\\\\||"),
    "fastclip.optax donated": Style(_BRICK, "_", "\\..||", "--"),
    "fastclip.flwr": Style(_BRICK, ".", "++||", ":"),
    "fastclip.thinc": Style("#D55E00", "$t$", "+.||", ":"),
    "numpy": Style(_BLUE, "s", "///"),
    "scipy": Style(_BLUE, "<", "//..", "--"),
    "torch": Style(_GREEN, "^", "..."),
    "torch loop": Style(_GREEN, ">", "ooo", "--"),
    "torch cuda": Style(_GREEN, "p", "OO", ":"),
    "tensorflow": Style(_PURPLE, "D", "xxx"),
    "tf.function": Style(_PURPLE, "d", "x.", "--"),
    "jax": Style(_SKY, "4", "||", ":"),
    "optax": Style(_SKY, "v", "\\\\\\"),
    "optax donated": Style(_SKY, "h", "\\\\..", "--"),
    "numba": Style(_ORANGE, "P", "---"),
    "cupy": Style(_ORANGE, "H", "-.", "--"),
    "flower": Style(GREY, "X", "+++"),
    "thinc": Style(GREY, "8", "+..", "--"),
    "opacus": Style(_ORANGE, "*", "**", ":"),
}
_STRANGERS = (
    Style(_YELLOW, "2", "|||"),
    Style(_YELLOW, "3", "//--", "--"),
    Style(_YELLOW, "x", "xx--", ":"),
    Style("#000000", "+", "++..", ":"),
)


def styles(peers: Iterable[str]) -> dict[str, Style]:
    """Give each peer its style, the same in every plot; who is not known gets what is left."""
    strangers = itertools.cycle(_STRANGERS)
    return {name: _STYLES[name] if name in _STYLES else next(strangers) for name in peers}


def figure(height: float, named: int = 0) -> Figure:
    """Make an empty figure of a page's width, with room below for a legend of so many names."""
    height += LINE * math.ceil(named / COLUMNS)
    with rc_context(_FONT):
        made = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(made)
    return made


def drawing() -> Any:
    """Return the context in which axes and texts are made, so that their letters have the plots' size."""
    return rc_context(_FONT)


def save(made: Figure, path: Path) -> None:
    """Write a PNG."""
    with drawing():
        made.savefig(path, dpi=DPI)


def plain(axes: Axes) -> None:
    """Leave out the frame above and on the right."""
    axes.spines[["top", "right"]].set_visible(False)


def powers(axis: Any, low: float, high: float, step: float, write: Any) -> None:
    """Mark a logarithmic axis at powers of `step`, in words."""
    first, last = math.ceil(math.log(low, step) - 1e-9), math.floor(math.log(high, step) + 1e-9)
    ticks = [step**i for i in range(first, last + 1)]
    axis.set_ticks(ticks, [write(tick) for tick in ticks])
    axis.set_minor_locator(NullLocator())


def mark_caches(axes: Axes, record: Record, low: float, high: float) -> None:
    """Draw a line at the size of each cache that holds data, with its name above the frame."""
    sizes = {name: cache_bytes(text) for name, text in record["environment"]["caches"].items()}
    shown = {name: nbytes for name, nbytes in sizes.items() if not name.endswith("i") and low < nbytes < high}
    for name, nbytes in shown.items():
        axes.axvline(nbytes, color=GREY, linewidth=0.7, linestyle=":", zorder=1)
        above = any(nbytes < other < CLOSE * nbytes for other in shown.values())
        below = any(nbytes > other > nbytes / CLOSE for other in shown.values())
        axes.text(
            nbytes,
            1.01,
            f"{name} {in_units(nbytes, BYTES)}",
            transform=axes.get_xaxis_transform(),
            color=GREY,
            horizontalalignment="right" if above else "left" if below else "center",
            verticalalignment="bottom",
        )


def legend(made: Figure, handles: dict[str, Any]) -> None:
    """Name the lines below the axes, fastclip in bold."""
    drawn = made.legend(
        list(handles.values()),
        [label(name) for name in handles],
        loc="outside lower center",
        ncols=min(COLUMNS, len(handles)),
        frameon=False,
        handlelength=3.2,
    )
    for name, text in zip(handles, drawn.get_texts(), strict=True):
        if name == "fastclip":
            text.set_fontweight("bold")
