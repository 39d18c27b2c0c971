# SPDX-License-Identifier: BSD-3-Clause
"""A norm for each tensor, or for each row of it, as TensorFlow 2.21 has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import clip_ops as _stock

from fastclip import _dtypes
from fastclip._config import backend
from fastclip._rules import TENSOR_NORM
from fastclip.tensorflow import _tensors

# TensorFlow's own, held from before anybody replaces them.
_stock_clip_by_norm: Any = _stock.clip_by_norm
_stock_clip_by_average_norm: Any = _stock.clip_by_average_norm

_MOST_DIMS = 32  # of an array of NumPy 1; a tensor may have 254
_by_rows = backend.rule(TENSOR_NORM["in place"])  # an infinite element leaves zeros of the finite ones, as there


@_tensors.as_it_is
def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """Clip a tensor so that its norm is at most `clip_norm`.

    Eager float16, bfloat16, float32 and float64 tensors on a CPU are read and made by fastclip; TensorFlow's own
    function does the rest, and everything in a graph or under a tape that watches the tensor.

    What differs from TensorFlow's: elements do not become 0, NaN or infinity because their squares, or their products
    with the limit, leave the range; an infinite limit clips nothing; a limit of 0 leaves zeros; rows of slices with
    one index count as their sum. Within the limit the tensor comes back as it is, where TensorFlow multiplies
    and divides.

    Args:
        t: a tensor, a variable, an array, numbers, or `tf.IndexedSlices`.
        clip_norm: the limit: a number, or a tensor of no dimensions. A negative one counts as 0, as there.
        axes: the axis or axes over which the norm is taken; None: all. [] takes each element by itself.
        name: for the operations that TensorFlow makes.

    Returns:
        A tensor, or slices. An infinite element becomes NaN and finite ones beside it 0; with a NaN all become NaN.

    Raises:
        tf.errors.InvalidArgumentError: what TensorFlow raises, such as for integers, or axes that there are not.

    Source: `tf.clip_by_norm`.

    Example:
        >>> import tensorflow as tf, fastclip.tensorflow
        >>> fastclip.tensorflow.clip_by_norm(tf.constant([3e20, 4e20]), 2.5).numpy()  # there: zeros
        array([1.5, 2. ], dtype=float32)
    """
    if _tensors.NATIVE and _tensors.eager():
        limit = _tensors.number(clip_norm)
        if limit is not None:
            limit = 0.0 if limit < 0.0 else limit
            if axes is None and type(t) is _tensors.EagerTensor and _tensors.no_tape():
                clipped = backend.eager_clip_one(t, None, limit, False, _tensors.context())
                if clipped is not NotImplemented:
                    return t if clipped is None else clipped
            clipped = _clip_any(t, clip_norm, limit, axes)
            if clipped is not NotImplemented:
                return clipped
    return _stock_clip_by_norm(t, clip_norm, axes, name)


def _clip_any(t: Any, clip_norm: Any, limit: float, axes: Any) -> Any:
    given = None if t is None else _tensors.read([t])
    if given is None or _tensors.watched([*given.values, clip_norm]):
        return NotImplemented
    (value,) = given.values
    if axes is not None:
        clipped = _clip_rows(value, limit, axes) if given.counted is None else NotImplemented
    else:
        counted = None if given.counted is None else given.counted[0]
        clipped = backend.eager_clip_one(value, counted, limit, False, _tensors.context())
    return clipped if clipped is NotImplemented else _tensors.like(t, value if clipped is None else clipped)


def _clip_rows(tensor: Any, limit: float, axes: Any) -> Any:
    if tensor.dtype not in _tensors.CODES or "CPU" not in tensor.device or not 0 < tensor.ndim <= _MOST_DIMS:
        return NotImplemented
    mask = 0
    chosen = np.asarray(axes)
    if chosen.size and chosen.dtype.kind not in "iu":
        return NotImplemented
    for axis in chosen.ravel().tolist():
        if not -tensor.ndim <= axis < tensor.ndim or mask >> axis % tensor.ndim & 1:
            return NotImplemented
        mask |= 1 << axis % tensor.ndim
    array = np.asarray(tensor)
    if not _dtypes.supported(array.dtype):  # which makes bfloat16 known
        return NotImplemented
    out = backend.empty_like(array)
    backend.clip_rows(array, out, mask, limit, _by_rows)
    return _tensors.from_array(out, tensor)


@_tensors.as_it_is
def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Any:
    """Clip a tensor so that its norm divided by its number of elements is at most `clip_norm`.

    As `clip_by_norm`; TensorFlow's own takes float32 alone.

    Args:
        t: a tensor, a variable, an array or numbers; slices become dense, as there.
        clip_norm: the limit: a number, or a tensor of no dimensions. By a negative one nothing is clipped, as there.
        name: for the operations that TensorFlow makes.

    Returns:
        A tensor. An infinite element becomes NaN and finite ones beside it 0; with a NaN all become NaN.

    Source: `tf.compat.v1.clip_by_average_norm`, which is deprecated there.

    Example:
        >>> import tensorflow as tf, fastclip.tensorflow
        >>> fastclip.tensorflow.clip_by_average_norm(tf.constant([30.0, 40.0]), 2.5).numpy()  # norm 50, average 25
        array([3., 4.], dtype=float32)
    """
    if _tensors.NATIVE and _tensors.eager():
        limit = _tensors.number(clip_norm)
        if limit is not None and not isinstance(t, tf.RaggedTensor):
            value = _tensors.to_eager(t)
            if value is not None and not _tensors.watched([value, clip_norm]):
                limit = math.inf if limit < 0.0 else limit
                clipped = backend.eager_clip_one(value, None, limit, True, _tensors.context())
                if clipped is not NotImplemented:
                    return value if clipped is None else clipped
    return _stock_clip_by_average_norm(t, clip_norm, name)
