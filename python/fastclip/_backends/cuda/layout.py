# SPDX-License-Identifier: BSD-3-Clause
"""From shapes and strides to runs of adjacent elements."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from fastclip._backends.cuda.chunks import Axes, Form
from fastclip._device import SIZES, DeviceArray

MOST_RUNS = 1 << 22  # in one table, which has 64 MB then and takes a second to make; of ten million, 1.5 GB of the host


def check(function: str, named: Iterable[tuple[str, Form]], instead: str) -> None:
    """Raise before a table of runs is made that takes seconds; say what to pass instead."""
    runs = 0
    for name, form in named:
        of = math.prod(n for n, _ in (*form.rows, *form.outer))
        runs += of
        if runs > MOST_RUNS:
            raise ValueError(
                f"{function}: {name} has {of} runs of adjacent elements, which makes {runs} in all, each with an entry "
                f"in a table (at most {MOST_RUNS}); pass {instead}."
            )


def forms(arrays: list[DeviceArray]) -> tuple[Form, ...]:
    """Describe each array; memory that stands earlier in the list is marked."""
    seen: set[tuple[Any, ...]] = set()
    found = []
    for a in arrays:
        run, outer = _runs(_axes(a), SIZES[a.dtype])
        key = (a.pointer, a.dtype, run, outer)
        found.append(Form(a.dtype, SIZES[a.dtype], run, outer, key in seen and run > 0))
        seen.add(key)
    return tuple(found)


def rows(a: DeviceArray, axes: int) -> Form:
    """Describe the rows of an array along the axes whose bit is set."""
    every = _axes(a, dense=False)
    chosen = tuple(axis for i, axis in enumerate(every) if axes >> i & 1)
    run, outer = _runs(chosen, SIZES[a.dtype])
    kept: list[tuple[int, int]] = []
    for n, stride in (axis for i, axis in enumerate(every) if not axes >> i & 1 and axis[0] != 1):
        if kept and kept[-1][1] == n * stride:
            kept[-1] = (kept[-1][0] * n, stride)
        else:
            kept.append((n, stride))
    return Form(a.dtype, SIZES[a.dtype], run, outer, False, tuple(kept) or ((1, 0),))


def _axes(a: DeviceArray, *, dense: bool = True) -> Axes:
    if a.strides is not None:
        return tuple(zip(a.shape, a.strides, strict=True))
    size = SIZES[a.dtype]
    if dense:
        return ((math.prod(a.shape), size),)
    strides = []
    for n in reversed(a.shape):
        strides.append(size)
        size *= n
    return tuple(zip(a.shape, reversed(strides), strict=True))


def _runs(axes: Axes, size: int) -> tuple[int, Axes]:
    """Split into runs of adjacent elements, and what counts the runs."""
    if any(n == 0 for n, _ in axes):
        return 0, ()
    run = 1
    outer: list[tuple[int, int]] = []
    for n, stride in sorted((axis for axis in axes if axis[0] != 1), key=lambda axis: abs(axis[1]) or math.inf):
        if not outer and stride == run * size:
            run *= n
        elif outer and stride == outer[-1][0] * outer[-1][1]:
            outer[-1] = (n * outer[-1][0], outer[-1][1])
        else:
            outer.append((n, stride))
    return run, tuple(reversed(outer))
