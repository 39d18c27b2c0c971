# SPDX-License-Identifier: BSD-3-Clause
"""The GPU's backend: CUDA kernels, compiled and launched by CuPy. It takes lists of `DeviceArray`.

A call launches a norm kernel and a scale kernel on the current stream, whatever the number of arrays, and waits for
nothing: the coefficient stays on the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastclip._backends.cuda import records
from fastclip._backends.cuda.chunks import Form
from fastclip._backends.cuda.plan import Plan, plan_for
from fastclip._device import SIZES, DeviceArray, cupy
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
        cp = cupy()
        with cp.cuda.Device(arrays[0].device):
            norm = cp.empty((), np.float64) if norm_to is None else norm_to
            request = _request(limit, rule, norm.data.ptr)
            if use_norm is not None:
                request["use_norm"] = use_norm
                request["reads"] = rule.nonfinite in ("raise", "skip", "zero")
            plan = self._plan(cp, arrays, each=False)
            with plan.lock:
                plan.bind([a.pointer for a in arrays])
                request["round"] = plan.round
                plan.norm("norm_list", request)
                plan.scale(request)
                if rule.nonfinite == "raise" and plan.verdicts()["nonfinite"][0]:
                    return None
        return norm

    def clip_each(self, arrays: Any, out: Any, limit: float, rule: Rule, vetted: bool) -> Any:
        """Clip each array by its own norm."""
        cp = cupy()
        with cp.cuda.Device(arrays[0].device):
            request = _request(limit, rule, 0)
            request["each"] = 1
            plan = self._plan(cp, arrays, each=True)
            with plan.lock:
                plan.bind([a.pointer for a in arrays])
                plan.norm("norm_each", request)
                plan.scale(request)
        return None

    def norm_list(self, arrays: Any, norm_to: Any = None) -> Any:
        """Return the norm of all elements as a 0-d array on the device."""
        return self._norm(arrays, norm_to)

    def _norm(self, arrays: list[DeviceArray], norm_to: Any) -> Any:
        cp = cupy()
        with cp.cuda.Device(arrays[0].device):
            norm = cp.empty((), np.float64) if norm_to is None else norm_to
            plan = self._plan(cp, arrays, each=False)
            with plan.lock:
                plan.bind([a.pointer for a in arrays])
                plan.norm("norm_list", _request(np.inf, Rule(), norm.data.ptr))
        return norm

    def _plan(self, cp: Any, arrays: list[DeviceArray], *, each: bool) -> Plan:
        self._calls += 1
        stream = cp.cuda.get_current_stream().ptr
        return plan_for(cp, _forms(arrays), each, arrays[0].device, stream)


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


def _runs(shape: tuple[int, ...], strides: tuple[int, ...] | None, size: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Split a layout into runs of adjacent elements, and what counts the runs."""
    run = 1
    if strides is None or 0 in shape:
        for n in shape:
            run *= n
        return run, ()
    outer = []
    for stride, n in sorted(((s, n) for s, n in zip(strides, shape, strict=True) if n != 1), key=lambda axis: abs(axis[0])):
        if not outer and stride == run * size:
            run *= n
        else:
            outer.append((n, stride))
    return run, tuple(reversed(outer))
