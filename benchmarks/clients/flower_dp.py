# SPDX-License-Identifier: BSD-3-Clause
"""Flower's FedAvg with server-side differential privacy, fixed clipping and then adaptive, over ten clients.

The strategies are Flower's own, unchanged, and so is what goes between server and clients; only the network is left
out: the clients, a perceptron each on its tenth of scikit-learn's digits, are called in this process.
"""

from __future__ import annotations

import logging
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from flwr.common import Code, FitIns, FitRes, Status
from flwr.compat.common.parameter import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server.client_manager import SimpleClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import (
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
)
from sklearn.datasets import load_digits

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.clients.swap import Run

PATCH, PACKAGES, CALLED = "flwr", ("flwr", "scikit-learn"), True
STEPS = 20  # rounds, half of them of each strategy
CLIENTS, WIDTH, RATE, NORM = 10, 1024, 0.2, 0.5

Arrays = list[np.ndarray[Any, Any]]


def _loss_and_gradient(model: Arrays, x: Any, y: Any) -> tuple[float, Arrays]:
    w, b, v, c = model
    hidden = np.maximum(x @ w + b, 0)
    scores = hidden @ v + c
    scores -= scores.max(axis=1, keepdims=True)
    p = np.exp(scores)
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    loss = -float(np.log(p[rows, y] + 1e-9).mean())
    p[rows, y] -= 1
    p /= np.float32(len(y))
    back = (p @ v.T) * (hidden > 0)
    return loss, [x.T @ back, back.sum(axis=0), hidden.T @ p, p.sum(axis=0)]


class _Client(ClientProxy):
    """A client that trains for one pass over its data."""

    def __init__(self, cid: str, x: Any, y: Any) -> None:
        super().__init__(cid)
        self.x, self.y = x, y

    def fit(self, ins: FitIns, timeout: Any = None, group_id: Any = None) -> FitRes:
        model = parameters_to_ndarrays(ins.parameters)
        for start in range(0, len(self.y), 32):
            _, gradient = _loss_and_gradient(model, self.x[start : start + 32], self.y[start : start + 32])
            for parameter, change in zip(model, gradient, strict=True):
                parameter -= np.float32(RATE) * change
        return FitRes(Status(Code.OK, ""), ndarrays_to_parameters(model), len(self.y), {})

    def _unused(self, *_: Any) -> Any:
        raise NotImplementedError

    get_properties = get_parameters = evaluate = reconnect = _unused


def train(steps: int) -> Run:
    """The losses are of all data, after each round; the score is the accuracy."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    random.seed(0)
    np.random.seed(0)  # Flower's noise
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    rng = np.random.default_rng(0)
    shapes = ((64, WIDTH), (WIDTH,), (WIDTH, 10), (10,))
    model: Arrays = [(rng.standard_normal(s) / np.sqrt(s[0])).astype(np.float32) * (len(s) > 1) for s in shapes]
    manager = SimpleClientManager()
    for i in range(CLIENTS):
        manager.register(_Client(str(i), x[i::CLIENTS], y[i::CLIENTS]))
    every = FedAvg(fraction_fit=1.0, min_fit_clients=CLIENTS, min_available_clients=CLIENTS)
    strategies = [
        DifferentialPrivacyServerSideFixedClipping(every, 1e-4, NORM, CLIENTS),
        DifferentialPrivacyServerSideAdaptiveClipping(every, 1e-4, CLIENTS, initial_clipping_norm=NORM),
    ]
    parameters = ndarrays_to_parameters(model)
    losses = []
    for turn in range(steps):
        strategy = strategies[2 * turn // max(2, steps)]
        instructions = strategy.configure_fit(turn, parameters, manager)
        instructions.sort(key=lambda pair: int(pair[0].cid))  # FedAvg draws them; sums depend on the order
        results = [(client, client.fit(ins)) for client, ins in instructions]
        parameters, _ = strategy.aggregate_fit(turn, results, [])
        losses.append(_loss_and_gradient(parameters_to_ndarrays(parameters), x, y)[0])
    model = parameters_to_ndarrays(parameters)
    scores = np.maximum(x @ model[0] + model[1], 0) @ model[2] + model[3]
    return Run(losses, model, float((scores.argmax(axis=1) == y).mean()))


if __name__ == "__main__":
    from benchmarks.clients.swap import main

    main(sys.modules[__name__])
