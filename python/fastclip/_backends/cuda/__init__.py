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

from fastclip._backends.cuda import chunks, columns, layout, modules, records, rows, statistics
from fastclip._backends.cuda.chunks import Form
from fastclip._backends.cuda.plan import (
    ROUNDS,
    Plan,
    bounds,
    plan_for,
    stream_key,
)
from fastclip._backends.cuda.tensors import TensorList, tensor_list
from fastclip._device import DTYPES, DeviceArray, cupy, fetch, numpy_dtype
from fastclip._known import Known
from fastclip._rules import POLICIES, Rule

_F64 = DTYPES.index("float64")


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
        self._clip_groups(arrays, "each", None, limit, rule)

    def check_list(self, function: str, names: list[str], arrays: list[DeviceArray]) -> None:
        """Raise if a list is one of too many pieces."""
        if any(a.strides is not None for a in arrays) or len(arrays) > layout.MOST_RUNS:
            forms = zip(names, layout.forms(arrays), strict=True)
            layout.check(function, forms, "contiguous copies of arrays with gaps, or fewer arrays at a time")

    def check_rows(self, function: str, named: list[tuple[str, DeviceArray, int]]) -> None:
        """Raise if the rows of an array, along the axes whose bit is set, are too many pieces."""
        for name, array, axes in named:
            form = layout.rows(array, axes)
            in_one_piece = not form.outer and len(form.rows) == 1
            if not (in_one_piece or columns.are(form) or 0 in array.shape):
                layout.check(function, [(name, form)], "a contiguous copy whose last axes are those of the norm")

    def clip_rows(self, array: Any, out: Any, axes: int, limit: float, rule: Rule) -> Any:
        """Clip one array, each row (along the axes whose bit is set) by its own norm."""
        form = layout.rows(array, axes)
        if 0 in array.shape:
            return
        cp = cupy()
        way = rows.way(cp, array.device, form)
        if way or columns.are(form):
            request = _request(limit, rule, 0)
            request["round"] = ROUNDS[array.dtype]
            self._calls += 1
            with self._ordered([array]) as (_, stream):
                if way:
                    rows.launch(cp, way, array, form, request)
                else:
                    columns.clip(cp, stream, array, form, request)
            return
        self._clip_groups([array], "rows", (form,), limit, rule)

    def _clip_groups(self, arrays: Any, what: str, forms: tuple[Form, ...] | None, limit: float, rule: Rule) -> None:
        with self._bound(arrays, what, forms) as (_, plan):
            request = _request(limit, rule, 0)
            request["each"] = 1
            plan.norm(request)
            plan.scale(request)

    def example_norms(self, arrays: list[DeviceArray], limit: float, rule: Rule, sums: Any = None) -> Any:
        """Return the norm of each example over all arrays (axis 0 counts them); fill `sums`, a block for them."""
        forms = _examples("example_norms", arrays)
        examples = arrays[0].shape[0]
        with self._bound(arrays, "each", forms) as (cp, plan):
            norms = cp.zeros((examples,), np.float64)  # an example without elements is in no chunk
            request = _request(limit, rule, norms.data.ptr)
            request["each"] = 1
            plan.norm(request)
            if sums is not None:
                adding = plan_for(cp, forms, "sum", arrays[0].device, cp.cuda.get_current_stream())
                with adding.lock:
                    adding.bind(arrays)
                    adding.weighted_sum(plan.verdicts, sums.data.ptr, examples)
        return norms

    def clip_and_sum(self, function: str, arrays: list[DeviceArray], limit: float, rule: Rule) -> tuple[list[Any], Any]:
        """Return the sums of clipped examples, in new arrays, and the examples' norms."""
        forms = _examples(function, arrays)
        for i, form in enumerate(forms):
            if form.outer:
                raise ValueError(
                    f"{function}: in entry {i} an example's elements are not adjacent; pass a contiguous copy."
                )
        cp = cupy()
        with cp.cuda.Device(arrays[0].device):
            *starts, size = chunks.sum_starts(forms)
            block = cp.empty((max(size, 1),), np.uint8)
            sums = [
                block[start : start + form.run * form.size].view(numpy_dtype(a.dtype)).reshape(a.shape[1:])
                for a, form, start in zip(arrays, forms, starts, strict=True)
            ]
        return sums, self.example_norms(arrays, limit, rule, block)

    def clamp_list(self, arrays: Any, out: Any, lo: float, hi: float, vetted: bool) -> Any:
        """Clip each element to [lo, hi]; lo wins over hi."""
        with self._bound(arrays, "list") as (_, plan):
            plan.clamp(bounds(lo, hi))

    def norm_list(self, arrays: Any, norm_to: Any = None) -> Any:
        """Return the norm of all elements as a 0-d array on the device (`norm_to`, or a new one)."""
        with self._bound(arrays, "list") as (cp, plan):
            norm = cp.empty((), np.float64) if norm_to is None else norm_to
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

    def tensor_list(self, signature: bytes, device: int, stream: int) -> TensorList:
        """Find what serves a list of tensors that a framework has described."""
        self._calls += 1
        return tensor_list(signature, device, stream)

    def fetch(self, array: DeviceArray) -> NDArray[Any]:
        """Wait for an array and copy it to the CPU."""
        with self._ordered([array]) as (_, stream):
            stream.synchronize()
            return fetch(array)

    @contextlib.contextmanager
    def _bound(
        self, arrays: list[DeviceArray], what: str, forms: tuple[Form, ...] | None = None
    ) -> Iterator[tuple[Any, Plan]]:
        """Find the plan for a list on the current stream, its addresses in place; nobody else may launch with it."""
        self._calls += 1
        with self._ordered(arrays) as (cp, stream):
            plans = arrays.plans if isinstance(arrays, Known) and forms is None else {}
            key = what, stream_key(stream.ptr)
            plan = plans.get(key)
            if plan is None or not plan.serves(stream):
                forms = forms or layout.forms(arrays)
                plan = plan_for(cp, forms, what, arrays[0].device, stream)
                plans[key] = plan
            with plan.lock:
                plan.bind(arrays)
                yield cp, plan

    @contextlib.contextmanager
    def _ordered(self, arrays: list[DeviceArray]) -> Iterator[tuple[Any, Any]]:
        """Have the current stream wait for those that wrote the arrays, and these for what is launched meanwhile."""
        cp = cupy()
        with cp.cuda.Device(arrays[0].device):
            stream = cp.cuda.get_current_stream()
            named = () if isinstance(arrays, Known) else (a.stream for a in arrays if a.stream is not None)
            others = set(named) - {stream.ptr or 1}
            for other in others:
                stream.wait_event(modules.stream(cp, other).record())
            yield cp, stream
            for other in others:
                modules.stream(cp, other).wait_event(stream.record())


def _examples(function: str, arrays: list[DeviceArray]) -> tuple[Form, ...]:
    forms = tuple(layout.rows(a, (1 << len(a.shape)) - 2) for a in arrays)
    layout.check(function, ((f"entry {i}", form) for i, form in enumerate(forms)), "the batch in parts")
    return forms


def _request(limit: float, rule: Rule, norm: int) -> np.void:
    return records.request(norm, limit, rule.slack, POLICIES.index(rule.nonfinite), rule.average, _F64, False)
