# SPDX-License-Identifier: BSD-3-Clause
"""The tests of fastclip.keras that run in a process for each backend, since Keras has one for a whole process."""

import contextlib
import math
import os
import sys
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}
sys.path.insert(0, str(Path(__file__).parent))

import keras
import numpy as np
import pytest
from keras.src.optimizers import base_optimizer

import fastclip
import fastclip.keras as ours

BACKEND = keras.config.backend()
INF, NAN = math.inf, math.nan
U = 2.0**-24
SHAPES = [(3, 5), (7,), (1, 2, 2)]
STOCK = {
    name: getattr(base_optimizer, name) for name in ("clip_by_global_norm", "global_norm")
}  # in a dict, where a patch does not find them
STOCK["method"] = base_optimizer.BaseOptimizer._clip_gradients
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
TRAINS = pytest.mark.skipif(BACKEND == "numpy", reason="Keras's NumPy backend has no gradients")


def tensors(scale=1.0, dtype="float32", shapes=SHAPES):
    rng = np.random.default_rng(0)
    return [keras.ops.cast(keras.ops.array(rng.normal(size=s) * scale), dtype) for s in shapes]


def numpy(t):
    return None if t is None else np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(t, "float32")))


def served():
    return fastclip.show_config()["calls"]["native"]


def limits(scale=1.0):
    return [{"clipnorm": 0.5 * scale}, {"global_clipnorm": 0.5 * scale}, {"clipvalue": 0.1 * scale}]


@pytest.mark.parametrize("limit", limits(), ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_an_optimizers_limit(limit, dtype):
    """Off by Keras's roundings: of 15 to 26 squares n / 2, of its coefficient and products 5, of ours 2."""
    given = [None, *tensors(dtype=dtype)]
    optimizer = keras.optimizers.SGD(**limit)
    before = served()
    found, wanted = ours.clip_gradients(optimizer, given), STOCK["method"](optimizer, given)
    assert served() > before or (BACKEND, *limit) == ("torch", "clipvalue")
    unit = {"float32": U, "float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    assert found[0] is None
    for a, b, t in zip(found[1:], wanted[1:], given[1:], strict=True):
        assert type(a) is type(b)
        assert keras.backend.standardize_dtype(a.dtype) == dtype
        np.testing.assert_allclose(numpy(a), numpy(b), rtol=(13 + 7) * unit)
        assert numpy(t).max() > numpy(a).max()


@pytest.mark.parametrize("limit", [*limits(1e4), {}, {"clipnorm": 0.0}, {"global_clipnorm": -1.0}, {"clipnorm": NAN}])
def test_what_is_not_clipped(limit):
    given = [*tensors(), None]
    found = ours.clip_gradients(keras.optimizers.SGD(**limit), given)
    for a, b in zip(found, given, strict=True):
        assert (a is b) or "clipvalue" in limit
        np.testing.assert_array_equal(numpy(a), numpy(b)) if b is not None else None


def one(function, limit, value):
    return numpy(function(keras.optimizers.SGD(**limit), [keras.ops.array(value)])[0]).tolist()


# limit, elements, Keras's result, ours
DIFFERENCES = [
    ({"global_clipnorm": 5.0}, [3e20, 4e20], [NAN, NAN], [3.0, 4.0]),
    ({"global_clipnorm": INF}, [3.0, 4.0], [NAN, NAN], [3.0, 4.0]),
    ({"clipnorm": INF}, [3.0, 4.0], [NAN, NAN], [3.0, 4.0]),
    ({"clipnorm": 5.0}, [3e20, 4e20], [0.0, 0.0], [3.0, 4.0]),
]
SAME = [
    ({"global_clipnorm": 5.0}, [INF, 4.0], [NAN, NAN]),
    ({"global_clipnorm": 5.0}, [NAN, 4.0], [NAN, NAN]),
    ({"clipnorm": 5.0}, [INF, 4.0], [NAN, 0.0]),
    ({"clipnorm": 5.0}, [NAN, 4.0], [NAN, NAN]),
    ({"clipvalue": 5.0}, [NAN, 9.0], [NAN, 5.0]),
]


@pytest.mark.parametrize(("limit", "x", "theirs", "right"), [*DIFFERENCES, *((*row, row[-1]) for row in SAME)])
def test_what_keras_makes_of_it_and_what_is_right(limit, x, theirs, right):
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(one(STOCK["method"], limit, x), theirs, rtol=4 * U)
        np.testing.assert_allclose(one(ours.clip_gradients, limit, x), right, rtol=4 * U)


def test_dtypes_beside_each_other_and_the_norm():
    given = [*tensors(), *tensors(dtype="float16"), None]
    exact = float(np.sqrt(sum((numpy(t).astype(np.float64) ** 2).sum() for t in given[:-1])))
    np.testing.assert_allclose(float(ours.global_norm(given)), exact, rtol=2 * U)
    clipped = ours.clip_by_global_norm(given, 1.0)
    for a, b in zip(clipped[:-1], given[:-1], strict=True):
        np.testing.assert_allclose(numpy(a), numpy(b) / exact, rtol=2.0**-10, atol=2.0**-24)


def test_what_keras_has_to_do():
    integers = [keras.ops.array([3, 4])]
    optimizer = keras.optimizers.SGD(clipvalue=3)
    assert numpy(ours.clip_gradients(optimizer, integers)[0]).tolist() == [3, 3]
    with contextlib.suppress(Exception):  # of nothing Keras has no norm, but for some backends
        wanted = float(STOCK["global_norm"]([None]))
        assert float(ours.global_norm([None])) == wanted

    class Own(keras.optimizers.SGD):
        def _clip_by_norm(self, values, axes=None):
            return values * 0.0

    assert numpy(ours.clip_gradients(Own(clipnorm=1.0), [keras.ops.array([3.0])])[0]).tolist() == [0.0]


def test_patch_replaces_the_method_and_the_functions():
    with fastclip.patch("keras") as patch:
        assert keras.optimizers.Adam._clip_gradients is ours.clip_gradients
        assert base_optimizer.clip_by_global_norm is ours.clip_by_global_norm
        assert base_optimizer.global_norm is ours.global_norm
        optimizer = keras.optimizers.SGD(1.0, global_clipnorm=2.5)
        weights = keras.Variable(np.zeros(2, np.float32))
        before = served()
        optimizer.apply([keras.ops.array([3e20, 4e20])], [weights])
        assert served() > before
        np.testing.assert_allclose(numpy(weights.value), [-1.5, -2.0], rtol=4 * U)
        assert "in force in 3 places" in repr(patch)
    assert keras.optimizers.Adam._clip_gradients is STOCK["method"]
    assert base_optimizer.global_norm is STOCK["global_norm"]


# ---- Clipped


def test_clipped_clips_and_delegates():
    inner = keras.optimizers.SGD(1.0, momentum=0.5)
    optimizer = ours.Clipped(inner, global_clipnorm=5.0)
    weights = keras.Variable(np.zeros(2, np.float32))
    for _ in range(2):
        optimizer.apply([keras.ops.array([24.0, 32.0])], [weights])
    np.testing.assert_allclose(numpy(weights.value), [-7.5, -10.0], rtol=4 * U)
    assert int(optimizer.iterations) == int(inner.iterations) == 2
    assert float(optimizer.learning_rate) == 1.0
    optimizer.learning_rate = 0.25
    assert float(inner.learning_rate) == 0.25
    assert [v.path for v in optimizer.variables][-1].endswith("momentum")
    assert float(optimizer.scale_loss(3.0)) == 3.0


def test_clipped_by_the_optimizers_own_limit_and_by_another():
    assert ours.Clipped(keras.optimizers.SGD(clipnorm=1.0)).inner_optimizer.clipnorm == 1.0
    assert ours.Clipped(keras.optimizers.SGD(clipnorm=1.0), clipnorm=1.0).inner_optimizer.clipnorm == 1.0
    with pytest.raises(ValueError, match=r"^Clipped: \{'clipvalue': 1\.0\} is given, but the optimizer has .*clipnorm"):
        ours.Clipped(keras.optimizers.SGD(clipnorm=1.0), clipvalue=1.0)
    with pytest.raises(ValueError, match=r"^Clipped: clipnorm and clipvalue are given; expected one"):
        ours.Clipped(keras.optimizers.SGD(), 1.0, 2.0)
    with pytest.raises(TypeError, match=r"^Clipped: optimizer is of type str; expected a Keras optimizer"):
        ours.Clipped("sgd", 1.0)


def test_clipped_goes_through_a_configuration():
    optimizer = ours.Clipped(keras.optimizers.Adam(0.5), global_clipnorm=2.0, name="mine")
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is ours.Clipped
    assert again.name == "mine"
    assert type(again.inner_optimizer) is type(optimizer.inner_optimizer)
    assert again.inner_optimizer.global_clipnorm == 2.0
    assert float(again.learning_rate) == 0.5


def test_a_limit_of_0_which_keras_takes_for_none_is_refused():
    with pytest.raises(ValueError, match=r"^clip_gradients_by_norm: clip_norm is 0\.0, which Keras takes for no limit"):
        fastclip.clip_gradients_by_norm(keras.optimizers.SGD(1.0), 0.0)


def test_clip_gradients_by_norm_wraps_keras_optimizers():
    optimizer = fastclip.clip_gradients_by_norm(keras.optimizers.SGD(1.0), 5.0)
    assert type(optimizer) is ours.Clipped
    weights = keras.Variable(np.zeros(2, np.float32))
    optimizer.apply_gradients([(keras.ops.array([24.0, 32.0]), weights)])
    np.testing.assert_allclose(numpy(weights.value), [-3.0, -4.0], rtol=4 * U)


def test_clipping_comes_after_accumulation():
    optimizer = ours.Clipped(keras.optimizers.SGD(1.0, gradient_accumulation_steps=2), global_clipnorm=5.0)
    weights = keras.Variable(np.zeros(2, np.float32))
    for gradient in ([24.0, 0.0], [24.0, 64.0]):
        optimizer.apply([keras.ops.array(gradient)], [weights])
    np.testing.assert_allclose(numpy(weights.value), [-3.0, -4.0], rtol=8 * U)


def network(optimizer, eagerly):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6, 4)), keras.layers.LSTM(8), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    model.compile(optimizer, loss="mse", run_eagerly=eagerly)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(48, 6, 4)).astype("float32"), 9 * rng.normal(size=(48, 3)).astype("float32")
    model.fit(x, y, epochs=2, batch_size=16, verbose=0)
    return model


@TRAINS
@pytest.mark.parametrize(
    ("limit", "eagerly"),
    [({"global_clipnorm": 0.5}, False), ({"global_clipnorm": 0.5}, True), ({"clipnorm": 0.5}, True)],
    ids=str,
)
def test_fit(limit, eagerly):
    """Compiled steps are Keras's own to the bit; six eager ones are off by a few roundings of gradients below 1."""
    stock = network(keras.optimizers.SGD(0.1, **limit), eagerly).get_weights()
    wrapped = network(ours.Clipped(keras.optimizers.SGD(0.1), **limit), eagerly).get_weights()
    with fastclip.patch("keras"):
        patched = network(keras.optimizers.SGD(0.1, **limit), eagerly).get_weights()
    unclipped = network(keras.optimizers.SGD(0.1), eagerly).get_weights()
    for a, b, c in zip(stock, wrapped, patched, strict=True):
        # each step 0.1 * 0.5 * (n = 448 squares: / 2 at worst) roundings, and one of each weight, which is below 2
        np.testing.assert_allclose(b, a, rtol=0, atol=6 * (0.05 * 231 + 2) * U)
        np.testing.assert_array_equal(b, c)
    assert max(np.abs(a - d).max() for a, d in zip(stock, unclipped, strict=True)) > 1e-3


@TRAINS
def test_a_model_can_be_saved_and_trained_on(tmp_path):
    model = network(ours.Clipped(keras.optimizers.Adam(), global_clipnorm=0.5), False)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.optimizer) is ours.Clipped
    assert again.optimizer.inner_optimizer.global_clipnorm == 0.5
    assert int(again.optimizer.iterations) == int(model.optimizer.iterations) == 6
    for a, b in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(numpy(a.value), numpy(b.value))
    x, y = np.ones((4, 6, 4), "float32"), np.ones((4, 3), "float32")
    assert model.train_on_batch(x, y) == again.train_on_batch(x, y)


@pytest.mark.skipif(BACKEND in ("numpy", "jax"), reason="Keras's LossScaleOptimizer has no eager step there")
def test_mixed_precision():
    inner = ours.Clipped(keras.optimizers.SGD(0.5), global_clipnorm=5.0)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=1024.0)
    weights = keras.Variable(np.zeros(2, np.float32))
    optimizer.apply([keras.ops.array([24.0 * 1024, 32.0 * 1024])], [weights])
    np.testing.assert_allclose(numpy(weights.value), [-1.5, -2.0], rtol=4 * U)
    other = ours.Clipped(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5), 8.0), global_clipnorm=5.0)
    weights = keras.Variable(np.zeros(2, np.float32))
    other.apply([keras.ops.array([24.0 * 8, 32.0 * 8])], [weights])
    np.testing.assert_allclose(numpy(weights.value), [-1.5, -2.0], rtol=4 * U)
    assert float(other.scale_loss(1.0)) == 8.0
