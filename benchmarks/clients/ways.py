# SPDX-License-Identifier: BSD-3-Clause
"""The ways to clip that a client is trained with, and the watch over the function that it calls.

A client knows none of this: it calls `clip_grad_norm_` by the name that it always called it by, in its own module or
in `torch.nn.utils`. That place is the `owner` below.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from time import perf_counter
from types import ModuleType
from typing import Any, NamedTuple

import torch

import fastclip

NAME = "clip_grad_norm_"
# Torch's own, in a dict: by a name of this module's they would be patched as well.
STOCK = {name: getattr(torch.nn.utils, name) for name in (NAME, "get_total_norm")}


class Run(NamedTuple):
    """What a training leaves behind."""

    losses: list[float]
    parameters: list[torch.Tensor]
    score: float  # what the client is trained for: a reward, an accuracy, a loss on data that it has not seen

    def same(self, other: Run) -> bool:
        """Compare to the bit, the zeros' signs included."""
        return self.losses == other.losses and all(
            torch.equal(a.view(torch.int32), b.view(torch.int32))
            for a, b in zip(self.parameters, other.parameters, strict=True)
        )

    def departure(self, other: Run) -> tuple[float, float]:
        """How far the losses (the largest difference) and the parameters (as one vector, relative) are from these."""
        losses = max(abs(a - b) for a, b in zip(self.losses, other.losses, strict=True))
        a, b = (torch.cat([p.double().flatten() for p in run.parameters]) for run in (self, other))
        return losses, float((a - b).norm() / a.norm())


def kept(parameters: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    return [p.detach().clone() for p in parameters]


class Watch:
    """The calls of one function: their time, the norms that they returned, and how many norms were over the limit."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.norms: list[float] = []
        self.clipped = 0
        self.function: Any = None

    def over(self, function: Any) -> Any:
        self.function = function

        def watched(parameters: Any, max_norm: float, *rest: Any, **options: Any) -> Any:
            start = perf_counter()
            total = function(parameters, max_norm, *rest, **options)
            self.seconds.append(perf_counter() - start)
            self.norms.append(float(total))
            self.clipped += self.norms[-1] > max_norm
            return total

        return watched


@contextlib.contextmanager
def swapped(owner: ModuleType, replacement: Any) -> Iterator[None]:
    before = getattr(owner, NAME)
    setattr(owner, NAME, replacement)
    try:
        yield
    finally:
        setattr(owner, NAME, before)


@contextlib.contextmanager
def torch_as_it_is(owner: ModuleType) -> Iterator[None]:
    assert getattr(owner, NAME) is STOCK[NAME]
    yield


@contextlib.contextmanager
def patched(owner: ModuleType) -> Iterator[None]:
    with fastclip.patch("torch"):
        assert getattr(owner, NAME) is not STOCK[NAME]
        yield
    assert getattr(owner, NAME) is STOCK[NAME]


@contextlib.contextmanager
def injected(owner: ModuleType, factor: float = 1.0) -> Iterator[None]:
    """fastclip's scaling, by the norm that stock torch computes; or one that is wrong by a factor."""
    from fastclip.torch import clip_grads_with_norm_

    def clip_by_torchs_norm(parameters: Any, max_norm: float, norm_type: float = 2.0) -> torch.Tensor:
        listed = list(parameters)
        total = STOCK["get_total_norm"]([p.grad for p in listed if p.grad is not None], norm_type) * factor
        clip_grads_with_norm_(listed, max_norm, total)
        return total

    with patched(owner), swapped(owner, clip_by_torchs_norm):
        yield


@contextlib.contextmanager
def watching(owner: ModuleType) -> Iterator[Watch]:
    """Watch the function that the client calls, whose ever it is by now."""
    watch = Watch()
    with swapped(owner, watch.over(getattr(owner, NAME))):
        yield watch
