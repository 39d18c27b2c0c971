# SPDX-License-Identifier: BSD-3-Clause
"""The tests of fastclip.keras.Clipped as an optimizer like any other; test_keras.py runs them beside kerascases.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from kerascases import BACKEND, TRAINS, U, numpy, ours, pytestmark  # noqa: F401, I001 - it sets the environment for Keras
import keras
import numpy as np
import pytest


def step(optimizer, gradient, start=0.0):
    weights = keras.Variable(np.full(len(gradient), start, np.float32), name="bias")
    optimizer.apply([keras.ops.array(gradient)], [weights])
    return numpy(weights.value).tolist()


def test_an_optimizer_that_ignores_a_limit_is_refused():
    several = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD()))
    with pytest.raises(TypeError, match=r"^Clipped: optimizer is a MultiOptimizer, .* Wrap them in its map\.$"):
        ours.Clipped(several, global_clipnorm=5.0)
    with pytest.raises(TypeError, match=r"^Clipped: clipnorm is 'x' \(str\); expected a real number"):
        ours.Clipped(keras.optimizers.SGD(), clipnorm="x")


def test_the_loss_scale_is_the_wrapped_optimizers():
    clipped = ours.Clipped(keras.optimizers.SGD(1.0), global_clipnorm=5.0)
    several = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(clipped), loss_scale_factor=8.0)
    assert clipped.loss_scale_factor == clipped.inner_optimizer.loss_scale_factor == 8.0
    assert step(several, [16.0]) == [-2.0]
    scaled = ours.Clipped(keras.optimizers.SGD(1.0, loss_scale_factor=8.0), global_clipnorm=5.0)
    keras.optimizers.LossScaleOptimizer(scaled)  # does the scaling from now on
    assert step(scaled, [2.0]) == [-2.0]


@pytest.mark.skipif(BACKEND == "torch", reason="Keras's PyTorch backend can't exclude the only variable")
def test_weight_decay_can_be_kept_from_variables():
    clipped = ours.Clipped(keras.optimizers.AdamW(0.1, weight_decay=0.5, clipnorm=1.0))
    clipped.exclude_from_weight_decay(var_names=["bias"])
    assert step(clipped, [0.0], start=1.0) == [1.0]


def test_weights_can_be_set():
    clipped = ours.Clipped(keras.optimizers.SGD(0.1, momentum=0.5), clipnorm=1.0)
    step(clipped, [1.0])
    clipped.set_weights([keras.ops.convert_to_numpy(v.value) * 0 + 3 for v in clipped.variables])
    assert [float(keras.ops.sum(v.value)) for v in clipped.variables] == [3.0] * len(clipped.variables)


def test_somebodys_own_clipping_stays():
    class Own(keras.optimizers.SGD):
        def _clip_gradients(self, grads):
            return [gradient * 7.0 for gradient in grads]

    assert step(ours.Clipped(Own(1.0), clipnorm=0.5), [1.0]) == [-7.0]


@TRAINS
def test_fit_in_mixed_precision():
    """Keras wraps the optimizer in a LossScaleOptimizer, which hands it variables where others hand it tensors."""
    results = []
    for wrap in (lambda optimizer: optimizer, ours.Clipped):
        keras.utils.set_random_seed(0)
        layers = [keras.Input((2,)), keras.layers.Dense(1, dtype="mixed_float16")]
        model = keras.Sequential(layers)
        optimizer = wrap(keras.optimizers.SGD(0.1, global_clipnorm=0.5))
        model.compile(keras.optimizers.LossScaleOptimizer(optimizer), "mse", jit_compile=False)
        model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0)
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        # a step of 0.1 * 0.5, off by the roundings of 3 squares and of the coefficient, and one of weights below 2
        np.testing.assert_allclose(b, a, rtol=0, atol=(0.05 * 8 + 2) * U)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 unless told so")
@pytest.mark.parametrize("limit", ["clipnorm", "global_clipnorm"])
def test_a_norm_beyond_float64(limit):
    gradient = keras.ops.convert_to_tensor(np.array([1.5e308, 1.5e308]), dtype="float64")
    (clipped,) = ours.clip_gradients(keras.optimizers.SGD(**{limit: 1.0}), [gradient])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(clipped), [0.5**0.5] * 2, rtol=4 * 2.0**-53)
