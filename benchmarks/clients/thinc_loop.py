# SPDX-License-Identifier: BSD-3-Clause
"""thinc's own training loop: a perceptron on scikit-learn's digits, its optimizer clipping each gradient."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from thinc.api import Adam, Relu, Softmax, chain, fix_random_seed

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.clients.swap import Run

PATCH, PACKAGES, CALLED = "thinc", ("thinc", "scikit-learn"), True
STEPS = 300
LIMIT = 0.05


def train(steps: int) -> Run:
    """The losses are of each batch, the score is the accuracy on all digits."""
    fix_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x, classes = (x / 16).astype(np.float32), np.eye(10, dtype=np.float32)[y]
    model = chain(Relu(64), Relu(64), Softmax())
    model.initialize(x[:8], classes[:8])
    optimizer = Adam(0.001, grad_clip=LIMIT)
    order = np.random.default_rng(0).permutation(len(x))
    losses = []
    for step in range(steps):
        batch = order[np.arange(step * 64, step * 64 + 64) % len(order)]
        guess, backprop = model.begin_update(x[batch])
        losses.append(-float(np.log(guess[np.arange(64), y[batch]] + 1e-9).mean()))
        backprop((guess - classes[batch]) / 64)
        model.finish_update(optimizer)
    parameters = [node.get_param(name).copy() for node in model.walk() for name in node.param_names]
    return Run(losses, parameters, float((model.predict(x).argmax(axis=1) == y).mean()))


if __name__ == "__main__":
    from benchmarks.clients.swap import main

    main(sys.modules[__name__])
