# SPDX-License-Identifier: BSD-3-Clause
"""Inputs on which the norm is asked for, not timed: how errors grow with size, and what is hard for its range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fastclip._bench.cases import FloatArray, dtype_of

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)


@dataclass(frozen=True)
class Input:
    """Name one array: all of one value, but for the first, or uniform in [0, 1)."""

    case: str
    group: Literal["size", "hard"]  # one of a series, or one that stands alone
    elements: int
    value: float | None = None
    first: float | None = None
    dtype: str = "f32"

    def arrays(self, seed: int = 0) -> list[FloatArray]:
        """Make the array, the same for the same seed."""
        if self.value is None:
            array = np.random.default_rng(seed).random(self.elements, dtype=np.float32)
        else:
            array = np.full(self.elements, self.value, dtype_of(self.dtype))
        if self.first is not None:
            array[0] = self.first
        return [array]


_HARD = (
    Input("all 1e20", "hard", 1000, 1e20),  # squares beyond f32
    Input("all 1e-25", "hard", 1000, 1e-25),  # squares below it
    Input("1, then 2^-13", "hard", 1_000_000, 2.0**-13, 1.0),  # added to the first square in f32 each other one is lost
    Input("all 100", "hard", 1000, 100.0, dtype="f16"),  # the sum of squares is beyond f16
    Input("all 1e200", "hard", 1000, 1e200, dtype="f64"),  # squares beyond f64
)


def inputs(largest: int = SIZES[-1]) -> Iterator[Input]:
    """Yield every input of at most `largest` elements and, unless that is 0, those that are hard."""
    for n in SIZES:
        if n <= largest:
            yield Input("all 0.1", "size", n, 0.1)
            yield Input("uniform", "size", n)
    yield from _HARD if largest else ()
