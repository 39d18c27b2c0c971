# SPDX-License-Identifier: BSD-3-Clause
"""Programs of Flower, thinc and optax that were not changed train as with their library's own clipping."""

import importlib
import math
import os
import warnings
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import pytest

U = 2.0**-24  # f32's unit roundoff


class Short(NamedTuple):
    """What a client needs, how many steps will do, how far one can go, and the elements of its largest array."""

    modules: tuple[str, ...]
    steps: int
    stride: float
    largest: int
    functions: frozenset[str]


SHORT = {
    # A round moves the model by the clipped updates' mean; the adaptive limit grows by 1.22 a round at most.
    "flower_dp": Short(
        ("flwr", "sklearn"),
        4,
        0.5 * 1.22,
        65_536,
        frozenset({"compute_clip_model_update", "adaptive_clip_inputs_inplace"}),
    ),
    # Adam moves no weight by much more than its rate.
    "thinc_loop": Short(("thinc", "sklearn"), 20, 0.001 * 8_970**0.5, 4_096, frozenset({"clip_gradient"})),
    # SGD moves all by the rate times the clipped gradients of the last 1 / (1 - momentum) = 10 steps.
    "optax_loop": Short(("jax", "optax", "sklearn"), 20, 0.02 * 0.5 * 10, 3_072, frozenset({"clip_by_global_norm"})),
}


@pytest.fixture(scope="module", params=SHORT)
def runs(request):
    """The stock run, fastclip's, and fastclip's by a limit that is a tenth too large."""
    short = SHORT[request.param]
    missing = [name for name in short.modules if find_spec(name) is None]
    if missing:
        assert not os.environ.get("FASTCLIP_REQUIRE_PEERS"), f"not installed: {', '.join(missing)}"
        pytest.skip(f"not installed: {', '.join(missing)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the libraries say of each other
        from benchmarks.clients.swap import trained

        client = importlib.import_module(f"benchmarks.clients.{request.param}")
        ways = (("stock", 1.0), ("fastclip", 1.0), ("fastclip", 1.1))
        return short, *(trained(client, way, short.steps, factor) for way, factor in ways)


def allowed(short, run):
    """How far an exact norm may take the losses and, relative, the parameters from the stock ones.

    The libraries add squares in f32, in 8 lanes at the least: largest / 8 roundings of up to u in the sum, half of that
    in the norm, and by as much a step is off. Then as in test_clients: steps are a small part of the parameters, their
    errors add up, and each sum of a weight and its step may be rounded otherwise; a factor of 2 for what later steps
    make of that. The loss moves by its gradient's norm, below 10 in all of them, times the way of the parameters.
    """
    norm = short.largest / 8 / 2 * U
    weights = math.sqrt(sum(float(np.square(p, dtype=float).sum()) for p in run.parameters))
    parameters = 2 * (short.steps * norm * short.stride / weights + math.sqrt(short.steps) * U)
    return 10 * weights * parameters + 8 * U * max(map(abs, run.losses)), parameters


def test_the_client_calls_what_stands_in_its_librarys_place(runs):
    short, stock, ours, _ = runs
    for timed, package in ((stock, short.modules[0]), (ours, "fastclip")):
        assert {f.__name__ for f in timed.functions} == short.functions
        if timed is ours or package != "jax":
            assert {f.__module__.partition(".")[0] for f in timed.functions} == {package}
    assert len(stock.calls) == len(ours.calls) > 0


def test_it_trains_as_before(runs):
    short, stock, ours, _ = runs
    assert len(set(stock.run.losses)) == len(stock.run.losses) == short.steps
    losses, parameters = allowed(short, stock.run)
    off = stock.run.departure(ours.run)
    assert off[0] <= losses
    assert off[1] <= parameters


def test_by_a_wrong_limit_it_does_not(runs):
    """Else the test above would say nothing."""
    short, stock, _, wrong = runs
    assert stock.run.departure(wrong.run)[1] > allowed(short, stock.run)[1]
