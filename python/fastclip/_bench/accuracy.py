# SPDX-License-Identifier: BSD-3-Clause
"""Inputs on which the norm is asked for, not timed: how errors grow with size, and what is hard for its range."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fastclip._bench.cases import FloatArray

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)


@dataclass(frozen=True)
class Input:
    """Name one array; `group` is "size" for a member of a series, "hard" for one that stands alone."""

    case: str
    group: str
    make: Callable[[], FloatArray]


def _constant(n: int) -> Callable[[], FloatArray]:
    return lambda: np.full(n, 0.1, np.float32)


def _uniform(n: int) -> Callable[[], FloatArray]:
    return lambda: np.random.default_rng(n).random(n, dtype=np.float32)


def _one_among_many() -> FloatArray:
    array = np.full(1_000_000, 2.0**-13, np.float32)
    array[0] = 1.0
    return array


_HARD: dict[str, Callable[[], FloatArray]] = {
    "all 1e20": lambda: np.full(1000, 1e20, np.float32),  # squares beyond f32
    "all 1e-25": lambda: np.full(1000, 1e-25, np.float32),  # squares below it
    "1 among 1e6 of 2^-13": _one_among_many,  # added to the first one's square in f32, each other one is lost
    "f16, all 100": lambda: np.full(1000, 100, np.float16),  # the sum of squares is beyond f16
    "f64, all 1e200": lambda: np.full(1000, 1e200),  # squares beyond f64
}


def inputs(largest: int = SIZES[-1]) -> Iterator[Input]:
    """Yield every input of at most `largest` elements."""
    for n in SIZES:
        if n <= largest:
            yield Input("all 0.1", "size", _constant(n))
            yield Input("uniform", "size", _uniform(n))
    for case, make in _HARD.items():
        yield Input(case, "hard", make)
