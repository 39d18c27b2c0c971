# SPDX-License-Identifier: BSD-3-Clause
"""Do arrays share an element without being the same memory? Decided exactly, with bounded work."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastclip._layout import Array, memory_key

_MAX_PAIRS = 100_000  # of overlapping address ranges in one list; some 0.2 s
_MAX_WORK = 100_000  # of np.shares_memory for one pair; below a millisecond


def _extent(a: Array) -> tuple[int, int]:
    reach = [(n - 1) * stride for n, stride in zip(a.shape, a.strides, strict=True)]
    start = a.ctypes.data
    return start + sum(r for r in reach if r < 0), start + sum(r for r in reach if r > 0) + a.itemsize


def _refuse(function: str, a: str, b: str, known: bool) -> NoReturn:
    fact = "share memory" if known else "may share memory (too costly to decide)"
    raise ValueError(f"{function}: {a} and {b} {fact}, and an element can't be clipped twice. Pass copies.")


def _meets_itself(a: Array) -> bool:
    axes = sorted((abs(stride), n) for n, stride in zip(a.shape, a.strides, strict=True) if n > 1)
    reach = a.itemsize
    for stride, n in axes:
        if stride < reach:
            break
        reach += (n - 1) * stride
    else:
        return False
    if math.prod(n for _, n in axes) > _MAX_WORK:
        return True  # not decided
    first = np.zeros((), np.int64)
    for stride, n in axes:
        first = np.add.outer(first, np.arange(n) * stride)
    starts = np.sort(first, axis=None)
    return bool((np.diff(starts) < a.itemsize).any())


class _Span(NamedTuple):
    begin: int
    end: int
    name: str
    array: Array
    key: tuple[Any, ...]
    group: int = 0


def check(function: str, names: list[str], arrays: list[Array]) -> None:
    """Raise ValueError if an element is in two arrays that are not the same memory, or twice in one."""
    spans = []
    seen = set()
    for name, a in zip(names, arrays, strict=True):
        key = memory_key(a)
        if a.size == 0 or key in seen:
            continue
        seen.add(key)
        if _meets_itself(a):
            raise ValueError(
                f"{function}: {name} holds one element at several places (strides {a.strides}). Pass a copy."
            )
        spans.append(_Span(*_extent(a), name, a, key))
    _sweep(function, spans, lambda a, b: False)


def check_apart(
    function: str, names: list[str], arrays: list[Array], other_names: list[str], others: list[Array]
) -> None:
    """Raise ValueError if an array shares an element with one of the others, but for its counterpart that it is."""
    spans = []
    for group, (list_names, members) in enumerate(((names, arrays), (other_names, others))):
        for name, a in zip(list_names, members, strict=True):
            if a.size:
                spans.append(_Span(*_extent(a), name, a, memory_key(a), group))
    counterparts = {(memory_key(a), memory_key(b)) for a, b in zip(arrays, others, strict=True)}
    _sweep(function, spans, lambda a, b: a.group == b.group or (a.key == b.key and (a.key, b.key) in counterparts))


def _sweep(function: str, spans: list[_Span], may_meet: Callable[[_Span, _Span], bool]) -> None:
    spans.sort(key=lambda span: span[:2])
    open_spans: list[_Span] = []
    pairs = 0
    for span in spans:
        open_spans = [other for other in open_spans if other.end > span.begin]
        for other in open_spans:
            if may_meet(span, other):
                continue
            pairs += 1
            try:
                shared = np.shares_memory(span.array, other.array, max_work=_MAX_WORK)  # type: ignore[arg-type]  # any int, NumPy's manual says
            except np.exceptions.TooHardError:
                _refuse(function, other.name, span.name, known=False)
            if shared or pairs > _MAX_PAIRS:
                _refuse(function, other.name, span.name, known=shared)
        open_spans.append(span)
