# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest

from fastclip._demo.networks import NETWORKS

EPS = 1e-5
# A central difference is off by EPS^2/6 times the third derivative, 2e-11 where that is 1, and by the rounding
# of two losses over 2 EPS, 1e-11 where these are near 1: 1e-8 leaves room for third derivatives of 500.
TOLERANCE = 1e-8


@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_gradients_are_those_of_finite_differences(network, steps):
    rng = np.random.default_rng(steps)
    weights = network.init(rng, 3, 5, 4)
    for bias in ("b", "by"):
        weights[bias] += rng.standard_normal(weights[bias].shape)
    x = rng.standard_normal((6, steps, 3))
    labels = rng.integers(4, size=6)

    _, gradients = network.loss_and_gradients(weights, x, labels)

    assert gradients.keys() == weights.keys()
    for name, weight in weights.items():
        for place in np.ndindex(weight.shape):
            value = weight[place]
            weight[place] = value + EPS
            above, _ = network.loss_and_gradients(weights, x, labels)
            weight[place] = value - EPS
            below, _ = network.loss_and_gradients(weights, x, labels)
            weight[place] = value
            expected = (above - below) / (2 * EPS)
            assert gradients[name][place] == pytest.approx(expected, rel=0, abs=TOLERANCE), (name, place)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_the_loss_is_the_cross_entropy_of_the_logits(network):
    rng = np.random.default_rng(0)
    weights = network.init(rng, 3, 5, 4)
    x = rng.standard_normal((6, 8, 3))
    labels = rng.integers(4, size=6)
    odds = np.exp(network.logits(weights, x))
    expected = -np.log(odds[np.arange(6), labels] / odds.sum(axis=1)).mean()
    loss, _ = network.loss_and_gradients(weights, x, labels)
    assert loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_gradients_have_the_shape_and_dtype_of_the_weights(network):
    rng = np.random.default_rng(0)
    weights = {name: weight.astype(np.float32) for name, weight in network.init(rng, 3, 5, 4).items()}
    x = rng.standard_normal((6, 8, 3)).astype(np.float32)
    _, gradients = network.loss_and_gradients(weights, x, rng.integers(4, size=6))
    for name, gradient in gradients.items():
        assert gradient.shape == weights[name].shape
        assert gradient.dtype == np.float32
