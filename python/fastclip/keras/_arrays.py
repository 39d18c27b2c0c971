# SPDX-License-Identifier: BSD-3-Clause
"""Keras's tensors are JAX's or NumPy's arrays: whatever lends its memory."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

import fastclip
from fastclip import _dtypes


def ready(values: Any) -> bool:
    """Tell whether these are arrays on a CPU that have values: not traced, and of dtypes with a norm."""
    return all(value is None or _has_values(value) for value in values)


def _has_values(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return _dtypes.supported(value.dtype)
    jax = sys.modules.get("jax")
    if jax is None or not isinstance(value, jax.Array) or isinstance(value, jax.core.Tracer):
        return False
    return (
        _dtypes.supported(value.dtype)
        and value.is_fully_addressable
        and len(value.devices()) == 1
        and next(iter(value.devices())).platform == "cpu"
    )


def _like(value: Any, array: Any) -> Any:
    """Make an array of the backend of a new one of NumPy's, without a copy where JAX can."""
    if isinstance(value, np.ndarray):
        return array
    import jax

    return jax.device_put(array, next(iter(value.devices())))


def global_norm(values: Any) -> Any:
    """Return the norm of all."""
    given = [value for value in values if value is not None]
    if not given:
        return NotImplemented
    dtype = np.result_type(*(value.dtype for value in given))
    return _like(given[0], _dtypes.rounded(fastclip.global_norm(given), dtype))


def clip_by_global_norm(values: Any, limit: float) -> Any:
    """Clip by the norm of all."""
    if fastclip.global_norm(values) <= limit:
        return list(values)
    clipped, _ = fastclip.clip_by_global_norm(values, limit)
    return [None if value is None else _like(value, new) for value, new in zip(values, clipped, strict=True)]


def clip_by_norm(value: Any, limit: float) -> Any:
    """Clip by its own norm."""
    norm = fastclip.global_norm([value])
    if norm <= limit:
        return value
    if not math.isfinite(norm) and not np.isfinite(np.asarray(value)).all():
        return NotImplemented  # as Keras has it: zeros and NaN, where fastclip's is all NaN
    return _like(value, fastclip.clip_by_norm(value, limit))


def clip_by_value(value: Any, bound: float) -> Any:
    """Clip each element."""
    return _like(value, fastclip.clip_by_value(value, -bound, bound))
