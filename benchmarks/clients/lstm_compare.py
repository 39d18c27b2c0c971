# SPDX-License-Identifier: BSD-3-Clause
"""Train the LSTM's programs by stock TensorFlow and Keras and under fastclip.patch in turn, and say what it changed."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from types import ModuleType
from typing import Any, NamedTuple

import keras
import tensorflow as tf

import fastclip
from fastclip._bench.environment import environment

WAYS = ("stock", "fastclip")
PLACES = ((tf, "clip_by_global_norm"), (keras.optimizers.SGD, "_clip_gradients"))


class Timed(NamedTuple):
    """A run, its length, and what its calls of clipping took and gave."""

    run: Any
    seconds: float
    calls: list[float]
    norms: list[float]  # of the gradients that were given
    functions: list[Any]  # who was called


@contextlib.contextmanager
def watching() -> Iterator[tuple[list[float], list[float], list[Any]]]:
    """Watch the function that a program calls, whosever it is by now."""
    calls: list[float] = []
    norms: list[float] = []
    functions: list[Any] = []

    def over(function: Any, place: str) -> Any:
        def watched(*arguments: Any, **options: Any) -> Any:
            if place == "_clip_gradients" and not arguments[0].global_clipnorm:
                return function(*arguments, **options)  # an optimizer without a limit
            gradients = arguments[0] if place == "clip_by_global_norm" else arguments[1]
            start = perf_counter()
            result = function(*arguments, **options)
            calls.append(perf_counter() - start)
            norms.append(float(fastclip.global_norm([gradient.numpy() for gradient in gradients])))
            functions.append(function)
            return result

        return watched

    before = [getattr(owner, name) for owner, name in PLACES]
    for (owner, name), function in zip(PLACES, before, strict=True):
        setattr(owner, name, over(function, name))
    try:
        yield calls, norms, functions
    finally:
        tf.clip_by_global_norm = before[0]
        del keras.optimizers.SGD._clip_gradients  # it is its base's


def timed(program: Any, way: str, steps: int) -> Timed:
    patch = fastclip.patch("tensorflow", "keras") if way == "fastclip" else contextlib.nullcontext()
    with patch, watching() as (calls, norms, functions):
        start = perf_counter()
        run = program(steps)
        return Timed(run, perf_counter() - start, calls, norms, functions)


def ratio(found: dict[str, list[Timed]], value: Any) -> str:
    """Stock's time over fastclip's, the median and the range of the rounds."""
    values = [value(a) / value(b) for a, b in zip(found["stock"], found["fastclip"], strict=True)]
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def compared(program: Any, steps: int, repeats: int) -> dict[str, list[Timed]]:
    """Every round trains each once; who is first takes turns."""
    for way in WAYS:
        timed(program, way, 3)
    found: dict[str, list[Timed]] = {way: [] for way in WAYS}
    for turn in range(repeats):
        for way in WAYS[:: -1 if turn % 2 else 1]:
            found[way].append(timed(program, way, steps))
    return found


def main(client: ModuleType) -> None:
    parser = argparse.ArgumentParser(description=client.__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=client.STEPS, help=f"of each run, default {client.STEPS}")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, default 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run and the environment")
    given = parser.parse_args()
    record: dict[str, Any] = {"environment": environment(["fastclip", "tensorflow"]), "programs": {}}
    print(f"{'program':22} {'ms a step':>10} {'µs a call':>10}   run / fastclip's    call / fastclip's   losses off")
    for name, program in client.PROGRAMS.items():
        found = compared(program, given.steps, given.repeats)
        stock, ours = found["stock"][0], found["fastclip"][0]
        losses, parameters = stock.run.departure(ours.run)
        step = median(run.seconds for run in found["stock"]) / given.steps
        call = median(median(run.calls) for run in found["stock"])
        gain = ratio(found, lambda run: run.seconds), ratio(found, lambda run: median(run.calls))
        print(f"{name:22} {step * 1e3:10.2f} {call * 1e6:10.0f}   {gain[0]:18}  {gain[1]:18}  {losses:.1e}")
        record["programs"][name] = {
            "steps": given.steps,
            "clipped": sum(norm > client.CLIP_NORM for norm in stock.norms),
            "runs": {
                way: [{"seconds": r.seconds, "call": median(r.calls), "score": r.run.score} for r in runs]
                for way, runs in found.items()
            },
            "departure": {"losses": losses, "parameters": parameters},
        }
    if given.json:
        given.json.write_text(json.dumps(record, indent=1) + "\n")
