# SPDX-License-Identifier: BSD-3-Clause
"""Train a client whose arrays are not torch's with its library's own clipping and with fastclip's, and compare both.

A client says which framework `fastclip.patch` is told (`PATCH`) and trains without knowing of it.
"""

from __future__ import annotations

import argparse
import json
import pkgutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from statistics import median
from time import perf_counter
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from fastclip import _patch
from fastclip._bench.environment import environment

WAYS = ("stock", "fastclip")


class Run(NamedTuple):
    """What a training leaves behind."""

    losses: list[float]
    parameters: list[np.ndarray[Any, Any]]
    score: float

    def departure(self, other: Run) -> tuple[float, float]:
        """How far the losses (the largest difference) and the parameters (as one vector, relative) are from these."""
        losses = max(abs(a - b) for a, b in zip(self.losses, other.losses, strict=True))
        a, b = (np.concatenate([p.astype(float).ravel() for p in run.parameters]) for run in (self, other))
        return losses, float(np.linalg.norm(a - b) / np.linalg.norm(a))


class Timed(NamedTuple):
    """A run, its length, and that of the calls that `patch` replaces; a compiled program makes none but one."""

    run: Run
    seconds: float
    calls: list[float]
    functions: set[Any]


def _originals(framework: str) -> dict[str, Any]:
    found = {}
    for path in _patch.FRAMEWORKS[framework]:
        try:
            found[path.replace(":", ".")] = pkgutil.resolve_name(path)
        except ModuleNotFoundError:
            continue  # of another release
    return found


def trained(client: ModuleType, way: str, steps: int, factor: float = 1.0) -> Timed:
    """Train once. In both ways the same wrapper stands in the functions' place, and so costs both the same.

    `factor` makes the limit wrong, which is the last argument of all that the clients call.
    """
    stock = _originals(client.PATCH)
    calls: list[float] = []
    functions: set[Any] = set()
    inside = False

    def watched(name: str, ours: Callable[..., Any]) -> Callable[..., Any]:
        function = stock[name] if way == "stock" else ours

        def call(*args: Any, **options: Any) -> Any:
            nonlocal inside
            if inside:  # called by one that is watched
                return function(*args, **options)
            inside = True
            functions.add(function)
            start = perf_counter()
            try:
                return function(*args[:-1], args[-1] * factor, **options)
            finally:
                calls.append(perf_counter() - start)
                inside = False

        return call

    with _patch.Patch([client.PATCH], watched):
        start = perf_counter()
        run = client.train(steps)
        return Timed(run, perf_counter() - start, calls, functions)


def in_turn(client: ModuleType, steps: int, repeats: int) -> dict[str, list[Timed]]:
    """Every round trains each once; who is first takes turns."""
    for way in WAYS:
        trained(client, way, max(1, steps // 10))  # what is imported, loaded or compiled at the first call
    found: dict[str, list[Timed]] = {way: [] for way in WAYS}
    for turn in range(repeats):
        for way in WAYS[:: -1 if turn % 2 else 1]:
            found[way].append(trained(client, way, steps))
    return found


def _line(way: str, runs: list[Timed], steps: int) -> str:
    step, clipping = (median(values) for values in zip(*((r.seconds, sum(r.calls)) for r in runs), strict=True))
    return f"{way:10}{step / steps * 1e3:10.3f}{clipping / steps * 1e6:13.1f}{runs[0].run.score:9.3f}"


def _ratio(found: dict[str, list[Timed]], value: Callable[[Timed], float]) -> str:
    """The stock time over fastclip's, the median and the range of the rounds."""
    values = [value(a) / value(b) for a, b in zip(*found.values(), strict=True)]
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main(client: ModuleType) -> None:
    parser = argparse.ArgumentParser(description=str(client.__doc__).partition("\n")[0])
    parser.add_argument("--steps", type=int, default=client.STEPS, help=f"of each run, default {client.STEPS}")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each, default 5")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run and the environment")
    given = parser.parse_args()
    found = in_turn(client, given.steps, given.repeats)
    first, ours = found["stock"][0], found["fastclip"][0]
    losses, parameters = first.run.departure(ours.run)
    print(str(client.__doc__).partition("\n")[0])
    print(f"{given.steps} steps, {sum(p.size for p in first.run.parameters):,} parameters, {given.repeats} runs each")
    print(f"{'':10}{'ms/step':>10}{'µs clipping':>13}{'score':>9}")
    for way, runs in found.items():
        print(_line(way, runs, given.steps))
    clipping = f", clipping {_ratio(found, lambda t: sum(t.calls))}" if client.CALLED else ", clipping compiled in"
    print(f"stock time over fastclip's: run {_ratio(found, lambda t: t.seconds)}{clipping}")
    print(f"losses up to {losses:.1e} from the stock run's, parameters {parameters:.1e}")
    if given.json:
        record = {
            "client": Path(client.__file__ or "").stem,
            "environment": environment(["fastclip"]),
            "packages": {name: metadata.version(name) for name in client.PACKAGES},
            "given": {"steps": given.steps, "called": client.CALLED},
            "runs": {
                way: [{"seconds": r.seconds, "clipping_seconds": sum(r.calls), "score": r.run.score} for r in runs]
                for way, runs in found.items()
            },
            "departure": {"losses": losses, "parameters": parameters},
        }
        given.json.write_text(json.dumps(record, indent=1) + "\n")
