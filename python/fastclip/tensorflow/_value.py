# SPDX-License-Identifier: BSD-3-Clause
"""Each element by itself, as TensorFlow 2.21 has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import clip_ops as _stock

from fastclip import _errors
from fastclip._config import backend
from fastclip.tensorflow import _tensors

# TensorFlow's own, held from before anybody replaces it.
_stock_clip_by_value: Any = _stock.clip_by_value


@_tensors.as_it_is
def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """Clip every element of a tensor to [clip_value_min, clip_value_max].

    Eager float16, bfloat16, float32 and float64 tensors on a CPU, between numbers, are read and made by fastclip;
    TensorFlow's own function does the rest, and everything in a graph or under a tape that watches the tensor.

    What differs from TensorFlow's: a Python number that an integer dtype can't hold bounds nothing, where TensorFlow
    lets it wrap around; rows of slices with one index are added up before they are clipped.

    Args:
        t: a tensor, a variable, an array, numbers, or `tf.IndexedSlices`.
        clip_value_min: the lower bound: a number, or what broadcasts to the shape of `t`. It wins over the upper one.
        clip_value_max: the upper bound, likewise.
        name: for the operations that TensorFlow makes.

    Returns:
        A tensor, or slices. NaN stays NaN, a NaN bound makes all of them NaN.

    Raises:
        ValueError: an integer dtype holds no number between the bounds.
        tf.errors.InvalidArgumentError, TypeError: what TensorFlow raises.

    Source: `tf.clip_by_value`, whose bits the results have, the signs of zeros aside.

    Example:
        >>> import tensorflow as tf, fastclip.tensorflow
        >>> fastclip.tensorflow.clip_by_value(tf.constant([-2.0, 0.5, 7.0]), -1, 1).numpy()
        array([-1. ,  0.5,  1. ], dtype=float32)
        >>> fastclip.tensorflow.clip_by_value(tf.constant([7, 250], tf.uint8), -1, 100).numpy()  # there: 255, 255
        array([  7, 100], dtype=uint8)
    """
    if _tensors.NATIVE and _tensors.eager():
        if type(t) is _tensors.EagerTensor and _tensors.no_tape():
            clipped = _clip(t, clip_value_min, clip_value_max)
        else:
            clipped = _clip_any(t, clip_value_min, clip_value_max)
        if clipped is not NotImplemented:
            return clipped
    if isinstance(clip_value_min, int) or isinstance(clip_value_max, int):
        dtype = getattr(t, "dtype", None)
        if dtype is not None and tf.as_dtype(dtype).is_integer:
            clip_value_min, clip_value_max = _held(tf.as_dtype(dtype), clip_value_min, clip_value_max)
    return _stock_clip_by_value(t, clip_value_min, clip_value_max, name)


def _clip(tensor: Any, least: Any, most: Any) -> Any:
    lo, hi = _bound(tensor, least), _bound(tensor, most)
    if lo is None or hi is None:
        return NotImplemented
    return backend.eager_clamp(tensor, lo, hi, _tensors.context())


def _clip_any(t: Any, least: Any, most: Any) -> Any:
    given = None if t is None else _tensors.read([t])
    if given is None or _tensors.watched([*given.values, least, most]):
        return NotImplemented
    (value,) = given.values
    if given.counted is None:
        clipped = _clip(value, least, most)
        return clipped if clipped is NotImplemented else _tensors.like(t, clipped)
    sums, rows = _tensors.summed(t, value)
    return tf.IndexedSlices(clip_by_value(sums, least, most), rows, t.dense_shape)


def _bound(tensor: Any, value: Any) -> float | None:
    """Read a bound that TensorFlow would round to the tensor's dtype, or that is of it."""
    if isinstance(value, (_tensors.EagerTensor, tf.Variable)) and value.dtype != tensor.dtype:
        return None
    bound = _tensors.number(value)
    if bound is not None and tensor.dtype.size == 2:  # it goes by float32, as there
        with np.errstate(over="ignore"):
            return float(np.float32(bound))
    return bound


def _held(dtype: Any, least: Any, most: Any) -> tuple[Any, Any]:
    """Bring bounds of Python's into the range of an integer dtype."""
    if (isinstance(least, int) and least > dtype.max) or (isinstance(most, int) and most < dtype.min):
        raise ValueError(
            f"clip_by_value: clip_value_min is {_errors.show(least)} and clip_value_max is {_errors.show(most)}, but t "
            f"is {dtype.name} ({dtype.min} to {dtype.max}), which has nothing between; pass bounds within."
        )
    return max(least, dtype.min) if isinstance(least, int) else least, (
        min(most, dtype.max) if isinstance(most, int) else most
    )
