# SPDX-License-Identifier: BSD-3-Clause
"""Tapes, graphs and everything else that must see the operations: there clipping is TensorFlow's."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflowcases import CALLS, EACH_CALL, STOCK, mine, served, theirs

import fastclip.tensorflow as ours


@EACH_CALL
@pytest.mark.parametrize("watched", ["tensor", "variable"])
def test_gradients_are_tensorflows(name, watched):
    gradients = []
    for call in (mine, theirs):
        x = tf.constant([3.0, 4.0]) if watched == "tensor" else tf.Variable([3.0, 4.0])
        with tf.GradientTape() as tape:
            if watched == "tensor":
                tape.watch(x)
            y = tf.reduce_sum(call(name, x) * [1.0, 2.0])
        gradients.append(tape.gradient(y, x).numpy().tolist())
    assert gradients[0] == gradients[1]
    assert gradients[0] != [0.0, 0.0] or name == "clip_by_value"


@EACH_CALL
def test_forward_mode_is_tensorflows(name):
    tangents = []
    for call in (mine, theirs):
        x = tf.constant([3.0, 4.0])
        with tf.autodiff.ForwardAccumulator(x, tf.constant([1.0, 0.5])) as forward:
            y = call(name, x)
        tangents.append(forward.jvp(y).numpy().tolist())
    assert tangents[0] == tangents[1]


def test_a_limit_that_is_watched():
    for function in (ours.clip_by_norm, STOCK["clip_by_norm"]):
        limit = tf.Variable(2.0)
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(function(tf.constant([3.0, 4.0]), limit))
        assert float(tape.gradient(y, limit)) == pytest.approx(1.4)


@EACH_CALL
def test_a_tape_that_watches_something_else_is_no_obstacle(name):
    x = tf.constant([3.0, 4.0])
    other = tf.constant(1.0)
    before = served()
    with tf.GradientTape() as tape:
        tape.watch(other)
        found = mine(name, x)
    assert served() == before + 1
    np.testing.assert_allclose(found.numpy(), theirs(name, x).numpy(), rtol=1e-6)


@EACH_CALL
def test_inside_a_function_the_graph_is_tensorflows(name):
    """Nor does autograph translate fastclip's code, which would be slow and pointless."""
    t = tf.constant([3.0, 4.0])
    before = served()
    graphs = [tf.function(lambda t, call=call: CALLS[name](call, t)) for call in (getattr(ours, name), STOCK[name])]
    operations = [
        [operation.type for operation in graph.get_concrete_function(t).graph.get_operations()] for graph in graphs
    ]
    assert operations[0] == operations[1]
    assert graphs[0](t).numpy().tolist() == graphs[1](t).numpy().tolist()
    assert served() == before
    assert hasattr(getattr(ours, name), "autograph_info__")


@EACH_CALL
def test_in_a_graph_of_tensorflow_1(name):
    found = []
    for call in (mine, theirs):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            fed = tf.compat.v1.placeholder(tf.float32, [2])
            found.append(session.run(call(name, fed), {fed: [3.0, 4.0]}).tolist())
    assert found[0] == found[1]


def test_in_a_python_function_of_a_graph_it_is_eager():
    before = served()

    @tf.function
    def graph(t):
        return tf.py_function(lambda t: ours.clip_by_norm(t, 1.0), [t], tf.float32)

    np.testing.assert_allclose(graph(tf.constant([3.0, 4.0])).numpy(), [0.6, 0.8], rtol=1e-6)
    assert served() > before
