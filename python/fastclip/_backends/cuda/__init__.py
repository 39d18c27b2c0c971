# SPDX-License-Identifier: BSD-3-Clause
"""The GPU's backend: CUDA kernels, compiled and launched by CuPy. It takes lists of `DeviceArray`.

A call launches a norm kernel and a scale kernel on the current stream, whatever the number of arrays, and waits for
nothing: the coefficient stays on the device.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastclip._backends.cuda import records, statistics
from fastclip._backends.cuda.chunks import Form
from fastclip._backends.cuda.plan import Plan, plan_for
from fastclip._device import DTYPES, SIZES, DeviceArray, cupy, fetch, round_to
from fastclip._rules import POLICIES, Rule


class Cuda:
    """Served by the kernels in `fastclip/_cuda`."""

    name = "cuda"

    def __init__(self) -> None:
        self._calls = 0

    def calls(self) -> int:
        """Return how many calls this backend has served."""
        return self._calls

    def rule(self, record: Rule) -> Rule:
        """Return the record itself: kernels take its fields."""
        return record

    def clip_list(
        self, arrays: Any, out: Any, limit: float, use_norm: float | None, rule: Rule, vetted: bool, norm_to: Any = None
    ) -> Any:
        """Clip by the norm of all elements; return it as a 0-d array on the device (`norm_to`, or a new one)."""
        with self._bound(arrays, "list") as (cp, plan):
            norm = cp.empty((), np.float64) if norm_to is None else norm_to
            request = _request(limit, rule, norm.data.ptr)
            request["round"] = plan.round
            if use_norm is not None:
                request["use_norm"] = use_norm
                request["reads"] = rule.nonfinite in ("raise", "skip", "zero")
            plan.norm(request)
            plan.scale(request)
            if rule.nonfinite == "raise" and plan.verdict()["nonfinite"]:
                return None
        return norm

    def clip_each(self, arrays: Any, out: Any, limit: float, rule: Rule, vetted: bool) -> Any:
        """Clip each array by its own norm."""
        with self._bound(arrays, "each") as (_, plan):
            request = _request(limit, rule, 0)
            request["each"] = 1
            plan.norm(request)
            plan.scale(request)

    def clip_rows(self, array: Any, out: Any, axes: int, limit: float, rule: Rule) -> Any:
        """Clip one array, each row (along the axes whose bit is set) by its own norm."""
        self.clip_each(list(_rows(array, axes)), out, limit, rule, True)

    def clamp_list(self, arrays: Any, out: Any, lo: float, hi: float, vetted: bool) -> Any:
        """Clip each element to [lo, hi]; lo wins over hi."""
        bounds = []
        for dtype in DTYPES:
            pair = np.zeros((), records.BOUNDS)
            pair["lo"], pair["hi"] = round_to(lo, dtype), round_to(hi, dtype)
            bounds.append(pair)
        with self._bound(arrays, "list") as (_, plan):
            plan.clamp(bounds)

    def norm_list(self, arrays: Any) -> Any:
        """Return the norm of all elements as a 0-d array on the device."""
        with self._bound(arrays, "list") as (cp, plan):
            norm = cp.empty((), np.float64)
            plan.norm(_request(math.inf, Rule(), norm.data.ptr))
        return norm

    def norm_and_coef(self, arrays: Any, limit: float, rule: Rule) -> Any:
        """Return the norm and what elements would be multiplied with, both on the device; nothing is written."""
        with self._bound(arrays, "list") as (cp, plan):
            norm, coefficient = cp.empty((), np.float64), cp.empty((), np.float32)
            request = _request(limit, rule, norm.data.ptr)
            request["coefficient"], request["round"] = coefficient.data.ptr, plan.round
            plan.norm(request)
        return norm, coefficient

    def measure_list(self, arrays: Any) -> Any:
        """Wait for the statistics of each array, and add those of the list."""
        with self._bound(arrays, "measure") as (_, plan):
            return statistics.of_list(plan.measure())

    def fetch(self, array: DeviceArray) -> NDArray[Any]:
        """Wait for an array and copy it to the CPU."""
        with cupy().cuda.Device(array.device):
            return fetch(array)

    @contextlib.contextmanager
    def _bound(self, arrays: list[DeviceArray], what: str) -> Iterator[tuple[Any, Plan]]:
        """Find the plan for a list on the current stream, its addresses in place; nobody else may launch with it."""
        cp = cupy()
        self._calls += 1
        with cp.cuda.Device(arrays[0].device):
            stream = cp.cuda.get_current_stream()
            plan = plan_for(cp, _forms(arrays), what, arrays[0].device, stream.ptr)
            others = {a.stream for a in arrays if a.stream is not None} - {stream.ptr or 1}
            for other in others:
                stream.wait_event(cp.cuda.ExternalStream(other).record())
            with plan.lock:
                plan.bind([a.pointer for a in arrays])
                yield cp, plan
            for other in others:
                cp.cuda.ExternalStream(other).wait_event(stream.record())


def _request(limit: float, rule: Rule, norm: int) -> NDArray[Any]:
    request = np.zeros((), records.REQUEST)
    request["norm"], request["limit"], request["use_norm"], request["slack"] = norm, limit, -1.0, rule.slack
    request["policy"], request["average"], request["reads"] = POLICIES.index(rule.nonfinite), rule.average, 1
    return request


def _forms(arrays: list[DeviceArray]) -> tuple[Form, ...]:
    seen: set[tuple[Any, ...]] = set()
    forms = []
    for a in arrays:
        run, outer = _runs(a.shape, a.strides, SIZES[a.dtype])
        key = (a.pointer, a.dtype, run, outer)
        forms.append(Form(a.dtype, SIZES[a.dtype], run, outer, key in seen and run > 0))
        seen.add(key)
    return tuple(forms)


def _runs(
    shape: tuple[int, ...], strides: tuple[int, ...] | None, size: int
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Split a layout into runs of adjacent elements, and what counts the runs."""
    run = 1
    if strides is None or 0 in shape:
        for n in shape:
            run *= n
        return run, ()
    outer: list[tuple[int, int]] = []
    for stride, n in sorted(
        ((s, n) for s, n in zip(strides, shape, strict=True) if n != 1), key=lambda axis: abs(axis[0])
    ):
        if not outer and stride == run * size:
            run *= n
        else:
            outer.append((n, stride))
    return run, tuple(reversed(outer))


def _rows(a: DeviceArray, axes: int) -> Iterator[DeviceArray]:
    """Yield each row as an array of its own."""
    strides = a.strides or _c_strides(a.shape, SIZES[a.dtype])
    kept = [axis for axis in range(len(a.shape)) if not axes >> axis & 1]
    row = [axis for axis in range(len(a.shape)) if axes >> axis & 1]
    shape, steps = tuple(a.shape[axis] for axis in row), tuple(strides[axis] for axis in row)
    for index in np.ndindex(*(a.shape[axis] for axis in kept)):
        start = sum(i * strides[axis] for i, axis in zip(index, kept, strict=True))
        yield a._replace(pointer=a.pointer + start, shape=shape, strides=steps)


def _c_strides(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    strides = []
    for n in reversed(shape):
        strides.append(size)
        size *= n
    return tuple(reversed(strides))
