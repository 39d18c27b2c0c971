# SPDX-License-Identifier: BSD-3-Clause
"""An LSTM learns scikit-learn's digits, row by row, in the ways that people clip with TensorFlow and with Keras.

    python benchmarks/clients/lstm.py [--steps N] [--repeats N] [--json FILE]

Each program is what one would write without fastclip; none imports it. They train as they are, and again under
`fastclip.patch("tensorflow", "keras")`.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[2])

STEPS = 60
ROWS, COLUMNS, UNITS, CLASSES, BATCH = 8, 8, 64, 10, 64
HELD_OUT = 450
RATE, MOMENTUM, CLIP_NORM = 1.0, 0.9, 0.05
STRIDE = RATE * CLIP_NORM / (1 - MOMENTUM)  # how far a step moves the parameters at most


class Run(NamedTuple):
    """What a training leaves behind; the score is the accuracy on the images held out."""

    losses: list[float]
    parameters: list[np.ndarray]
    score: float

    @property
    def weights(self) -> float:
        """The norm of all parameters."""
        return float(np.sqrt(sum((p.astype(np.float64) ** 2).sum() for p in self.parameters)))

    def departure(self, other: Run) -> tuple[float, float]:
        """How far the losses (the largest difference) and the parameters (as one vector, relative) are from these."""
        losses = max(abs(a - b) for a, b in zip(self.losses, other.losses, strict=True))
        pairs = zip(self.parameters, other.parameters, strict=True)
        away = np.sqrt(sum(((a.astype(np.float64) - b) ** 2).sum() for a, b in pairs))
        return losses, float(away / self.weights)


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32).reshape(-1, ROWS, COLUMNS), labels.astype(np.int64)


def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = digits()
    chosen = np.random.default_rng(step).integers(HELD_OUT, len(labels), BATCH)
    return images[chosen], labels[chosen]


# ---- TensorFlow alone


class Network(tf.Module):
    """An LSTM written out, and a layer that reads its last state."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)

        def weights(inputs: int, outputs: int) -> tf.Variable:
            return tf.Variable((rng.normal(size=(inputs, outputs)) / inputs**0.5).astype(np.float32))

        self.gates, self.gates_bias = weights(COLUMNS + UNITS, 4 * UNITS), tf.Variable(tf.zeros(4 * UNITS))
        self.out, self.out_bias = weights(UNITS, CLASSES), tf.Variable(tf.zeros(CLASSES))

    def __call__(self, images: Any) -> Any:
        hidden = cell = tf.zeros((len(images), UNITS))
        for row in range(ROWS):
            gates = tf.concat([images[:, row], hidden], 1) @ self.gates + self.gates_bias
            enter, forget, leave, new = tf.split(gates, 4, 1)
            cell = tf.sigmoid(forget) * cell + tf.sigmoid(enter) * tf.tanh(new)
            hidden = tf.sigmoid(leave) * tf.tanh(cell)
        return hidden @ self.out + self.out_bias

    def loss(self, images: Any, labels: Any) -> Any:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=self(images)))


Step = Callable[[Any, Any], Any]


def _train(model: Any, step: Step, steps: int) -> Run:
    losses = [float(step(*batch(number))) for number in range(steps)]
    images, labels = (part[:HELD_OUT] for part in digits())
    score = float(np.mean(np.argmax(np.asarray(model(tf.constant(images))), 1) == labels))
    return Run(
        losses, [keras.ops.convert_to_numpy(keras.ops.copy(variable)) for variable in model.trainable_variables], score
    )


def optimizer_split(steps: int) -> Run:
    """TensorFlow 1's optimizer in two halves, and the clipping between."""
    model = Network()
    optimizer = tf.compat.v1.train.MomentumOptimizer(RATE, MOMENTUM)

    def step(images: Any, labels: Any) -> Any:
        variables = model.trainable_variables
        gradients, variables = zip(
            *optimizer.compute_gradients(lambda: model.loss(images, labels), variables), strict=True
        )
        gradients, _ = tf.clip_by_global_norm(gradients, CLIP_NORM)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return model.loss(images, labels)

    return _train(model, step, steps)


def tape(steps: int) -> Run:
    """What a tape gives, clipped before it is applied."""
    model = Network()
    optimizer = tf.keras.optimizers.SGD(RATE, MOMENTUM)

    def step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as recorded:
            loss = model.loss(images, labels)
        gradients = recorded.gradient(loss, model.trainable_variables)
        gradients, _ = tf.clip_by_global_norm(gradients, CLIP_NORM)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return _train(model, step, steps)


class Clipping(tf.compat.v1.train.MomentumOptimizer):
    """An optimizer that clips what it is to apply."""

    def apply_gradients(self, grads_and_vars: Any, *rest: Any, **options: Any) -> Any:
        gradients, variables = zip(*grads_and_vars, strict=True)
        gradients, _ = tf.clip_by_global_norm(gradients, CLIP_NORM)
        return super().apply_gradients(zip(gradients, variables, strict=True), *rest, **options)


def optimizer_wrapped(steps: int) -> Run:
    """An optimizer that clips by itself, and `minimize`."""
    model = Network()
    optimizer = Clipping(RATE, MOMENTUM)

    def step(images: Any, labels: Any) -> Any:
        optimizer.minimize(lambda: model.loss(images, labels), var_list=model.trainable_variables)
        return model.loss(images, labels)

    return _train(model, step, steps)


# ---- Keras


def _keras_network(cls: type = keras.Sequential) -> Any:
    keras.utils.set_random_seed(0)
    return cls([keras.Input((ROWS, COLUMNS)), keras.layers.LSTM(UNITS), keras.layers.Dense(CLASSES)])


def _fit(model: Any, optimizer: Any, steps: int) -> Run:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, run_eagerly=True)
    return _train(model, lambda images, labels: model.train_on_batch(images, labels), steps)


class Split(keras.Sequential):
    """A model whose step computes gradients, clips and applies them."""

    def train_step(self, data: Any) -> Any:
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as recorded:
            loss = self.compute_loss(images, labels, self(images, training=True))
        gradients = recorded.gradient(loss, self.trainable_variables)
        gradients, _ = tf.clip_by_global_norm(gradients, CLIP_NORM)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


def keras_step_split(steps: int) -> Run:
    """A Keras model with a step of its own."""
    return _fit(_keras_network(Split), keras.optimizers.SGD(RATE, MOMENTUM), steps)


def keras_tape(steps: int) -> Run:
    """A loop of one's own round a Keras model and optimizer."""
    model, optimizer = _keras_network(), keras.optimizers.SGD(RATE, MOMENTUM)
    measure = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as recorded:
            loss = measure(labels, model(images, training=True))
        gradients = recorded.gradient(loss, model.trainable_variables)
        gradients, _ = tf.clip_by_global_norm(gradients, CLIP_NORM)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return _train(model, step, steps)


def keras_optimizer_clips(steps: int) -> Run:
    """A Keras optimizer that was told to clip."""
    return _fit(_keras_network(), keras.optimizers.SGD(RATE, MOMENTUM, global_clipnorm=CLIP_NORM), steps)


PROGRAMS = {
    program.__name__: program
    for program in (optimizer_split, tape, optimizer_wrapped, keras_step_split, keras_tape, keras_optimizer_clips)
}


if __name__ == "__main__":
    from benchmarks.clients.lstm_compare import main

    main(sys.modules[__name__])
