# SPDX-License-Identifier: BSD-3-Clause
"""Train one network four times side by side: unclipped, and with each of three ways to clip."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

import numpy as np

import fastclip
from fastclip._demo.data import Digits
from fastclip._demo.networks import NETWORKS, Array, Labels, Network, Weights

HIDDEN = 128
BATCH = 64
CLASSES = 10

# Plain gradient descent from these rates, which fall linearly to 0. Unclipped, in 200 and in 600 steps from each
# of the seeds 0 to 7, the RNN stops being finite within 5 steps and the LSTM ends at an accuracy below 0.24.
# At 0.3 and 3 no run needs clipping; at 0.5 and 5 some do, at 1 and 10 all did.
RATES = {"rnn": 2.0, "lstm": 30.0}

# The same limits for both networks. Gradients with all entries at 0.005 have a global norm of 0.69 in the RNN
# and of 1.34 in the LSTM; at 0.01 one LSTM of five ended below an accuracy of 0.9.
MAX_VALUE = 0.005
MAX_NORM = 0.1
MAX_GLOBAL_NORM = 0.25

LEARNED = 0.9
FAILED = 0.5


class Clipping(NamedTuple):
    """Hold one way to clip a dict of gradients in place."""

    name: str
    clip: Callable[[Weights], object]
    exceeded: Callable[[fastclip.Measurement], bool]
    """Whether gradients so measured are over the limit."""


CLIPPINGS = (
    Clipping("none", lambda gradients: None, lambda seen: False),
    Clipping(
        "by value",
        lambda gradients: fastclip.clip_by_value_(gradients, -MAX_VALUE, MAX_VALUE),
        lambda seen: seen.max_abs > MAX_VALUE,
    ),
    Clipping(
        "by norm",
        lambda gradients: fastclip.clip_by_norm_(gradients, MAX_NORM),
        lambda seen: max(seen.norms) > MAX_NORM,
    ),
    Clipping(
        "by global norm",
        lambda gradients: fastclip.clip_by_global_norm_(gradients, MAX_GLOBAL_NORM),
        lambda seen: seen.norm > MAX_GLOBAL_NORM,
    ),
)


@dataclass
class Run:
    """Train one network with one way to clip, and keep what was seen."""

    network: Network
    clipping: Clipping
    weights: Weights
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    """The global norm of each step's gradients, before they were clipped."""
    steps_clipped: int = 0
    clipping_seconds: float = 0.0
    training_seconds: float = 0.0
    """Forward, backward, clipping and update; not what is measured for the report."""
    stopped_at: int | None = None
    """The step, from 1, at which the loss or a gradient was no longer finite; the run ends there."""
    accuracy: float = math.nan

    def step(self, x: Array, labels: Labels, rate: float) -> None:
        """Do one step of gradient descent, clipping between the way back and the update."""
        begin = perf_counter()
        loss, gradients = self.network.loss_and_gradients(self.weights, x, labels)
        backward = perf_counter()
        seen = fastclip.measure(gradients)
        measured = perf_counter()
        self.clipping.clip(gradients)
        clipped = perf_counter()
        for name, gradient in gradients.items():
            self.weights[name] -= rate * gradient
        end = perf_counter()

        self.losses.append(loss)
        self.norms.append(seen.norm)
        self.steps_clipped += self.clipping.exceeded(seen)
        self.clipping_seconds += clipped - measured
        self.training_seconds += (backward - begin) + (end - measured)
        if not (math.isfinite(loss) and math.isfinite(seen.norm)):
            self.stopped_at = len(self.losses)

    def evaluate(self, x: Array, labels: Labels) -> None:
        """Measure the accuracy on held-out images."""
        self.accuracy = float(np.mean(self.network.logits(self.weights, x).argmax(axis=1) == labels))

    @property
    def name(self) -> str:
        """Name the run in a sentence."""
        return f"{self.network.name} {self.treatment}"

    @property
    def treatment(self) -> str:
        """Say how the gradients are treated."""
        return "unclipped" if self.unclipped else f"clipped {self.clipping.name}"

    @property
    def unclipped(self) -> bool:
        """Tell whether this is the run without clipping."""
        return self.clipping is CLIPPINGS[0]

    @property
    def largest_norm(self) -> float:
        """Return the largest finite norm that was seen."""
        return max((norm for norm in self.norms if math.isfinite(norm)), default=math.nan)

    @property
    def failed(self) -> bool:
        """Tell whether the run stopped being finite or errs on more than half of the held-out images."""
        return self.stopped_at is not None or self.accuracy < FAILED

    @property
    def learned(self) -> bool:
        """Tell whether the run stayed finite and is right on more than nine of ten held-out images."""
        return self.stopped_at is None and self.accuracy > LEARNED


def start(network: str, digits: Digits, rng: np.random.Generator) -> list[Run]:
    """Return a run for each way to clip, all from the same f32 weights."""
    kind = NETWORKS[network]
    weights = kind.init(rng, digits.x.shape[2], HIDDEN, CLASSES)
    return [
        Run(kind, clipping, {name: weight.astype(np.float32) for name, weight in weights.items()})
        for clipping in CLIPPINGS
    ]


def train(
    runs: Sequence[Run],
    digits: Digits,
    rng: np.random.Generator,
    steps: int,
    rate: float,
    watch: Callable[[Run], object] = lambda run: None,
) -> None:
    """Train the runs side by side on the same batches, then measure their accuracy.

    `watch` is called with a run after each of its steps.
    """
    # Overflow is what the unclipped runs are here to show: it is reported by `stopped_at`.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for step in range(steps):
            batch = rng.integers(len(digits.x), size=BATCH)
            x, labels = digits.x[batch], digits.labels[batch]
            for run in runs:
                if run.stopped_at is None:
                    run.step(x, labels, rate * (1 - step / steps))
                    watch(run)
        for run in runs:
            run.evaluate(digits.held_out_x, digits.held_out_labels)
