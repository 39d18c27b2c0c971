# SPDX-License-Identifier: BSD-3-Clause
"""The clients' short runs: each is trained once in each way, and the tests compare what is left."""

import importlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))


class Short(NamedTuple):
    """What a client needs, how it is told to be short, how often it clips then, and how far one step can go."""

    modules: tuple[str, ...]
    arguments: dict[str, int]
    steps: int
    stride: float


SHORT = {
    # Two rollouts of 128 steps; from each, ten times two batches. Adam moves no weight by much more than its rate.
    "ppo": Short(("torch", "stable_baselines3", "gymnasium"), {"steps": 256, "rollout": 128}, 40, 3e-4 * 9_155**0.5),
    # SGD moves all by the rate times the clipped gradients of the last 1 / (1 - momentum) = 10 steps.
    "accelerate_loop": Short(("torch", "accelerate", "sklearn"), {"steps": 20}, 20, 0.02 * 1.0 * 10),
    "transformer": Short(("torch",), {"steps": 12}, 12, 1e-3 * 505_024**0.5),
}


class Client(NamedTuple):
    """A client, its short form, and its runs by the ways to clip, each made when it is first asked for."""

    module: Any
    short: Short
    runs: dict[tuple[str, float], Any]

    def trained(self, name, factor=1.0):
        """The run and the watch over its clipping; `factor` makes the norm wrong that `injected` passes on."""
        from benchmarks.clients import ways

        if (name, factor) not in self.runs:
            options = {} if factor == 1.0 else {"factor": factor}
            owner = self.module.CLIPS_IN
            with getattr(ways, name)(owner, **options), ways.watching(owner) as watch:
                self.runs[name, factor] = self.module.train(**self.short.arguments), watch
        return self.runs[name, factor]


@pytest.fixture(scope="module", params=SHORT)
def client(request):
    """One after the other; without its library skipped, or failed where the extra is said to be installed."""
    short = SHORT[request.param]
    missing = [name for name in short.modules if find_spec(name) is None]
    if missing:
        assert not os.environ.get("FASTCLIP_REQUIRE_PEERS"), f"not installed: {', '.join(missing)}"
        pytest.skip(f"not installed: {', '.join(missing)}")
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more would divide torch's sums otherwise from one run to the next
    with torch.random.fork_rng():
        found = Client(importlib.import_module(f"benchmarks.clients.{request.param}"), short, {})
        found.trained("torch_as_it_is")  # first: what a client imports late would keep fastclip's functions
        yield found
    torch.set_num_threads(threads)
