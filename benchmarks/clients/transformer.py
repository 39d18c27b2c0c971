# SPDX-License-Identifier: BSD-3-Clause
"""A small transformer learns the Python standard library, byte by byte.

    python benchmarks/clients/transformer.py [--steps N] [--repeats N] [--threads N] [--json FILE]

It took `clip_grad_norm_` from torch when it was imported, as many programs do.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.clients.ways import Run, kept

PACKAGES = ()
CLIPS_IN = sys.modules[__name__]
STEPS = 400
LAYERS, WIDTH, HEADS, CONTEXT, BATCH = 4, 96, 4, 96, 12
BYTES, HELD_OUT = 4_000_000, 200_000
MAX_NORM = 1.0


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        # Without a bias: the gradient of a key's is 0 but for rounding errors, which Adam blows up to whole steps.
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(256, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 256)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.blocks(self.token(text) + self.place.weight)))


@functools.cache
def corpus() -> torch.Tensor:
    """The modules of the standard library in alphabetical order, without those in packages."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    text = b"".join(path.read_bytes() for path in files)[:BYTES]
    assert len(text) > 5 * HELD_OUT, f"{len(files)} files with {len(text)} bytes"
    return torch.frombuffer(bytearray(text), dtype=torch.uint8)


def batch(text: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    starts = torch.randint(len(text) - CONTEXT, (BATCH, 1), generator=rng)
    pieces = text[starts + torch.arange(CONTEXT + 1)].long()
    return pieces[:, :-1], pieces[:, 1:]


def loss_of(model: nn.Module, text: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    x, y = batch(text, rng)
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def train(steps: int) -> Run:
    """The score is the loss on text held out, in nats a byte; ln 256 = 5.5 is that of one who knows nothing."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    model = Transformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    learn, held_out = corpus()[HELD_OUT:], corpus()[:HELD_OUT]
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model, learn, rng)
        loss.backward()
        clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        score = sum(loss_of(model, held_out, rng).item() for _ in range(10)) / 10
    return Run(losses, kept(model.parameters()), score)


if __name__ == "__main__":
    from benchmarks.clients.compare import main

    main(sys.modules[__name__])
