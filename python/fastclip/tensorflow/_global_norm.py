# SPDX-License-Identifier: BSD-3-Clause
"""One norm for a whole list, as TensorFlow 2.21 has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorflow.python.ops import clip_ops as _stock

from fastclip._config import backend
from fastclip.tensorflow import _tensors

# TensorFlow's own, held from before anybody replaces them.
_stock_clip_by_global_norm: Any = _stock.clip_by_global_norm
_stock_global_norm: Any = _stock.global_norm


def _is_list(t_list: Any) -> bool:
    return isinstance(t_list, Sequence) and not isinstance(t_list, (str, bytes))


@_tensors.as_it_is
def global_norm(t_list: Any, name: str | None = None) -> Any:
    """Compute the norm of all elements of a list of tensors as one vector.

    Args:
        t_list: a list or tuple of tensors, variables, arrays, `tf.IndexedSlices` and None, which is left out. Rows of
            slices with one index are added up first, since that is what an optimizer applies.
        name: for the operations that TensorFlow makes.

    Returns:
        A tensor of no dimensions, of the tensors' dtype (of the wider one, where they differ): exact before it is
        rounded to it. Infinity if an element is, NaN if one is NaN, 0.0 for nothing.

    Raises:
        TypeError: `t_list` is no list or tuple; and what TensorFlow raises, such as for integers.

    Source: `tf.linalg.global_norm`.

    Example:
        >>> import tensorflow as tf, fastclip.tensorflow
        >>> fastclip.tensorflow.global_norm([tf.constant([3e20]), None, tf.constant(4e20)]).numpy()  # there: inf
        np.float32(5e+20)
    """
    if _tensors.NATIVE and _tensors.eager() and _is_list(t_list):
        if type(t_list) in (list, tuple) and _tensors.no_tape():  # tensors alone take the short way
            norm = backend.eager_norm(t_list, _tensors.context())
            if norm is not NotImplemented:
                return norm
        given = _tensors.read(t_list)
        if given is not None and not _tensors.watched(given.values):
            norm = backend.eager_norm(given.counted or given.values, _tensors.context())
            if norm is not NotImplemented:
                return norm
    return _stock_global_norm(t_list, name)


@_tensors.as_it_is
def clip_by_global_norm(t_list: Any, clip_norm: Any, use_norm: Any = None, name: str | None = None) -> Any:
    """Clip tensors so that the norm of all their elements together is at most `clip_norm`.

    Every element is multiplied by clip_norm * min(1 / norm, 1 / clip_norm), formed in the dtype of the norm as
    TensorFlow forms it. Eager float16, bfloat16, float32 and float64 tensors on a CPU are read and made by fastclip;
    TensorFlow's own function does the rest, and everything in a graph or under a tape that watches a tensor.

    What differs from TensorFlow's: the norm is exact before it is rounded; finite elements do not become NaN because
    their squares leave the range; an infinite limit clips nothing; lists of several dtypes are taken; rows of
    slices with one index count as their sum. Within the limit the tensors come back as they are.

    Args:
        t_list: as for `global_norm`.
        clip_norm: the limit: a number, or a tensor of no dimensions. By a negative one nothing is clipped, as there.
        use_norm: the norm, a tensor, if it is already known.
        name: for the operations that TensorFlow makes.

    Returns:
        The clipped tensors in a list, None and slices in their places, and the norm. NaN or infinity among the
        elements makes every element NaN.

    Raises:
        TypeError: `t_list` is no list or tuple; and what TensorFlow raises.

    Source: `tf.clip_by_global_norm`; given the same norm the results have its bits, but for those within the limit.

    Example:
        >>> import tensorflow as tf, fastclip.tensorflow
        >>> clipped, norm = fastclip.tensorflow.clip_by_global_norm([tf.constant([3e20, 4e20])], 2.5)  # there: NaN
        >>> print(clipped[0].numpy(), norm.numpy())
        [1.5 2. ] 5e+20
    """
    if _tensors.NATIVE and _tensors.eager():
        limit = _tensors.number(clip_norm)
        if limit is not None and _is_list(t_list):
            entries = list(t_list)  # another thread may change the caller's while the GIL is released
            # Tensors alone, as a tape gives them, take the short way.
            if use_norm is None and _tensors.no_tape():
                answer = backend.eager_clip(entries, None, limit, _tensors.context())
                if answer is not NotImplemented and _tensors.takes(clip_norm, answer[1]):
                    clipped, norm = answer
                    return (entries if clipped is None else clipped), norm
            answer = _clip_any(entries, clip_norm, limit, use_norm)
            if answer is not NotImplemented:
                return answer
    return _stock_clip_by_global_norm(t_list, clip_norm, use_norm, name)


def _clip_any(entries: list[Any], clip_norm: Any, limit: float, use_norm: Any) -> Any:
    given = _tensors.read(entries)
    if given is None or _tensors.watched([*given.values, clip_norm, use_norm]):
        return NotImplemented
    if use_norm is None:
        answer = backend.eager_clip(given.values, given.counted, limit, _tensors.context())
        if answer is NotImplemented or not _tensors.takes(clip_norm, answer[1]):
            return NotImplemented
        clipped, norm = answer
    else:
        if not isinstance(use_norm, (_tensors.EagerTensor, np.floating)) or np.ndim(use_norm):
            return NotImplemented
        code, value = _tensors.CODES.get(_tensors.dtype_of(use_norm)), float(use_norm)
        if code is None or value < 0.0 or not _tensors.takes(clip_norm, use_norm):  # negative: signs turn round
            return NotImplemented
        clipped, norm = backend.eager_scale(given.values, value, code, limit, _tensors.context()), use_norm
        if clipped is NotImplemented:
            return NotImplemented
    values = given.values if clipped is None else clipped
    return [_tensors.like(entry, value) for entry, value in zip(entries, values, strict=True)], norm
