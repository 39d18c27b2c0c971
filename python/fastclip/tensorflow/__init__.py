# SPDX-License-Identifier: BSD-3-Clause
"""TensorFlow's clipping functions, faster on eager tensors and with exact norms, and a wrapper for its optimizers.

>>> import tensorflow as tf, fastclip.tensorflow
>>> clipped, norm = fastclip.tensorflow.clip_by_global_norm([tf.constant([3.0, 0.0]), tf.constant([4.0])], 2.5)
>>> print(*clipped, norm)
tf.Tensor([1.5 0. ], shape=(2,), dtype=float32) tf.Tensor([2.], shape=(1,), dtype=float32) tf.Tensor(5.0, shape=(), dtype=float32)
"""  # noqa: E501

from __future__ import annotations

from fastclip import _errors

with _errors.importing("fastclip.tensorflow", "tensorflow"):
    import tensorflow as _tensorflow  # noqa: F401

from fastclip.tensorflow._global_norm import clip_by_global_norm, global_norm
from fastclip.tensorflow._optimizer import ClippedOptimizer
from fastclip.tensorflow._tensor_norm import clip_by_average_norm, clip_by_norm
from fastclip.tensorflow._value import clip_by_value

__all__ = [
    "ClippedOptimizer",
    "clip_by_average_norm",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "global_norm",
]
