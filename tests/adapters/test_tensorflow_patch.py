# SPDX-License-Identifier: BSD-3-Clause
"""patch("tensorflow"): every name of every function, in TensorFlow's own kinds of modules too; and its optimizers."""

import types

import numpy as np
import pytest
import tensorflow as tf
from scripts import fastclip_run, write
from tensorflow.python.ops import clip_ops, standard_ops
from tensorflowcases import NAMES, STOCK, served

import fastclip
import fastclip.tensorflow as ours

V1, LINALG = tf.compat.v1, tf.linalg
PLACES = [
    *((tf, name) for name in NAMES[:2] + NAMES[3:4]),
    *((clip_ops, name) for name in NAMES),
    *((standard_ops, name) for name in NAMES[1:]),
    *((V1, name) for name in NAMES),
    (LINALG, "global_norm"),
    (V1.linalg, "global_norm"),
    (tf.compat.v2, "clip_by_norm"),
]


@pytest.mark.parametrize(("owner", "name"), PLACES, ids=lambda value: value if isinstance(value, str) else "")
def test_tensorflow_is_replaced_under_every_name(owner, name):
    assert getattr(owner, name) is STOCK[name]  # compat.v1 remembers what it was asked for
    with fastclip.patch("tensorflow"):
        assert getattr(owner, name) is getattr(ours, name)
    assert getattr(owner, name) is STOCK[name]


def test_what_was_imported_by_name(monkeypatch):
    user = types.ModuleType("user")
    monkeypatch.setitem(__import__("sys").modules, "user", user)
    exec("from tensorflow import clip_by_global_norm as cut\nfrom tensorflow.linalg import global_norm", vars(user))
    with fastclip.patch("tensorflow"):
        assert user.cut is ours.clip_by_global_norm
        assert user.global_norm is ours.global_norm
        assert float(user.global_norm([tf.constant([3e20])])) == np.float32(3e20)
    assert user.cut is STOCK["clip_by_global_norm"]


def test_tensorflows_own_calls_of_each_other_go_through():
    """Its clip_by_global_norm calls global_norm, which is ours then, and both are delegated under a tape."""
    with fastclip.patch("tensorflow"):
        x = tf.Variable([3.0, 4.0])
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.clip_by_global_norm([x], 1.0)[0][0])
        gradient = tape.gradient(loss, x)
        graph = tf.function(lambda t: tf.clip_by_global_norm([t], 1.0)[0][0])
        np.testing.assert_allclose(graph(tf.constant([3.0, 4.0])).numpy(), [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(gradient.numpy(), [0.032, -0.024], rtol=1e-5)


SCRIPT = """
import sys
import tensorflow as tf
from tensorflow import clip_by_norm
assert "tensorflow" in sys.modules
clipped, norm = tf.clip_by_global_norm([tf.constant([3e20, 4e20])], 1.0)
print(clipped[0].numpy().round(6), clip_by_norm.__module__, tf.compat.v1.global_norm([tf.constant([3e20])]).numpy())
"""


def test_a_script_runs_fastclip_unchanged(tmp_path):
    script = write(tmp_path / "script.py", SCRIPT)
    done = fastclip_run("--patch", "tensorflow", "--report", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0.6 0.8] fastclip.tensorflow._tensor_norm 3e+20\n"
    rows = {line.split()[0]: line.split()[1] for line in done.stderr.splitlines() if line.startswith("tensorflow.")}
    assert rows == {"tensorflow.clip_by_global_norm": "1", "tensorflow.linalg.global_norm": "1"}


# ---- optimizers of TensorFlow 1


@pytest.fixture
def weights():
    return tf.Variable([0.0, 0.0]), tf.Variable([0.0])


def test_the_wrapper_is_an_optimizer_of_tensorflow_1(weights):
    inner = V1.train.MomentumOptimizer(1.0, 0.5)
    clipped = fastclip.clip_gradients_by_norm(inner, 5.0)
    assert type(clipped) is ours.ClippedOptimizer
    assert isinstance(clipped, V1.train.Optimizer)
    assert clipped.get_name() == "ClipByNormMomentum"
    a, b = weights

    def loss():
        return tf.reduce_sum(a * [30.0, 0.0]) + tf.reduce_sum(b * 40.0)

    pairs = clipped.compute_gradients(loss, [a, b])
    assert [g.numpy().tolist() for g, _ in pairs] == [[30.0, 0.0], [40.0]]  # as they are
    before = served()
    clipped.apply_gradients(pairs)
    assert served() == before + 1
    np.testing.assert_allclose(np.concatenate([a.numpy(), b.numpy()]), [-3.0, 0.0, -4.0], rtol=1e-6)
    clipped.minimize(loss, var_list=[a, b])
    np.testing.assert_allclose(np.concatenate([a.numpy(), b.numpy()]), [-7.5, 0.0, -10.0], rtol=1e-6)
    assert clipped.get_slot_names() == inner.get_slot_names() == ["momentum"]
    assert clipped.get_slot(a, "momentum") is inner.get_slot(a, "momentum")
    assert len(clipped.variables()) == 2


def test_the_wrapper_in_a_session():
    found = []
    for wrap in (lambda optimizer: optimizer, lambda optimizer: fastclip.clip_gradients_by_norm(optimizer, 5.0)):
        with tf.Graph().as_default(), V1.Session() as session:
            variable = V1.get_variable("v", initializer=tf.zeros([2]))
            step = V1.train.get_or_create_global_step()
            optimizer = wrap(V1.train.GradientDescentOptimizer(1.0))
            train = optimizer.minimize(tf.reduce_sum(variable * [30.0, 40.0]), global_step=step)
            session.run(V1.global_variables_initializer())
            session.run(train)
            found.append((session.run(variable).tolist(), session.run(step)))
    assert found[0] == ([-30.0, -40.0], 1)
    np.testing.assert_allclose(found[1][0], [-3.0, -4.0], rtol=1e-6)
    assert found[1][1] == 1


def test_the_wrapper_takes_slices_none_and_generators(weights):
    rows, other = tf.Variable(tf.zeros((3, 1))), weights[1]
    clipped = fastclip.clip_gradients_by_norm(V1.train.GradientDescentOptimizer(1.0), 5.0)
    slices = tf.IndexedSlices(tf.constant([[20.0], [30.0]]), tf.constant([1, 1]), tf.constant([3, 1]))
    clipped.apply_gradients(pair for pair in [(slices, rows), (None, other)])
    np.testing.assert_allclose(rows.numpy(), [[0.0], [-5.0], [0.0]], rtol=1e-6)
    with pytest.raises(ValueError, match="No gradients provided"):
        clipped.apply_gradients([(None, other)])


def test_a_limit_may_be_a_tensor():
    weights = tf.Variable([0.0, 0.0])
    clipped = ours.ClippedOptimizer(V1.train.GradientDescentOptimizer(1.0), tf.Variable(2.5))
    clipped.apply_gradients([(tf.constant([3.0, 4.0]), weights)])
    np.testing.assert_allclose(weights.numpy(), [-1.5, -2.0], rtol=1e-6)
    assert repr(clipped).startswith("ClippedOptimizer(<tensorflow.")


def test_an_optimizer_of_somebodys_that_has_tensorflows_variables(weights):
    class Descent:
        def apply_gradients(self, grads_and_vars):
            for gradient, variable in grads_and_vars:
                variable.assign_sub(gradient)

    pairs = [(tf.constant([30.0, 0.0]), weights[0]), (tf.constant([40.0]), weights[1])]
    fastclip.clip_gradients_by_norm(Descent(), 5.0).apply_gradients(pairs)
    np.testing.assert_allclose(weights[1].numpy(), [-4.0], rtol=1e-6)


@pytest.mark.parametrize("kind", ["AdamOptimizer", "MomentumOptimizer"])
@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["saved without the wrapper", "and with it"])
def test_a_checkpoint_has_the_wrapped_optimizers_state(tmp_path, kind, used, wrapped):
    arguments = {"AdamOptimizer": (0.5,), "MomentumOptimizer": (1.0, 0.5)}[kind]
    gradients = [tf.constant([3.0, 4.0]), tf.constant([1.0, 0.0]), tf.constant([0.0, 0.0])]

    def make(wrapped=True):
        variable = tf.Variable([0.0, 0.0])
        optimizer = getattr(V1.train, kind)(*arguments)
        optimizer = fastclip.clip_gradients_by_norm(optimizer, 5.0) if wrapped else optimizer
        return variable, optimizer, tf.train.Checkpoint(variable=variable, optimizer=optimizer)

    variable, optimizer, checkpoint = make(wrapped)
    optimizer.apply_gradients([(gradients[0], variable)])
    path = checkpoint.save(str(tmp_path / "state"))
    optimizer.apply_gradients([(gradients[2], variable)])
    again, other, restored = make()
    if used:
        other.apply_gradients([(gradients[1], again)])
    status = restored.restore(path)
    other.apply_gradients([(gradients[2], again)])
    status.assert_consumed()
    assert again.numpy().tolist() == variable.numpy().tolist()
    for name in optimizer.get_slot_names():
        assert other.get_slot(again, name).numpy().tolist() == optimizer.get_slot(variable, name).numpy().tolist()
