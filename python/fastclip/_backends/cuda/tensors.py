# SPDX-License-Identifier: BSD-3-Clause
"""Lists that a framework's own reader describes by signature and addresses: neither NumPy nor CuPy sees the tensors."""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from typing import Any

import numpy as np

from fastclip._backends.cuda import modules, records
from fastclip._backends.cuda.chunks import Form
from fastclip._backends.cuda.plan import Plan, bounds, recall, stream_key
from fastclip._device import DTYPES, SIZES, cupy
from fastclip._rules import POLICIES

#: by dtype, as in `csrc/core/dtype.hpp`
LARGEST = (65504.0, (2.0 - 2.0**-7) * 2.0**127, (2.0 - 2.0**-23) * 2.0**127, sys.float_info.max)
_F32, _F64 = DTYPES.index("float32"), DTYPES.index("float64")


def _forms(signature: bytes) -> tuple[Form, ...]:
    """Read what `csrc/bindings/device.cpp` writes: count << 3 | dtype << 1 | whether the memory stands earlier."""
    words = np.frombuffer(signature, np.uint64).tolist()
    return tuple(Form(w >> 1 & 3, SIZES[w >> 1 & 3], w >> 3, (), bool(w & 1)) for w in words)


class TensorList:
    """Tensors on one stream of one device, clipped as PyTorch clips; only their addresses change from call to call.

    Attributes:
        dtype: what PyTorch promotes the tensors' dtypes to, an index into `DTYPES`.
        largest: the largest number that all of them hold.
    """

    def __init__(self, cp: Any, signature: bytes, device: int, stream: int) -> None:
        forms = _forms(signature)
        dtypes = {form.dtype for form in forms}
        self.dtype = dtypes.pop() if len(dtypes) == 1 else _F64 if _F64 in dtypes else _F32
        self.largest = min(LARGEST[form.dtype] for form in forms)
        self._device, self._stream = cp.cuda.Device(device), modules.stream(cp, stream)
        with self._device, self._stream:
            self._plan = Plan(cp, forms, "list", device)
            self._plan.prepare("norm_list", "scale", "clamp")
        self._request = self._new_request(self.dtype)
        self._given = {code: self._new_request(code) for code in range(len(DTYPES))}
        for request in self._given.values():
            request["reads"] = 0

    @staticmethod
    def _new_request(dtype: int) -> np.void:
        return records.request(0, math.inf, 0.0, POLICIES.index("propagate"), False, dtype, True)

    def norm(self, addresses: bytes, to: int, ask: bool) -> bool:
        """Write the norm, of `dtype`, to an address on the device; False if `ask` and it is not finite."""
        plan = self._plan
        with plan.lock, self._device, self._stream:
            plan.bind_addresses(addresses)
            self._request["norm"], self._request["limit"] = to, math.inf
            plan.norm(self._request)
            return not (ask and plan.verdict()["nonfinite"])

    def clip(self, addresses: bytes, max_norm: float, to: int, error_if_nonfinite: bool) -> bool:
        """Do so, and clip; False, and nothing is written, if the norm is not finite and that is an error."""
        plan = self._plan
        with plan.lock, self._device, self._stream:
            plan.bind_addresses(addresses)
            request = self._request
            request["norm"], request["limit"] = to, max_norm
            request["policy"] = POLICIES.index("raise" if error_if_nonfinite else "propagate")
            plan.norm(request)
            plan.scale(request)
            return not (error_if_nonfinite and plan.verdict()["nonfinite"])

    def scale(self, addresses: bytes, max_norm: float, norm: int, dtype: int) -> None:
        """Clip by a norm that stands at an address on the device, a number of that dtype."""
        plan = self._plan
        with plan.lock, self._device, self._stream:
            plan.bind_addresses(addresses)
            request = self._given[dtype]
            request["given"], request["limit"] = norm, max_norm
            plan.norm(request)
            plan.scale(request)

    def clamp(self, addresses: bytes, bound: float) -> None:
        """Clip each element to [-bound, bound]."""
        plan = self._plan
        with plan.lock, self._device, self._stream:
            plan.bind_addresses(addresses)
            plan.clamp(bounds(-bound, bound))


_lists: OrderedDict[Any, TensorList] = OrderedDict()


def tensor_list(signature: bytes, device: int, stream: int) -> TensorList:
    """Find what is kept of a list, or make it: memory is allocated, and kernels are compiled."""
    cp = cupy()
    key = (id(cp), signature, device, stream_key(stream))
    found: TensorList = recall(_lists, key, lambda: TensorList(cp, signature, device, stream))
    return found
