# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch: `clip_grad_norm_`, `clip_grad_value_` and the like, on the CPU and on a GPU."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer


def tensor_of(array: FloatArray) -> Any:
    """Return torch's view of the same memory; torch knows no bfloat16 of NumPy's."""
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def parameter_of(gradient: Any) -> Any:
    """Return a parameter with this gradient; nobody looks at its values, so they may share the memory too."""
    import torch

    parameter = torch.nn.Parameter(gradient)
    parameter.grad = gradient
    return parameter


def _to_numpy(tensor: Any) -> FloatArray:
    """Copy a tensor, from wherever it is; NumPy gets bfloat16 as float32, which holds every value of it."""
    import torch

    tensor = tensor.detach().cpu()
    array: FloatArray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def _clip_each(parameters: Sequence[Any], limit: float) -> None:
    import torch

    for parameter in parameters:
        torch.nn.utils.clip_grad_norm_(parameter, limit)


def _clip_new(tensors: Sequence[Any], limit: float) -> tuple[Any, list[Any]]:
    import torch

    norm = torch.nn.utils.get_total_norm(tensors)
    factor = torch.clamp(limit / (norm + 1e-6), max=1.0)
    return norm, [tensor * factor for tensor in tensors]


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind torch's `clip_grad_norm_` and `clip_grad_value_`, called with a list of parameters, and its like."""
    import torch

    tensors = [tensor_of(array) for array in arrays]
    parameters = [parameter_of(tensor) for tensor in tensors]
    first = tensors[0]
    return Peer(
        "torch",
        clip_norm=functools.partial(torch.nn.utils.clip_grad_norm_, parameters),
        clip_value=functools.partial(torch.nn.utils.clip_grad_value_, parameters),
        clip_each=functools.partial(_clip_each, parameters),
        clip_rows=lambda limit: first.renorm_(2, 0, limit),
        clip_new=functools.partial(_clip_new, tensors),
        clip_out=lambda bound: first.clamp_(-bound, bound),
        always_writes=True,
        adds_to_norm=True,
        to_numpy=_to_numpy,
    )


def bind_loop(arrays: Sequence[FloatArray]) -> Peer:
    """Bind the same functions without their multi-tensor path: one operation after the other on each tensor."""
    import torch

    parameters = [parameter_of(tensor_of(array)) for array in arrays]
    return Peer(
        "torch loop",
        clip_norm=functools.partial(torch.nn.utils.clip_grad_norm_, parameters, foreach=False),
        clip_value=functools.partial(torch.nn.utils.clip_grad_value_, parameters, foreach=False),
        always_writes=True,
        adds_to_norm=True,
    )


def bind_fastclip(arrays: Sequence[FloatArray]) -> Peer:
    """Bind fastclip's own functions of the same names."""
    from fastclip import torch as ours

    parameters = [parameter_of(tensor_of(array)) for array in arrays]
    return Peer(
        "fastclip.torch",
        clip_norm=functools.partial(ours.clip_grad_norm_, parameters),
        clip_value=functools.partial(ours.clip_grad_value_, parameters),
        adds_to_norm=True,
    )


def bind_cuda(arrays: Sequence[FloatArray]) -> Peer:
    """Bind the same functions on copies in a GPU's memory; every call waits until the GPU is done."""
    import torch

    tensors = [tensor_of(array).cuda() for array in arrays]
    parameters = [parameter_of(tensor) for tensor in tensors]
    first = tensors[0]

    def waiting(call: Callable[[float], Any]) -> Callable[[float], Any]:
        def complete(limit: float) -> Any:
            answer = call(limit)
            torch.cuda.synchronize()
            return answer

        return complete

    return Peer(
        "torch cuda",
        clip_norm=waiting(functools.partial(torch.nn.utils.clip_grad_norm_, parameters)),
        clip_value=waiting(functools.partial(torch.nn.utils.clip_grad_value_, parameters)),
        clip_each=waiting(functools.partial(_clip_each, parameters)),
        clip_rows=waiting(lambda limit: first.renorm_(2, 0, limit)),
        clip_new=waiting(functools.partial(_clip_new, tensors)),
        always_writes=True,
        adds_to_norm=True,
        own=lambda: tensors,
        to_numpy=_to_numpy,
    )


def set_threads(count: int) -> int:
    """Set how many threads there may be; return how many there could be before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    return before
