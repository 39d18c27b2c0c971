# SPDX-License-Identifier: BSD-3-Clause
"""Programs for TensorFlow and Keras that were not changed train under fastclip.patch as they do without it."""

import importlib
import math
import os
from importlib.util import find_spec

import pytest

MODULES = ("tensorflow", "keras", "sklearn")
STEPS = 10
U = 2.0**-24  # f32's unit roundoff
# TensorFlow adds squares in f32: the largest array has 72 * 256 = 18,432 elements, in Eigen's packets of 4 at least,
# 4,608 one after the other: sqrt(4608) = 68 roundings of up to u in the sum, half of that in the norm.
NORM = 34 * U
PROGRAMS = (
    "optimizer_split",
    "tape",
    "optimizer_wrapped",
    "keras_step_split",
    "keras_tape",
    "keras_optimizer_clips",
)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def client():
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        assert not os.environ.get("FASTCLIP_REQUIRE_PEERS"), f"not installed: {', '.join(missing)}"
        pytest.skip(f"not installed: {', '.join(missing)}")
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    return importlib.import_module("benchmarks.clients.lstm")


@pytest.fixture(scope="module", params=PROGRAMS)
def runs(client, request):
    compare = importlib.import_module("benchmarks.clients.lstm_compare")
    program = client.PROGRAMS[request.param]
    return {way: compare.timed(program, way, STEPS) for way in compare.WAYS}


def allowed(client, run, norms, losses):
    """How far fastclip's exact norm may take the losses and, relative, the parameters from TensorFlow's.

    The norm and with it each clipped gradient is off by NORM, and by 6 roundings of the coefficients and products; a
    step moves the parameters by STRIDE at most, and what it is off adds up over the steps. Besides, as the sum of a
    weight and its step is rounded, each may fall on the other side, which adds up to sqrt(steps) * u. Later gradients
    hand errors on, in such short runs without blowing them up: a factor of 2 is left for that.

    The loss moves by at most its gradient's norm times the way of the parameters, and is rounded itself.
    """
    parameters = 2 * (STEPS * (NORM + 6 * U) * client.STRIDE / run.weights + math.sqrt(STEPS) * U)
    return max(norms) * run.weights * parameters + 8 * U * max(losses), parameters


def test_it_calls_what_stands_in_the_others_place(runs):
    stock, ours = ({function.__module__.partition(".")[0] for function in runs[way].functions} for way in runs)
    assert stock <= {"tensorflow", "keras"}
    assert ours == {"fastclip"}
    assert len(runs["stock"].calls) == len(runs["fastclip"].calls) == STEPS


def test_there_is_something_to_clip_and_to_learn(client, runs):
    for timed in runs.values():
        assert sum(norm > client.CLIP_NORM for norm in timed.norms) >= 5
        assert len(set(timed.run.losses)) == STEPS


def test_it_trains_as_with_the_stock_functions(client, runs):
    stock, ours = runs["stock"], runs["fastclip"]
    losses, parameters = allowed(client, stock.run, stock.norms, stock.run.losses)
    off = stock.run.departure(ours.run)
    assert off[0] <= losses
    assert off[1] <= parameters
    assert abs(stock.norms[0] / ours.norms[0] - 1) <= NORM


def test_another_limit_would_be_seen(client, monkeypatch):
    """Else the test above would say nothing: of the limit one part in 1,000."""
    stock = client.tape(STEPS)
    monkeypatch.setattr(client, "CLIP_NORM", client.CLIP_NORM * 1.001)
    other = client.tape(STEPS)
    assert stock.departure(other)[1] > allowed(client, stock, [1.0], stock.losses)[1]
