# SPDX-License-Identifier: BSD-3-Clause
"""JAX's arrays and TensorFlow's tensors: read where they are, never written, although DLPack would let one."""

import importlib

import numpy as np
import pytest
from oracle import same_bits

import fastclip


@pytest.fixture(params=["jax", "tensorflow"])
def make(request):
    """Make a tensor of one of the frameworks."""
    framework = importlib.import_module(request.param)
    if request.param == "jax":
        return framework.numpy.asarray
    return lambda a: framework.constant(a)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_immutable_tensors_are_read_and_never_written(make, dtype):
    dtype = np.dtype(importlib.import_module("ml_dtypes").bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    values = np.array([[3.0, 0.0], [0.0, -4.0]]).astype(dtype)
    t = make(values)
    assert fastclip.global_norm([t]) == fastclip.measure({"w": t}).norm == 5.0
    for function in (
        lambda x: fastclip.clip_by_norm(x, 2.5),
        lambda x: fastclip.clip_by_norm(x, 2.5, axes=1),
        lambda x: fastclip.clip_by_average_norm(x, 1.0),
        lambda x: fastclip.clip_by_value(x, -1.0, 1.0),
        lambda x: fastclip.clip_by_global_norm([x], 2.5)[0][0],
    ):
        out = function(t)
        assert type(out) is np.ndarray
        assert same_bits(out, function(values))
    good = np.full(3, 5.0)
    for call in (
        lambda x: fastclip.clip_by_global_norm_(x, 1.0),
        lambda x: fastclip.clip_by_norm_(x, 1.0),
        lambda x: fastclip.clip_by_average_norm_(x, 0.1),
        lambda x: fastclip.clip_by_value_(x, 0.0, 1.0),
    ):
        with pytest.raises(
            ValueError, match=r"^clip_.*t(_list)?\[1\] is of type .* are immutable; use clip_by_[a-z_]+, "
        ):
            call([good, t])
    assert (good == 5.0).all()
    assert same_bits(np.asarray(t), values)


def test_a_tensorflow_variable_is_assigned_to_by_its_owner():
    tf = importlib.import_module("tensorflow")
    v = tf.Variable([3.0, 4.0])
    assert fastclip.clip_by_norm(v, 2.5).tolist() == [1.5, 2.0]
    with pytest.raises(ValueError, match=r"from tensorflow, whose arrays are immutable; use clip_by_norm, "):
        fastclip.clip_by_norm_(v, 2.5)
    assert v.numpy().tolist() == [3.0, 4.0]


def test_a_tracer_has_no_memory():
    jax = importlib.import_module("jax")

    def clip(x, function=fastclip.clip_by_norm):
        function(x, 1.0)
        return x

    with pytest.raises(TypeError, match=r"^clip_by_norm: t, of type .*Tracer, can't be taken as an array"):
        jax.jit(clip)(np.ones(2, np.float32))
    with pytest.raises(ValueError, match="from jax, whose arrays are immutable"):
        jax.jit(lambda x: clip(x, fastclip.clip_by_norm_))(np.ones(2, np.float32))
