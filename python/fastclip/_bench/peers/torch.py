# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch: `clip_grad_norm_`, `clip_grad_value_` and the like."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer


def _tensor(array: FloatArray) -> Any:
    """Return torch's view of the same memory; torch knows no bfloat16 of NumPy's."""
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _clip_new(tensors: Sequence[Any], limit: float) -> tuple[Any, list[Any]]:
    import torch

    norm = torch.nn.utils.get_total_norm(tensors)
    factor = torch.clamp(limit / (norm + 1e-6), max=1.0)
    return norm, [tensor * factor for tensor in tensors]


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind torch's `clip_grad_norm_` and `clip_grad_value_`, called with a list of parameters, and its like."""
    import torch

    tensors = [_tensor(array) for array in arrays]
    parameters = []
    for tensor in tensors:
        parameter = torch.nn.Parameter(tensor)  # nobody looks at its values, so they may share the memory too
        parameter.grad = tensor
        parameters.append(parameter)
    first = tensors[0]
    return Peer(
        "torch",
        clip_norm=functools.partial(torch.nn.utils.clip_grad_norm_, parameters),
        clip_value=functools.partial(torch.nn.utils.clip_grad_value_, parameters),
        clip_new=functools.partial(_clip_new, tensors),
        clip_out=lambda bound: first.clamp_(-bound, bound),
        clip_rows=lambda limit: first.renorm_(2, 0, limit),
        always_writes=True,
    )
