# SPDX-License-Identifier: BSD-3-Clause
"""Keras's tensors are PyTorch's. Keras takes clipped gradients for new tensors, so nothing is written in place."""

from __future__ import annotations

import math
from typing import Any

import torch

import fastclip
from fastclip.torch import _tensors


def ready(values: Any) -> bool:
    """Tell whether these are plain tensors through which nobody differentiates."""
    if _tensors.listened():
        return False
    graph = torch.is_grad_enabled()
    return all(
        value is None or (isinstance(value, torch.Tensor) and not (graph and value.requires_grad)) for value in values
    )


def _norm(values: Any) -> Any:
    """Return (norm as a tensor, it in f64), or NotImplemented."""
    answer = _tensors.norm([value.detach() for value in values if value is not None], False, 2.0)
    return NotImplemented if answer is NotImplemented else (answer[0], answer[2])


def _beyond(exact: float, values: Any) -> bool:
    """Tell whether it is the norm that is infinite, beyond f64, and no element."""
    return math.isinf(exact) and all(value is None or bool(value.isfinite().all()) for value in values)


def global_norm(values: Any) -> Any:
    """Return the norm of all."""
    answer = _norm(values)
    return answer if answer is NotImplemented else answer[0]


def clip_by_global_norm(values: Any, limit: float) -> Any:
    """Clip by the norm of all."""
    answer = _norm(values)
    if answer is NotImplemented:
        return NotImplemented
    norm, exact = answer
    if exact <= limit:
        return list(values)
    if _beyond(exact, values):
        return fastclip.clip_by_global_norm([None if v is None else v.detach() for v in values], limit)[0]
    # min(1 / norm, 1 / limit) is the former here. A norm that the dtype can't hold is taken in f64.
    coefficient = math.nan if not math.isfinite(exact) else limit / exact if norm.isinf() else (1.0 / norm) * limit
    given = [value for value in values if value is not None]
    clipped = iter(torch._foreach_mul(given, coefficient))
    return [None if value is None else next(clipped) for value in values]


def clip_by_norm(value: Any, limit: float) -> Any:
    """Clip by its own norm."""
    answer = _norm([value])
    if answer is NotImplemented:
        return NotImplemented
    exact = answer[1]
    if _beyond(exact, [value]) and exact > limit:
        return fastclip.clip_by_norm(value.detach(), limit)
    return value if exact <= limit else value * (limit / exact)


def clip_by_value(value: Any, bound: float) -> Any:
    """Leave it to Keras, whose operation is one call of PyTorch's."""
    return NotImplemented
