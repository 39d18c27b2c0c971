# SPDX-License-Identifier: BSD-3-Clause
"""What Keras 3.15 calls to clip, by fastclip where tensors have values, by Keras where they are traced."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import keras
from keras.src.optimizers import base_optimizer as _stock

_VERBS = {"tensorflow": "_tensorflow", "torch": "_torch", "jax": "_arrays", "numpy": "_arrays"}

# Keras's own, held from before anybody replaces them.
_stock_clip_gradients: Any = _stock.BaseOptimizer._clip_gradients
_stock_clip_by_global_norm: Any = _stock.clip_by_global_norm
_stock_global_norm: Any = _stock.global_norm
_stock_clip_by_norm = {
    vars(kind).get("_clip_by_norm") for kind in keras.optimizers.Optimizer.__mro__ if "_clip_by_norm" in vars(kind)
}

# Of Keras's backend, which is one for the whole process.
_module = _VERBS.get(keras.config.backend())
_verbs: Any = importlib.import_module(f"fastclip.keras.{_module}") if _module else None


def _ready(tensors: Sequence[Any]) -> bool:
    return _verbs is not None and isinstance(tensors, (list, tuple)) and _verbs.ready(tensors)


def clips_as_keras(optimizer: Any) -> bool:
    """Tell whether an optimizer's method `_clip_gradients` is Keras's and not somebody's own."""
    return type(optimizer)._clip_gradients in (_stock_clip_gradients, clip_gradients)


def global_norm(value_list: Any) -> Any:
    """Compute the norm of all elements of a list of tensors as one vector.

    Args:
        value_list: a list or tuple of tensors of Keras's backend, and None, which is left out.

    Returns:
        A tensor of no dimensions, exact before it is rounded to the tensors' dtype.

    Source: Keras 3.15's function of that name, behind `global_clipnorm`.

    Example:
        >>> import keras, fastclip.keras
        >>> float(fastclip.keras.global_norm([keras.ops.array([3e20]), None, keras.ops.array([4e20])]))  # there: inf
        5.000000100204387e+20
    """
    norm = _verbs.global_norm(value_list) if _ready(value_list) else NotImplemented
    return _stock_global_norm(value_list) if norm is NotImplemented else norm


def clip_by_global_norm(value_list: Any, clip_norm: float) -> Any:
    """Clip tensors so that the norm of all their elements together is at most `clip_norm`.

    Args:
        value_list: a list or tuple of tensors of Keras's backend, and None, which is kept.
        clip_norm: the limit, a number. Infinity clips nothing; Keras makes NaN of it.

    Returns:
        The clipped tensors in a list; within the limit those that were given. NaN or infinity among the elements makes
        every element NaN, as there.

    Source: Keras 3.15's function of that name, behind `global_clipnorm`.

    Example:
        >>> import keras, fastclip.keras
        >>> clipped = fastclip.keras.clip_by_global_norm([keras.ops.array([3.0, 4.0]), None], 2.5)
        >>> keras.ops.convert_to_numpy(clipped[0])
        array([1.5, 2. ], dtype=float32)
    """
    clipped = NotImplemented
    if isinstance(clip_norm, (int, float)) and clip_norm >= 0 and _ready(value_list):
        clipped = _verbs.clip_by_global_norm(value_list, float(clip_norm))
    return _stock_clip_by_global_norm(value_list, clip_norm) if clipped is NotImplemented else clipped


def clip_gradients(optimizer: Any, grads: Any) -> Any:
    """Clip gradients by the limit that an optimizer has: `clipnorm`, `global_clipnorm` or `clipvalue`.

    Args:
        optimizer: a Keras optimizer. A limit that is not above 0 clips nothing, as in Keras.
        grads: a list of tensors of Keras's backend; None is kept.

    Returns:
        The clipped gradients in a list.

    Source: the method `_clip_gradients` of Keras 3.15's optimizers, which `fastclip.patch("keras")` replaces by this.

    Example:
        >>> import keras, fastclip.keras
        >>> optimizer = keras.optimizers.SGD(clipvalue=0.5)
        >>> clipped = fastclip.keras.clip_gradients(optimizer, [keras.ops.array([-2.0, 0.25])])
        >>> keras.ops.convert_to_numpy(clipped[0])
        array([-0.5 ,  0.25], dtype=float32)
    """
    clipped = _clip(optimizer, grads) if _ready(grads) else NotImplemented
    return _stock_clip_gradients(optimizer, grads) if clipped is NotImplemented else clipped


def _clip(optimizer: Any, grads: Any) -> Any:
    if optimizer.clipnorm and optimizer.clipnorm > 0:
        if type(optimizer)._clip_by_norm not in _stock_clip_by_norm:
            return NotImplemented  # somebody's own rule
        limit = float(optimizer.clipnorm)
        clipped = [None if gradient is None else _verbs.clip_by_norm(gradient, limit) for gradient in grads]
    elif optimizer.global_clipnorm and optimizer.global_clipnorm > 0:
        return _verbs.clip_by_global_norm(grads, float(optimizer.global_clipnorm))
    elif optimizer.clipvalue and optimizer.clipvalue > 0:
        bound = optimizer.clipvalue  # an integer bounds integers
        clipped = [None if gradient is None else _verbs.clip_by_value(gradient, bound) for gradient in grads]
    else:
        return grads
    return NotImplemented if any(gradient is NotImplemented for gradient in clipped) else clipped
