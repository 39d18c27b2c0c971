# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip demo`: train recurrent networks whose gradients explode, unclipped and clipped."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastclip._demo.train import Run

PACKAGES = {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "rich": "rich"}
STEPS = 600
QUICK_STEPS = 200


def missing() -> str | None:
    """Return what to do about packages that the demo needs and that are not installed, if any."""
    absent = [package for module, package in PACKAGES.items() if find_spec(module) is None]
    if not absent:
        return None
    return f'{", ".join(absent)} not installed. Run: pip install "fastclip[demo]"'


def demo(networks: Sequence[str], steps: int, seed: int, output: Path) -> "list[Run]":
    """Train the networks, print what was seen, write the plot, and return the runs.

    Parameters
    ----------
    networks
        Any of "rnn" and "lstm".
    steps
        The length of each run.
    seed
        Of the weights, of the batches, and of the choice of held-out images.
    output
        The PNG file to write.
    """
    import numpy as np
    from rich.console import Console

    from fastclip._demo import data, progress, report, train

    console = Console()
    console.print(report.setting(networks, steps, seed), highlight=False)
    runs: list[train.Run] = []
    with progress.Bars(console, steps) as bars:
        for network in networks:
            rng = np.random.default_rng(seed)
            digits = data.load_digits(rng)
            group = train.start(network, digits, rng)
            train.train(group, digits, rng, steps, train.RATES[network], bars.watch)
            runs += group
    console.print(report.table(runs))
    for run in runs:
        if run.unclipped:
            console.print(report.outcome(run), highlight=False)
    console.print(report.verdict(runs), style="bold", highlight=False)
    report.plot(runs, output)
    console.print(f"Plot: {output}", highlight=False, soft_wrap=True)
    return runs
