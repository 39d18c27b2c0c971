# SPDX-License-Identifier: BSD-3-Clause
"""What is published of trainings: clipping in an optimizer's step, and whole clients of PyTorch."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastclip._bench.intervals import Interval
from fastclip._bench.report.formats import duration, error, over

CLIENTS = {
    "ppo": "Stable-Baselines3's PPO on CartPole",
    "accelerate_loop": "a loop with Accelerate",
    "transformer": "a small transformer",
}
CASES = {"clipping": "above the limit", "within": "within the limit"}

_STEP = """A step of a fused optimizer on ResNet-50's shapes, and what clipping adds to it: PyTorch's `clip_grad_norm_`
before the step, or `fastclip.torch.clip_in_step`, which folds the coefficient into the step. Differences are of the
same round; the share is that of what PyTorch's adds.
"""

_CLIENTS = """Code that was not changed, under `fastclip.patch("torch")`: the time in its calls of `clip_grad_norm_`, as
it makes them, a step and as a part of the whole. *By PyTorch's norm*: whether all losses and parameters have the same
bits when fastclip scales by the norm that PyTorch finds; *by its own*: how far the losses are off.
"""


def _table(columns: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _machine(environment: dict[str, Any]) -> str:
    config = environment["fastclip"]
    return f"{environment['cpu']}, {environment['cores']} cores, ISA {config['isa']}, commit {config['commit']}.\n"


def _added(row: dict[str, Any], who: str) -> str:
    pairs = zip(row[who], row["plain"], strict=True)
    return duration(max(0.0, statistics.median(with_ - plain for with_, plain in pairs)))


def _steps(run: dict[str, Any]) -> Iterator[Sequence[str]]:
    for row in run["rows"]:
        share = Interval(**row["share"])
        yield (
            row["optimizer"],
            CASES[row["case"]],
            duration(statistics.median(row["plain"])),
            _added(row, "torch"),
            _added(row, "fastclip"),
            over(share, " to "),
            f"at most {row['bar']:.3g}: {'held' if share.high <= row['bar'] else '**missed**'}",
        )


def _client(run: dict[str, Any]) -> Sequence[str]:
    def median(who: str, key: str) -> float:
        return statistics.median(one[key] / one["steps"] for one in run["runs"][who])

    times = {who: median(who, "clipping_seconds") for who in ("torch", "fastclip")}
    shares = {who: times[who] / median(who, "seconds") for who in times}
    gains = [
        theirs["clipping_seconds"] / ours["clipping_seconds"]
        for theirs, ours in zip(run["runs"]["torch"], run["runs"]["fastclip"], strict=True)
    ]
    first = run["runs"]["torch"][0]
    off = run["departure"]["by_fastclips_norm"]
    return (
        CLIENTS[run["client"]],
        f"{first['steps']:,}, {first['clipped']:,} clipped",
        duration(median("torch", "seconds")),
        *(f"{duration(times[who])}, {shares[who]:.1%}" for who in times),
        f"{statistics.median(gains):.1f} ({min(gains):.1f} to {max(gains):.1f})",
        "the same bits" if run["same_bits_by_torchs_norm"] else "**other bits**",
        error(off["losses"]) if off["parted"] is None else f"another run from step {off['parted']:,} on",
    )


def trainings(results: Path) -> Iterator[str]:
    """Write the parts of docs/performance.md whose results are there."""
    in_step = results / "in_step.json"
    if in_step.exists():
        run = json.loads(in_step.read_text())
        yield "## Clipping in a fused step\n"
        yield _STEP
        columns = ("optimizer", "gradients", "step", "PyTorch adds", "fastclip adds", "share", "bar")
        yield _table(columns, _steps(run))
        yield _machine(run["environment"])
    found = [json.loads(path.read_text()) for name in CLIENTS if (path := results / f"{name}.json").exists()]
    if found:
        yield "## Whole trainings\n"
        yield _CLIENTS
        names = "client, steps, a step, in PyTorch's, in fastclip's, gain (all rounds), by PyTorch's norm, by its own"
        yield _table(names.split(", "), (_client(run) for run in found))
        yield _machine(found[0]["environment"])
