# SPDX-License-Identifier: BSD-3-Clause
"""The native verbs over tensors: what the exchange API reads at once, and older releases' tensors as NumPy arrays.

Each takes a list and returns NotImplemented where PyTorch has to do it: tensors of another device, dtype, layout or
class, or without native code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastclip import _dtypes
from fastclip._config import backend

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # as csrc/core/dtype.hpp numbers them
CODES = {dtype: code for code, dtype in enumerate(DTYPES)}
CPU = torch.device("cpu")
_PLAIN = (Tensor, torch.nn.Parameter)

_modes: Callable[[], int] = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)
_tracing: Callable[[], bool] = getattr(torch._C, "_is_tracing", lambda: False)
_compiling = torch.compiler.is_compiling


def listened() -> bool:
    """Tell whether a compiler, a tracer or a dispatch mode (fake tensors, say) must see every operation."""
    return bool(_compiling() or _modes() or _tracing())


def _bfloat16() -> Any:
    try:
        import ml_dtypes
    except ImportError:
        return None
    dtype = np.dtype(ml_dtypes.bfloat16)
    return dtype if _dtypes.supported(dtype) else None


def _array(tensor: Any) -> Any:
    """Return an array over a tensor's memory, or None."""
    if type(tensor) not in _PLAIN or tensor.dtype not in CODES:
        return None
    tensor = tensor.detach()
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy()
    bfloat16 = _bfloat16()
    return None if bfloat16 is None else tensor.view(torch.int16).numpy().view(bfloat16)


def _by_arrays(call: Callable[..., Any]) -> Callable[..., Any]:
    """Let a verb for tensors take arrays over their memory."""

    def through(items: list[Any], gradients: bool, *arguments: Any) -> Any:
        tensors = items
        if gradients:
            tensors = [owner.grad for owner in distinct(items) if owner.grad is not None]
        try:
            arrays = [_array(tensor) for tensor in tensors]
        except (RuntimeError, TypeError):  # on another device, sparse, conjugated
            return NotImplemented
        if any(array is None for array in arrays):
            return NotImplemented
        answer = call(arrays, False, *arguments)
        if isinstance(answer, list):
            return tensors if answer else answer
        if not isinstance(answer, tuple):
            return answer
        (value, code), written, *more = answer
        norm = torch.scalar_tensor(value, dtype=DTYPES[code], device=CPU)
        return norm, (tensors if isinstance(written, list) and written else written), *more

    return through


def distinct(parameters: Iterable[Any]) -> list[Any]:
    """Leave out what is listed again."""
    return list({id(parameter): parameter for parameter in parameters}.values())


def _increment_each(tensors: list[Tensor]) -> None:
    for tensor in tensors:
        torch.autograd.graph.increment_version(tensor)


# Before 2.10 or so a tensor has no exchange API: 0.7 us for each, instead of 0.02.
_exchanged = all([backend.register_tensor_type(kind) for kind in _PLAIN])


def _verb(call: Callable[..., Any]) -> Callable[..., Any]:
    return call if _exchanged else _by_arrays(call)


norm = _verb(backend.tensors_norm)
clip = _verb(backend.tensors_clip)
scale = _verb(backend.tensors_scale)
clamp = _verb(backend.tensors_clamp)
changed: Callable[[list[Tensor]], None] = torch.autograd.graph.increment_version if _exchanged else _increment_each
