# SPDX-License-Identifier: BSD-3-Clause
"""An optax training loop under `jax.jit`: a deep narrow perceptron on scikit-learn's digits, clipped by global norm."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.clients.swap import Run

PATCH, PACKAGES, CALLED = "optax", ("optax", "jax", "scikit-learn"), False
STEPS = 500
DEPTH, WIDTH, LIMIT, RATE = 24, 48, 0.5, 0.02


def _loss(parameters: Any, x: Any, y: Any) -> Any:
    (first, *middle, last) = parameters
    h = jnp.tanh(x @ first["w"] + first["b"])
    for layer in middle:
        h = h + 0.2 * jnp.tanh(h @ layer["w"] + layer["b"])
    return optax.softmax_cross_entropy_with_integer_labels(h @ last["w"] + last["b"], y).mean()


def train(steps: int) -> Run:
    """The losses are of each batch, the score is the loss on all digits."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    rng = np.random.default_rng(0)
    widths = [64, *[WIDTH] * DEPTH, 10]
    parameters = [
        {"w": jnp.asarray(rng.standard_normal((a, b)) / np.sqrt(a), jnp.float32), "b": jnp.zeros(b)}
        for a, b in itertools.pairwise(widths)
    ]
    optimizer = optax.chain(optax.clip_by_global_norm(LIMIT), optax.sgd(RATE, momentum=0.9))
    state = optimizer.init(parameters)

    def step(parameters: Any, state: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
        loss, gradients = jax.value_and_grad(_loss)(parameters, x, y)
        updates, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state, loss

    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(parameters, state, x[:64], y[:64]).compile()
    order = rng.permutation(len(x))
    losses = []
    for turn in range(steps):
        batch = order[np.arange(turn * 64, turn * 64 + 64) % len(order)]
        parameters, state, loss = compiled(parameters, state, x[batch], y[batch])
        losses.append(float(loss))
    return Run(losses, [np.asarray(leaf) for leaf in jax.tree.leaves(parameters)], float(_loss(parameters, x, y)))


if __name__ == "__main__":
    from benchmarks.clients.swap import main

    main(sys.modules[__name__])
