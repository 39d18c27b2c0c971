# SPDX-License-Identifier: BSD-3-Clause
"""The verbs of `_tensors` over CUDA tensors: on PyTorch's current stream, without waiting for the device.

Each returns NotImplemented where PyTorch has to do it: without CuPy, for what is not dense or on two devices, for norms
of another order than 2, and while a CUDA graph is captured, which would keep addresses that the next call may change.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastclip._config import backend, gpu
from fastclip.torch import _tensors

DEVICE_TYPE = 2  # CUDA's, for DLPack
_unusable = False  # CuPy is missing, or can't compile: nobody has asked for it, so PyTorch serves

_capturing = torch.cuda.is_current_stream_capturing


def serves(items: list[Any]) -> bool:
    """Tell whether a list is one for this module, by its first entry."""
    return bool(items) and getattr(items[0], "is_cuda", False) and not _unusable


def _read(items: list[Any], gradients: bool) -> Any:
    """Return (what the backend keeps of the list, addresses, tensors)."""
    global _unusable
    found = backend.device_tensors(items, gradients, DEVICE_TYPE)
    if found is NotImplemented or _capturing():
        return NotImplemented
    signature, addresses, device, stream, tensors = found
    try:
        return gpu().tensor_list(signature, device, stream), addresses, tensors
    except MemoryError:  # CuPy's, too: the next call may find some
        return NotImplemented
    except Exception:  # whatever a broken CuPy raises
        _unusable = True
        return NotImplemented


def _scalar(list_: Any, tensors: list[Tensor]) -> Tensor:
    return torch.empty((), dtype=_tensors.DTYPES[list_.dtype], device=tensors[0].device)


def norm(items: list[Any], gradients: bool, norm_type: float, ask: bool) -> Any:
    """Return (norm, whether it is finite); True unless that is asked, which waits for the device."""
    read = _read(items, gradients) if norm_type == 2.0 else NotImplemented
    if read is NotImplemented:
        return NotImplemented
    list_, addresses, tensors = read
    found = _scalar(list_, tensors)
    return found, list_.norm(addresses, found.data_ptr(), ask)


def clip(items: list[Any], gradients: bool, max_norm: float, norm_type: float, error_if_nonfinite: bool) -> Any:
    """Return (norm, tensors that may have been written); None instead of these for a norm that is an error."""
    read = _read(items, gradients) if norm_type == 2.0 else NotImplemented
    if read is NotImplemented:
        return NotImplemented
    list_, addresses, tensors = read
    found = _scalar(list_, tensors)
    done = list_.clip(addresses, max_norm, found.data_ptr(), error_if_nonfinite)
    return found, tensors if done else None


def scale(items: list[Any], gradients: bool, max_norm: float, total_norm: Tensor, code: int) -> Any:
    """Return the tensors that may have been written."""
    read = _read(items, gradients)
    if read is NotImplemented or total_norm.device != read[2][0].device:
        return NotImplemented
    list_, addresses, tensors = read
    list_.scale(addresses, max_norm, total_norm.data_ptr(), code)
    return tensors


def clamp(items: list[Any], gradients: bool, bound: float) -> Any:
    """Return the tensors; PyTorch refuses a bound that a dtype can't hold."""
    read = NotImplemented if bound < 0.0 else _read(items, gradients)
    if read is NotImplemented or (bound > read[0].largest and not math.isinf(bound)):
        return NotImplemented
    list_, addresses, tensors = read
    list_.clamp(addresses, bound)
    return tensors
