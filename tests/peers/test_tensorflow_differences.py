# SPDX-License-Identifier: BSD-3-Clause
"""Where we differ from TensorFlow on purpose: what it does, and what we do. And its own objects in our functions."""

import math

import numpy as np
import pytest
import tensorflow as tf

import fastclip

tf.get_logger().setLevel("ERROR")  # of deprecated functions

INF, NAN = math.inf, math.nan
F32 = np.float32


def f32(*values):
    return np.array(values, F32)


def norm_of_theirs(t, limit):
    return tf.clip_by_norm(t, F32(limit)).numpy().tolist()


def global_of_theirs(t, limit):
    return tf.clip_by_global_norm([t], F32(limit))[0][0].numpy().tolist()


def average_of_theirs(t, limit):
    return tf.compat.v1.clip_by_average_norm(t, F32(limit)).numpy().tolist()


def norm_of_ours(t, limit):
    return fastclip.clip_by_norm(t, limit).tolist()


def global_of_ours(t, limit):
    return fastclip.clip_by_global_norm([t], limit)[0][0].tolist()


def average_of_ours(t, limit):
    return fastclip.clip_by_average_norm(t, limit).tolist()


NORM = (norm_of_theirs, norm_of_ours)
GLOBAL = (global_of_theirs, global_of_ours)
AVERAGE = (average_of_theirs, average_of_ours)
HALF = [float(F32(x) * F32(0.2)) for x in (3.0, 4.0)]

# what, whose function, elements, limit, TensorFlow's result, ours (an error: the pattern of its message)
DIFFERENCES = [
    ("squares overflow: zeros", NORM, f32(3e20, 4e20), 5.0, [0.0, 0.0], [3.0, 4.0]),
    ("squares overflow: NaN", GLOBAL, f32(3e20, 4e20), 5.0, [NAN, NAN], [3.0, 4.0]),
    ("squares overflow: zeros", AVERAGE, f32(3e20, 4e20), 2.5, [0.0, 0.0], [3.0, 4.0]),
    ("squares underflow: zeros", NORM, f32(3e-30, 4e-30), 5e-32, [0.0, 0.0], [3e-32, 4e-32]),
    ("squares underflow: not clipped", GLOBAL, f32(3e-30, 4e-30), 5e-32, [3e-30, 4e-30], [3e-32, 4e-32]),
    ("clip_norm is inf", NORM, f32(3.0, 4.0), INF, [NAN, NAN], [3.0, 4.0]),
    ("clip_norm is inf", GLOBAL, f32(3.0, 4.0), INF, [NAN, NAN], [3.0, 4.0]),
    ("zeros, clip_norm is 0", NORM, f32(0.0, 0.0), 0.0, [NAN, NAN], [0.0, 0.0]),
    ("zeros, clip_norm is 0", GLOBAL, f32(0.0, 0.0), 0.0, [NAN, NAN], [0.0, 0.0]),
    ("zeros, clip_norm is 0", AVERAGE, f32(0.0, 0.0), 0.0, [NAN, NAN], [0.0, 0.0]),
    ("clip_norm is negative: zeros", NORM, f32(3.0, 4.0), -1.0, [0.0, 0.0], r"clip_norm is -1\.0"),
    ("clip_norm is negative: not clipped", GLOBAL, f32(3.0, 4.0), -1.0, [3.0, 4.0], r"clip_norm is -1\.0"),
    ("clip_norm is negative: not clipped", AVERAGE, f32(3.0, 4.0), -1.0, [3.0, 4.0], r"clip_norm is -1\.0"),
    ("clip_norm is NaN", NORM, f32(3.0, 4.0), NAN, [NAN, NAN], "clip_norm is nan"),
    ("clip_norm is NaN", GLOBAL, f32(3.0, 4.0), NAN, [NAN, NAN], "clip_norm is nan"),
    ("an element is inf", NORM, f32(INF, 1.0), 1.0, [NAN, 0.0], [NAN, NAN]),
    ("an element is inf", AVERAGE, f32(-INF, 1.0), 1.0, [NAN, 0.0], [NAN, NAN]),
    ("an element is inf, clip_norm too", GLOBAL, f32(INF, 1.0), INF, [NAN, NAN], [INF, 1.0]),
]


def check_result(result, expected):
    # four roundings of their coefficient and product, two of ours
    np.testing.assert_allclose(result, expected, rtol=6 * 2.0**-24, atol=0)


@pytest.mark.parametrize(("what", "functions", "t", "limit", "theirs", "ours"), DIFFERENCES)
def test_difference(what, functions, t, limit, theirs, ours):
    check_result(functions[0](t, limit), theirs)
    if isinstance(ours, str):
        with pytest.raises(ValueError, match=ours):
            functions[1](t, limit)
    else:
        check_result(functions[1](t, limit), ours)


def test_within_the_limit_we_return_the_same_bits_and_clip_by_norm_there_does_not():
    x = np.random.default_rng(0).normal(size=10_000).astype(F32)
    assert fastclip.clip_by_norm(x, 1e3).tobytes() == x.tobytes()
    assert tf.clip_by_norm(x, F32(1e3)).numpy().tobytes() != x.tobytes()


def test_negative_use_norm_turns_the_sign_there():
    assert tf.clip_by_global_norm([f32(3.0, 4.0)], 1.0, use_norm=tf.constant(-2.0))[0][0].numpy().tolist() == [-1.5, -2]
    with pytest.raises(ValueError, match=r"use_norm is -2\.0"):
        fastclip.clip_by_global_norm([f32(3.0, 4.0)], 1.0, use_norm=-2.0)


def test_mixed_dtypes_are_refused_there():
    t_list = [f32(3.0), np.array([4.0])]
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.linalg.global_norm(t_list)
    assert fastclip.global_norm(t_list) == 5.0


def test_containers_that_are_refused_there():
    for t_list in ({"w": f32(3.0, 4.0)}, iter([f32(3.0, 4.0)])):
        with pytest.raises(TypeError, match="sequence of tensors"):
            tf.linalg.global_norm(t_list)
        assert fastclip.global_norm(t_list) == 5.0
    with pytest.raises(TypeError, match="sequence of tensors"):
        tf.linalg.global_norm(f32(3.0, 4.0))
    with pytest.raises(TypeError, match="expected a list of arrays"):
        fastclip.global_norm(f32(3.0, 4.0))


def test_the_average_of_slices_is_that_of_their_values():
    given = slices()
    dense = tf.compat.v1.clip_by_average_norm(given, F32(12.5)).numpy()  # of all 10 elements: 5
    assert dense.tolist() == [[0.0, 0.0], [30.0, 40.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    assert fastclip.clip_by_average_norm(given, 12.5).values.tolist() == [[15.0, 20.0]]  # of the 2 values: 25


# ---- their objects in our functions


def slices():
    return tf.IndexedSlices(np.array([[30.0, 40.0]], F32), np.array([1]), np.array([5, 2]))


def test_indexed_slices_of_numpy_arrays_are_clipped_by_their_values():
    given = slices()
    by_global, norm = fastclip.clip_by_global_norm([given, None], 5.0)
    assert norm == 50.0
    assert by_global[1] is None
    for ours, theirs in (
        (by_global[0], tf.clip_by_global_norm([given, None], 5.0)[0][0]),
        (fastclip.clip_by_norm(given, 5.0), tf.clip_by_norm(given, 5.0)),
        (fastclip.clip_by_value(given, 3.0, 4.0), tf.clip_by_value(given, 3.0, 4.0)),
    ):
        assert type(ours) is type(theirs) is tf.IndexedSlices
        check_result(ours.values, theirs.values.numpy())
        assert ours.indices is given.indices
        assert ours.dense_shape is given.dense_shape
    no_shape = tf.IndexedSlices(f32(3.0, 4.0), np.array([0, 2]))
    assert fastclip.clip_by_norm(no_shape, 2.5).values.tolist() == [1.5, 2.0]
    fastclip.clip_by_global_norm_([given], 5.0)
    assert given.values.tolist() == [[3.0, 4.0]]


IMMUTABLE = r"from tensorflow, whose arrays are immutable; use clip_by_(global_)?norm, which returns new ones\.$"


@pytest.mark.parametrize("t", [tf.constant([3.0, 4.0]), tf.constant(5.0), tf.Variable([3.0, 4.0])])
def test_tensors_in_lists_are_read_and_never_written(t):
    for t_list, place in (([t], r"t_list\[0\]"), ({"w": [t]}, r"t_list\['w'\]\[0\]")):
        assert fastclip.global_norm(t_list) == fastclip.measure(t_list).norm == 5.0
        clipped, norm = fastclip.clip_by_global_norm(t_list, 2.5)
        (clipped,) = clipped["w"] if isinstance(clipped, dict) else clipped
        assert norm == 5.0
        assert clipped.tolist() in ([1.5, 2.0], 2.5)
        with pytest.raises(ValueError, match=rf"^clip_by_global_norm_: {place} is .* {IMMUTABLE}"):
            fastclip.clip_by_global_norm_(t_list, 1.0)
    with pytest.raises(ValueError, match=rf"^clip_by_norm_: t is .* {IMMUTABLE}"):
        fastclip.clip_by_norm_(t, 1.0)
    assert fastclip.clip_by_norm(t, 2.5).tolist() in ([1.5, 2.0], 2.5)
    assert t.numpy().tolist() in ([3.0, 4.0], 5.0)


def test_slices_of_tensors_are_read_and_never_written():
    t = tf.IndexedSlices(tf.constant([[3.0, 4.0]]), tf.constant([1]))
    (clipped,), norm = fastclip.clip_by_global_norm([t], 2.5)
    assert norm == 5.0
    assert isinstance(clipped, tf.IndexedSlices)
    assert clipped.values.tolist() == [[1.5, 2.0]]
    with pytest.raises(ValueError, match=rf"^clip_by_global_norm_: t_list\[0\]\.values is .* {IMMUTABLE}"):
        fastclip.clip_by_global_norm_([t], 1.0)


@pytest.mark.parametrize("make", [tf.keras.optimizers.SGD, tf.compat.v1.train.GradientDescentOptimizer])
def test_the_wrapper_clips_for_their_optimizers(make):
    a, b = tf.Variable([0.0, 0.0]), tf.Variable([0.0])
    wrapped = fastclip.clip_gradients_by_norm(make(1.0), 5.0)
    wrapped.apply_gradients(zip([f32(30.0, 0.0), f32(40.0)], [a, b], strict=True))
    check_result(a.numpy(), [-3.0, 0.0])
    check_result(b.numpy(), [-4.0])


def test_the_wrapper_clips_slices_for_keras():
    rows = tf.Variable(tf.zeros((5, 2)))
    fastclip.clip_gradients_by_norm(tf.keras.optimizers.SGD(1.0), 5.0).apply_gradients([(slices(), rows)])
    check_result(rows.numpy(), [[0.0, 0.0], [-3.0, -4.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
