# SPDX-License-Identifier: BSD-3-Clause
"""What clipping adds to a fused optimizer's step, on ResNet-50's shapes.

A step follows the last one without a pause, as it follows the backward pass in training: torch's threads still spin.

python benchmarks/in_step.py [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

import fastclip.torch
from fastclip._bench.cases import WORKLOADS
from fastclip._bench.environment import environment
from fastclip._bench.intervals import Interval, median_interval

ROUNDS = 60
STEP = 1e-3  # by this part the limit falls from step to step, so that each has something to clip
BARS = {"clipping": 1 / 2.5, "within": 1 / 8}  # of what torch's clip_grad_norm_ adds
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=1e-6, fused=True),
    "SGD, momentum": lambda parameters: torch.optim.SGD(parameters, lr=1e-6, momentum=0.9, fused=True),
}


@dataclass(frozen=True)
class Added:
    """Hold what clipping adds to a step, in seconds, round by round."""

    optimizer: str
    case: str  # a key of BARS
    plain: list[float]
    torch: list[float]
    fastclip: list[float]

    @property
    def share(self) -> Interval:
        """Return what ours adds over what torch's adds, of the same round."""
        rounds = zip(self.plain, self.torch, self.fastclip, strict=True)
        return median_interval([(ours - plain) / (theirs - plain) for plain, theirs, ours in rounds])

    def added(self, who: list[float]) -> float:
        """Return the median of what somebody adds."""
        return statistics.median(with_ - plain for with_, plain in zip(who, self.plain, strict=True))


class Contest:
    """Hold one set of parameters, of which all make the same step."""

    def __init__(self, optimizer: str) -> None:
        shapes = WORKLOADS["resnet50"].shapes
        self.parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
        for parameter in self.parameters:
            parameter.grad = torch.randn_like(parameter)
        self.optimizer = OPTIMIZERS[optimizer](self.parameters)
        self.norm = 0.0

    def _limit(self, case: str) -> float:
        if case == "within":
            return 1e9
        norm = fastclip.torch.get_total_norm([parameter.grad for parameter in self.parameters]).item()
        return norm * (1 - STEP)

    def plain(self, case: str) -> float:
        """Return the seconds of a step without clipping."""
        self._limit(case)  # what the others read before they are timed
        return self._time(lambda: self.optimizer.step())

    def torch(self, case: str) -> float:
        """Return the seconds of torch's clip_grad_norm_ and a step."""
        limit = self._limit(case)

        def both() -> None:
            torch.nn.utils.clip_grad_norm_(self.parameters, limit)
            self.optimizer.step()

        return self._time(both)

    def fastclip(self, case: str) -> float:
        """Return the seconds of a step that clips."""
        clipping = fastclip.torch.clip_in_step(self.optimizer, self._limit(case))
        seconds = self._time(lambda: self.optimizer.step())
        clipping.remove()
        return seconds

    @staticmethod
    def _time(call: Callable[[], None]) -> float:
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin


def measure(optimizer: str, case: str, rounds: int) -> Added:
    """Let all step in turn."""
    contest = Contest(optimizer)
    order = [contest.plain, contest.torch, contest.fastclip]
    for step in order * 3:
        step(case)
    seconds: dict[str, list[float]] = {step.__name__: [] for step in order}
    for _ in range(rounds):
        random.shuffle(order)
        for step in order:
            seconds[step.__name__].append(step(case))
    return Added(optimizer, case, **seconds)


def main() -> int:
    """Print what clipping adds; return 1 if a bar was missed."""
    parser = argparse.ArgumentParser(description="Measure what clipping adds to a fused optimizer's step.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples and the environment")
    given = parser.parse_args()
    rows = [measure(optimizer, case, given.rounds) for optimizer in OPTIMIZERS for case in BARS]
    missed = False
    for row in rows:
        passed = row.share.high <= BARS[row.case]
        missed |= not passed
        print(
            f"{row.optimizer:14s} {row.case:9s} step {statistics.median(row.plain) * 1e3:6.2f} ms; clipping adds "
            f"torch {row.added(row.torch) * 1e3:6.2f} ms, fastclip {row.added(row.fastclip) * 1e3:6.2f} ms: "
            f"{row.share.median:.3f} ({row.share.low:.3f}-{row.share.high:.3f}) of it, bar {BARS[row.case]:.3f}: "
            f"{'pass' if passed else 'MISSED'}"
        )
    if given.json:
        kept = [{**asdict(row), "share": row.share._asdict(), "bar": BARS[row.case]} for row in rows]
        given.json.write_text(json.dumps({"environment": environment(["fastclip", "torch"]), "rows": kept}) + "\n")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
