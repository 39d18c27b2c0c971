# SPDX-License-Identifier: BSD-3-Clause
"""Opacus: the clipping of its `DPOptimizer`, without noise and without a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer
from fastclip._bench.peers.torch import tensor_of


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind `clip_and_accumulate`, with the arrays as the gradients of each sample."""
    import torch
    from opacus.optimizers import DPOptimizer

    parameters: list[Any] = [torch.nn.Parameter(torch.zeros(array.shape[1:])) for array in arrays]
    samples = [tensor_of(array) for array in arrays]
    inner = torch.optim.SGD(parameters, lr=0.1)
    optimizer: Any = DPOptimizer(inner, noise_multiplier=0.0, max_grad_norm=1.0, expected_batch_size=len(arrays[0]))

    def per_example(limit: float) -> list[Any]:
        optimizer.zero_grad()  # forgets the last call's sums
        for parameter, sample in zip(parameters, samples, strict=True):
            parameter.grad_sample = sample.detach()  # a view, since Opacus refuses to clip a tensor twice
        optimizer.max_grad_norm = limit
        optimizer.clip_and_accumulate()
        return [parameter.summed_grad for parameter in optimizer.params]

    return Peer("opacus", per_example=per_example)
