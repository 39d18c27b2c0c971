# SPDX-License-Identifier: BSD-3-Clause
"""Stable-Baselines3's PPO on gymnasium's CartPole, with the settings that it comes with.

    python benchmarks/clients/ppo.py [--steps N] [--repeats N] [--threads N] [--json FILE]

A step of `--steps` is one of CartPole; a step of the table is one of Adam. PPO clips `policy.parameters()`, a
generator over the policy's modules, before each.

In the end a whole run is another one, whatever the size of the difference: after some 15,000 of CartPole's steps the
policy, off by 1e-6 or so, draws another action, and what it learns from is no longer the same. Stock torch does so too
when its norm is off by the last bit, which is the last line that is printed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.clients.ways import Run, kept

PACKAGES = ("stable-baselines3", "gymnasium")
CLIPS_IN = torch.nn.utils
STEPS = 20_480  # ten rollouts of 2,048 steps; from each PPO learns ten times in batches of 64: 3,200 steps of Adam


class Losses(BaseCallback):
    """The loss of the last batch of each rollout, and the reward of each episode."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.rewards: list[float] = []

    def _read(self) -> None:
        if "train/loss" in self.logger.name_to_value:
            self.losses.append(float(self.logger.name_to_value["train/loss"]))

    def _on_rollout_start(self) -> None:
        self._read()

    def _on_training_end(self) -> None:
        self._read()

    def _on_step(self) -> bool:
        self.rewards += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        return True


def train(steps: int, rollout: int = 2048) -> Run:
    """The score is the mean reward of the last 20 episodes; CartPole's are from 8 or so to 500."""
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=rollout, seed=0, device="cpu")
    seen = Losses()
    model.learn(steps, callback=seen, log_interval=None)  # a log would take the losses away
    last = seen.rewards[-20:]
    return Run(seen.losses, kept(model.policy.parameters()), sum(last) / len(last))


if __name__ == "__main__":
    from benchmarks.clients.compare import main

    main(sys.modules[__name__])
