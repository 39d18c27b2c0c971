# SPDX-License-Identifier: BSD-3-Clause
"""Say what was seen in the runs: a table, a verdict, and a plot of every step."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from fastclip._demo.networks import NETWORKS
from fastclip._demo.train import (
    BATCH,
    HIDDEN,
    LEARNED,
    MAX_GLOBAL_NORM,
    MAX_NORM,
    MAX_VALUE,
    RATES,
    Run,
)

FIGURES = ("held-out\naccuracy", "largest\nnorm", "steps\nclipped", "time\nclipping", "share of\ntraining")

Curve = NDArray[np.float64]

# Okabe and Ito's colours, which the colour-blind can tell apart; the line styles are for black and white.
STYLES = {
    "none": ("#D55E00", "-"),
    "by value": ("#0072B2", "--"),
    "by norm": ("#009E73", ":"),
    "by global norm": ("#000000", "-."),
}


def setting(networks: Sequence[str], steps: int, seed: int) -> str:
    """Say how the networks are trained and clipped."""
    rates = ", ".join(f"{NETWORKS[network].name} {RATES[network]:g}" for network in networks)
    return (
        f"{HIDDEN} units, {steps} steps of plain gradient descent on {BATCH} digits each, seed {seed}.\n"
        f"Rates, falling to 0: {rates}.\n"
        f"Limits: value {MAX_VALUE:g}, norm {MAX_NORM:g}, global norm {MAX_GLOBAL_NORM:g}."
    )


def table(runs: Sequence[Run]) -> Table:
    """Return the table of all runs, which fits into 80 columns."""
    rows = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("\nnetwork", "\nclipping"):
        rows.add_column(heading, no_wrap=True)
    for heading in FIGURES:
        rows.add_column(heading, justify="right", no_wrap=True)
    for name, group in groupby(runs, lambda run: run.network.name):
        for run in group:
            rows.add_row(name, run.clipping.name, *_figures(run))
        rows.add_section()
    return rows


def _figures(run: Run) -> list[str]:
    """Return the columns of figures; those on clipping are dashes where nothing was to clip."""
    seen = [f"{run.accuracy:.3f}", f"{_short(run.largest_norm)}"]
    if run.unclipped:
        return [*seen, "-", "-", "-"]
    return [
        *seen,
        f"{run.steps_clipped}/{len(run.losses)}",
        f"{run.clipping_seconds * 1e3:.1f} ms",
        f"{run.clipping_seconds / run.training_seconds:.2%}",
    ]


def outcome(run: Run) -> str:
    """Say in a sentence how a run ended."""
    if run.stopped_at is not None:
        return f"{run.name}: stopped being finite at step {run.stopped_at}."
    first, most, last = map(_short, (run.losses[0], max(run.losses), run.losses[-1]))
    return f"{run.name}: loss {first} at first, {most} at most, {last} at the end."


def _short(number: float) -> str:
    """Write a number with three digits, or all those before the point if these are not too many."""
    return f"{number:,.0f}" if 1e3 <= number < 1e7 else f"{number:.3g}"


def verdict(runs: Sequence[Run]) -> str:
    """Say in one line whether clipping made the difference, or where it did not."""
    odd = [f"{run.name} did not fail" for run in runs if run.unclipped and not run.failed]
    odd += [f"{run.name} did not learn" for run in runs if not run.unclipped and not run.learned]
    if odd:
        return f"Not as expected: {', '.join(odd)}."
    clipped = sum(not run.unclipped for run in runs)
    return f"Unclipped failed; all {clipped} clipped runs learned (held-out accuracy above {LEARNED})."


def plot(runs: Sequence[Run], path: Path) -> None:
    """Write a PNG of the loss and the gradient norm of each step, one column for each network."""
    networks = {name: list(group) for name, group in groupby(runs, lambda run: run.network.name)}
    figure = Figure(figsize=(5.5 * len(networks) + 0.5, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(networks), sharex=True, squeeze=False)
    for (name, group), (above, below) in zip(networks.items(), grid.T, strict=True):
        _curves(above, [(run, run.losses) for run in group])
        _curves(below, [(run, run.norms) for run in group])
        above.set(title=f"{name} reading handwritten digits", ylabel="loss")
        above.legend(loc="lower left", title="held-out digits right", alignment="left", framealpha=1)
        below.set(xlabel="step", ylabel="gradient norm, before clipping")
    figure.savefig(path, dpi=150)


def _curves(axes: Axes, curves: Sequence[tuple[Run, Sequence[float]]]) -> None:
    """Draw each run's every step faintly and their running mean boldly, on two logarithmic axes."""
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_formatter("{x:g}")
    highest = {True: 0.0, False: 0.0}
    ends = []
    for run, seen in curves:
        values = np.array([value for value in seen if np.isfinite(value)])
        colour, style = STYLES[run.clipping.name]
        label = f"{run.treatment}: {run.accuracy:.1%}{' (failed)' if run.failed else ''}"
        steps = np.arange(1, len(values) + 1)
        axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.25)
        axes.plot(steps, _running_mean(values), color=colour, linestyle=style, linewidth=1.8, label=label)
        stopped = run.stopped_at is not None
        highest[stopped] = max(highest[stopped], *values)
        if stopped:
            ends.append((run, values))
    # An explosion leaves the frame at 1,000 times what the other runs reach, or these would be flat lines.
    if highest[False] and highest[True] > 1e3 * highest[False]:
        axes.set_ylim(top=1e3 * highest[False])
    for run, values in ends:
        _mark_end(axes, run, values)


def _mark_end(axes: Axes, run: Run, values: Curve) -> None:
    """Mark where a run stopped being finite, and say how far it had come."""
    colour, _ = STYLES[run.clipping.name]
    end = len(values), min(values[-1], axes.get_ylim()[1])
    on_the_left = end[0] < np.sqrt(axes.get_xlim()[1])
    axes.plot(*end, "X", color=colour, markersize=10, clip_on=False, zorder=3)
    axes.annotate(
        f"{run.treatment}: reaches {values.max():.0e},\nstops being finite at step {run.stopped_at}",
        end,
        xytext=(10 if on_the_left else -10, -4),
        textcoords="offset points",
        color=colour,
        horizontalalignment="left" if on_the_left else "right",
        verticalalignment="top",
    )


def _running_mean(values: Curve) -> list[float]:
    """Return the mean around each step, from 5 % before it to 5 % after it, as fits a logarithmic axis."""
    steps = range(1, len(values) + 1)
    return [float(values[step - step // 20 - 1 : step + step // 20].mean()) for step in steps]
