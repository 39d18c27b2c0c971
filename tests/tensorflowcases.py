# SPDX-License-Identifier: BSD-3-Clause
"""Eager tensors, and TensorFlow's own functions to compare with."""

import numpy as np
import pytest
import tensorflow as tf
from exact import root, sum_of_squares, to_float
from tensorflow.python.ops import clip_ops

import fastclip
import fastclip.tensorflow as ours
from fastclip.tensorflow import _tensors

tf.get_logger().setLevel("ERROR")  # of deprecated functions

F16, BF16, F32, F64 = DTYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
SHAPES = [(3, 5), (), (130,), (7, 1, 9), (0,), (64, 33)]
NAMES = ("clip_by_value", "clip_by_norm", "clip_by_average_norm", "clip_by_global_norm", "global_norm")
STOCK = {name: getattr(clip_ops, name) for name in NAMES}  # in a dict, where a patch does not find them
CALLS = {
    "clip_by_value": lambda f, t: f(t, -0.5, 0.5),
    "clip_by_norm": lambda f, t: f(t, 0.5),
    "clip_by_average_norm": lambda f, t: f(t, 0.05),
    "clip_by_global_norm": lambda f, t: f([t], 0.5)[0][0],
    "global_norm": lambda f, t: f([t]),
}
EACH_CALL = pytest.mark.parametrize("name", CALLS)


CAPSULES = _tensors.CAPSULES[2:]


def register(*functions):
    fastclip._core.register_eager_type(*_tensors.CAPSULES[:2], *functions)


def mine(name, t):
    return CALLS[name](getattr(ours, name), t)


def theirs(name, t):
    return CALLS[name](STOCK[name], t)


def tensors(dtypes=(F32,), scale=1.0, shapes=SHAPES, seed=0):
    """One tensor for each shape, the dtypes in turn."""
    rng = np.random.default_rng(seed)
    return [
        tf.constant((rng.normal(size=shape) * scale).astype(dtypes[i % len(dtypes)].as_numpy_dtype))
        for i, shape in enumerate(shapes)
    ]


def bits(given):
    """The tensors' bits, those of NaN aside."""
    found = []
    for tensor in given:
        array = tensor.numpy()
        whole = array.view(f"i{array.itemsize}")
        found.append(np.where(np.isnan(array.astype(np.float64)), -1, whole).tolist())
    return found


def exact_norm(given):
    return to_float(root(sum_of_squares([tensor.numpy() for tensor in given])))


def address(tensor):
    tensor = tf.reshape(tensor, [-1])  # the same memory; NumPy takes no bfloat16 without dimensions from TensorFlow
    return np.asarray(tensor).__array_interface__["data"][0]


def served():
    return fastclip.show_config()["calls"]["native"]
