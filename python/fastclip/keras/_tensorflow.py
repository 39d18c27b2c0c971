# SPDX-License-Identifier: BSD-3-Clause
"""Keras's tensors are TensorFlow's. In a graph, which `fit` makes, Keras's own operations are as fast."""

from __future__ import annotations

from typing import Any

from fastclip import tensorflow as ours
from fastclip.tensorflow import _tensors

ready = _tensors.executes  # a graph has no values

global_norm = ours.global_norm
clip_by_norm = ours.clip_by_norm


def clip_by_global_norm(values: Any, limit: float) -> Any:
    """Clip by the norm of all."""
    return ours.clip_by_global_norm(values, limit)[0]


def clip_by_value(value: Any, bound: float) -> Any:
    """Clip each element."""
    return ours.clip_by_value(value, -bound, bound)
