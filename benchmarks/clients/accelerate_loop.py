# SPDX-License-Identifier: BSD-3-Clause
"""Accelerate's loop, as its guide to gradient accumulation has it: a residual network learns scikit-learn's digits.

    python benchmarks/clients/accelerate_loop.py [--steps N] [--repeats N] [--threads N] [--json FILE]

`accelerator.clip_grad_norm_` calls torch's, once for every two batches.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.clients.ways import Run, kept

PACKAGES = ("accelerate", "scikit-learn")
CLIPS_IN = torch.nn.utils
STEPS = 300
WIDTH, BLOCKS, BATCH, ACCUMULATE = 128, 8, 32, 2
HELD_OUT = 450
# A rate of 0.05 is chaos: after 600 steps the losses are 1e-2 off, be the norm but the next float to the right one.
RATE, MOMENTUM, MAX_NORM = 0.02, 0.9, 1.0


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, WIDTH), *(Block() for _ in range(BLOCKS)), nn.Linear(WIDTH, 10))


def train(steps: int) -> Run:
    """The score is the accuracy on the images held out."""
    set_seed(0)
    images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    images = images.float() / 16
    learn, held_out = (TensorDataset(images[s], labels[s]) for s in (slice(HELD_OUT, None), slice(HELD_OUT)))

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATE)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    loader = DataLoader(learn, BATCH, shuffle=True, drop_last=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)

    losses: list[float] = []
    done = 0
    while done < steps:
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = nn.functional.cross_entropy(model(x), y)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), MAX_NORM)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            losses.append(loss.item())
            done += accelerator.sync_gradients
            if done == steps:
                break

    with torch.no_grad():
        x, y = held_out.tensors
        score = (model(x).argmax(1) == y).float().mean().item()
    return Run(losses, kept(model.parameters()), score)


if __name__ == "__main__":
    from benchmarks.clients.compare import main

    main(sys.modules[__name__])
