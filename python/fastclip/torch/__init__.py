# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch's `torch.nn.utils` clipping, faster and with exact norms, and clipping inside an optimizer's own pass.

>>> import torch, fastclip.torch
>>> weight = torch.nn.Parameter(torch.zeros(2))
>>> weight.grad = torch.tensor([3.0, 4.0])
>>> fastclip.torch.clip_grad_norm_([weight], max_norm=1.0)
tensor(5.)
>>> weight.grad
tensor([0.6000, 0.8000])
"""

from __future__ import annotations

from fastclip import _errors

with _errors.importing("fastclip.torch", "torch"):
    import torch as _torch  # noqa: F401

from fastclip.torch._clip_grad import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from fastclip.torch._in_step import clip_in_step
from fastclip.torch._wrapper import ClippedOptimizer

__all__ = [
    "ClippedOptimizer",
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "clip_in_step",
    "get_total_norm",
]
