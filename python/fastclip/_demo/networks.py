# SPDX-License-Identifier: BSD-3-Clause
"""A plain RNN and an LSTM classifier in NumPy, forward and backward through time.

Both read a batch of sequences, shape (batch, steps, features), and classify each from its last hidden
state by a softmax layer. The weights, and their gradients, are a dict of arrays in the dtype of the input.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
Weights = dict[str, Array]


class Network(NamedTuple):
    """Hold the name of one kind of network and its three functions."""

    name: str
    init: Callable[[np.random.Generator, int, int, int], Weights]
    """(rng, features, hidden, classes): fresh f64 weights."""
    logits: Callable[[Weights, Array], Array]
    """(weights, x): the scores of the classes, shape (batch, classes)."""
    loss_and_gradients: Callable[[Weights, Array, Labels], tuple[float, Weights]]
    """(weights, x, labels): the mean cross entropy and its gradients, back through all time steps."""


def _init(rng: np.random.Generator, features: int, hidden: int, classes: int, gates: int) -> Weights:
    """Draw weights that keep the variance of what they are multiplied with; `gates` columns per unit."""
    return {
        "wx": rng.standard_normal((features, gates * hidden)) / np.sqrt(features),
        "wh": rng.standard_normal((hidden, gates * hidden)) / np.sqrt(hidden),
        "b": np.zeros(gates * hidden),
        "wy": rng.standard_normal((hidden, classes)) / np.sqrt(hidden),
        "by": np.zeros(classes),
    }


# The plain RNN: h' = relu(x wx + h wh + b)


def rnn_init(rng: np.random.Generator, features: int, hidden: int, classes: int) -> Weights:
    """Draw the weights of an RNN, the recurrent ones times sqrt(2), since a ReLU loses half the variance."""
    weights = _init(rng, features, hidden, classes, gates=1)
    weights["wh"] *= np.sqrt(2)
    return weights


def _rnn_forward(weights: Weights, x: Array) -> list[Array]:
    """Return the hidden states h[0] (zeros) to h[steps]."""
    states = [np.zeros((len(x), len(weights["wh"])), x.dtype)]
    for t in range(x.shape[1]):
        states.append(np.maximum(x[:, t] @ weights["wx"] + states[-1] @ weights["wh"] + weights["b"], 0))
    return states


def rnn_logits(weights: Weights, x: Array) -> Array:
    """Return the scores that an RNN gives the classes."""
    return _rnn_forward(weights, x)[-1] @ weights["wy"] + weights["by"]


def rnn_loss_and_gradients(weights: Weights, x: Array, labels: Labels) -> tuple[float, Weights]:
    """Return the loss of an RNN and its gradients."""
    states = _rnn_forward(weights, x)
    loss, gradients, dh = _readout(weights, states[-1], labels)
    for t in reversed(range(x.shape[1])):
        dz = dh * (states[t + 1] > 0)
        _accumulate(gradients, x[:, t], states[t], dz)
        dh = dz @ weights["wh"].T
    return loss, gradients


# The LSTM: c' = f c + i g, h' = o tanh(c'), where i, f, o = sigmoid and g = tanh of x wx + h wh + b,
# whose columns stand in the order i, f, o, g


class _LSTMStep(NamedTuple):
    """Hold what the way back needs of one time step; `before` is the cell's state before it."""

    i: Array
    f: Array
    o: Array
    g: Array
    before: Array
    tanh_cell: Array


def lstm_init(rng: np.random.Generator, features: int, hidden: int, classes: int) -> Weights:
    """Draw the weights of an LSTM that remembers at first: the bias of the gates f is 1."""
    weights = _init(rng, features, hidden, classes, gates=4)
    weights["b"][hidden : 2 * hidden] = 1
    return weights


def _lstm_forward(weights: Weights, x: Array) -> tuple[list[Array], list[_LSTMStep]]:
    """Return the hidden states h[0] (zeros) to h[steps], and the steps between them."""
    hidden = len(weights["wh"])
    cell = np.zeros((len(x), hidden), x.dtype)
    states, steps = [cell], []
    for t in range(x.shape[1]):
        z = x[:, t] @ weights["wx"] + states[-1] @ weights["wh"] + weights["b"]
        i, f, o = np.split(_sigmoid(z[:, : 3 * hidden]), 3, axis=1)
        g = np.tanh(z[:, 3 * hidden :])
        before, cell = cell, f * cell + i * g
        steps.append(_LSTMStep(i, f, o, g, before, np.tanh(cell)))
        states.append(o * steps[-1].tanh_cell)
    return states, steps


def lstm_logits(weights: Weights, x: Array) -> Array:
    """Return the scores that an LSTM gives the classes."""
    return _lstm_forward(weights, x)[0][-1] @ weights["wy"] + weights["by"]


def lstm_loss_and_gradients(weights: Weights, x: Array, labels: Labels) -> tuple[float, Weights]:
    """Return the loss of an LSTM and its gradients."""
    states, steps = _lstm_forward(weights, x)
    loss, gradients, dh = _readout(weights, states[-1], labels)
    dcell = np.zeros_like(dh)
    for t in reversed(range(x.shape[1])):
        i, f, o, g, before, tanh_cell = steps[t]
        dcell = dcell + dh * o * (1 - tanh_cell**2)
        di = dcell * g * i * (1 - i)
        df = dcell * before * f * (1 - f)
        do = dh * tanh_cell * o * (1 - o)
        dg = dcell * i * (1 - g**2)
        dz = np.concatenate([di, df, do, dg], axis=1)
        _accumulate(gradients, x[:, t], states[t], dz)
        dh, dcell = dz @ weights["wh"].T, dcell * f
    return loss, gradients


# What both share


def _sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z)), by way of tanh, which cannot overflow."""
    twice: Array = 1 + np.tanh(0.5 * z)
    return 0.5 * twice


def _readout(weights: Weights, state: Array, labels: Labels) -> tuple[float, Weights, Array]:
    """Return the loss, the gradients (of the recurrent part: zeros so far) and that of the last state."""
    logits = state @ weights["wy"] + weights["by"]
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    correct = np.arange(len(labels)), labels
    dlogits = np.exp(log_p)
    dlogits[correct] -= 1
    dlogits /= len(labels)
    gradients = {name: np.zeros_like(weight) for name, weight in weights.items()}
    gradients["wy"] += state.T @ dlogits
    gradients["by"] += dlogits.sum(axis=0)
    return -float(log_p[correct].mean()), gradients, dlogits @ weights["wy"].T


def _accumulate(gradients: Weights, x: Array, state: Array, dz: Array) -> None:
    """Add one time step's share to the gradients of the recurrent part."""
    gradients["wx"] += x.T @ dz
    gradients["wh"] += state.T @ dz
    gradients["b"] += dz.sum(axis=0)


NETWORKS = {
    "rnn": Network("RNN", rnn_init, rnn_logits, rnn_loss_and_gradients),
    "lstm": Network("LSTM", lstm_init, lstm_logits, lstm_loss_and_gradients),
}
