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
SWAPPED = {
    "flower_dp": "Flower's differential privacy, fixed and adaptive",
    "thinc_loop": "a loop with thinc's optimizer",
    "optax_loop": "a loop with optax under `jax.jit`",
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

_SWAPPED = """The same of other libraries: an LSTM on digits in TensorFlow and Keras, and whole loops of Flower, thinc
and optax, with their own clipping and under `fastclip.patch`. Gains are of rounds, their median and range; what is
compiled into a program has no time of its own. *Off*: how far losses, and parameters as one vector, are from the stock
ones.
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


def _gain(runs: dict[str, Any], key: str) -> str:
    gains = [theirs[key] / ours[key] for theirs, ours in zip(runs["stock"], runs["fastclip"], strict=True)]
    return f"{statistics.median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})"


def _swapped(name: str, steps: int, run: dict[str, Any], call: str | None) -> Sequence[str]:
    seconds = statistics.median(one["seconds"] for one in run["runs"]["stock"]) / steps
    off = run["departure"]
    return (
        name,
        f"{steps:,}",
        duration(seconds),
        _gain(run["runs"], "seconds"),
        _gain(run["runs"], call) if call else "compiled in",
        error(off["losses"]),
        error(off["parameters"]),
    )


def _programs(results: Path) -> Iterator[tuple[dict[str, Any], Sequence[str]]]:
    """Yield the environment and the row of each program."""
    lstm = results / "lstm.json"
    if lstm.exists():
        record = json.loads(lstm.read_text())
        for name, run in record["programs"].items():
            yield record["environment"], _swapped(f"LSTM, {name}", run["steps"], run, "call")
    for name, title in SWAPPED.items():
        path = results / f"{name}.json"
        if path.exists():
            run = json.loads(path.read_text())
            call = "clipping_seconds" if run["given"]["called"] else None
            yield run["environment"], _swapped(title, run["given"]["steps"], run, call)


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
    others = list(_programs(results))
    if others:
        yield _SWAPPED
        yield _table(
            ("client", "steps", "a step", "gain", "in clipping", "losses off", "parameters off"),
            (row for _, row in others),
        )
        yield _machine(others[0][0])
